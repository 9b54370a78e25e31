"""The plan of a recipe over its opened sets, and what of its batches is padding."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from recog.config import values
from recog.data import labels
from recog.data.batches import measure
from recog.data.bucketed import Bucketed
from recog.data.joined import joined
from recog.data.plan import Plan
from recog.data.rows import Measured, Source
from recog.data.shapes import shapes
from recog.errors import ConfigError
from recog.images import augment_many
from recog.text.vocabulary import Vocab


def make_plan(config: ConfigDict, vocab: Vocab, opened: Sequence[Source], multiple: int) -> Plan:
    """The plan; the rows of each batch are a multiple of this number."""
    seed = values.seed(config, 'data')
    if config.image.fit == 'none' or config.data.buckets:
        return _bucketed(config, vocab, opened, multiple, seed)
    sizes = [len(source) for source in opened]
    return Plan(sizes, config.data.weights, config.train.batch, config.data.order, seed)


def _bucketed(config: ConfigDict, vocab: Vocab, opened: Sequence[Source], multiple: int,
              seed: int) -> Bucketed:
    """The plan over images of any size and labels of any length, which are read first where they decide."""
    if config.data.weights:
        raise ConfigError(f'config.data.weights={config.data.weights} cannot be combined with '
                          'config.data.buckets or config.image.fit=none')
    allowed = shapes(config, config.train.batch, multiple)
    source = joined(opened)
    lengths = np.zeros(len(source), np.int64)
    if len({shape.length for shape in allowed}) > 1:
        for row, (_, text) in enumerate(source.labels(range(len(source)))):
            lengths[row] = len(labels.encode(vocab, text, config.text.max_length).ids)
    drawn = None
    if config.image.fit == 'none':
        each = [measure(one, len(one), exact=True) for one in opened]
        measured, rule = Measured(*map(np.concatenate, zip(*each, strict=True))), config.image.augment
        sizes = measured.sizes
        if augment_many.change_sizes(rule):
            if config.data.resident:  # devices move the pixels of ink
                measured = measured._replace(inked=np.zeros_like(measured.inked))
            drawn = functools.partial(augment_many.sizes, *measured, values.seed(config, 'augment'),
                                      rule=rule, room=(config.image.height, config.image.width))
    else:  # all are fitted into the one canvas
        sizes = np.tile(allowed[-1][1:3], (len(source), 1))
    return Bucketed(sizes, lengths, allowed, config.data.order, seed, drawn)


class Work(NamedTuple):
    """What an image takes in the mean."""

    pixels: float
    tokens: float
    cells: float  # steps of the decoder times the places of the feature map that each looks at


def work(plan: Bucketed, stride: tuple[int, int]) -> tuple[Work, Work]:
    """The images of the sets by themselves, and in the batches of the first epoch with their padding."""
    batches = [plan.shape(step) for step in range(plan.epoch)]
    rows = np.array([shape.rows for shape in batches])
    room = np.array([shape[1:] for shape in batches])
    alone = np.concatenate([plan.given, plan.lengths[:, None]], 1)
    return _mean(alone, np.ones(len(alone)), stride), _mean(room, rows, stride)


def _mean(sizes: np.ndarray, weights: np.ndarray, stride: tuple[int, int]) -> Work:
    """The work of images of so many pixels down and across and so many tokens [N, 3]."""
    down, right = stride
    height, width, length = sizes.T
    cells = -(-height // down) * -(-width // right) * length
    return Work(*(float(np.average(each, weights=weights)) for each in (height * width, length, cells)))
