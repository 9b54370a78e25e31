"""The plan of a recipe over its opened sets, and what of its batches is padding."""

import functools
from collections.abc import Callable, Sequence
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
from recog.data.shapes import fitted, shapes
from recog.images import augment_many
from recog.text.vocabulary import Vocab


def make_plan(config: ConfigDict, vocab: Vocab, opened: Sequence[Source], multiple: int) -> Plan:
    """The plan; the rows of each batch are a multiple of this number."""
    seed = values.seed(config, 'data')
    if config.image.fit in values.SEVERAL or config.data.buckets:
        return _bucketed(config, vocab, opened, multiple, seed)
    sizes = [len(source) for source in opened]
    return Plan(sizes, config.data.weights, config.train.batch, config.data.order, seed)


def _bucketed(config: ConfigDict, vocab: Vocab, opened: Sequence[Source], multiple: int,
              seed: int) -> Bucketed:
    """The plan over images of any size and labels of any length, which are read first where they decide."""
    allowed = shapes(config, config.train.batch, multiple)
    source = joined(opened)
    lengths = np.zeros(len(source), np.int64)
    if len({shape.length for shape in allowed}) > 1:
        for row, (_, text) in enumerate(source.labels(range(len(source)))):
            lengths[row] = len(labels.encode(vocab, text, config.text.max_length).ids)
    drawn, sizes = None, np.ones((len(source), 2), np.int64)
    if config.image.fit in values.SEVERAL:
        each = [measure(one, len(one), exact=True) for one in opened]
        measured, rule = Measured(*map(np.concatenate, zip(*each, strict=True))), config.image.augment
        sizes = measured.sizes
        # A canvas that is chosen by ratio is that of the image before it is changed.
        if config.image.fit == 'none' and augment_many.change_sizes(rule):
            if config.data.resident:  # devices move the pixels of ink
                measured = measured._replace(inked=np.zeros_like(measured.inked))
            drawn = functools.partial(augment_many.sizes, *measured, values.seed(config, 'augment'),
                                      rule=rule, room=(config.image.height, config.image.width))
    sizes = fitted(sizes, allowed, config.image.fit)
    if not config.data.weights:
        return Bucketed(sizes, lengths, allowed, config.data.order, seed, drawn)
    copies = copied([len(each) for each in opened], config.data.weights)
    again = None if drawn is None else functools.partial(_drawn_again, drawn, copies)
    return Bucketed(sizes[copies[0]], lengths[copies[0]], allowed, config.data.order, seed, again, copies)


def copied(sizes: Sequence[int], weights: Sequence[float]) -> np.ndarray:
    """Rows of joined sets, some several times, so that each set has its share of an epoch: the numbers of the
    rows, and which copy of its row each is [2, N].

    The set that is largest for its share comes once; of a copy that is not whole the rows are spread evenly.
    """
    each = np.asarray(weights) / np.asarray(sizes)
    found, offset = [], 0
    for size, times in zip(sizes, each / each.min(), strict=True):
        whole, rest = divmod(round(size * times), size)
        rows = np.concatenate([np.tile(np.arange(size), whole), np.arange(rest) * size // max(rest, 1)])
        found.append(np.stack([offset + rows, np.repeat(np.arange(whole + 1), [size] * whole + [rest])]))
        offset += size
    return np.concatenate(found, 1)


def _drawn_again(drawn: Callable[[int], np.ndarray], copies: np.ndarray, epoch: int) -> np.ndarray:
    """The sizes of copies in an epoch, each as in an epoch of its own."""
    (of, copy), sizes = copies, np.empty((copies.shape[1], 2), np.int64)
    count = int(copy.max()) + 1  # Python's own, whose products with an epoch never overflow
    for number in range(count):
        sizes[copy == number] = drawn(epoch * count + number)[of[copy == number]]
    return sizes


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
