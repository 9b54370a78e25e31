"""TAMER: CoMER with a tree head (Zhu et al. 2024, arXiv 2408.08578), in the form its authors published.

Published ExpRate on CROHME by tokens, over several runs: 61.23 +- 0.42 % (2014), 60.26 +- 0.78 % (2016) and
61.97 +- 0.54 % (2019). Ours: not run. Cost of crohme: 400 epochs, about 3.4 million images.

Unlike the reference, which keeps the epoch that reads the test of 2014 best, we hold out some of the training
formulas. Its batches are made once, by area; ours hold images of like sizes and labels, each time others. It
scales images to at most 256 x 1024 pixels; ours keep their size. Its networks see the padding of a batch in
evaluation too; ours read an image as if it were alone. Where an empty formula is among those that its search
found, that is the answer, as its score is no number; ours is one of the answers.
"""

from recog import config as configs

# Canvases for the sizes and labels of CROHME's training set.
CANVASES = ('96x224x16', '128x368x24', '176x448x32', '128x752x40', '224x576x48', '176x1040x56', '272x1280x64',
            '496x816x72', '192x2128x96')
# For augmented images, which are larger by a tenth, and more so the wider they are.
ROOMY = ('112x272x16', '160x384x32', '144x720x32', '224x544x40', '176x944x56', '320x784x48', '224x1248x80',
         '368x1504x88', '496x2128x96')

# No layer sees the padding, so images can share any canvas; distorted images, and averaged weights.
MODERN = {
    'model.masked': True, 'data.buckets': ROOMY,
    'train.length': '200 epochs', 'train.precision': 'bfloat16', 'train.ema': 0.999, 'train.norm_group': 0,
    'data.pixels': 32 * 160 * 512,
    'optimizer.name': 'adamw', 'optimizer.rate': 5e-4, 'optimizer.decay': 0.02,
    'optimizer.decay_kind': 'decoupled', 'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '2 epochs', 'schedule.boundaries': (),
    'schedule.factors': (), 'eval.batch': 32,
    'image.augment.probability': 0.5,
    'image.augment.scale': 0.25, 'image.augment.stretch': 0.2, 'image.augment.rotation': 5.0,
    'image.augment.elastic': 2.5, 'image.augment.stroke': 1.0,
}

# Narrow layers on short drawn formulas: about five minutes on two CPU cores, no download.
DEMO = {
    'image.height': 64, 'image.width': 192, 'image.symbol': 18.0, 'text.max_length': 16,
    'formulas.height': 64, 'formulas.width': 192, 'formulas.size': 18.0, 'formulas.difficulty': 0.3,
    'formulas.symbols': 20, 'formulas.tokens': (1, 12), 'formulas.depth': 1, 'formulas.count': 20_000,
    'model.growth': 12, 'model.layers': 4, 'model.stem': 16, 'model.dropout': 0.0,
    'model.width': 128, 'model.decoder_layers': 2, 'model.heads': 4, 'model.feed_forward': 256,
    'model.decoder_dropout': 0.0, 'model.coverage_width': 16, 'model.masked': True, 'model.capacity': 24,
    'data.train': ('formulas:train',), 'data.nominal': 0, 'data.buckets': ('64x96x16',), 'data.pixels': 0,
    'train.length': '20000 images', 'train.batch': 32, 'train.norm_group': 0,
    'optimizer.name': 'adamw', 'optimizer.rate': 2e-3, 'optimizer.decay': 0.01, 'optimizer.eps': 1e-8,
    'optimizer.decay_kind': 'decoupled', 'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'one_cycle', 'schedule.warmup': '25 %', 'schedule.boundaries': (),
    'schedule.factors': (),
    'eval.sets': ('formulas:validation',), 'eval.report': ('formulas:test',), 'eval.every': '25 %',
    'eval.limit': 500, 'eval.batch': 64, 'eval.beam': 1, 'checkpoint.every': '25 %', 'log.every': 50,
}

# Goes on from a workdir or reader of this algorithm, --config.init=NAME, with images of your own: the sets
# mine:train and mine:validation. Against forgetting, half of all images are formulas drawn as for that model,
# and what it has learnt changes at a tenth of the rate at which new symbols do.
FINETUNE = {
    'init_recipe': True,
    'data.train': ('mine:train', 'formulas:train'), 'data.weights': (0.5, 0.5), 'data.nominal': 0,
    'data.order': 'shuffle', 'formulas.count': 5_000,
    'train.length': '30000 images', 'train.batch': 32, 'train.norm_group': 0, 'train.ema': 0.998,
    'optimizer.name': 'adamw', 'optimizer.rate': 2e-3, 'optimizer.taken': 0.1, 'optimizer.decay': 0.01,
    'optimizer.eps': 1e-8,
    'optimizer.decay_kind': 'decoupled', 'optimizer.decay_vectors': False, 'optimizer.clip_norm': 5.0,
    'schedule.name': 'cosine', 'schedule.warmup': '5 %', 'schedule.boundaries': (), 'schedule.factors': (),
    'eval.sets': ('mine:validation',), 'eval.report': ('mine:validation', 'formulas:test'),
    'eval.before': True, 'eval.every': '10 %', 'eval.limit': 1000, 'eval.batch': 32, 'eval.beam': 1,
    'checkpoint.every': '10 %', 'log.every': 25,
}

VARIANTS = {
    # The authors' config/crohme.yaml; four GPUs with eight images each, whose batch norms are their own.
    'crohme': {},
    'modern': {**MODERN, 'optimizer.eps': 1e-8},
    'demo': DEMO,
    'finetune': FINETUNE,
    # Ablations of the reference recipe.
    'no_tree': {'model.tree': False},                 # CoMER under TAMER's recipe
    'no_coverage': {'model.coverage': ()},
    'greedy': {'eval.beam': 1},                       # from left to right, without a beam or the tree
}

RESULTS = {
    'crohme': {'title': 'TAMER on the bitmaps of CROHME',
               'published': 'ExpRate 61.23 +- 0.42 % on CROHME 2014 (its authors, several runs)'},
}
PUBLISHED = ('crohme',)  # variants with published weights, which `recog import` reads
DEMO_MINUTES = 5  # on two CPU cores
# Sizes of typical formulas: on CPUs the one at which the peers were timed, on accelerators one of the
# canvases. `rows` is the batch of a training step on an accelerator; `beam` times beam search too.
BENCH = {
    'rows': 128, 'beam': True,
    'on_cpu': {'image.height': 128, 'image.width': 512, 'text.max_length': 36},
    'elsewhere': {'image.height': 112, 'image.width': 400, 'text.max_length': 40},
}
# Small sizes, for tests.
NARROW = {
    'model.growth': 4, 'model.layers': 1, 'model.stem': 8, 'model.width': 16, 'model.decoder_layers': 2,
    'model.heads': 2, 'model.feed_forward': 24, 'model.coverage_width': 4, 'model.masked': True,
    'model.capacity': 25, 'image.height': 32, 'image.width': 48, 'text.max_length': 12,
    'data.buckets': ('16x32',),
}
ALLOWED = {'model.masked': (True, False), 'model.directions': (1, 2), 'model.tree': (True, False)}


def get_config(variant: str = 'crohme'):
    """The recipe of one variant."""
    config = configs.base(
        name='tamer',
        growth=24,             # channels that each layer of DenseNet adds
        layers=16,             # in each block of DenseNet
        # Of DenseNet, 3 or 2: with 2, the first convolution has stride 4 instead of 2, which takes a CPU half
        # the time.
        blocks=3,
        stem=48,               # channels of the first convolution
        dropout=0.2,           # in DenseNet
        width=256,             # of the encoder's output and of the decoder
        decoder_layers=3,      # blocks of the decoder
        heads=8,               # of attention
        feed_forward=1024,     # width between the two layers of a block
        decoder_dropout=0.3,   # in all layers of the decoder and of the tree head
        # Share of the tokens before that the decoder is given in training which are random others.
        token_noise=0.0,
        coverage=('before', 'own'),  # whose attention refines a layer's: the layer before it, and its own
        coverage_width=32,     # channels of the refinement
        directions=2,          # of reading, in training and in search; 1 is from left to right alone
        tree=True,             # whether a head learns the parents of tokens, and the search asks it
        # Whether every layer ignores padding. If not, as in the reference, training treats padding as part
        # of the image. Decoding always reads an image as if it were alone.
        masked=False,
        capacity=199,          # most tokens that decoding writes
        length_penalty=1.0,    # of the beam search: ranks by log-probability / length ** penalty
    )
    config.text.charset, config.text.separator, config.text.case = 'tamer', ' ', 'keep'
    config.text.max_length = 199
    # White ink on black at its own size, between 0 and 1.
    config.image.fit, config.image.height, config.image.width = 'none', 496, 2128
    config.image.channels, config.image.mean, config.image.std = 'grey', 0.0, 1.0
    config.image.ink, config.image.symbol = 'light', 28.0
    config.data.train = ('crohme/bitmaps:train',)
    config.data.buckets = CANVASES
    # The reference's limit of a batch is 320,000 pixels of each of four GPUs.
    config.data.pixels = 4 * 320_000
    config.data.nominal = 8_420
    config.train.length = '400 epochs'
    config.train.batch, config.train.norm_group = 32, 8
    config.optimizer.name, config.optimizer.rate = 'adadelta', 1.0
    config.optimizer.rho, config.optimizer.eps = 0.9, 1e-6
    config.optimizer.decay, config.optimizer.decay_kind = 1e-4, 'coupled'
    config.schedule.name, config.schedule.boundaries = 'piecewise', ('300 epochs', '350 epochs')
    config.schedule.factors = (0.1, 0.1)
    config.eval.sets = ('crohme/bitmaps:validation',)
    config.eval.report = ('crohme/bitmaps:test_2014', 'crohme/bitmaps:test_2016', 'crohme/bitmaps:test_2019')
    config.eval.protocol, config.eval.batch, config.eval.beam = 'latex', 8, 10
    config.eval.every = config.checkpoint.every = '2 epochs'
    return configs.variant(config, VARIANTS, variant)
