"""The fields that every recipe has: their defaults, what they mean, and what they may be."""

from typing import Any

from recog.config.bounds import (
    Bound,
    above_zero,
    at_least,
    at_most,
    below_one,
    each_of,
    length,
    no_percentage,
    not_empty,
    one_of,
    ordered_pair,
    share,
    shares,
    tuple_of,
)


class Field:
    """A field of a recipe."""

    def __init__(self, default: Any, meaning: str, *bounds: Bound):
        self.default, self.meaning, self.bounds = default, meaning, bounds


PRECISIONS = ('float32', 'highest', 'bfloat16')
REMAT = ('', 'products', 'blocks')

# Every field besides the algorithm's own.
# Lengths are '72 epochs', '5000 steps', '51200 images' or '5 %' of train.length.
DECLARED: dict[str, Any] = {
    'seed': Field(0, 'what the streams of random numbers are made from', at_least(0)),
    # One stream each, so that an ablation can change one thing.
    'seeds': {
        'init': Field(None, 'of the initial weights; None: made from `seed`', at_least(0)),
        'data': Field(None, 'of the order of the examples; None: made from `seed`', at_least(0)),
        'augment': Field(None, 'of the changes of training images; None: made from `seed`', at_least(0)),
        'dropout': Field(None, 'of dropout; None: made from `seed`', at_least(0)),
    },
    'init': Field('', "a workdir, a reader or a file of published weights that training starts from; '' "
                  'draws all'),
    'init_parts': Field((), "patterns of the parameters that are taken from there, such as 'backbone/*'; () "
                        'is all', tuple_of(str)),
    'init_recipe': Field(False, "of the workdir or reader `init` also take the network's fields, those of "
                         'text and images (but not image.augment), and how words and formulas are drawn; '
                         'what the command line sets stays'),
    'model': {},  # the algorithm's own fields, `name` among them
    'text': {
        'charset': Field('36', '36 (0-9a-z), 62, 94, 95 (94 and blank), a list of LaTeX tokens by its name '
                         'in recog/text/vocabularies, or a dictionary file, one token a line'),
        'case': Field('lower', 'lower: labels are folded; keep', one_of('lower', 'keep')),
        'unknown': Field('drop', 'characters outside the charset: drop them, or refuse the label; ascii: '
                         'drop them once white space is removed and the rest is turned into ASCII (NFKD)',
                         one_of('drop', 'refuse', 'ascii')),
        'separator': Field('', "'' every character is a token (and every command that the charset has); "
                           "' ' tokens stand between blanks", one_of('', ' ')),
        'max_length': Field(25, 'tokens; longer labels are dropped from training, counted', at_least(1)),
    },
    'image': {
        'height': Field(32, 'pixels', at_least(1)),
        'width': Field(100, 'pixels', at_least(4)),
        'channels': Field('bgr', 'bgr, rgb or grey', one_of('bgr', 'rgb', 'grey')),
        'fit': Field('pad', 'pad: keep the ratio, at most `width`, the rest is padding; stretch: always '
                     '`width`; steps: the least multiple of `height` that is as wide as the ratio asks for, '
                     'at most `width`, the rest is padding; thumbnail: made grey, shrunk if it is too large, '
                     'in the middle of a white canvas (of a black one where the ink is light); ratio: always '
                     'all of the canvas of data.buckets, or of height x width, whose width over height, '
                     "rounded, is nearest to the image's; none: images keep their size, and each batch has "
                     'the first of data.buckets that they fit',
                     one_of('pad', 'stretch', 'steps', 'thumbnail', 'ratio', 'none')),
        'resample': Field('bilinear', 'how images are resized: bilinear, as OpenCV does; bicubic, as Pillow '
                          'does, which averages where it shrinks; thumbnail has its own',
                          one_of('bilinear', 'bicubic')),
        'ink': Field('', 'of the training images, light or dark: prediction inverts images that have it the '
                     "other way round; '' leaves them as they are", one_of('', 'light', 'dark')),
        'symbol': Field(0.0, "mean height of the training images' symbols in pixels: prediction rescales "
                        'others to it; 0 does not', at_least(0)),
        'width_rule': Field('fixed', 'prediction: fixed, or widest (height x the widest ratio of the batch, '
                            'as PaddleOCR predicts)', one_of('fixed', 'widest')),
        'scale': Field(255.0, 'divides the pixels: value = (pixel / scale - mean) / std', above_zero()),
        'mean': Field(0.5, 'is subtracted then'),
        'std': Field(0.5, 'divides what is left'),
        'padding': Field(0.0, 'value, after normalisation, of what is not image'),
        'augment': {  # training only, each up to this strength; 0 is off
            'probability': Field(0.5, 'with which each augmentation is applied to an image', share()),
            'on_canvas': Field(False, 'False: images are changed before they are fitted; True: afterwards, '
                               'on the canvas, which keeps its size (image.fit=stretch or thumbnail)'),
            'scale': Field(0.0, 'larger or smaller by this share, of images that keep their size',
                           at_least(0), below_one()),
            'stretch': Field(0.0, 'wider or higher by this share', at_least(0), at_most(1)),
            'rotation': Field(0.0, 'degrees', at_least(0), at_most(180)),
            # Beyond a quarter the four corners can make a dart.
            'perspective': Field(0.0, 'shift of a corner, share of the height', at_least(0), at_most(0.25)),
            'curve': Field(0.0, 'bend of the baseline, share of the height', at_least(0), at_most(1)),
            'elastic': Field(0.0, 'ripples that move a pixel by so many pixels', at_least(0), at_most(100)),
            'stroke': Field(0.0, 'lines thicker or thinner, pixels', at_least(0), at_most(10)),
            'brightness': Field(0.0, 'share', at_least(0), at_most(1)),
            'contrast': Field(0.0, 'share', at_least(0), at_most(1)),
            'colour': Field(0.0, 'of the saturation and of each channel, share', at_least(0), at_most(1)),
            'blur': Field(0.0, 'sigma, pixels', at_least(0), at_most(100)),
            'motion': Field(0.0, 'length of the blur, pixels', at_least(0), at_most(100)),
            'downscale': Field(0.0, 'share by which it is shrunk before it is enlarged again', below_one()),
            'noise': Field(0.0, 'standard deviation, grey levels', at_least(0)),
            'jpeg': Field(0.0, 'quality lost, of 100', at_least(0), at_most(95)),
            'operations': Field(0, "RandAugment: so many different ones of Pillow's 16 operations, each with "
                                'the probability, after all else; 0 is off', at_least(0), at_most(16)),
            'magnitude': Field(5.0, 'of these operations, of 10', at_least(0), at_most(10)),
        },
    },
    'data': {
        'train': Field(('rendered:train',), 'sets NAME[/CONFIG][:SPLIT] below the root of prepared data, or '
                       'hf:OWNER/NAME[/CONFIG][@REVISION][:SPLIT] of the Hugging Face Hub',
                       tuple_of(str), not_empty('set')),
        'image_columns': Field(('image', 'png', 'jpg', 'jpeg', 'webp'), 'of sets of Hugging Face, in Parquet '
                               'or WebDataset: the first of these that a set has holds its images',
                               tuple_of(str), not_empty('column')),
        'text_columns': Field(('text', 'label', 'txt', 'latex', 'formula'), 'the same of its texts',
                              tuple_of(str), not_empty('column')),
        'weights': Field((), 'share of each set in every batch; () reads the sets one after another',
                         tuple_of(int, float)),
        'order': Field('shuffle', 'shuffle: a new permutation each epoch; file: as they stand',
                       one_of('shuffle', 'file')),
        'buckets': Field((), "shapes 'HEIGHTxWIDTH' or 'HEIGHTxWIDTHxTOKENS' besides the largest: a batch "
                         'has the first that its images and labels fit; where images are fitted to one '
                         'canvas (by others than none and ratio), lengths alone may differ', tuple_of(str)),
        'pixels': Field(0, 'of a batch at most; 0: every batch has train.batch images', at_least(0)),
        'most_dropped': Field(0.2, 'share of a set that may be of no use to the recipe (labels too long, '
                              'images too large or unreadable); some rows are judged first', share()),
        'resident': Field(False, 'packed sets go to the devices once, and several steps run at one call'),
        'nominal': Field(0, 'images of an epoch as the literature counts them; for estimates without the '
                         'data', at_least(0)),
        'workers': Field(0, 'processes that read; 0 reads in threads', at_least(0)),
        'threads': Field(2, 'threads that read, per process', at_least(0)),
        'prefetch': Field(4, 'batches read ahead', at_least(1)),
    },
    'render': {
        'count': Field(9_000_000, 'words in an epoch of rendered:train', at_least(1)),
        'difficulty': Field(1.0, '0 easy .. 1 as MJSynth', share()),
        'ramp': Field(0, 'over the first so many words of the training set, difficulty and scene grow from 0 '
                      'to their values; with data.order=file, training begins with easy ones', at_least(0)),
        'scene': Field(0.0, 'share of words that look as in photographs: short ones more often, neighbours '
                       'at the edge, loose and tight crops, few pixels, slant views', share()),
        'fonts': Field('', "a folder of .ttf and .otf, or a list of their paths, besides matplotlib's own"),
        'words': Field('', "a word list, one a line, or several, 'A,B', of equal shares; '' uses the "
                       'built-in character model'),
        'codes': Field(0.0, 'share of numbers, codes and single letters instead of words', share()),
        'marks': Field(0.0, 'share of words and codes with punctuation, a currency or the like', share()),
        'turned': Field(0.0, 'share of words that lie on a side or upside down, for models that are to read '
                        'these', share()),
        'letters': Field((3, 10), 'shortest and longest word of the character model',
                         tuple_of(int), ordered_pair('(shortest, longest)')),
        'backgrounds': Field('', "a folder of images; '' draws textures"),
    },
    'formulas': {
        'count': Field(100_000, 'formulas in an epoch of formulas:train', at_least(1)),
        'difficulty': Field(1.0, 'of the hand: 0 even .. 1 as people write', share()),
        'tokens': Field((1, 40), 'fewest and most', tuple_of(int), ordered_pair('(fewest, most)')),
        'depth': Field(3, 'fractions, roots and scripts within each other; 0 is a single line', at_least(0)),
        'symbols': Field(0, "only so many of CROHME's symbols, the most frequent; 0 is all", at_least(0)),
        'size': Field(28.0, 'pixels, mean height of the symbols; CROHME has 28', above_zero()),
        'height': Field(192, 'pixels of a picture at most', at_least(16)),
        'width': Field(768, 'pixels of a picture at most', at_least(16)),
    },
    'composed': {  # of the ink of crohme:train
        'count': Field(100_000, 'formulas in an epoch of composed:train', at_least(1)),
        'shares': Field((0.4, 0.2, 0.4), 'of formulas whose symbols are exchanged for other samples, whose '
                        "sub-expressions are exchanged for others of their writer's, and whose "
                        "sub-expressions are exchanged for anybody's, then all symbols",
                        tuple_of(int, float), shares('symbols, sub-expressions, both', 3)),
        'parts': Field(3, 'sub-expressions exchanged in a formula at most', at_least(1)),
        'other_hand': Field(0.5, 'share of the formulas with other samples that are in the hand of another '
                            'writer; the rest have those of their own', share()),
        'tokens': Field((1, 96), "fewest and most; CROHME's training set has 96", tuple_of(int),
                        ordered_pair('(fewest, most)')),
    },
    'train': {
        'length': Field('1 epochs', 'in epochs, steps or images', length(), no_percentage()),
        'batch': Field(256, 'images of one optimizer step, over all devices and micro-batches', at_least(1)),
        'accumulate': Field(1, 'micro-batches of one optimizer step', at_least(1)),
        'norm_group': Field(0, 'batch norm sees this many consecutive images; 0 is the whole (micro-)batch; '
                            'batches that data.pixels limits are made of whole groups', at_least(0)),
        'precision': Field('float32', 'of products: float32, which GPUs round to TF32 (10 bits of fraction) '
                           'and TPUs to bfloat16; highest: float32 in full everywhere; bfloat16, with '
                           'parameters, statistics and losses in float32, which a CPU gains by where oneDNN '
                           'is installed', one_of(*PRECISIONS)),
        'ema': Field(0.0, 'decay of the averages of weights and batch-norm statistics that are evaluated; in '
                     'the step after t others it is at most (1 + t) / (10 + t), so that the random start is '
                     'soon forgotten; 0 is off', below_one()),
        'remat': Field('', "what is kept for the gradient: '' all; products: results of matrix products and "
                       'convolutions; blocks: outputs of the blocks of the networks. The rest is computed '
                       'once more, which takes time and spares memory', one_of(*REMAT)),
        'patience': Field(0, 'evaluations without a better one after which training ends; 0: never',
                          at_least(0)),
    },
    'swa': {  # stochastic weight averaging
        'start': Field('0 steps', 'from here on, the weights and batch-norm statistics that stand at the '
                       'start of each period are averaged, with equal shares, and the averages are '
                       "evaluated; '0 steps' is off", length()),
        'every': Field('1 epochs', 'length of a period', length()),
        'rate': Field(0.0, 'share of the peak towards which the rate then goes, period by period, along a '
                      'cosine from what the schedule had reached; 0: the schedule goes on', share()),
        'periods': Field(10, 'of that cosine', at_least(1)),
    },
    'optimizer': {
        'name': Field('adam', 'adam, adamw (= adam), momentum or adadelta',
                      one_of('adam', 'adamw', 'momentum', 'adadelta')),
        'rate': Field(1e-3, 'learning rate, at its peak', above_zero()),
        'b1': Field(0.9, 'adam', below_one()),
        'b2': Field(0.999, 'adam', below_one()),
        'eps': Field(1e-8, 'adam, adadelta', above_zero()),
        'momentum': Field(0.9, 'momentum', below_one()),
        'nesterov': Field(False, "momentum in Nesterov's form"),
        'rho': Field(0.95, 'adadelta', below_one()),
        'decay': Field(0.0, 'of the weights', at_least(0)),
        'decay_kind': Field('decoupled', 'coupled (L2: added to the clipped gradient) or decoupled (as '
                            'AdamW)', one_of('coupled', 'decoupled')),
        'decay_vectors': Field(True, 'whether biases and norms decay too'),
        'taken': Field(1.0, 'multiplies the rate of what was taken from `init`; what is drawn, such as the '
                       'rows of new characters, has the whole rate; 0 freezes', at_least(0)),
        'undecayed': Field((), "patterns of parameters, by path such as 'backbone/stem_*', that do not decay "
                           'either', tuple_of(str)),
        'clip_norm': Field(0.0, "gradients' norm over all tensors; 0 is off", at_least(0)),
        'clip_tensor': Field(0.0, "each tensor's own norm; 0 is off", at_least(0)),
        'groups': Field((), "'PATTERN=MULTIPLIER' of the rate, by path such as 'transform/*'; the last that "
                        'fits counts; 0 freezes', tuple_of(str)),
    },
    'schedule': {
        'name': Field('constant', 'constant, cosine, one_cycle, piecewise, or two_cosines: one to 0 at the '
                      'boundary, then what is left of one over all steps; pytorch_one_cycle: one_cycle as '
                      "PyTorch counts, at the peak in the warm-up's last step",
                      one_of('constant', 'cosine', 'one_cycle', 'pytorch_one_cycle', 'piecewise',
                             'two_cosines')),
        'warmup': Field('0 steps', 'linear from 0 (one_cycle: the rising part, from a 25th of the peak)',
                        length()),
        'final': Field(0.0, 'rate at the end, share of the peak (cosine, one_cycle)', share()),
        'boundaries': Field((), "piecewise, two_cosines: lengths from the start, e.g. ('40 epochs', '60 "
                            "epochs')", tuple_of(str)),
        'factors': Field((), 'piecewise: the rate is multiplied by these there', tuple_of(int, float)),
        'plateau': {  # in any schedule
            'patience': Field(0, 'evaluations without a better one after which the rate is multiplied by '
                              '`factor`; 0: never', at_least(0)),
            'factor': Field(0.5, 'the rate is multiplied by it each time', share()),
            'least': Field(0.01, 'the rate is never multiplied by less than this in all', share()),
        },
    },
    'eval': {
        'sets': Field(('rendered:validation',), 'while training; the first decides which checkpoint is best',
                      tuple_of(str), not_empty('set')),
        'report': Field(('rendered:test',), 'once, at the end, by that checkpoint; () is `sets`; benchmarks: '
                        "the ten of the literature; challenges: Union14M's seven, long and occluded words; "
                        'maths: the tests of formulas', tuple_of(str)),
        'before': Field(False, 'at the end the workdir or reader `init` is measured on the sets of the '
                        'report, too, for a table of before and after'),
        'corrupted': Field(0, 'at the end so many first images of each set of the report are read under '
                           'all corruptions, too (evaluate --corrupt); 0: none', at_least(0)),
        'every': Field('1 epochs', "'0 steps': at the end only", length()),
        'batch': Field(256, 'images read at a time', at_least(1)),
        'limit': Field(0, 'the first so many examples of each set while training; 0 is all', at_least(0)),
        'protocol': Field('36', 'characters that count: 36, 62, 94 or exact; latex: tokens of formulas',
                          one_of('36', '62', '94', 'exact', 'latex')),
        'beam': Field(1, 'width of the beam search; 1 is greedy', at_least(1)),
        'precision': Field('', "one of train.precision's, wherever the trained model reads (exports are "
                           "float32); '' is train.precision", one_of('', *PRECISIONS)),
        'nfkd': Field(False, 'texts are turned into ASCII before they are compared'),
        'allow_test': Field(False, 'a test set may choose the best checkpoint (and the results say so)'),
    },
    'checkpoint': {
        'every': Field('1 epochs', "between checkpoints; '0 steps': at the end only; besides, what an "
                       'evaluation finds better than the best that are kept is saved at once', length()),
        'keep': Field(1, "so many of the best by eval's accuracy, besides the newest; 0: then the best "
                      'evaluation may be lost', at_least(0)),
    },
    'log': {
        'every': Field(50, 'steps', at_least(1)),
        'to': Field(('tensorboard',), 'where figures go besides metrics.jsonl: tensorboard, wandb (Weights & '
                    'Biases), mlflow', each_of('tensorboard', 'wandb', 'mlflow')),
        'layer_norms': Field(False, "the gradient's norm of each layer, too, as grad_norm/LAYER"),
    },
    'mesh': {  # devices along each axis; -1 takes what is left
        'data': Field(-1, 'each has a part of the batch'),
        'fsdp': Field(1, 'each has a part of the batch and of every parameter'),
    },
}


def _defaults(declared: dict[str, Any]) -> dict[str, Any]:
    return {name: field.default if isinstance(field, Field) else _defaults(field)
            for name, field in declared.items()}


# The defaults alone, nested.
FIELDS = _defaults(DECLARED)
