"""CRNN: convolutions, BiLSTM, CTC (Shi, Bai, Yao 2015, arXiv 1507.05717), in the forms PaddleOCR published.

Published by PaddleOCR, mean word accuracy over seven benchmark sets: r34 81.04 %, mv3 77.95 %. Ours: not run.
Training data of both: MJSynth and SynthText, concatenated (14.4 million words); the checkpoint is chosen on
the validation union of the real training sets. Cost of r34: 72 epochs, about 1.04 billion images. Our own
variant words reads 77.63 % of IIIT5K and 81.97 % of IC13; averaged with words_first and with a lexicon, which
is the reader words, 82.47 and 84.43 %.

Unlike the reference, which trains on and evaluates a random other word where one cannot be used, we leave it
out. In mv3 the reference reads in the order of its LMDBs, we in that of the prepared sets. Like ours, its
epochs leave out the last words that fill no batch.
"""

from recog import config as configs

MODERN = {
    'train.length': '30 epochs', 'train.precision': 'bfloat16', 'train.ema': 0.9999,
    'optimizer.name': 'adamw', 'optimizer.rate': 1e-3, 'optimizer.decay': 0.05,
    'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '1 epochs',
    'image.augment.probability': 0.3,  # three or four of the twelve augmentations at a time
    'image.augment.rotation': 10.0, 'image.augment.perspective': 0.15, 'image.augment.blur': 1.5,
    'image.augment.noise': 12.0, 'image.augment.brightness': 0.3, 'image.augment.contrast': 0.3,
    'image.augment.stretch': 0.25, 'image.augment.curve': 0.25, 'image.augment.colour': 0.3,
    'image.augment.downscale': 0.5, 'image.augment.jpeg': 70.0, 'image.augment.motion': 4.0,
}

# Five convolutions and one BiLSTM on rendered words: about five minutes on two CPU cores, no download.
DEMO = {
    'model.backbone': 'small', 'model.lstm_layers': 1, 'model.lstm_hidden': 128,
    'data.train': ('rendered:train',), 'data.nominal': 0, 'data.order': 'file',
    'render.count': 57_600, 'render.difficulty': 0.0,
    'train.length': '57600 images', 'train.batch': 64,
    'optimizer.name': 'adamw', 'optimizer.rate': 2e-3, 'optimizer.decay': 0.01,
    'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'one_cycle', 'schedule.warmup': '25 %',
    'eval.sets': ('rendered:validation',), 'eval.report': ('rendered:test',), 'eval.every': '25 %',
    'eval.limit': 1000, 'checkpoint.every': '25 %', 'log.every': 25,
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

# Three million parameters on words as photographs have them, two hours on two CPU cores with AMX, where
# oneDNN is installed. The fonts and their licences are listed in datasets/fonts.tsv; Debian's packages have
# them, and the word lists (wamerican-small, wamerican-large). Its reader is experiments/readers/words-first;
# since then words are drawn harder.
WORDS_FIRST = {
    'model.backbone': 'medium', 'model.lstm_hidden': 160,
    'text.charset': '94', 'text.case': 'keep',
    'image.channels': 'grey', 'image.fit': 'stretch', 'image.width': 112,
    'data.train': ('rendered:train',), 'data.nominal': 0, 'data.order': 'file', 'data.threads': 1,
    'render.fonts': 'datasets/fonts.tsv',
    'render.words': '/usr/share/dict/american-english-small,/usr/share/dict/american-english-large',
    'render.count': 1_800_000, 'render.difficulty': 0.8, 'render.ramp': 100_000, 'render.scene': 0.85,
    'render.codes': 0.15, 'render.marks': 0.08,
    'train.length': '1800000 images', 'train.batch': 64, 'train.ema': 0.9995, 'train.precision': 'bfloat16',
    'optimizer.name': 'adamw', 'optimizer.rate': 1.5e-3, 'optimizer.decay': 0.02,
    'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '2 %',
    'eval.sets': ('rendered:validation',), 'eval.every': '5 %', 'eval.limit': 1000,
    'eval.precision': 'float32', 'checkpoint.every': '1 %', 'log.every': 100,
}

# The reader `words`: that one goes on, with words that stand out, are worn, faint, more blurred and more
# turned, names of two words and web addresses.
WORDS = {
    **WORDS_FIRST,
    'init': 'experiments/readers/words-first',
    'render.count': 420_000, 'render.ramp': 0, 'train.length': '420000 images', 'optimizer.rate': 1e-3,
    'eval.every': '10 %', 'checkpoint.every': '2 %',
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

# The first of these goes on with the real training words of IIIT5K, SVT and IC15, which are the set `real`
# (docs/guides/starting-weights.md): what they add.
WORDS_REAL = {
    **FINETUNE,
    'init': 'experiments/readers/words-first', 'data.train': ('real:train', 'rendered:train'),
    'train.length': '100000 images', 'train.precision': 'bfloat16', 'eval.precision': 'float32',
    'eval.sets': ('real:validation',), 'eval.report': ('real:validation', 'benchmarks'),
}

VARIANTS = {
    'r34': {},                                       # rec_r34_vd_none_bilstm_ctc to the letter, one GPU
    'mv3': {'model.backbone': 'mobilenet_v3', 'model.lstm_hidden': 96,
            'data.order': 'file'},                   # rec_mv3_none_bilstm_ctc: trains unshuffled
    # Four GPUs of 256 images, as the reference trains: gradients are averaged, and each GPU has batch
    # norm statistics of its own. Unlike the reference, which keeps the first GPU's running
    # statistics, we keep the mean over all GPUs.
    'x4': {'train.batch': 1024, 'train.norm_group': 256},
    'mv3_x4': {'model.backbone': 'mobilenet_v3', 'model.lstm_hidden': 96, 'data.order': 'file',
               'train.batch': 1024, 'train.norm_group': 256},
    'modern': MODERN,
    'unaugmented': {**MODERN, 'image.augment.probability': 0.0},  # what augmentation is good for
    'rendered': RENDERED,
    'words_first': WORDS_FIRST,
    'words': WORDS,
    'words_real': WORDS_REAL,
    'demo': DEMO,
    'finetune': FINETUNE,
    # Ablations of the reference recipe.
    'vgg': {'model.backbone': 'vgg'},                # the CRNN paper's own convolutions, Table 1
    'no_lstm': {'model.lstm_layers': 0},
    'lstm1': {'model.lstm_layers': 1},
    'lstm3': {'model.lstm_layers': 3},
    'width160': {'image.width': 160},                # the reference is 100
}

RESULTS = {
    'r34': {'title': 'CRNN R34_vd on MJSynth and SynthText',
            'published': '81.04 % (PaddleOCR, mean of seven sets)'},
    'mv3': {'title': 'CRNN MobileNetV3 on the same', 'published': '77.95 %'},
    'rendered': {'title': 'CRNN R34_vd on rendered words alone', 'pack': True},
    'words_first': {'title': 'CRNN of 2.9 M parameters on words drawn as photographs have them'},
    'words': {'title': 'the same, going on with harder words'},
    'words_real': {'title': 'the first of these, fine-tuned on real words'},
}
PUBLISHED = ('r34', 'mv3')  # variants with published weights, which `recog import` reads
DEMO_MINUTES = 6  # on two CPU cores
BENCH = {'rows': 1024}  # a training step on an accelerator
NARROW = {'model.backbone': 'small', 'model.lstm_hidden': 8, 'image.width': 48}  # small sizes, for tests
ALLOWED = {'model.backbone': ('resnet34_vd', 'mobilenet_v3', 'vgg', 'small', 'medium')}


def get_config(variant: str = 'r34'):
    """The recipe of one variant."""
    config = configs.base(
        name='crnn',
        backbone='resnet34_vd',  # or mobilenet_v3, vgg, small, medium
        mobilenet_scale=0.5,   # width of mobilenet_v3
        lstm_layers=2,         # 0: no recurrence
        lstm_hidden=256,       # in each direction
    )
    # All of MJSynth and SynthText, concatenated, as data_lmdb_release/training has them; 72 epochs at a
    # constant rate, no decay, no augmentation, evaluated every 2000 steps.
    config.data.train = ('mjsynth:train+validation+test', 'synthtext:train')
    config.data.nominal = 14_400_000
    config.train.length = '72 epochs'
    config.train.batch = 256
    config.optimizer.rate = 5e-4
    config.eval.sets, config.eval.report = ('validation_union:validation',), ('benchmarks',)
    config.eval.every = '2000 steps'
    config.checkpoint.every = '2000 steps'
    return configs.variant(config, VARIANTS, variant)
