"""A toy, which no paper describes."""

from recog import config as configs

VARIANTS = {
    'plain': {},
    'demo': {  # a few seconds
        'model.width': 8, 'data.train': ('rendered:train',), 'render.count': 64, 'train.length': '64 images',
        'train.batch': 16, 'eval.sets': ('rendered:validation',), 'eval.report': (), 'eval.every': '50 %',
        'eval.limit': 16, 'eval.batch': 16, 'checkpoint.every': '50 %', 'log.to': (),
    },
}
PUBLISHED = ('plain',)
ALLOWED: dict = {}
BENCH = {'beam': True}
NARROW = {'model.width': 8, 'image.width': 48}


def get_config(variant: str = 'plain'):
    """The recipe of one variant."""
    return configs.variant(configs.base(name='toy', width=16), VARIANTS, variant)
