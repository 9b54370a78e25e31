"""SRN: ResNet50 with a feature pyramid, parallel visual attention, semantic reasoning (Yu et al. 2020, arXiv
2003.12294), in the form PaddleOCR published as rec_r50_fpn_srn.

Published by PaddleOCR, mean word accuracy over seven benchmark sets: 86.31 %. Ours: not run. Training
data: MJSynth and SynthText, concatenated and unshuffled (14.4 million words); PaddleOCR's first
release trained on enlarged, perturbed copies of them, and whether this one did is not documented. Cost
of r50: 72 epochs, about 1.04 billion images.

Unlike the reference, which skips the ends that it reads and goes on, r50 stops at the first. Epochs of the
reference end with a smaller batch; ours leave out the last words that fill no batch, at most 63 of the 14.4
million, the same in each epoch. Where a word cannot be used, the reference trains on and evaluates another
one, drawn at random; we leave it out. The reference reads in the order of its LMDBs, we in that of the
prepared sets.
"""

from recog import config as configs

# Biases before a batch norm: what never gets a gradient never changes, not even by weight decay.
UNTRAINED = ('backbone/smooth_1/bias=0', 'backbone/smooth_2/bias=0')

MODERN = {
    'data.order': 'shuffle',
    'train.length': '10 epochs', 'train.batch': 256, 'train.precision': 'bfloat16', 'train.ema': 0.9999,
    'model.embed_first': True, 'model.attention_scale': 'head',
    'model.positions': 'learned', 'model.dropout_rule': 'upscale', 'model.average': True,
    'optimizer.name': 'adamw', 'optimizer.rate': 5e-4, 'optimizer.decay': 0.05,
    'optimizer.decay_vectors': False, 'optimizer.groups': UNTRAINED,
    'optimizer.clip_tensor': 0.0, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '0.5 epochs',
    'image.augment.probability': 0.3,  # three or four of the twelve augmentations at a time
    'image.augment.rotation': 10.0, 'image.augment.perspective': 0.15, 'image.augment.blur': 1.5,
    'image.augment.noise': 12.0, 'image.augment.brightness': 0.3, 'image.augment.contrast': 0.3,
    'image.augment.stretch': 0.25, 'image.augment.curve': 0.25, 'image.augment.colour': 0.3,
    'image.augment.downscale': 0.5, 'image.augment.jpeg': 70.0, 'image.augment.motion': 4.0,
}

# One block per stage and narrow layers, half the height and width, on
# rendered words: two CPU cores, no download.
DEMO = {
    'image.height': 32, 'image.width': 128, 'text.max_length': 12,
    'model.depths': (1, 1, 1, 1), 'model.widths': (16, 32, 32, 32), 'model.width': 128, 'model.heads': 4,
    'model.feed_forward': 256, 'model.encoder_layers': 1, 'model.reason_layers': 1,
    'model.embed_first': True, 'model.attention_scale': 'head',
    'model.positions': 'learned', 'model.dropout': 0.0, 'model.average': True,
    'data.train': ('rendered:train',), 'data.nominal': 0,
    'render.count': 57_600, 'render.difficulty': 0.0,
    'train.length': '57600 images', 'train.batch': 32,
    'optimizer.name': 'adamw', 'optimizer.rate': 3e-3, 'optimizer.decay': 0.01,
    'optimizer.decay_vectors': False, 'optimizer.groups': UNTRAINED,
    'optimizer.clip_tensor': 0.0, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'one_cycle', 'schedule.warmup': '25 %',
    'eval.sets': ('rendered:validation',), 'eval.report': ('rendered:test',), 'eval.every': '25 %',
    'eval.limit': 1000, 'eval.batch': 256,
    'checkpoint.every': '25 %', 'log.every': 50,
}

# Rendered words alone, for one accelerator: an hour of an H200. Debian's packages have the fonts (fonts-*,
# some 2,000 faces) and the words (wamerican-large). The set is packed, and the devices augment it.
RENDERED = {
    **MODERN,
    'data.train': ('rendered:train',), 'data.nominal': 0, 'data.resident': True,
    'render.count': 1_000_000, 'render.fonts': '/usr/share/fonts',
    'render.words': '/usr/share/dict/american-english-large',
    'train.length': '10 epochs',
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
    'train.length': '50000 images', 'train.batch': 32, 'train.ema': 0.998,
    'optimizer.name': 'adamw', 'optimizer.rate': 2e-3, 'optimizer.taken': 0.1, 'optimizer.decay': 0.01,
    'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0, 'optimizer.clip_tensor': 0.0,
    'schedule.name': 'cosine', 'schedule.warmup': '5 %',
    'eval.sets': ('mine:validation',), 'eval.report': ('mine:validation', 'rendered:test'),
    'eval.before': True, 'eval.every': '10 %', 'eval.limit': 2000, 'checkpoint.every': '10 %',
    'log.every': 25,
    'image.augment.probability': 0.3, 'image.augment.rotation': 5.0, 'image.augment.perspective': 0.1,
    'image.augment.blur': 1.0, 'image.augment.noise': 8.0, 'image.augment.brightness': 0.3,
    'image.augment.contrast': 0.3, 'image.augment.stretch': 0.2,
}

VARIANTS = {
    'r50': {},                         # rec_r50_fpn_srn to the letter, one GPU; trains unshuffled
    'modern': MODERN,
    'unaugmented': {**MODERN, 'image.augment.probability': 0.0},  # what augmentation is good for
    'rendered': RENDERED,
    'demo': DEMO,
    'finetune': FINETUNE,
    # Ablations of the reference recipe, after the paper's section 4.3.
    'no_gsrm': {'model.semantic': False},            # characters from PVAM alone
    'forward': {'model.branches': 'forward'},        # semantic features from the characters before
    'backward': {'model.branches': 'backward'},      # and from the characters after
    'add': {'model.fusion': 'add'},    # visual and semantic features added, without a gate
    'encoder1': {'model.encoder_layers': 1},         # transformer layers of PVAM; the reference has 2
    'encoder4': {'model.encoder_layers': 4},
    'reason1': {'model.reason_layers': 1},           # layers of each branch of GSRM; the reference has 4
    'length40': {'text.max_length': 40},             # positions for characters; the reference has 25
}

RESULTS = {
    'r50': {'title': 'SRN R50-FPN on MJSynth and SynthText', 'published': '86.31 %'},
    'rendered': {'title': 'SRN R50-FPN on rendered words alone', 'pack': True},
}
PUBLISHED = ('r50',)  # variants with published weights, which `recog import` reads
DEMO_MINUTES = 12  # on two CPU cores
BENCH = {'rows': 256}  # a training step on an accelerator
# Small sizes, for tests.
NARROW = {
    'model.depths': (1, 1, 1, 1), 'model.widths': (4, 4, 8, 8), 'model.width': 16, 'model.heads': 2,
    'model.feed_forward': 24, 'model.encoder_layers': 1, 'model.reason_layers': 1, 'image.width': 64,
}
ALLOWED = {
    'model.branches': ('both', 'forward', 'backward'),
    'model.fusion': ('gate', 'add'),
    'model.attention_scale': ('model', 'head'),
    'model.positions': ('fixed', 'learned'),
    'model.dropout_rule': ('upscale', 'downscale'),
}


def get_config(variant: str = 'r50'):
    """The recipe of one variant."""
    config = configs.base(
        name='srn',
        depths=(3, 4, 6, 3),   # blocks of each stage
        widths=(64, 128, 256, 512),  # channels inside the blocks; their outputs have four times as many
        width=512,             # of the backbone's output and of all later layers
        heads=8,               # of attention
        feed_forward=512,      # width between the two layers of a block
        encoder_layers=2,      # of PVAM
        semantic=True,         # False: neither GSRM nor VSFD
        branches='both',       # both, forward or backward
        reason_layers=4,       # of each branch of GSRM
        fusion='gate',         # VSFD: gate or add
        # Whether GSRM embeds the first token of the vocabulary, the digit 0, like all others. In PaddleOCR,
        # unlike in the paper, it embeds as zero.
        embed_first=False,
        # By the width of what the products of queries and keys are scaled, as width ** -0.5: head, or, as in
        # PaddleOCR and unlike in the paper, model.
        attention_scale='model',
        # fixed: tables of positions keep their random initial values, small beside the features, which are
        # multiplied by sqrt(width), as in PaddleOCR; learned: tables of positions and of the reading order
        # start as large as the features and are trained, which takes far fewer steps
        positions='fixed',
        dropout=0.1,           # in all blocks
        # downscale: training leaves kept values as they are, and evaluation multiplies all by 1 - dropout,
        # as PaddleOCR's exported model does (its own evaluation still drops values at random); upscale:
        # training divides kept values by 1 - dropout
        dropout_rule='downscale',
        word_weight=3.0, gsrm_weight=0.15, vsfd_weight=1.0,  # of the three losses
        average=False,         # True: the loss is the mean over a batch's characters, not their sum
        skip_ends=False,       # True: skip an end and read on, as PaddleOCR does and r50 does not
    )
    # Grey pixels from 0 to 255, not normalised, padded with black.
    config.image.update(height=64, width=256, channels='grey', fit='steps', scale=1.0, mean=0.0, std=1.0,
                        padding=0.0)
    # All of MJSynth and SynthText, concatenated, as data_lmdb_release/training has them; 72 epochs at a
    # constant rate, no decay, no augmentation, evaluated every 5000 steps.
    config.data.train = ('mjsynth:train+validation+test', 'synthtext:train')
    config.data.nominal = 14_400_000
    config.data.order = 'file'
    config.train.length = '72 epochs'
    config.train.batch = 64
    config.optimizer.rate = 1e-4
    config.optimizer.clip_tensor = 10.0
    config.optimizer.groups = ('*/positions/table=0', *UNTRAINED)
    config.eval.sets, config.eval.report = ('validation_union:validation',), ('benchmarks',)
    config.eval.every = '5000 steps'
    config.eval.batch = 32
    config.checkpoint.every = '5000 steps'
    return configs.variant(config, VARIANTS, variant)
