"""SVTRv2: mixers over images of several shapes, and CTC (Du et al. 2024, arXiv 2411.15858), in the forms that
OpenOCR published.

Published word accuracy, mean of IIIT5K, SVT, IC13_857, IC15_1811, SVTP and CUTE80, trained on
Union14M-L-Filter: T 94.78 %, S 96.13 %, B 96.57 % (OpenOCR, docs/svtrv2.md); mean of the seven sets of
Union14M-Benchmark: T 79.05 %, S 83.70 %, B 86.14 %. Ours: not run. B was trained in two stages, the first of
which is ours and has no published figure; of T and S it is not said. Cost of each: 20 epochs, about 64
million images, on four GPUs of 256 images.

Unlike the reference, which chooses the checkpoint by the six test sets, we choose by the validation union.
Where it puts a random other word in the place of one that cannot be used, or whose picture a rotation has
made too square for its canvas, we leave the first out and train on the second. Its sampler loses all images
of a ratio whose number is a multiple of the batch; ours loses none. A label of more than 25 characters is
left out even if dropping those outside the charset would make it short enough.
"""

from recog import config as configs

# Canvases for images about once, twice and three times as wide as high; image.height x image.width is for
# all wider ones.
CANVASES = ('64x64', '48x96', '40x112')

S = {'model.widths': (96, 192, 384)}
B = {'model.widths': (128, 256, 384), 'model.blocks': (6, 6, 6), 'model.local': (6, 2, 0)}

MODERN = {
    'train.ema': 0.9999, 'train.norm_group': 0, 'image.augment.operations': 0,
    'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '1 epochs', 'schedule.final': 0.0,
    'image.augment.probability': 0.3,  # three or four of the twelve augmentations at a time
    'image.augment.rotation': 10.0, 'image.augment.perspective': 0.15, 'image.augment.blur': 1.5,
    'image.augment.noise': 12.0, 'image.augment.brightness': 0.3, 'image.augment.contrast': 0.3,
    'image.augment.stretch': 0.25, 'image.augment.curve': 0.25, 'image.augment.colour': 0.3,
    'image.augment.downscale': 0.5, 'image.augment.jpeg': 70.0, 'image.augment.motion': 4.0,
}

# Three narrow blocks on rendered words, no download.
DEMO = {
    'model.widths': (32, 48, 64), 'model.blocks': (1, 1, 1), 'model.local': (1, 1, 0),
    'model.head_width': 16, 'model.stochastic_depth': 0.0,
    'text.charset': '36', 'text.case': 'lower',
    'data.buckets': ('32x64',), 'image.width': 112, 'image.augment.operations': 0,
    'data.train': ('rendered:train',), 'data.nominal': 0,
    'render.count': 48_000, 'render.difficulty': 0.0,
    'train.length': '48000 images', 'train.batch': 64, 'train.norm_group': 0, 'train.precision': 'float32',
    'optimizer.rate': 2e-3, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'one_cycle', 'schedule.warmup': '25 %', 'schedule.final': 0.0,
    'eval.sets': ('rendered:validation',), 'eval.report': ('rendered:test',), 'eval.every': '25 %',
    'eval.limit': 1000, 'checkpoint.every': '25 %', 'log.every': 25,
}

# As long on one CPU core as CRNN's first recipe of this name, two hours, on the same drawn words and canvas,
# so that the two readers can be compared: in that time it sees fewer images. Its first words are easy ones:
# of 77,000 hard ones it learnt to read none.
WORDS = {
    'model.widths': (32, 64, 160), 'model.blocks': (1, 1, 3), 'model.local': (1, 1, 0),
    'model.head_width': 32, 'model.stochastic_depth': 0.0,
    'image.channels': 'grey', 'image.fit': 'stretch', 'image.resample': 'bilinear', 'image.width': 112,
    'image.augment.operations': 0, 'data.buckets': (),
    'data.train': ('rendered:train',), 'data.nominal': 0, 'data.order': 'file', 'data.threads': 1,
    'render.fonts': 'datasets/fonts.tsv',
    'render.words': '/usr/share/dict/american-english-small,/usr/share/dict/american-english-large',
    'render.count': 200_000, 'render.difficulty': 0.7, 'render.ramp': 50_000, 'render.scene': 0.85,
    'render.codes': 0.15, 'render.marks': 0.08,
    'train.length': '200000 images', 'train.batch': 64, 'train.norm_group': 0, 'train.ema': 0.999,
    'train.precision': 'float32',
    'optimizer.rate': 1e-3, 'optimizer.decay': 0.02, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '5 %', 'schedule.final': 0.0,
    'eval.sets': ('rendered:validation',), 'eval.report': ('rendered:test',), 'eval.every': '10 %',
    'eval.limit': 1000, 'checkpoint.every': '2 %', 'log.every': 100,
}

# Goes on from a workdir or reader of this algorithm, --config.init=NAME, with images of your own: the sets
# mine:train and mine:validation. Against forgetting, half of all images are words drawn as for that model,
# and what it has learnt changes at a tenth of the rate at which new characters do.
FINETUNE = {
    'init_recipe': True,
    'data.train': ('mine:train', 'rendered:train'), 'data.weights': (0.5, 0.5), 'data.nominal': 0,
    'data.order': 'shuffle', 'render.count': 10_000,
    'train.length': '50000 images', 'train.batch': 64, 'train.ema': 0.998, 'train.norm_group': 0,
    'train.precision': 'float32',
    'optimizer.rate': 2e-3, 'optimizer.taken': 0.1, 'optimizer.decay': 0.01, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '5 %', 'schedule.final': 0.0,
    'eval.sets': ('mine:validation',), 'eval.report': ('mine:validation', 'rendered:test'),
    'eval.before': True, 'eval.every': '10 %', 'eval.limit': 2000, 'checkpoint.every': '10 %',
    'log.every': 25,
    'image.augment.operations': 0,
    'image.augment.probability': 0.3, 'image.augment.rotation': 5.0, 'image.augment.perspective': 0.1,
    'image.augment.blur': 1.0, 'image.augment.noise': 8.0, 'image.augment.brightness': 0.3,
    'image.augment.contrast': 0.3, 'image.augment.stretch': 0.2,
}

VARIANTS = {
    't': {},                                          # svtrv2_tiny_rctc.yml, four GPUs
    's': S,                                           # svtrv2_small_rctc.yml
    'b': B,                                           # svtrv2_rctc.yml, the first of B's two stages
    'modern': MODERN,
    'words': WORDS,
    'demo': DEMO,
    'finetune': FINETUNE,
    # Ablations of the smallest recipe.
    'mean': {'model.pool': 'mean'},                   # heights averaged instead of chosen, as svtrv2_ctc.yml
    'local': {'model.local': (3, 6, 3)},              # convolutions alone
    'global': {'model.local': (0, 0, 0)},             # attention alone
    'fixed': {'image.fit': 'stretch', 'data.buckets': ()},  # one size, 32 x 128
    'wide': {'data.buckets': (*CANVASES, '32x128', '32x160', '32x192', '32x224', '32x256', '32x288', '32x320',
                              '32x352'), 'image.width': 384, 'data.pixels': 1024 * 48 * 96},
}

RESULTS = {
    't': {'title': 'SVTRv2-T on Union14M-L-Filter', 'published': '94.78 % (OpenOCR, mean of six sets)'},
    's': {'title': 'SVTRv2-S on the same', 'published': '96.13 %'},
    'b': {'title': 'SVTRv2-B on the same, the first of two stages', 'published': '96.57 % after both stages'},
}
PUBLISHED = ('t', 's', 'b')  # variants with published weights, which `recog import` reads
DEMO_MINUTES = 6  # on two CPU cores, by the CPU time of its steps
# `rows` is the batch of a training step on an accelerator. On a CPU it is in float32, without groups and
# decay, as that of the same network in PyTorch.
BENCH = {
    'rows': 1024,
    'on_cpu': {'train.precision': 'float32', 'train.norm_group': 0, 'optimizer.decay': 0.0,
               'optimizer.decay_vectors': True},
}
NARROW = {  # small sizes, for tests
    'model.widths': (8, 16, 24), 'model.blocks': (1, 2, 1), 'model.local': (1, 1, 0), 'model.head_width': 4,
    'image.width': 48, 'data.buckets': ('32x24',),
}
ALLOWED = {'model.pool': ('attend', 'mean')}


def get_config(variant: str = 't'):
    """The recipe of one variant."""
    config = configs.base(
        name='svtrv2',
        widths=(64, 128, 256),   # channels of the three stages
        blocks=(3, 6, 3),        # of each stage
        local=(3, 3, 0),         # so many of them, the first, are convolutions; the rest is attention
        head_width=32,           # channels of a head, and of a group of a convolution
        stochastic_depth=0.1,    # rate of the last block; it grows from 0 for the first
        pool='attend',           # how each column's places become one: attend (RCTC), or mean
    )
    config.text.charset, config.text.case = '94', 'keep'
    config.image.fit, config.image.resample, config.image.channels = 'ratio', 'bicubic', 'rgb'
    config.image.height, config.image.width = 32, 128
    config.image.augment.update(operations=3, magnitude=5.0, probability=0.5)  # RandAugment
    config.data.train = ('union14m:train',)
    config.data.buckets = CANVASES
    config.data.nominal = 3_224_143
    config.train.length = '20 epochs'
    config.train.batch, config.train.norm_group = 1024, 256
    config.train.precision, config.eval.precision = 'bfloat16', 'float32'
    config.optimizer.name, config.optimizer.rate = 'adamw', 6.5e-4
    config.optimizer.decay, config.optimizer.decay_vectors = 0.05, False
    config.optimizer.undecayed = ('backbone/stem_*', 'backbone/down_*')
    config.schedule.name, config.schedule.warmup = 'pytorch_one_cycle', '7.5 %'
    config.schedule.final = 1 / 25 / 1e4
    config.eval.sets, config.eval.report = ('validation_union:validation',), ('benchmarks',)
    config.eval.every = '500 steps'
    config.checkpoint.every = '1 epochs'
    return configs.variant(config, VARIANTS, variant)
