"""What is known of a published reader: what was measured of it, its size and what it writes."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from recog.evaluation import measurements
from recog.evaluation.results import interval, with_lexicons
from recog.text.vocabulary import Vocab

SHOWN = 12  # tokens of a vocabulary of LaTeX that are named


class Row(NamedTuple):
    """What was measured of a set, and how."""

    set: str
    right: int
    total: int
    accuracy: float
    low: float  # the 95 % interval
    high: float
    way: str  # 'protocol 36, beam 1, ...'

    def said(self) -> str:
        """The accuracy in words."""
        return f'{self.accuracy:.2%} of {self.total:,} ({self.low:.2%} to {self.high:.2%})'


def rows(folder: Any) -> list[Row]:
    """What a folder's results say, a row for each set and way of measuring."""
    found = []
    for each in measurements.views(measurements.read(folder)):
        way = measurements.conditions(each.document, [name for name in measurements.CONDITIONS
                                                      if name != 'step'])
        found += [Row(name, int(figures['right']), int(figures['count']), figures['accuracy'],
                      *interval(figures), way) for name, figures in with_lexicons(each.sets)]
    return found


def characters(vocab: Vocab) -> str:
    """What a reader writes, in words: '36 characters: 0-9 a-z'."""
    if vocab.separator or any(len(token) > 1 for token in vocab.tokens):
        more = ' ...' if len(vocab) > SHOWN else ''
        return f'{len(vocab)} tokens of LaTeX: {" ".join(vocab.tokens[:SHOWN])}{more}'
    return f'{len(vocab)} characters: {" ".join(_runs(sorted(vocab.tokens)))}'


def _runs(tokens: Sequence[str]) -> list[str]:
    """Characters in their order, neighbours of at least three as 'a-z'."""
    found = []
    for _, group in itertools.groupby(enumerate(tokens), lambda each: ord(each[1]) - each[0]):
        run = [token for _, token in group]
        joined = ''.join('blank' if token == ' ' else token for token in run)
        found.append(f'{run[0]}-{run[-1]}' if len(run) > 2 and ' ' not in run else joined)
    return found


def speed(manifest: Mapping[str, Any]) -> str:
    """How long an image takes, in words."""
    took = manifest['speed']
    return (f'{took["milliseconds"]:.1f} ms an image of {took["size"]}, one at a time, by JAX on '
            f'{took["device"]}, {took["host"]}, {took["cpus"]} CPUs')


def size(manifest: Mapping[str, Any]) -> int:
    """Bytes of all files that a manifest names."""
    return sum(facts['bytes'] for facts in manifest['files'].values())


def licences(manifest: Mapping[str, Any]) -> list[str]:
    """The lines of licences: of the code, of the weights, of the data."""
    return [f'{what}: {licence}' for what, licence in manifest['licences'].items()]
