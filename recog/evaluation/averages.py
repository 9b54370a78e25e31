"""Averages over the benchmark sets of the literature, by the names and definitions of those who report them.

An average counts only if all of its sets are there and whole; otherwise it has no value.
"""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import NamedTuple

from recog.config.test_sets import COUNTS, SETS, UNION14M
from recog.evaluation import markdown

MISSING = ' missing'


class Tally(NamedTuple):
    """What was counted on a set."""

    right: float
    images: int
    unreadable: int = 0


class Definition(NamedTuple):
    """An average as it is reported."""

    name: str
    weighted: bool  # by the images of each set; else each set counts alike
    sets: tuple[str, ...]
    ascii: bool = False  # of texts that were turned into ASCII (NFKD)

    def words(self) -> str:
        """The definition in words."""
        names = ', '.join(map(title, self.sets))
        total = sum(COUNTS[name] for name in self.sets)
        kind = f'weighted by images over {names}: {total:,} images' if self.weighted else \
            f'unweighted mean of {names}'
        return kind + ('; labels NFKD to ASCII' if self.ascii else '')


class Average(NamedTuple):
    """An average over sets; without a value, `missing` says why."""

    name: str
    definition: str
    value: float | None  # of a range its lower end
    sets: tuple[str, ...]
    missing: tuple[str, ...] = ()
    high: float | None = None  # the upper end of a range

    def shown(self) -> str:
        """Its value, or why there is none."""
        if self.value is None:
            return f'not printed: {", ".join(self.missing)}'
        return f'{self.value:.2%}' + (f' to {self.high:.2%}' if self.high is not None else '')


def title(name: str) -> str:
    """A set as the literature writes it: ic13/857 is IC13_857."""
    return name.replace('/', '_').upper()


# Sets of which there are two variants.
_TWICE = (('ic03/860', 'ic03/867'), ('ic13/857', 'ic13/1015'), ('ic15/1811', 'ic15/2077'))
# PaddleOCR does not say which variants it averages: all choices are listed.
PADDLE = tuple(Definition(f'PaddleOCR with {", ".join(map(title, choice))}', False,
                          ('iiit5k', 'svt', *choice, 'svtp', 'cute80')) for choice in product(*_TWICE))
DEFINITIONS = (
    *PADDLE,
    Definition('MindOCR', False, tuple(SETS)),
    Definition('deep-text-recognition-benchmark', True,
               ('iiit5k', 'svt', 'ic03/867', 'ic13/1015', 'ic15/2077', 'svtp', 'cute80')),
    Definition('all ten, weighted', True, tuple(SETS)),
    Definition('OpenOCR common', False, ('iiit5k', 'svt', 'ic13/857', 'ic15/1811', 'svtp', 'cute80')),
    Definition('Union14M', False, tuple(UNION14M)),
    Definition('PARSeq, 7,248 images', True,
               ('iiit5k', 'svt', 'ic13/857', 'ic15/1811', 'svtp', 'cute80'), ascii=True),
    Definition('PARSeq, 7,672 images', True,
               ('iiit5k', 'svt', 'ic13/1015', 'ic15/2077', 'svtp', 'cute80'), ascii=True),
)


def averages(figures: Mapping[str, Tally], as_ascii: Mapping[str, Tally] | None = None) -> list[Average]:
    """Every average over what was counted, by set NAME[:SPLIT]; those over the ten sets, and those over the
    seven of Union14M, are left out where not one of their sets was counted.

    `as_ascii` is what was counted with texts turned into ASCII, for the averages that are of those.
    """
    tallies, ascii_tallies = _tests(figures), _tests(figures if as_ascii is None else as_ascii)
    found = [_average(each, ascii_tallies if each.ascii else tallies) for each in DEFINITIONS
             if any(name in tallies for name in _kin(each))]
    if not any(name in SETS for name in tallies):
        return found
    choices = found[:len(PADDLE)]
    reasons = tuple(dict.fromkeys(what for each in choices for what in each.missing))
    values = [each.value for each in choices if each.value is not None]
    low, high = (min(values), max(values)) if not reasons else (None, None)
    words = ('unweighted mean of seven sets; which variants of IC03, IC13 and IC15 is not said: '
             'the lowest and the highest of the eight choices')
    return [Average('PaddleOCR', words, low, tuple(SETS), reasons, high), *found]


def _kin(definition: Definition) -> Iterable[str]:
    """The sets among which an average chooses."""
    return SETS if definition.sets[0] in SETS else UNION14M


def described(found: Iterable[Average]) -> str:
    """The averages that have a value as a Markdown table, and a line of what is missing for the others."""
    found = list(found)
    rows = [[each.name, each.shown(), each.definition] for each in found if each.value is not None]
    parts = [markdown.table(['average', 'value', 'definition'], rows)] if rows else []
    return '\n\n'.join([*parts, *([lacking(found)] if len(rows) < len(found) else [])])


def lacking(found: Iterable[Average]) -> str:
    """Why some averages have no value, in a line."""
    found = list(found)
    reasons = dict.fromkeys(reason for each in found for reason in each.missing)
    absent = [reason.removesuffix(MISSING) for reason in reasons if reason.endswith(MISSING)]
    parts = [f'{", ".join(absent)} missing'] if absent else []
    parts += [reason for reason in reasons if not reason.endswith(MISSING)]
    what = 'No other average' if any(each.value is not None for each in found) else 'No average'
    return f'{what} of the literature: {", ".join(parts)}.'


def _tests(figures: Mapping[str, Tally]) -> dict[str, Tally]:
    """Those of the literature by their names, whether their test split was named or a set has no other."""
    found: dict[str, Tally] = {}
    for name, tally in figures.items():
        path, _, split = name.partition(':')
        if path in COUNTS and split in ('', 'test') and (path not in found or _whole(path, tally)):
            found[path] = tally
    return found


def _whole(name: str, tally: Tally) -> bool:
    return tally.images + tally.unreadable == COUNTS[name] and tally.images > 0


def _average(definition: Definition, tallies: Mapping[str, Tally]) -> Average:
    reasons: list[str] = []
    for name in definition.sets:
        if name not in tallies:
            reasons.append(title(name) + MISSING)
        elif not _whole(name, tallies[name]):
            there = tallies[name].images + tallies[name].unreadable
            reasons.append(f'{title(name)} incomplete ({there:,} of {COUNTS[name]:,})')
    if reasons:
        return Average(definition.name, definition.words(), None, definition.sets, tuple(reasons))
    counted = [tallies[name] for name in definition.sets]
    if definition.weighted:
        value = sum(each.right for each in counted) / sum(each.images for each in counted)
    else:
        value = sum(each.right / each.images for each in counted) / len(counted)
    return Average(definition.name, definition.words(), value, definition.sets)
