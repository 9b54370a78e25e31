"""Compares runs by the results in their workdirs: all in one table, and two of them example by example."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recog.errors import ConfigError, nearest
from recog.evaluation import markdown
from recog.workdir import files

RESAMPLES, SEED = 10_000, 0
Key = tuple[str, str, int]  # set, id, and which of the examples of this id


class Measured(NamedTuple):
    """A workdir or another folder of results, and what its results.json holds."""

    folder: Any
    results: dict[str, Any]

    @property
    def name(self) -> str:
        """Its folder."""
        return str(self.folder)


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
    """The table of these workdirs, and of exactly two of them the paired difference."""
    said = table(folders)
    return f'{said}\n\n{pair(*folders)}' if len(folders) == 2 else said


def table(folders: Sequence[Path], apart: bool = False) -> str:
    """A Markdown table of these workdirs: a row for each recipe, a column for each set and average.

    Several seeds are given as mean and standard deviation (n - 1). Sets that not all have are left out, and
    named; with `apart` runs of another protocol or other sets have a table of their own.
    """
    if apart:
        alike: defaultdict[tuple, list[Path]] = defaultdict(list)
        for folder in folders:
            results = load(folder).results
            alike[results['protocol'], *sorted(results['sets'])].append(folder)
        return '\n\n'.join(table(part) for part in alike.values())
    runs = _runs(folders)
    names = shared(runs)
    columns = [('sets', name) for name in names]
    columns += [('averages', name) for name in _averages(runs[0])
                if all(name in _averages(run) for run in runs)]
    rows = []
    for name, group in groups(runs).items():
        cells = [_spread([_averages(run)[column] if kind == 'averages' else
                          run.results['sets'][column]['accuracy'] for run in group])
                 for kind, column in columns]
        rows.append([name, ', '.join(map(seeds, group)), *cells])
    said = markdown.table(['run', 'seeds', *(name for _, name in columns)], rows)
    rule = (f'protocol {runs[0].results["protocol"]}; accuracy, '
            'over several seeds mean ± standard deviation')
    notes = [rule, *_notes(runs, names)]
    return said + '\n\n' + '\n'.join(f'- {note}' for note in notes)


def pair(one: Path, other: Path) -> str:
    """The paired difference of two workdirs in Markdown, set by set and of all examples."""
    runs = _runs([one, other])
    names = shared(runs)
    mine, others = (labels_and_verdicts(run, names) for run in runs)
    common = [key for key in mine if key in others]
    for key in common:
        if mine[key][0] != others[key][0]:
            raise ConfigError(f'{one} and {other} were measured on different data: the label of {key[0]} '
                              f'{key[1]} is {mine[key][0]!r} in one, {others[key][0]!r} in the other')
    parts = [(name, [key for key in common if key[0] == name]) for name in names]
    rows = []
    for name, keys in [*parts, *([('all', common)] if len(parts) > 1 else [])]:
        found = paired([mine[key][1] for key in keys], [others[key][1] for key in keys])
        rows.append([name, f'{found.examples:,}', f'{found.one:.2%}', f'{found.other:.2%}',
                     f'{found.difference:+.2%}', f'{found.low:+.2%} to {found.high:+.2%}',
                     f'{found.only_one:,}', f'{found.only_other:,}', f'{found.p:.2g}'])
    heads = ['set', 'examples of both', 'A', 'B', 'B - A', '95 % interval', 'only A right', 'only B right',
             "McNemar's p"]
    alone = len(mine) + len(others) - 2 * len(common)
    unpaired = f'; {alone} examples that only one of them has are left out' if alone else ''
    return (f'A is {one}, B is {other}{unpaired}.\n\n{markdown.table(heads, rows)}\n\nThe interval: '
            f'bootstrap, {RESAMPLES:,} resamples of the examples. p: exact, two-sided.')


def paired(one: Sequence[bool], other: Sequence[bool]) -> Paired:
    """The paired comparison of two runs on the same examples, right or wrong."""
    mine, others = np.asarray(one, bool), np.asarray(other, bool)
    count, lost, gained = len(mine), int((mine & ~others).sum()), int((others & ~mine).sum())
    if not count:
        return Paired(0, 0.0, 0.0, 0.0, -1.0, 1.0, 0, 0, 1.0)
    # A difference is -1, 0 or 1, so a resample is three counts: all are drawn at once from a multinomial.
    shares = np.array([lost, gained, count - lost - gained]) / count
    drawn = np.random.default_rng(SEED).multinomial(count, shares, RESAMPLES)
    low, high = np.percentile((drawn[:, 1] - drawn[:, 0]) / count, (2.5, 97.5)).tolist()
    return Paired(count, float(mine.mean()), float(others.mean()), (gained - lost) / count, low, high, lost,
                  gained, mcnemar(lost, gained))


def mcnemar(one: int, other: int) -> float:
    """McNemar's exact two-sided p of the examples that only one of two has right."""
    total = one + other
    logs = (math.lgamma(total + 1) - math.lgamma(part + 1) - math.lgamma(total - part + 1)
            - total * math.log(2) for part in range(min(one, other) + 1))
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def load(folder: Path) -> Measured:
    """The results of a workdir."""
    file = folder / files.RESULTS
    if not file.is_file():
        if not folder.exists():
            others = [str(near.parent) for near in folder.parent.glob(f'*/{files.RESULTS}')]
            raise ConfigError(f'workdir {str(folder)!r} does not exist{nearest(str(folder), others)}')
        raise ConfigError(f'{folder} has no {files.RESULTS}; measure it first: recog evaluate {folder}')
    try:
        results = files.read_results(folder)
        if not results['sets'] or not {'protocol', 'seed'} <= set(results):
            raise KeyError
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f'{file} holds no results; measure again: recog evaluate {folder}') from None
    return Measured(folder, results)


def shared(runs: Sequence[Measured]) -> list[str]:
    """The sets that all runs were measured on."""
    names = [name for name in runs[0].results['sets'] if all(name in run.results['sets'] for run in runs)]
    if not names:
        raise ConfigError('no set is common to all: '
                          + '; '.join(f'{run.name} has {", ".join(run.results["sets"])}' for run in runs))
    return names


def groups(runs: Sequence[Measured]) -> dict[str, list[Measured]]:
    """The runs by recipe, those that differ in seeds only together; runs of the same seed stand alone."""
    found: defaultdict[tuple, list[Measured]] = defaultdict(list)
    for run in runs:
        # Older results do not name their recipe.
        recipe = run.results['recipe'] if 'recipe' in run.results else run.name
        found[recipe, run.results['beam'] if 'beam' in run.results else 1].append(run)
    parts: list[list[Measured]] = []
    for group in found.values():
        alike = len({seeds(run) for run in group}) < len(group)
        parts += [[run] for run in group] if alike else [group]
    short = [_common_name(group) for group in parts]
    return {name if short.count(name) == 1 else ', '.join(run.name for run in group): group
            for name, group in zip(short, parts, strict=True)}


def seeds(run: Measured) -> str:
    """The seed of a run, and those of single streams that were set."""
    several = run.results['seeds'] if 'seeds' in run.results else {}
    return ' '.join([str(run.results['seed']), *(f'{stream} {seed}' for stream, seed in several.items())])


def labels_and_verdicts(run: Measured, names: Iterable[str]) -> dict[Key, tuple[str, bool]]:
    """The label of each example of these sets, and whether it was read right."""
    if not (run.folder / files.PREDICTIONS).is_file():
        raise ConfigError(f'{run.name} has no {files.PREDICTIONS}; '
                          f'measure it again: recog evaluate {run.name}')
    wanted, seen = set(names), Counter[tuple[str, str]]()
    found = {}
    for row in files.read_predictions(run.folder):
        if row['set'] in wanted:
            key = row['set'], row['id']
            found[*key, seen[key]] = row['truth'], row['right'] == 'right'
            seen[key] += 1
    return found


def _runs(folders: Sequence[Path]) -> list[Measured]:
    """The results of all folders, which have to be of one protocol."""
    twice = [str(folder) for folder, count in Counter(folders).items() if count > 1]
    if twice:
        raise ConfigError(f'{twice[0]} is given twice')
    runs = [load(folder) for folder in folders]
    protocols = {run.results['protocol']: run.name for run in reversed(runs)}
    if len(protocols) > 1:
        each = ', '.join(f'{name} was measured under {protocol}'
                         for protocol, name in sorted(protocols.items()))
        raise ConfigError(f'the protocols differ: {each}; '
                          'measure them alike: recog evaluate FOLDER --protocol NAME')
    return runs


def _averages(run: Measured) -> Mapping[str, float]:
    """The averages that a run has a value of; not the range of PaddleOCR's."""
    found = run.results['averages'] if 'averages' in run.results else []
    return {each['name']: each['value'] for each in found
            if each['value'] is not None and each['high'] is None}


def _spread(values: Sequence[float]) -> str:
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f'{mean:.2%}'
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return f'{mean:.2%} ± {deviation:.2%}'


def _common_name(group: Sequence[Measured]) -> str:
    """What the folders of a group are called besides their seeds."""
    names = [re.sub(r'[-_.]?seed[-_=]?\d+$', '', run.folder.name) or run.folder.name for run in group]
    return names[0] if len(set(names)) == 1 else ', '.join(names)


def _notes(runs: Sequence[Measured], names: Sequence[str]) -> Iterable[str]:
    """What else a reader of the table has to know."""
    for run in runs:
        others = [name for name in run.results['sets'] if name not in names]
        if others:
            yield f'left out, as not all runs have it: {", ".join(others)} of {run.name}'
    for name in names:
        counts = {run.name: run.results['sets'][name]['count'] for run in runs}
        if len(set(counts.values())) > 1:
            each = ', '.join(f'{count:.0f} examples in {folder}' for folder, count in counts.items())
            yield f'{name} differs: {each}'
