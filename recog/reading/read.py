"""The loop that reads images, for evaluation and prediction alike, whatever runs the model: it imports neither JAX nor Grain."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from ml_collections import ConfigDict

from recog.data.batches import Steps
from recog.data.pipeline import read_ahead, read_batches
from recog.data.rows import Source
from recog.errors import ConfigError
from recog.models import MAPS_OF_IMAGES, MAPS_OF_TEXTS
from recog.text.vocabulary import Vocab

# What `decode` gives of each text and of each image.
BY_TEXT = ('tokens', 'length', 'score', 'confidence', 'token_confidence', *MAPS_OF_TEXTS)
BY_IMAGE = MAPS_OF_IMAGES
FED = ('image', 'size', 'index', 'weight')  # of a batch: reading is the same for labelled and unlabelled images


class Reading(NamedTuple):
    """What was read in one image; `text` is None where the image could not be used.

    `reason` says why not, or that it was shrunk to fit the largest canvas.
    """

    row: int
    text: str | None
    confidence: float = 0.0
    reason: str = ''
    details: dict[str, Any] | None = None  # the arrays of this image, where they were asked for
    others: tuple[tuple[str, float, float], ...] = ()  # all texts of the beam that were asked for: text, confidence, score


class Engine(Protocol):
    """What runs a model: compiled by JAX over devices, or a file of an export."""

    multiple: int  # batches have a multiple of so many rows
    processes: int  # that share each batch

    def places(self, rows: int) -> np.ndarray:
        """The rows of a batch that this process reads."""

    def answers(self, batches: Iterable[dict[str, np.ndarray]], longest: int) -> Iterator[tuple[dict[str, Any], list[tuple]]]:
        """What `chosen` gives for each batch, as numpy arrays, and the notes of all processes on it."""


def chosen(out: Mapping[str, Any], batch: Mapping[str, Any], best: int = 1, details: bool = False) -> dict[str, Any]:
    """Of what `decode` gives: the best text of each row, with `details` its maps, and as `best_...` the `best` first texts."""
    several = {f'best_{name}': out[name][:, :best] for name in ('tokens', 'confidence', 'score')} if best > 1 else {}
    first = {name: out[name][:, 0] for name in BY_TEXT if name in out}
    kept = {**first, **{name: out[name] for name in BY_IMAGE if name in out}} if details else \
        {name: first[name] for name in ('tokens', 'confidence')}
    return {**kept, **several, 'index': batch['index'], 'weight': batch['weight'],
            **({name: batch[name] for name in ('image', 'size')} if details else {})}


def set_length(config: ConfigDict, capacity: int, length: int) -> None:
    """Let texts be at most so long."""
    if length > capacity:
        raise ConfigError(f'--max-length {length}: this model can write {capacity} tokens at most')
    config.text.max_length = length


def read_source(engine: Engine, source: Source, vocab: Vocab, config: ConfigDict, *, batch: int,
                limit: int = 0) -> Iterator[Reading]:
    """Every example of the source once, in its order."""
    if config.image.width_rule == 'widest' and engine.processes > 1:
        raise ConfigError('config.image.width_rule=widest needs one process: each batch has a width of its own')
    count = min(len(source), limit or len(source))
    few = min(batch, 1 << max(count - 1, 0).bit_length())  # few images need no full batch
    rows = -(-few // engine.multiple) * engine.multiple
    steps = Steps(source, engine.places, rows, config, limit, engine.multiple)
    batches = read_batches(steps, config) if config.data.workers else read_ahead(steps, config)
    early: dict[int, Reading] = {}  # images of any size come sorted by size
    after = 0
    for answers, notes in engine.answers(batches, config.text.max_length):
        reasons = {row: reason for row, _, reason, _ in notes}
        for place in np.flatnonzero(answers['index'] >= 0):
            reading = _reading({name: values[place] for name, values in answers.items()}, vocab)
            early[reading.row] = reading._replace(reason=reasons[reading.row]) if reading.row in reasons else reading
        while after in early:
            yield early.pop(after)
            after += 1


def _reading(row: dict[str, Any], vocab: Vocab) -> Reading:
    """One row of what `chosen` gives, as text."""
    text = vocab.decode(row['tokens'].tolist()) if row['weight'] else None
    others = tuple((vocab.decode(tokens.tolist()), float(sure), float(score)) for tokens, sure, score in
                   zip(*(row[f'best_{name}'] for name in ('tokens', 'confidence', 'score')), strict=True)
                   if math.isfinite(score)) if 'best_tokens' in row else ()
    return Reading(int(row['index']), text, float(row['confidence']), '', row if 'image' in row else None, others)
