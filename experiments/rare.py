"""RARE: rectification, convolutions, BiLSTM, attention (Shi et al. 2016, arXiv
1603.03915), in the forms PaddleOCR published.

Published by PaddleOCR, mean word accuracy over seven benchmark sets: r34 83.6 % (83.98 % in its overview of
algorithms), mv3 82.5 % (81.76 %). Ours: not run. Training data of both: MJSynth and SynthText, concatenated
(14.4 million words); the checkpoint is chosen on the validation union of the real training sets. Cost of
r34: 400 epochs, about 5.8 billion images.

Unlike the reference, which trains on and evaluates a random other word where one cannot be used, we leave it
out. Like ours, its epochs leave out the last words that fill no batch.
"""

from recog import config as configs

# Teacher forcing as in the paper's equation 8: each step reads a letter of the label and predicts the next
# one; the loss is the mean over letters and ends. Unlike in the paper, the rectified image is at first the
# whole image, and outside the image its border is repeated.
MODERN = {
    'model.teaching': 'labels', 'model.shifted': True, 'model.skip_ends': False,
    'model.start': 'straight', 'model.border': 'border', 'text.max_length': 25,
    'train.length': '30 epochs', 'train.precision': 'bfloat16', 'train.ema': 0.9999,
    'optimizer.name': 'adamw', 'optimizer.rate': 1e-3, 'optimizer.decay': 0.05,
    'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0, 'optimizer.groups': ('transform/*=0.1',),
    'schedule.name': 'cosine', 'schedule.warmup': '1 epochs',
    'image.augment.probability': 0.3,  # three or four of the twelve augmentations at a time
    'image.augment.rotation': 10.0, 'image.augment.perspective': 0.15, 'image.augment.blur': 1.5,
    'image.augment.noise': 12.0, 'image.augment.brightness': 0.3, 'image.augment.contrast': 0.3,
    'image.augment.stretch': 0.25, 'image.augment.curve': 0.25, 'image.augment.colour': 0.3,
    'image.augment.downscale': 0.5, 'image.augment.jpeg': 70.0, 'image.augment.motion': 4.0,
}

# A small rectifier, five convolutions and one BiLSTM on rendered words: about five minutes on two CPU cores,
# no download.
DEMO = {
    'model.rectify': 'small', 'model.start': 'straight', 'model.border': 'border',
    'model.backbone': 'small', 'model.lstm_layers': 1, 'model.lstm_hidden': 128, 'model.attention': 128,
    'model.teaching': 'labels', 'model.shifted': True, 'model.skip_ends': False, 'text.max_length': 25,
    'data.train': ('rendered:train',), 'data.nominal': 0, 'data.order': 'file',
    'render.count': 48_000, 'render.difficulty': 0.0,
    'train.length': '48000 images', 'train.batch': 32,
    'optimizer.name': 'adamw', 'optimizer.rate': 2e-3, 'optimizer.decay': 0.01,
    'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0, 'optimizer.groups': ('transform/*=0.1',),
    'schedule.name': 'one_cycle', 'schedule.warmup': '25 %',
    'eval.sets': ('rendered:validation',), 'eval.report': ('rendered:test',), 'eval.every': '25 %',
    'eval.limit': 1000, 'checkpoint.every': '25 %', 'log.every': 50,
}

# Rendered words alone, for one accelerator: half an hour of an H200. Debian's packages have the fonts
# (fonts-*, some 2,000 faces) and the words (wamerican-large). The set is packed, and the devices augment it.
RENDERED = {
    **MODERN,
    'data.train': ('rendered:train',), 'data.nominal': 0, 'data.resident': True,
    'render.count': 2_000_000, 'render.fonts': '/usr/share/fonts',
    'render.words': '/usr/share/dict/american-english-large',
    'train.length': '10 epochs', 'train.batch': 512,
    'image.augment.downscale': 0.0, 'image.augment.jpeg': 0.0,  # the words are drawn with them
    'eval.sets': ('rendered:validation',), 'eval.every': '1 epochs', 'checkpoint.every': '1 epochs',
}

# Goes on from a workdir or reader of this algorithm, --config.init=NAME, with images of your own: the sets
# mine:train and mine:validation. Against forgetting, half of each batch are words drawn as for that model,
# and what it has learnt changes at a tenth of the rate at which new characters do.
FINETUNE = {
    'init_recipe': True,
    'data.train': ('mine:train', 'rendered:train'), 'data.weights': (0.5, 0.5), 'data.nominal': 0,
    'data.order': 'shuffle',
    'train.length': '50000 images', 'train.batch': 64, 'train.ema': 0.998,
    'optimizer.name': 'adamw', 'optimizer.rate': 2e-3, 'optimizer.taken': 0.1, 'optimizer.decay': 0.01,
    'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '5 %',
    'eval.sets': ('mine:validation',), 'eval.report': ('mine:validation', 'rendered:test'),
    'eval.before': True, 'eval.every': '10 %', 'eval.limit': 2000, 'checkpoint.every': '10 %',
    'log.every': 25,
    'image.augment.probability': 0.3, 'image.augment.rotation': 5.0, 'image.augment.perspective': 0.1,
    'image.augment.blur': 1.0, 'image.augment.noise': 8.0, 'image.augment.brightness': 0.3,
    'image.augment.contrast': 0.3, 'image.augment.stretch': 0.2,
}

VARIANTS = {
    'r34': {},                                       # rec_r34_vd_tps_bilstm_att to the letter, one GPU
    'mv3': {'model.backbone': 'mobilenet_v3', 'model.rectify': 'small', 'model.lstm_hidden': 96,
            'model.attention': 96, 'optimizer.decay': 1e-5, 'optimizer.decay_kind': 'coupled',
            'train.length': '72 epochs'},            # rec_mv3_tps_bilstm_att
    'modern': MODERN,
    'unaugmented': {**MODERN, 'image.augment.probability': 0.0},  # what augmentation is good for
    'rendered': RENDERED,
    # Scheduled sampling: the share of decoder steps that read the model's own last prediction rises to
    # a quarter over 300,000 training steps.
    'scheduled': {**MODERN, 'model.teaching': 'scheduled', 'model.own_share': 0.25,
                  'model.own_steps': 300_000},
    'demo': DEMO,
    'finetune': FINETUNE,
    # Ablations of the reference recipe.
    'no_tps': {'model.rectify': 'none', 'optimizer.groups': ()},
    'points10': {'model.fiducials': 10},
    'points16': {'model.fiducials': 16},
    'straight': {'model.start': 'straight'},
    'border': {'model.border': 'border'},
    'no_lstm': {'model.lstm_layers': 0},
    'stop': {'model.skip_ends': False},              # decoding stops at the first end
}

RESULTS = {
    'r34': {'title': 'RARE R34_vd on MJSynth and SynthText',
            'published': "83.6 % (83.98 % in PaddleOCR's overview)"},
    'mv3': {'title': 'RARE MobileNetV3 on the same', 'published': '82.5 % (81.76 %)'},
    'rendered': {'title': 'RARE R34_vd on rendered words alone', 'pack': True},
}
PUBLISHED = ('r34', 'mv3')  # variants with published weights, which `recog import` reads
DEMO_MINUTES = 10  # on two CPU cores
# `rows` is the batch of a training step on an accelerator; `beam` times beam search too.
BENCH = {'rows': 1024, 'beam': True}
# Small sizes, for tests.
NARROW = {
    'model.rectify': 'small', 'model.fiducials': 8, 'model.start': 'straight', 'model.border': 'border',
    'model.backbone': 'small', 'model.lstm_layers': 1, 'model.lstm_hidden': 8, 'model.attention': 8,
    'model.teaching': 'labels', 'model.shifted': True, 'model.skip_ends': False, 'image.width': 48,
}
ALLOWED = {
    'model.backbone': ('resnet34_vd', 'mobilenet_v3', 'vgg', 'small'),
    'model.rectify': ('large', 'small', 'none'),
    'model.start': ('slanted', 'straight'), 'model.border': ('zeros', 'border'),
    'model.teaching': ('own', 'labels', 'scheduled'),
}


def get_config(variant: str = 'r34'):
    """The recipe of one variant."""
    config = configs.base(
        name='rare',
        rectify='large',       # localisation network: large or small; none: no rectification
        fiducials=20,          # points of the thin-plate spline, half of them along the top
        # Where the points are at first: slanted (the paper's Figure 6 a), or straight (the whole image).
        start='slanted',
        border='zeros',        # what is sampled outside the image: zeros, or border (its outer pixels)
        backbone='resnet34_vd',  # or mobilenet_v3, vgg, small
        mobilenet_scale=0.5,   # width of mobilenet_v3
        lstm_layers=2,         # 0: no recurrence
        lstm_hidden=256,       # in each direction
        attention=256,         # width of the decoder's state
        capacity=25,           # steps of the decoder
        # What a decoder step reads in training: own (its last prediction), labels (teacher
        # forcing), or scheduled (labels, with a share of own predictions that rises
        # linearly to own_share over own_steps steps).
        teaching='own',
        own_share=0.0,         # of scheduled: the share of own predictions in the end
        own_steps=1,           # of scheduled: training steps until then
        # Whether a step predicts the letter after the one it reads, and the loss is the mean over
        # letters and ends. The reference's first step predicts the start, and its loss is the sum
        # over all steps, also those after the end.
        shifted=False,
        # Whether decoding skips starts and ends and goes on, as in the
        # reference; if not, it stops at the first end.
        skip_ends=True,
        length_penalty=0.0,    # of the beam search: ranks by log-probability / length ** penalty
    )
    # The start and the end take two of the 25 steps. The reference drops labels of more
    # than 24 letters, and one of 24 makes 26 steps, which it cannot stack into a batch: it
    # trains and evaluates on at most 23 letters.
    config.text.max_length = 23
    # All of MJSynth and SynthText, concatenated, as data_lmdb_release/training has them; 400 epochs at a
    # constant rate, no decay, no augmentation, evaluated every 2000 steps.
    config.data.train = ('mjsynth:train+validation+test', 'synthtext:train')
    config.data.nominal = 14_400_000
    config.train.length = '400 epochs'
    config.train.batch = 256
    config.optimizer.rate = 5e-4
    # The rectifier's last two linear layers learn at a tenth of the
    # rate, except for the bias of the first one.
    config.optimizer.groups = ('transform/hidden/kernel=0.1', 'transform/points/*=0.1')
    config.eval.sets, config.eval.report = ('validation_union:validation',), ('benchmarks',)
    config.eval.every = '2000 steps'
    config.checkpoint.every = '2000 steps'
    return configs.variant(config, VARIANTS, variant)
