"""Compares runs by the results in their workdirs: all in one table, and two of them example by example."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recog.errors import ConfigError
from recog.evaluation import markdown
from recog.evaluation.measurements import conditions
from recog.evaluation.runs import (
    Measured,
    averages,
    by_protocol,
    groups,
    labels_and_verdicts,
    seeds,
    shared,
)

RESAMPLES, SEED = 10_000, 0
LEAST_P = 0.0001  # below it, p is not told exactly


class Paired(NamedTuple):
    """The accuracy of the other minus the accuracy of the one, over the examples of both."""

    examples: int
    one: float  # accuracies
    other: float
    difference: float
    low: float  # 95 % bootstrap interval of the difference
    high: float
    only_one: int  # examples that the one alone has right
    only_other: int
    p: float  # McNemar's exact test, two-sided


def report(folders: Sequence[Path]) -> str:
    """The tables of these workdirs, and of exactly two of them the paired differences."""
    said = table(folders)
    return f'{said}\n\n{pair(*folders)}' if len(folders) == 2 else said


def table(folders: Sequence[Path]) -> str:
    """Markdown tables of these workdirs, one for each protocol that all were measured under.

    A row stands for a recipe and a way of measuring it, a column for a set or an average. Several seeds are
    given as mean and standard deviation (n - 1). Sets that not all workdirs have are left out, and named.
    """
    return '\n\n'.join(map(_table, by_protocol(folders)))


def pair(one: Path, other: Path) -> str:
    """The paired differences of two workdirs in Markdown, set by set and of all examples.

    What was measured of both in the same way is compared, under every protocol; where nothing was, what comes
    first.
    """
    pairs = []
    for runs in by_protocol([one, other]):
        able = [(mine, others) for mine in runs for others in runs
                if (mine.folder, others.folder) == (one, other)
                and set(mine.results['sets']) & set(others.results['sets'])]
        same = [(mine, others) for mine, others in able
                if mine.way == others.way and not mine.other_step and not others.other_step]
        pairs += same or able[:1]
    return '\n\n'.join(_pair(*each, several=len(pairs) > 1) for each in pairs)


def _table(runs: Sequence[Measured]) -> str:
    """The table of what was measured under one protocol."""
    names = shared(runs)
    values = {id(run): {**{name: figures['accuracy'] for name, figures in run.results['sets'].items()},
                        **averages(run)} for run in runs}
    columns = [*names, *(name for name in averages(runs[0])
                         if all(name in averages(run) for run in runs))]
    rows = []
    for name, group in groups(runs).items():
        every = [values[id(run)] for run in group]
        cells = [spread([each[column] for each in every]) if all(column in each for each in every) else ''
                 for column in columns]
        if any(cells):  # else it was measured on none of the sets that all have
            rows.append([name, ', '.join(map(seeds, group)), *cells])
    said = markdown.table(['run', 'seeds', *columns], rows)
    rule = (f'protocol {runs[0].results["protocol"]}; accuracy, '
            'over several seeds mean ± standard deviation')
    notes = [rule, *dict.fromkeys(_notes(runs, names))]
    return said + '\n\n' + '\n'.join(f'- {note}' for note in notes)


def _pair(one: Measured, other: Measured, several: bool) -> str:
    """The paired difference of two; of several pairs with how each was measured."""
    names = [name for name in one.results['sets'] if name in other.results['sets']]
    mine, others = (labels_and_verdicts(run, names) for run in (one, other))
    common = [key for key in mine if key in others]
    for key in common:
        if mine[key][0] != others[key][0]:
            raise ConfigError(f'{one.name} and {other.name} were measured on different data: the label of '
                              f'{key[0]} {key[1]} is {mine[key][0]!r} in one, {others[key][0]!r} in the '
                              'other')
    parts = [(name, [key for key in common if key[0] == name]) for name in names]
    rows = []
    for name, keys in [*parts, *([('all', common)] if len(parts) > 1 else [])]:
        found = paired([mine[key][1] for key in keys], [others[key][1] for key in keys])
        rows.append([name, f'{found.examples:,}', f'{found.one:.2%}', f'{found.other:.2%}',
                     *([f'{found.difference:+.2%}', f'{found.low:+.2%} to {found.high:+.2%}']
                       if found.only_one or found.only_other else ['none', '-']),
                     f'{found.only_one:,}', f'{found.only_other:,}', _p(found.p)])
    heads = ['set', 'examples of both', 'A', 'B', 'B - A', '95 % interval', 'only A right', 'only B right',
             "McNemar's p"]
    alone = len(mine) + len(others) - 2 * len(common)
    unpaired = f'; {alone} examples that only one of them has are left out' if alone else ''
    a, b = (f'{run.name} ({conditions(run.results)})' if several else run.name for run in (one, other))
    return (f'A is {a}, B is {b}{unpaired}.\n\n{markdown.table(heads, rows)}\n\nThe interval: '
            f'bootstrap, {RESAMPLES:,} resamples of the examples. p: exact, two-sided.')


def paired(one: Sequence[bool], other: Sequence[bool]) -> Paired:
    """The paired comparison of two runs on the same examples, right or wrong."""
    mine, others = np.asarray(one, bool), np.asarray(other, bool)
    count, lost, gained = len(mine), int((mine & ~others).sum()), int((others & ~mine).sum())
    if not count:
        return Paired(0, 0.0, 0.0, 0.0, -1.0, 1.0, 0, 0, 1.0)
    low, high = _interval(np.array([-1, 1, 0]), np.array([lost, gained, count - lost - gained]))
    return Paired(count, float(mine.mean()), float(others.mean()), (gained - lost) / count, low, high, lost,
                  gained, mcnemar(lost, gained))


def mcnemar(one: int, other: int) -> float:
    """McNemar's exact two-sided p of the examples that only one of two has right."""
    total = one + other
    logs = (math.lgamma(total + 1) - math.lgamma(part + 1) - math.lgamma(total - part + 1)
            - total * math.log(2) for part in range(min(one, other) + 1))
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def mean_difference(differences: Sequence[float]) -> tuple[float, float, float]:
    """The mean of what examples differ by, and its 95 % bootstrap interval."""
    values, times = np.unique(np.asarray(differences, np.float64), return_counts=True)
    return float(np.mean(differences)), *_interval(values, times)


def _interval(values: np.ndarray, times: np.ndarray) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of examples that have each value so many times."""
    # A resample is a count for each of the few values: all are drawn at once from a multinomial.
    count = times.sum()
    drawn = np.random.default_rng(SEED).multinomial(count, times / count, RESAMPLES) @ values / count
    low, high = np.percentile(drawn, (2.5, 97.5)).tolist()
    return low, high


def change(mean: float, low: float, high: float) -> str:
    """A difference with its interval in words."""
    return 'none' if not (mean or low or high) else f'{mean:+.2%} ({low:+.2%} to {high:+.2%})'


def spread(values: Sequence[float], form: str = '{:.2%}') -> str:
    """The mean of several seeds and their standard deviation, where they differ."""
    mean = sum(values) / len(values)
    said = form.format(mean)
    if len(values) == 1:
        return said
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return said if form.format(deviation) == form.format(0) else f'{said} ± {form.format(deviation)}'


def _p(value: float) -> str:
    return f'{value:.2g}' if value >= LEAST_P else f'< {LEAST_P}'


def _notes(runs: Sequence[Measured], names: Sequence[str]) -> Iterable[str]:
    """What else a reader of the table has to know."""
    for run in runs:
        others = [name for name in run.results['sets'] if name not in names]
        if others:
            yield f'left out, as not all runs have it: {", ".join(others)} of {run.name}'
    for name in names:
        counts = {run.name: run.results['sets'][name]['count'] for run in runs if name in run.results['sets']}
        if len(set(counts.values())) > 1:
            each = ', '.join(f'{count:.0f} examples in {folder}' for folder, count in counts.items())
            yield f'{name} differs: {each}'
