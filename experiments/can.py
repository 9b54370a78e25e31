"""CAN: DenseNet, counting of symbols, attention with coverage (Li et al. 2022, arXiv 2207.11463), in the
form PaddleOCR published as rec_d28_can.

Published ExpRate on CROHME: 57.00 % (2014), 56.06 % (2016), 54.88 % (2019) by the paper, without
augmentation; 51.72 % by PaddleOCR ("CROHME test sets"); 52.2 to 55.6 % by users of the authors' code. Ours:
d28 not run, narrowed 17.44 % (2014). Training data: the 8,835 bitmaps of CROHME's training set, of whose
formulas we hold out a twentieth to choose the checkpoint; `crohme/bitmaps:train+validation` is all of them.
Cost of d28: 240 epochs, about 2 million images.
"""

from recog import config as configs

# Canvases for the sizes and labels of CROHME's training set. Each of the first list is within the reference's
# budget for an image, an area of 1600 x 320, and together they hold every bitmap: none is larger than that.
CANVASES = ('96x224x16', '128x368x24', '176x448x32', '128x752x40', '224x576x48', '176x1040x56', '272x1280x64',
            '496x816x72', '192x2128x96')
# For augmented images, which are larger by a tenth, and more so the wider they are.
ROOMY = ('112x272x16', '160x384x32', '144x720x32', '224x544x40', '176x944x56', '320x784x48', '224x1248x80',
         '368x1504x88', '496x2128x96')

# Images stay as sharp as the test bitmaps. If a set has the ink, its points are moved and drawn again.
AUGMENT = {
    'image.augment.probability': 0.5,
    'image.augment.scale': 0.25, 'image.augment.stretch': 0.2, 'image.augment.rotation': 5.0,
    'image.augment.elastic': 2.5, 'image.augment.stroke': 1.0,
}

# No layer sees the padding, so images can share any canvas; an epoch is about 400 steps.
MODERN = {
    'model.masked': True,
    'train.length': '200 epochs', 'train.batch': 32, 'train.precision': 'bfloat16', 'train.ema': 0.999,
    'data.buckets': ROOMY, 'data.pixels': 32 * 160 * 512,
    'optimizer.name': 'adamw', 'optimizer.rate': 5e-4, 'optimizer.decay': 0.02,
    'optimizer.decay_kind': 'decoupled', 'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '2 epochs', 'schedule.boundaries': (),
    'eval.batch': 32,
    **AUGMENT,
}

# The same from InkML: augmentation changes the ink, which is then drawn.
INK = {
    **MODERN, 'data.train': ('crohme:train',), 'data.nominal': 8_418,
    'eval.sets': ('crohme:validation',),
    'eval.report': ('crohme:test_2014', 'crohme:test_2016', 'crohme:test_2019'),
}

# All of the training bitmaps, for one accelerator. Nothing chooses a checkpoint: the last one is measured.
CROHME = {
    **MODERN, 'data.train': ('crohme/bitmaps:train+validation',), 'data.nominal': 8_835,
    'train.length': '150 epochs', 'train.batch': 128, 'data.pixels': 128 * 160 * 512,
    'optimizer.rate': 1e-3, 'schedule.warmup': '5 epochs',
    'eval.every': '0 steps', 'checkpoint.every': '5 epochs', 'checkpoint.keep': 0,
}

# For two CPU cores, about two hours: less than a tenth of the parameters, from InkML, on more canvases, so
# that a sixth of the padding is saved. It shows the whole way from ink to a figure; it is not made to win.
NARROWED = {
    **INK,
    'model.blocks': 2, 'model.growth': 20, 'model.layers': 6, 'model.stem': 48,
    'model.counting': (3,), 'model.counting_width': 64,
    'model.hidden': 320, 'model.attention': 96, 'model.coverage': 5,
    'model.dropout': 0.0, 'model.word_dropout': 0.2,
    'data.buckets': (
        '96x144x8', '112x256x16', '144x320x24', '128x528x40', '224x416x40', '160x400x32', '160x640x32',
        '144x928x40', '192x640x56', '304x544x48', '240x832x56', '176x1136x80', '256x1232x56', '496x752x48',
        '320x1568x88', '496x2128x96'),
    'train.length': '30 epochs', 'train.batch': 16, 'train.precision': 'float32',
    'data.pixels': 16 * 160 * 512,
    'optimizer.rate': 1e-3, 'schedule.warmup': '1 epochs',
    'eval.every': '3 epochs', 'checkpoint.every': '10 %',
}

# The same with as many images, three of four of them put together from the training set's strokes.
COMPOSED = {
    **NARROWED, 'data.train': ('crohme:train', 'composed:train'), 'composed.count': 25_000,
    'data.nominal': 8_418 + 25_000,
    'train.length': '8 epochs', 'schedule.warmup': '8418 images', 'eval.every': '1 epochs',
    'checkpoint.every': '10000 images',
}

# Twelve narrow layers on short drawn formulas: about five minutes on two CPU cores, no download.
DEMO = {
    'image.height': 64, 'image.width': 192, 'image.symbol': 18.0, 'text.max_length': 16,
    'formulas.height': 64, 'formulas.width': 192, 'formulas.size': 18.0, 'formulas.difficulty': 0.3,
    'formulas.symbols': 20, 'formulas.tokens': (1, 12), 'formulas.depth': 1, 'formulas.count': 48_000,
    'model.growth': 12, 'model.layers': 4, 'model.stem': 16, 'model.dropout': 0.0,
    'model.counting_width': 128, 'model.hidden': 128, 'model.attention': 128, 'model.coverage': 5,
    'model.word_dropout': 0.1, 'model.masked': True, 'model.capacity': 40,
    'data.train': ('formulas:train',), 'data.nominal': 0, 'data.buckets': ('64x96x16',),
    'train.length': '48000 images', 'train.batch': 32,
    'optimizer.name': 'adamw', 'optimizer.rate': 2e-3, 'optimizer.decay': 0.01,
    'optimizer.decay_kind': 'decoupled', 'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'one_cycle', 'schedule.warmup': '25 %', 'schedule.boundaries': (),
    'eval.sets': ('formulas:validation',), 'eval.report': ('formulas:test',), 'eval.every': '25 %',
    'eval.limit': 500, 'eval.batch': 64, 'checkpoint.every': '25 %', 'log.every': 50,
}

# Goes on from a workdir or reader of this algorithm, --config.init=NAME, with images of your own: the sets
# mine:train and mine:validation. Against forgetting, half of all images are formulas drawn as for that model,
# and what it has learnt changes at a tenth of the rate at which new symbols do.
FINETUNE = {
    'init_recipe': True,
    'data.train': ('mine:train', 'formulas:train'), 'data.weights': (0.5, 0.5), 'data.nominal': 0,
    'data.order': 'shuffle',
    'train.length': '30000 images', 'train.batch': 32, 'train.ema': 0.998,
    'optimizer.name': 'adamw', 'optimizer.rate': 2e-3, 'optimizer.taken': 0.1, 'optimizer.decay': 0.01,
    'optimizer.decay_kind': 'decoupled', 'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '5 %', 'schedule.boundaries': (),
    'eval.sets': ('mine:validation',), 'eval.report': ('mine:validation', 'formulas:test'),
    **AUGMENT, 'formulas.count': 5_000,
    'eval.before': True, 'eval.every': '10 %', 'eval.limit': 1000, 'eval.batch': 32,
    'checkpoint.every': '10 %', 'log.every': 25,
}

VARIANTS = {
    # rec_d28_can, one GPU. Unlike the reference, which chooses the checkpoint by the set `evaluation`, we
    # hold out some of the training formulas. It evaluates with the labels' own tokens as input, which gives
    # the same exact matches; we decode. Its batches are of any eight images, and the last of an epoch is
    # smaller; ours are of images of like sizes, and those that fill no batch may be left out of an epoch.
    'd28': {},
    # The authors' own optimizer, under the same schedule.
    'adadelta': {'optimizer.name': 'adadelta', 'optimizer.rate': 1.0, 'optimizer.eps': 1e-6,
                 'optimizer.rho': 0.9},          # PyTorch's default, which the authors' code keeps
    'modern': MODERN,
    'unaugmented': {**MODERN, 'image.augment.probability': 0.0},  # what augmentation is good for
    'ink': INK,
    'crohme': CROHME,
    'narrowed': NARROWED,
    'composed': COMPOSED,
    'demo': DEMO,
    'finetune': FINETUNE,
    # Ablations of the reference recipe.
    'no_counting': {'model.counting': ()},           # attention alone
    'scale3': {'model.counting': (3,)},              # counted at one scale
    'scale5': {'model.counting': (5,)},
    'augmented': AUGMENT,
}

RESULTS = {
    'd28': {'title': 'CAN on the bitmaps of CROHME',
            'published': 'ExpRate 51.72 % (PaddleOCR); 57.00 % on CROHME 2014 (paper)'},
    'crohme': {'title': 'CAN on all of them, AdamW, augmented'},
    'narrowed': {'title': 'CAN of 1.6 M parameters on the ink of CROHME, augmented'},
    'composed': {'title': 'the same, three of four formulas composed of its symbols'},
}
PUBLISHED = ('d28',)  # variants with published weights, which `recog import` reads
DEMO_MINUTES = 8  # on two CPU cores
# Sizes of typical formulas: on CPUs the one at which the reference was timed, on accelerators one of the
# canvases. `rows` is the batch of a training step on an accelerator; `beam` times beam search too.
BENCH = {
    'rows': 512, 'beam': True,
    'on_cpu': {'image.height': 128, 'image.width': 512, 'text.max_length': 36},
    'elsewhere': {'image.height': 112, 'image.width': 400, 'text.max_length': 40},
}
# Small sizes, for tests.
NARROW = {
    'model.growth': 4, 'model.layers': 1, 'model.stem': 8, 'model.counting_width': 32, 'model.hidden': 16,
    'model.attention': 8, 'model.coverage': 3, 'model.masked': True, 'model.capacity': 25,
    'image.height': 32, 'image.width': 48, 'text.max_length': 12, 'data.buckets': ('16x32',),
}
ALLOWED = {'model.masked': (True, False)}


def get_config(variant: str = 'd28'):
    """The recipe of one variant."""
    config = configs.base(
        name='can',
        growth=24,             # channels that each layer of DenseNet adds
        layers=16,             # in each block of DenseNet
        # Of DenseNet, 3 or 2: with 2, the first convolution has stride 4 instead of 2, which takes a CPU half
        # the time.
        blocks=3,
        stem=48,               # channels of the first convolution
        dropout=0.2,           # in DenseNet
        counting=(3, 5),       # kernels of the counters; () counts nothing
        counting_width=512,    # channels of a counter
        hidden=256,            # width of tokens and of the decoder's state
        attention=512,         # width in which state and image are compared
        coverage=11,           # kernel over the past attention
        word_dropout=0.5,      # before the logits of each token
        # Whether every layer ignores padding, and the loss is the mean over the labels' own tokens. If not,
        # as in the reference, training treats padding as part of the image, and the loss pads each label with
        # ends to the batch's longest label. Decoding always reads an image as if it were alone.
        masked=False,
        capacity=256,          # most tokens that decoding writes
        length_penalty=0.0,    # of the beam search: ranks by log-probability / length ** penalty
    )
    config.text.charset, config.text.separator, config.text.case = 'can', ' ', 'keep'
    # The longest label has 96 tokens in training and 204 in the tests; 36
    # gives the reference's own predictions.
    config.text.max_length = 204
    # White ink on black at its own size, normalised to 1 - pixel / 255. Unlike in the reference,
    # the images of a batch have similar sizes.
    config.image.fit, config.image.height, config.image.width = 'none', 496, 2128
    config.image.channels, config.image.mean, config.image.std = 'grey', 1.0, -1.0
    config.image.ink, config.image.symbol = 'light', 28.0
    config.data.train = ('crohme/bitmaps:train',)
    config.data.buckets = CANVASES
    # Unlike in the reference, batches of the largest images hold fewer of them: eight would take 28 GB.
    config.data.pixels = 8 * 224 * 1024
    config.data.nominal = 8_420
    config.train.length = '240 epochs'
    config.train.batch = 8
    config.optimizer.name, config.optimizer.rate, config.optimizer.momentum = 'momentum', 0.01, 0.9
    config.optimizer.decay, config.optimizer.decay_kind, config.optimizer.clip_norm = 1e-4, 'coupled', 100.0
    config.schedule.name, config.schedule.warmup = 'two_cosines', '1 epochs'
    config.schedule.boundaries = ('201 epochs',)
    config.eval.sets = ('crohme/bitmaps:validation',)
    config.eval.report = ('crohme/bitmaps:test_2014', 'crohme/bitmaps:test_2016', 'crohme/bitmaps:test_2019')
    config.eval.protocol, config.eval.batch = 'latex', 8
    return configs.variant(config, VARIANTS, variant)
