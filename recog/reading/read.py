"""The loop that reads images, for evaluation and prediction alike, with any engine: without JAX and Grain."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from ml_collections import ConfigDict

from recog.config.values import parse_bucket
from recog.data.batches import Steps
from recog.data.pipeline import read_ahead, read_batches
from recog.data.rows import Source
from recog.errors import ConfigError
from recog.metrics.calibration import tempered
from recog.models import MAPS_OF_IMAGES, MAPS_OF_TEXTS
from recog.text.lexicon import Lexicon
from recog.text.vocabulary import Vocab

HostBatch = dict[str, np.ndarray]
# What `decode` gives of each text and of each image.
BY_TEXT = ('tokens', 'length', 'score', 'mean_token', 'token_confidence', *MAPS_OF_TEXTS)
BY_IMAGE = MAPS_OF_IMAGES
FED = ('image', 'size', 'index', 'weight')  # the arrays of a batch that `decode` takes: no labels


class Scored(NamedTuple):
    """One of the texts of an image, with its log-probability and the mean probability of its tokens."""

    text: str
    score: float
    mean_token: float
    temperature: float = 1.0

    @property
    def confidence(self) -> float:
        """The probability of the text."""
        return tempered(self.score, self.temperature)


class Reading(NamedTuple):
    """What was read in one image; `text` is None where the image could not be used.

    `reason` says why not, or that it was shrunk to fit the largest canvas.
    """

    row: int
    text: str | None
    score: float = -math.inf  # the text's log-probability
    mean_token: float = 0.0  # the mean probability of its tokens
    reason: str = ''
    details: dict[str, Any] | None = None  # the arrays of this image, where they were asked for
    others: tuple[Scored, ...] = ()  # the beam's best, this one first, if wanted
    temperature: float = 1.0  # that was fitted to the model, which makes the confidence of the score
    turned: int = 0  # degrees by which the image was turned to the left before it was read

    @property
    def confidence(self) -> float:
        """The probability of the text."""
        return tempered(self.score, self.temperature)


class Engine(Protocol):
    """A model that can be run: compiled by JAX for a mesh, or a file of an export."""

    multiple: int  # of which the rows of a batch are a multiple
    processes: int  # that share each batch

    def places(self, rows: int) -> np.ndarray:
        """The rows of a batch that this process reads."""

    def answers(self, batches: Iterable[HostBatch],
                longest: int) -> Iterator[tuple[dict[str, Any], list[tuple]]]:
        """What `chosen` gives for each batch, as numpy arrays, and the notes of all processes on it."""


def chosen(out: Mapping[str, Any], batch: Mapping[str, Any], best: int = 1,
           details: bool = False) -> dict[str, Any]:
    """Of `decode`'s output, the best text of each row; with `details` also its maps, image and size.

    If `best` is above 1, that many of the best texts, too: `best_tokens`, `best_score` and so on.
    """
    names = BY_TEXT if details else ('tokens', 'score', 'mean_token')
    found = {name: out[name][:, 0] for name in names if name in out}
    if details:
        found |= {name: out[name] for name in BY_IMAGE if name in out}
    if best > 1:
        found |= {f'best_{name}': out[name][:, :best] for name in names if name in out}
    return found | {name: batch[name] for name in (FED if details else ('index', 'weight'))}


def set_length(config: ConfigDict, capacity: int, length: int) -> None:
    """Let texts be at most so long."""
    if length > capacity:
        raise ConfigError(f'--max-length {length}: this model can write {capacity} tokens at most')
    config.text.max_length = length
    config.data.buckets = tuple(_shorter(bucket, length) for bucket in config.data.buckets)


def _shorter(bucket: str, length: int) -> str:
    """A canvas for labels that are no longer than this."""
    height, width, tokens = parse_bucket(bucket, length)
    return bucket if tokens <= length else f'{height}x{width}x{length}'


def read_source(engine: Engine, source: Source, vocab: Vocab, config: ConfigDict, *, batch: int,
                limit: int = 0, temperature: float = 1.0, lexicon: Lexicon | None = None,
                best: int = 0) -> Iterator[Reading]:
    """Every example of the source once, in its order; confidences are those at the temperature.

    With a lexicon, the texts that the engine gives of an image are weighed by it, and the `best` of them kept
    besides (0: all).
    """
    if config.image.width_rule == 'widest' and engine.processes > 1:
        raise ConfigError('config.image.width_rule=widest needs one process: '
                          'each batch has a width of its own')
    steps = planned(engine, source, config, batch=batch, limit=limit)
    batches = read_batches(steps, config) if config.data.workers else read_ahead(steps, config)
    early: dict[int, Reading] = {}  # read before their turn: images of any size come sorted by size
    turn = 0
    for answers, notes in engine.answers(batches, config.text.max_length):
        reasons = {row: reason for row, _, reason, _ in notes}
        for place in np.flatnonzero(answers['index'] >= 0):
            row = {name: values[place] for name, values in answers.items()}
            row = _weighed(row, vocab, lexicon, best) if lexicon and 'best_tokens' in row else row
            reading = _reading(row, vocab, temperature)
            early[reading.row] = reading._replace(reason=reasons.get(reading.row, ''))
        while turn in early:
            yield early.pop(turn)
            turn += 1


def planned(engine: Engine, source: Source, config: ConfigDict, *, batch: int, limit: int = 0) -> Steps:
    """The batches by which `read_source` reads."""
    count = min(len(source), limit or len(source))
    few = min(batch, 1 << max(count - 1, 0).bit_length())  # few images need no full batch
    rows = -(-few // engine.multiple) * engine.multiple
    return Steps(source, engine.places, rows, config, limit, engine.multiple)


def _weighed(row: dict[str, Any], vocab: Vocab, lexicon: Lexicon, best: int) -> dict[str, Any]:
    """A row whose texts are weighed by a lexicon: the likeliest first, and the `best` of them besides."""
    there = np.flatnonzero(np.isfinite(row['best_score']))
    if not len(there):
        return row
    texts = [vocab.decode(row['best_tokens'][place].tolist()) for place in there]
    scores = np.array(lexicon.scores(texts, row['best_score'][there].tolist()))
    order = np.argsort(-scores, kind='stable')
    alone = {name: values for name, values in row.items() if not name.startswith('best_')}
    several = {name: values[there][order] for name, values in row.items() if name not in alone}
    several['best_score'] = scores[order]
    alone |= {name.removeprefix('best_'): values[0] for name, values in several.items()}
    return alone if best == 1 else alone | {name: values[:best or None] for name, values in several.items()}


def _reading(row: dict[str, Any], vocab: Vocab, temperature: float) -> Reading:
    """One row of what `chosen` gives, as text."""
    text = vocab.decode(row['tokens'].tolist()) if row['weight'] else None
    others: tuple[Scored, ...] = ()
    if 'best_tokens' in row:
        best = zip(row['best_tokens'], row['best_score'], row['best_mean_token'], strict=True)
        others = tuple(Scored(vocab.decode(tokens.tolist()), float(score), float(mean_token), temperature)
                       for tokens, score, mean_token in best if math.isfinite(score))
    details = row if 'image' in row else None
    return Reading(int(row['index']), text, float(row['score']), float(row['mean_token']), '', details,
                   others, temperature)
