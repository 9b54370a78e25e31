"""What was measured of runs, read from their folders to be compared: which measurements go together."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recog.errors import ConfigError, nearest
from recog.evaluation import measurements
from recog.evaluation.measurements import Measurement
from recog.evaluation.results import Prediction
from recog.workdir import files

WAY = ('beam', 'precision', 'max length', 'width rule', 'images', 'lexicon')  # besides protocol and step
Key = tuple[str, str, int]  # set, id, and which of the examples of this id


class Measured(NamedTuple):
    """What was measured of a workdir, or of another folder of results, in one way."""

    folder: Any
    results: dict[str, Any]
    predictions: list[Prediction]
    label: str = ''  # in what it differs from the folder's first measurement under the same protocol
    other_step: bool = False  # whether it does in its step

    @property
    def name(self) -> str:
        """Its folder."""
        return str(self.folder)

    @property
    def way(self) -> tuple:
        """How it was measured; older results do not say all of it."""
        return tuple(self.results.get(name, 1 if name == 'beam' else None) for name in WAY)


def load(folder: Path) -> list[Measured]:
    """What was measured of a workdir, what training reported first."""
    return _labelled(folder, measurements.views(_stored(folder)))


def reported_and_later(folder: Path) -> list[Measured]:
    """What training reported of a workdir, or else was measured first, and the sets that were measured
    besides."""
    first, *later = _stored(folder)
    found = [first]
    for each in measurements.views(later):
        names = [name for name in each.sets if name not in first.sets or not measurements.alike(first, each)]
        found += [each.of(names)] if names else []
    return _labelled(folder, found)


def by_protocol(folders: Sequence[Path]) -> list[list[Measured]]:
    """What was measured of all folders, for each protocol under which they have a set in common."""
    twice = [str(folder) for folder, count in Counter(folders).items() if count > 1]
    if twice:
        raise ConfigError(f'{twice[0]} is given twice')
    every = [load(folder) for folder in folders]
    protocols = [list(dict.fromkeys(run.results['protocol'] for run in runs)) for runs in every]
    common = [name for name in protocols[0] if all(name in each for each in protocols)]
    if not common:
        each = ', '.join(f'{folder} was measured under {" and ".join(names)}'
                         for folder, names in zip(folders, protocols, strict=True))
        raise ConfigError(f'the protocols differ: {each}; '
                          'measure them alike: recog evaluate FOLDER --protocol NAME')
    parts = [[run for runs in every for run in runs if run.results['protocol'] == name] for name in common]
    able = [part for part in parts if _in_common(part)]
    if not able:
        shared(parts[0])  # says what each has
    return able


def shared(runs: Sequence[Measured]) -> list[str]:
    """The sets that all folders were measured on."""
    names = _in_common(runs)
    if not names:
        raise ConfigError('no set is common to all: ' + '; '.join(
            f'{name} has {", ".join(sets)}' for name, sets in _sets_by_folder(runs).items()))
    return names


def groups(runs: Sequence[Measured]) -> dict[str, list[Measured]]:
    """The runs by recipe and way, those that differ in seeds only together; runs of the same seed stand
    alone."""
    found: defaultdict[tuple, list[Measured]] = defaultdict(list)
    for run in runs:
        # Older results do not name their recipe.
        recipe = run.results['recipe'] if 'recipe' in run.results else run.name
        found[recipe, run.way, run.label].append(run)
    parts: list[list[Measured]] = []
    for group in found.values():
        alike = len({seeds(run) for run in group}) < len(group)
        parts += [[run] for run in group] if alike else [group]
    short = [_named(_common_name(group), group) for group in parts]
    return {name if short.count(name) == 1 else _named(', '.join(run.name for run in group), group): group
            for name, group in zip(short, parts, strict=True)}


def seeds(run: Measured) -> str:
    """The seed of a run, and those of single streams that were set."""
    several = run.results['seeds'] if 'seeds' in run.results else {}
    return ' '.join([str(run.results['seed']), *(f'{stream} {seed}' for stream, seed in several.items())])


def averages(run: Measured) -> Mapping[str, float]:
    """The averages that a run has a value of; not the range of PaddleOCR's."""
    return {each['name']: each['value'] for each in run.results['averages']
            if each['value'] is not None and each['high'] is None}


def labels_and_verdicts(run: Measured, names: Iterable[str]) -> dict[Key, tuple[str, bool]]:
    """The label of each example of these sets, and whether it was read right."""
    wanted, seen = set(names), Counter[tuple[str, str]]()
    found = {}
    for each in run.predictions:
        if each.set in wanted:
            key = each.set, each.id
            found[*key, seen[key]] = each.truth, each.right
            seen[key] += 1
    for name in wanted - {key[0] for key in found}:
        if run.results['sets'][name]['count']:
            raise ConfigError(f'{run.name} has no {files.PREDICTIONS} of {name}; '
                              f'measure it again: recog evaluate {run.name}')
    return found


def _stored(folder: Path) -> list[Measurement]:
    found, unread = measurements.read_sound(folder)
    for each in unread if found else ():
        print(f'recog evaluate: {each}', file=sys.stderr)
    if not found and unread:
        raise ConfigError(f'{unread[0]}; measure again: remove it, then recog evaluate {folder}')
    if not found and not folder.exists():
        others = [str(near.parent) for near in folder.parent.glob(f'*/{files.RESULTS}')]
        raise ConfigError(f'workdir {str(folder)!r} does not exist{nearest(str(folder), others)}')
    if not found:
        raise ConfigError(f'{folder} has no {files.RESULTS}; measure it first: recog evaluate {folder}')
    return found


def _labelled(folder: Path, found: Sequence[Measurement]) -> list[Measured]:
    """The measurements of a folder, with what each differs in from the first of its protocol."""
    first: dict[str, dict[str, Any]] = {}
    runs = []
    for each in found:
        usual = first.setdefault(each.document['protocol'], each.document)
        differing = [name for name in ('step', *WAY) if each.document.get(name) != usual.get(name)]
        runs.append(Measured(folder, each.document, each.predictions,
                             measurements.conditions(each.document, differing), 'step' in differing))
    return runs


def _in_common(runs: Sequence[Measured]) -> list[str]:
    folders = _sets_by_folder(runs)
    return [name for name in dict.fromkeys(name for run in runs for name in run.results['sets'])
            if all(name in sets for sets in folders.values())]


def _sets_by_folder(runs: Sequence[Measured]) -> dict[str, dict[str, None]]:
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for run in runs:
        found[run.name] |= dict.fromkeys(run.results['sets'])
    return found


def _named(name: str, group: Sequence[Measured]) -> str:
    return f'{name}, {group[0].label}' if group[0].label else name


def _common_name(group: Sequence[Measured]) -> str:
    """What the folders of a group are called besides their seeds."""
    names = [re.sub(r'[-_.]?seed[-_=]?\d+$', '', run.folder.name) or run.folder.name for run in group]
    return names[0] if len(set(names)) == 1 else ', '.join(names)
