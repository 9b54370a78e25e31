"""LaTeX-OCR: the first stages of a ResNet34, an LSTM along each row, and a Transformer
decoder (GuoJiashu's LaTex_Equation_Generator).

Published on its own test split of 3,448 images: exact match 71.98 %, after joining the tokens; token accuracy
81.44 %, NED 91.86 %, BLEU 84.75 %. That split is by image; of the test formulas that occur nowhere else in
the data, 43.2 % are right. Ours: not run. Its "beam 3" is greedy decoding: its three beams start equal and
stay copies of one another. Cost of r34: 50 epochs, 804,000 images.

Unlike the reference, r34 chooses the best checkpoint by exact match on the validation split, not by the
validation loss. It rotates bilinearly and extends the paper beyond the edge; the reference rotates to the
nearest pixel and leaves black corners. Its brightness adds up to +- 0.2 of the full range; the reference
multiplies the levels by up to 1 +- 0.2. Its epochs end with a smaller batch of 24 images; ours leave out 24
of the 16,088, others in each epoch. Where the vocabulary lacks a token of a label, it trains on `<pad>` in
that place; we drop the token. It decodes up to 256 tokens, r34 up to 223.
"""

from recog import config as configs

MODERN = {
    'data.train': ('latex_ocr/disjoint:train',), 'data.nominal': 0,
    'eval.sets': ('latex_ocr/disjoint:validation',),
    'eval.report': ('latex_ocr/disjoint:test', 'latex_ocr/disjoint:official'),
    # Nine labels in ten have at most 35 tokens, the longest has 222, and the decoder computes
    # every position of a batch, padding too.
    'data.buckets': ('128x512x15', '128x512x31', '128x512x63'),
    'train.length': '100 epochs', 'train.batch': 64, 'train.precision': 'bfloat16', 'train.ema': 0.999,
    'optimizer.name': 'adamw', 'optimizer.rate': 3e-4, 'optimizer.decay': 0.05,
    'optimizer.decay_vectors': False, 'optimizer.clip_norm': 1.0,
    'image.augment.on_canvas': False,
    'image.augment.probability': 0.4,  # three or four of the nine augmentations at a time
    'image.augment.rotation': 4.0, 'image.augment.stretch': 0.25, 'image.augment.perspective': 0.1,
    'image.augment.curve': 0.15,
    'image.augment.blur': 1.0, 'image.augment.downscale': 0.4, 'image.augment.noise': 10.0,
}

# Two blocks and a narrow decoder on short formulas, drawn in white on black: two CPU cores, no download.
DEMO = {
    'model.depths': (1, 1), 'model.widths': (16, 32), 'model.width': 128, 'model.layers': 2, 'model.heads': 4,
    'model.feed_forward': 256, 'model.dropout': 0.0, 'model.positions': 32, 'model.capacity': 24,
    'model.pretrained': '', 'text.charset': 'can', 'text.separator': ' ', 'text.max_length': 16,
    'image.height': 64, 'image.width': 192, 'image.ink': 'light', 'image.symbol': 20.0,
    'image.augment.on_canvas': False, 'image.augment.probability': 0.0,
    'data.train': ('formulas:train',), 'data.nominal': 0, 'data.order': 'file',
    'formulas.count': 57_600, 'formulas.difficulty': 0.0, 'formulas.tokens': (1, 9), 'formulas.depth': 1,
    'formulas.symbols': 24, 'formulas.size': 20.0, 'formulas.height': 64, 'formulas.width': 192,
    'train.length': '57600 images', 'train.batch': 32,
    'optimizer.name': 'adamw', 'optimizer.rate': 1e-3, 'optimizer.decay': 0.01,
    'optimizer.decay_vectors': False, 'optimizer.clip_norm': 1.0,
    'schedule.name': 'one_cycle', 'schedule.warmup': '25 %',
    'eval.sets': ('formulas:validation',), 'eval.report': ('formulas:test',), 'eval.every': '25 %',
    'eval.limit': 500, 'eval.batch': 128,
    'checkpoint.every': '25 %', 'log.every': 25,
}

# CROHME's bitmaps alone, for one accelerator: they are light on dark, and so are the canvases.
CROHME = {
    **MODERN, 'model.pretrained': '', 'text.charset': 'can', 'text.separator': ' ', 'text.max_length': 204,
    'image.ink': 'light', 'image.symbol': 28.0,
    'data.train': ('crohme/bitmaps:train',), 'data.nominal': 8_420,
    'eval.sets': ('crohme/bitmaps:validation',),
    'eval.report': ('crohme/bitmaps:test_2014', 'crohme/bitmaps:test_2016', 'crohme/bitmaps:test_2019'),
    'train.length': '150 epochs', 'eval.every': '5 epochs', 'checkpoint.every': '5 epochs',
}

# Goes on from a workdir or reader of this algorithm, --config.init=NAME, with images of your own: the sets
# mine:train and mine:validation. Against forgetting, half of each batch are formulas drawn as for that model,
# and what it has learnt changes at a tenth of the rate at which new symbols do.
FINETUNE = {
    'init_recipe': True,
    'data.train': ('mine:train', 'formulas:train'), 'data.weights': (0.5, 0.5), 'data.nominal': 0,
    'data.order': 'shuffle',
    'train.length': '30000 images', 'train.batch': 32, 'train.ema': 0.998,
    'optimizer.name': 'adamw', 'optimizer.rate': 2e-3, 'optimizer.taken': 0.1, 'optimizer.decay': 0.01,
    'optimizer.decay_vectors': False, 'optimizer.clip_norm': 1.0,
    'model.pretrained': '',
    'schedule.name': 'cosine', 'schedule.warmup': '5 %',
    'eval.sets': ('mine:validation',), 'eval.report': ('mine:validation', 'formulas:test'),
    'eval.before': True, 'eval.every': '10 %', 'eval.limit': 1000, 'checkpoint.every': '10 %',
    'log.every': 25,
}

VARIANTS = {
    # The reference's notebook to the letter; needs the file of torchvision's weights.
    'r34': {},
    # Splits that share no formula; bfloat16, AdamW, averaged weights.
    'modern': MODERN,
    'unaugmented': {**MODERN, 'image.augment.probability': 0.0},  # what augmentation is good for
    'crohme': CROHME,
    'demo': DEMO,
    'finetune': FINETUNE,
    # Ablations of the reference recipe.
    'scratch': {'model.pretrained': ''},             # all weights from scratch
    'no_row_lstm': {'model.row_lstm': False},        # the decoder attends to convolutions and positions alone
    'depth4': {'model.layers': 4},                   # layers of the decoder; the reference has 8
    'depth6': {'model.layers': 6},
    'no_smoothing': {'model.smoothing': 0.0},
    'beam': {'eval.beam': 3},                        # three real beams
}

RESULTS = {
    'r34': {'title': 'LaTeX-OCR on its own set, split by image',
            'published': 'exact match 71.98 %; 61 % of the test formulas stand in training'},
    'crohme': {'title': 'LaTeX-OCR on the bitmaps of CROHME alone, from random weights'},
}
PUBLISHED = ('r34',)  # variants with published weights, which `recog import` reads
DEMO_MINUTES = 8  # on two CPU cores
# Lengths of typical formulas: on CPUs the one at which the reference was timed, on accelerators one of the
# buckets of training. `rows` is the batch of a training step on an accelerator; `beam` times beam search too.
BENCH = {'rows': 512, 'beam': True, 'on_cpu': {'text.max_length': 40}, 'elsewhere': {'text.max_length': 31}}
# Small sizes, for tests.
NARROW = {
    'model.depths': (1, 1), 'model.widths': (4, 8), 'model.width': 16, 'model.layers': 2, 'model.heads': 2,
    'model.feed_forward': 24, 'model.positions': 32, 'model.capacity': 25, 'model.pretrained': '',
    'image.height': 32, 'image.width': 48, 'text.max_length': 12,
}
ALLOWED = {'image.fit': ('thumbnail', 'pad', 'stretch')}


def get_config(variant: str = 'r34'):
    """The recipe of one variant."""
    config = configs.base(
        name='latex_ocr',
        depths=(3, 4),         # blocks of the two stages
        widths=(64, 128),      # channels of the two stages
        width=384,             # of the encoder's output and of the decoder
        row_lstm=True,         # over each row of the image's features
        layers=8,              # of the decoder
        heads=8,               # of attention
        feed_forward=1536,     # width between the two layers of a block
        dropout=0.1,           # in all layers of the decoder
        smoothing=0.1,         # of the labels: the share that is spread over all classes
        # Positions of the decoder; the reference has twice its longest sequence, 224 with start and end.
        positions=448,
        capacity=223,          # tokens that decoding can write
        length_penalty=0.6,    # of the beam search: ranks by log-probability / length ** penalty
        # A file with torchvision's weights of ResNet34, from which the
        # backbone starts; '' starts from scratch.
        pretrained='resnet34-b627a593.pth',
    )
    config.text.update(charset='latex_ocr', case='keep', max_length=222)
    # Black on white; values between 0 and 1, not normalised as for
    # ImageNet, although the weights come from it.
    config.image.update(height=128, width=512, channels='grey', fit='thumbnail', ink='dark', mean=0.0,
                        std=1.0)
    config.image.augment.update(probability=1.0, on_canvas=True, rotation=2.0, brightness=0.2, contrast=0.2)
    config.data.train = ('latex_ocr/published:train',)
    config.data.nominal = 16_088
    config.train.length = '50 epochs'
    config.train.batch = 32
    config.optimizer.rate = 1e-4
    config.schedule.update(name='cosine', warmup='10 %')
    config.eval.update(sets=('latex_ocr/published:validation',), report=('latex_ocr/published:test',),
                       batch=32, protocol='latex')
    return configs.variant(config, VARIANTS, variant)
