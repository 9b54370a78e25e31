"""PARSeq: a vision transformer and permuted autoregressive decoding (Bautista and Atienza 2022, arXiv
2207.06966), in the two sizes that its authors published.

Published by its authors, word accuracy weighted by images over the six sets with IC13_1015 and IC15_2077:
small 95.95 % with the released weights, trained on real data, 96.0 % as the mean of runs, and 91.9 % trained
on synthetic data, as here. Ours: not run. Training data of small and tiny: MJSynth and SynthText; 84,840
steps of 768 images, 65.2 million images, which the authors count as 20 epochs.

Unlike the reference, which trains in float16 with a scaler on two cards that draw their own orders of
letters, we train in float32 with one draw for the batch. The reference keeps the checkpoint that reads best
among those whose weights are not averaged; ours are averaged from the first start of a period on, and those
are evaluated.
"""

from recog import config as configs

PERIOD = '3257856 images'  # an epoch of the authors: 8,484 batches of 384

MODERN = {
    'train.precision': 'bfloat16', 'train.ema': 0.9999, 'swa.start': '0 steps', 'swa.rate': 0.0,
    'optimizer.name': 'adamw', 'optimizer.decay': 0.05, 'optimizer.decay_vectors': False,
    'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '5 %', 'schedule.final': 0.0,
    'image.augment.operations': 0,
    'image.augment.probability': 0.3,  # three or four of the twelve augmentations at a time
    'image.augment.rotation': 10.0, 'image.augment.perspective': 0.15, 'image.augment.blur': 1.5,
    'image.augment.noise': 12.0, 'image.augment.brightness': 0.3, 'image.augment.contrast': 0.3,
    'image.augment.stretch': 0.25, 'image.augment.curve': 0.25, 'image.augment.colour': 0.3,
    'image.augment.downscale': 0.5, 'image.augment.jpeg': 70.0, 'image.augment.motion': 4.0,
}

# Three narrow blocks on high patches, on rendered words: two CPU cores, no download.
DEMO = {
    'text.charset': '36', 'text.case': 'lower', 'text.unknown': 'drop', 'text.max_length': 12,
    'image.channels': 'grey', 'image.resample': 'bilinear', 'image.augment.operations': 0,
    'model.width': 96, 'model.layers': 3, 'model.heads': 3, 'model.decoder_heads': 3, 'model.ratio': 2,
    'model.patch': (16, 4), 'model.dropout': 0.0,
    'data.train': ('rendered:train',), 'data.nominal': 0,
    'render.count': 144_000, 'render.difficulty': 0.0,
    'train.length': '144000 images', 'train.batch': 32,
    'swa.start': '0 steps', 'swa.rate': 0.0,
    'optimizer.name': 'adamw', 'optimizer.rate': 1.5e-3, 'optimizer.decay': 0.01,
    'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'one_cycle', 'schedule.warmup': '15 %',
    'eval.sets': ('rendered:validation',), 'eval.report': ('rendered:test',), 'eval.every': '25 %',
    'eval.limit': 1000, 'eval.nfkd': False,
    'checkpoint.every': '25 %', 'checkpoint.keep': 1, 'log.every': 50,
}

# Rendered words alone, for one accelerator. Debian's packages have the fonts (fonts-*, some 2,000 faces) and
# the words (wamerican-large). The set is packed, and the devices augment it.
RENDERED = {
    **MODERN, 'text.charset': '36', 'text.case': 'lower', 'text.unknown': 'drop', 'eval.nfkd': False,
    'data.train': ('rendered:train',), 'data.nominal': 0, 'data.resident': True,
    'render.count': 2_000_000, 'render.fonts': '/usr/share/fonts',
    'render.words': '/usr/share/dict/american-english-large',
    'train.length': '10 epochs',
    'image.augment.downscale': 0.0, 'image.augment.jpeg': 0.0,  # the words are drawn with them
    'eval.sets': ('rendered:validation',), 'eval.every': '1 epochs', 'checkpoint.every': '1 epochs',
    'checkpoint.keep': 1,
}

# Goes on from a workdir or reader of this algorithm, --config.init=NAME, with images of your own: the sets
# mine:train and mine:validation. Against forgetting, half of each batch are words drawn as for that model,
# and what it has learnt changes at a tenth of the rate at which new characters do.
FINETUNE = {
    'init_recipe': True,
    'data.train': ('mine:train', 'rendered:train'), 'data.weights': (0.5, 0.5), 'data.nominal': 0,
    'data.order': 'shuffle',
    'train.length': '50000 images', 'train.batch': 64, 'train.ema': 0.998,
    'swa.start': '0 steps', 'swa.rate': 0.0,
    'optimizer.name': 'adamw', 'optimizer.rate': 2e-3, 'optimizer.taken': 0.1, 'optimizer.decay': 0.01,
    'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '5 %', 'schedule.final': 0.0,
    'eval.sets': ('mine:validation',), 'eval.report': ('mine:validation', 'rendered:test'),
    'eval.before': True, 'eval.every': '10 %', 'eval.limit': 2000, 'eval.nfkd': False,
    'checkpoint.every': '10 %', 'checkpoint.keep': 1, 'log.every': 25,
    'image.augment.operations': 0,
    'image.augment.probability': 0.3, 'image.augment.rotation': 5.0, 'image.augment.perspective': 0.1,
    'image.augment.blur': 1.0, 'image.augment.noise': 8.0, 'image.augment.brightness': 0.3,
    'image.augment.contrast': 0.3, 'image.augment.stretch': 0.2,
}

VARIANTS = {
    'small': {},                                     # parseq to the letter
    'tiny': {'model.width': 192, 'model.heads': 3, 'model.decoder_heads': 6},  # parseq-tiny
    'modern': MODERN,
    'rendered': RENDERED,
    'demo': DEMO,
    'finetune': FINETUNE,
    # Ablations of the reference recipe.
    'orders1': {'model.permutations': 1},            # forward alone, as plain autoregressive models learn
    'orders2': {'model.permutations': 2},            # forward and its reversal; the reference has 6
    'refine0': {'model.refinements': 0},             # as first read; the reference refines once
    'refine2': {'model.refinements': 2},
    'refine3': {'model.refinements': 3},
    # All letters at once; the authors refine these twice.
    'parallel': {'model.decoding': 'parallel', 'model.refinements': 2},
    'parallel0': {'model.decoding': 'parallel', 'model.refinements': 0},
    'parallel1': {'model.decoding': 'parallel'},
    'parallel3': {'model.decoding': 'parallel', 'model.refinements': 3},
}

RESULTS = {
    'small': {'title': 'PARSeq small on MJSynth and SynthText',
              'published': '91.9 %, weighted over six sets'},
    'tiny': {'title': 'PARSeq tiny on the same'},
    'rendered': {'title': 'PARSeq small on rendered words alone', 'pack': True},
}
PUBLISHED = ('small', 'tiny')  # variants with published weights, which `recog import` reads
DEMO_MINUTES = 8  # on two CPU cores
# `rows` is the batch of a training step on an accelerator; `beam` times beam search too.
BENCH = {'rows': 384, 'beam': True}
# Small sizes, for tests.
NARROW = {
    'model.width': 16, 'model.heads': 2, 'model.layers': 2, 'model.decoder_heads': 2, 'model.ratio': 2,
    'model.patch': (8, 8), 'image.width': 48,
}
ALLOWED = {'model.decoding': ('autoregressive', 'parallel')}


def get_config(variant: str = 'small'):
    """The recipe of one variant."""
    config = configs.base(
        name='parseq',
        width=384,             # of the encoder and the decoder
        layers=12,             # of the encoder; the decoder has one
        heads=6,               # of attention in the encoder
        decoder_heads=12,      # and in the decoder
        ratio=4,               # width between the two layers of a feed-forward, in multiples of width
        patch=(4, 8),          # height and width of the patches, pixels
        dropout=0.1,           # in the decoder
        permutations=6,        # orders in which a training step predicts the letters: 1 (forward) or even
        # autoregressive: each letter is predicted from those before it; parallel: all from the image alone
        decoding='autoregressive',
        refinements=1,         # times that each letter is predicted again from all the others
        length_penalty=0.0,    # of the beam search: ranks by log-probability / length ** penalty
    )
    config.text.update(charset='94', case='keep', unknown='ascii', max_length=25)
    config.image.update(height=32, width=128, channels='rgb', fit='stretch', resample='bicubic')
    config.image.augment.update(operations=3, magnitude=5.0, probability=0.5)  # RandAugment
    # All of MJSynth and SynthText, concatenated, as data_lmdb_release/training has them; the authors' epochs
    # are as long as one of their real data.
    config.data.train = ('mjsynth:train+validation+test', 'synthtext:train')
    config.data.nominal = 14_400_000
    config.train.length = '84840 steps'
    config.train.batch = 768  # two cards of 384
    # 7e-4, times the root of two cards, times 384 / 256; Adam, as the decay is 0.
    config.optimizer.update(rate=1.4849242404917499e-3, clip_norm=20.0)
    config.schedule.update(name='pytorch_one_cycle', warmup='7.5 %', final=4e-6)
    # From the fifteenth epoch on; towards 7e-4 times 0.17, without the factors of the peak.
    config.swa.update(start='59388 steps', every=PERIOD, rate=0.07998130040543584, periods=10)
    config.eval.update(sets=('validation_union:validation',), report=('benchmarks',), every='500 steps',
                       nfkd=True)
    config.checkpoint.update(every='500 steps', keep=3)
    return configs.variant(config, VARIANTS, variant)
