"""The fields that every recipe has, what they mean, and their defaults."""

from typing import Any

# Every field that a recipe has besides its algorithm's own. Lengths are
# '72 epochs', '5000 steps', '51200 images' or '5 %' of train.length.
FIELDS: dict[str, Any] = {
    'seed': 0,
    # One stream each, made from `seed` unless set here, so that an ablation can change one thing.
    'seeds': {'init': None, 'data': None, 'augment': None, 'dropout': None},
    'init': '',              # a workdir or a file of published weights that training starts from; '' draws all
    'init_parts': (),        # patterns of the parameters that are taken from there, such as 'backbone/*'; () is all
    'model': {},             # the algorithm's own fields, `name` among them
    'text': {
        # 36 (0-9a-z), 62, 94, 95 (94 and blank), can or latex_ocr (the LaTeX tokens of these), or a dictionary file, one token
        # a line
        'charset': '36',
        'case': 'lower',       # lower: labels are folded; keep
        'unknown': 'drop',     # characters outside the charset: drop them, or refuse the label
        'separator': '',       # '' every character is a token (of latex_ocr every command too); ' ' tokens stand between blanks
        'max_length': 25,      # tokens; longer labels are dropped from training, counted
    },
    'image': {
        'height': 32, 'width': 100,
        'channels': 'bgr',     # bgr, rgb or grey
        # pad: keep the ratio, at most `width`, the rest is padding; stretch: always `width`; steps: the least multiple of
        # `height` that is as wide as the ratio asks for, at most `width`, the rest is padding; thumbnail: made grey, shrunk if it
        # is too large, in the middle of a white canvas (of a black one where the ink is light); none: images keep their size, and
        # each batch has the first of data.buckets that they fit
        'fit': 'pad',
        'ink': '',             # of the training images, light or dark: prediction turns others round; '' leaves them as they are
        'symbol': 0.0,         # mean height of their symbols in pixels: prediction rescales others to it; 0 does not
        'width_rule': 'fixed',  # prediction: fixed, or widest (height x the widest ratio of the batch, as PaddleOCR predicts)
        'scale': 255.0, 'mean': 0.5, 'std': 0.5,  # value = (pixel / scale - mean) / std
        'padding': 0.0,        # value, after normalisation, of what is not image
        'augment': {           # training only; each with this probability, up to this strength; 0 is off
            'probability': 0.5,
            'scale': 0.0,        # larger or smaller by this share, of images that keep their size
            'stretch': 0.0,      # wider or higher by this share
            'rotation': 0.0,     # degrees
            'perspective': 0.0,  # shift of a corner, share of the height
            'curve': 0.0,        # bend of the baseline, share of the height
            'elastic': 0.0,      # ripples that move a place by so many pixels
            'stroke': 0.0,       # lines thicker or thinner, pixels
            'brightness': 0.0, 'contrast': 0.0,  # share
            'colour': 0.0,       # of the saturation and of each channel, share
            'blur': 0.0,         # sigma, pixels
            'motion': 0.0,       # length of the blur, pixels
            'downscale': 0.0,    # share by which it is shrunk before it is enlarged again
            'noise': 0.0,        # standard deviation, grey levels
            'jpeg': 0.0,         # quality lost, of 100
        },
    },
    'data': {
        'train': ('rendered:train',),  # sets NAME[/CONFIG][:SPLIT] below the root of prepared data
        'weights': (),         # share of each set in every batch; () puts the sets one behind the other
        'order': 'shuffle',    # shuffle: a new permutation each epoch; file: as they stand
        # Shapes 'HEIGHTxWIDTH' or 'HEIGHTxWIDTHxTOKENS' besides the largest: a batch has the first that its images and labels
        # fit. Where images are fitted to one canvas (any image.fit but none), lengths alone may differ.
        'buckets': (),
        'pixels': 0,           # of a batch at most; 0: every batch has train.batch images
        'resident': False,     # packed sets go to the devices once, and several steps run at one call
        'nominal': 0,          # images of an epoch as the literature counts them; for estimates without the data
        'workers': 0,          # processes that read; 0 reads in threads
        'threads': 2,          # threads that read, per process
        'prefetch': 4,         # batches read ahead
    },
    'render': {
        'count': 9_000_000,    # words in an epoch of rendered:train
        'difficulty': 1.0,     # 0 easy .. 1 as MJSynth
        'fonts': '',           # a folder of .ttf and .otf besides matplotlib's own
        'words': '',           # a word list, one a line; '' uses the built-in character model
        'letters': (3, 10),    # shortest and longest word of the character model
        'backgrounds': '',     # a folder of images; '' draws textures
    },
    'formulas': {
        'count': 100_000,      # formulas in an epoch of formulas:train
        'difficulty': 1.0,     # of the hand: 0 even .. 1 as people write
        'tokens': (1, 40),     # fewest and most
        'depth': 3,            # fractions, roots and scripts within each other; 0 is a single line
        'symbols': 0,          # the so many most frequent of CROHME's; 0 is all
        'size': 28.0,          # pixels, mean height of the symbols; CROHME has 28
        'height': 192, 'width': 768,  # pixels of a picture at most
    },
    'train': {
        'length': '1 epochs',  # in epochs, steps or images
        'batch': 256,          # images of one optimizer step, over all devices and micro-batches
        'accumulate': 1,       # micro-batches of one optimizer step
        'norm_group': 0,       # batch norm sees this many consecutive images; 0 is the whole (micro-)batch
        'precision': 'float32',  # float32, or bfloat16 products with float32 parameters, statistics and losses
        'ema': 0.0,            # decay of the averaged weights that are evaluated; 0 is off
    },
    'optimizer': {
        'name': 'adam',        # adam, adamw (= adam), momentum or adadelta
        'rate': 1e-3,
        'b1': 0.9, 'b2': 0.999, 'eps': 1e-8,      # adam; eps for adadelta too
        'momentum': 0.9, 'nesterov': False, 'rho': 0.95,  # momentum; adadelta
        'decay': 0.0,
        'decay_kind': 'decoupled',  # coupled (L2: added to the clipped gradient) or decoupled (as AdamW)
        'decay_vectors': True,      # whether biases and norms decay too
        'clip_norm': 0.0,      # gradients' norm over all tensors; 0 is off
        'clip_tensor': 0.0,    # each tensor's own norm; 0 is off
        'groups': (),          # 'PATTERN=MULTIPLIER' of the rate, by path such as 'transform/*'; the last that fits; 0 freezes
    },
    'schedule': {
        # constant, cosine, one_cycle, piecewise, or two_cosines: one to 0 at the first boundary, then what is left of one over
        # all steps
        'name': 'constant',
        'warmup': '0 steps',   # linear from 0 (one_cycle: the rising part)
        'final': 0.0,          # rate at the end, share of the peak (cosine, one_cycle)
        'boundaries': (),      # piecewise, two_cosines: lengths from the start, e.g. ('40 epochs', '60 epochs')
        'factors': (),         # piecewise: the rate is multiplied by these there
    },
    'eval': {
        'sets': ('rendered:validation',),  # while training; the first decides which checkpoint is best
        # Once, at the end, by that checkpoint; () is `sets`. benchmarks: the ten of the literature; maths: the tests of formulas
        'report': ('rendered:test',),
        'every': '1 epochs',   # '0 steps': at the end only
        'batch': 256,
        'limit': 0,            # the first so many examples of each set while training; 0 is all
        'protocol': '36',      # characters that count: 36, 62, 94 or exact; latex: tokens of formulas
        'beam': 1, 'nfkd': False,  # nfkd: texts are turned into ASCII before they are compared
        'allow_test': False,   # a test set may choose the best checkpoint (and the results say so)
    },
    'checkpoint': {'every': '1 epochs', 'keep': 1},  # keep: best by eval's accuracy, besides the newest
    'log': {'every': 50, 'tensorboard': True},       # steps
    'mesh': {'data': -1, 'fsdp': 1},                 # devices along each axis; -1 takes what is left
}
