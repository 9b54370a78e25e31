"""All that was measured of a run: a measurement for each way of measuring, with the sets measured that way.

`results.json` holds the first one, and the others in a list `more`. The first is what training reported; of a
run that has not reported anything, what was measured first. Each names the file of its predictions.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from recog.errors import ConfigError
from recog.evaluation import stored
from recog.evaluation.results import Prediction, Result, over_sets
from recog.workdir import files

# The ways of measuring: two rows of a set that differ in one of these stand side by side.
CONDITIONS = ('step', 'protocol', 'beam', 'precision', 'max length', 'width rule', 'images',
              'lexicon')
# What a condition is that is not said.
UNSAID = {'images': 'as they are', 'lexicon': 'none'}
# What a measurement holds besides its provenance.
PARTS = ('own', 'predictions', 'sets', 'earlier', 'missing', 'notes', 'averages', 'differences', 'more')
# By what the measurements of two runs are told apart in a folder that is no workdir.
OF_A_RUN = ('model', 'seed', 'seeds', 'run')


class Measurement(NamedTuple):
    """Sets that were measured in one way, as JSON holds them, and what was read of them.

    Part `earlier` of the document says in what the provenance of a set differs that was measured before the
    others.
    """

    document: dict[str, Any]
    predictions: list[Prediction]  # none of them if their file is lost

    @property
    def own(self) -> bool:
        """Whether training reported it."""
        return bool(self.document['own'])

    @property
    def sets(self) -> dict[str, dict[str, Any]]:
        """The figures of each set."""
        return self.document['sets']

    @property
    def about(self) -> dict[str, Any]:
        """The provenance, with the conditions."""
        return {name: value for name, value in self.document.items() if name not in PARTS}

    def of(self, names: Sequence[str]) -> 'Measurement':
        """These sets alone."""
        sets = {name: self.sets[name] for name in names}
        read = [each for each in self.predictions if each.set in sets]
        return Measurement({**self.document, 'sets': sets}, read)


def read(folder: Any) -> list[Measurement]:
    """The measurements that a folder holds; damage is refused."""
    found, problems = read_sound(folder)
    if problems:
        raise ConfigError(f'{problems[0]}; measure again: remove it, then recog evaluate {folder}')
    return found


def read_sound(folder: Any) -> tuple[list[Measurement], list[str]]:
    """What can be read of the measurements that a folder holds, and what cannot, a line each."""
    file = folder / files.RESULTS
    if not file.is_file():
        return [], []
    try:
        first = files.read_results(folder)
    except (ValueError, RecursionError):
        return [], [f'{file} holds no results']
    found, problems = [], []
    more = first['more'] if isinstance(first, dict) and isinstance(first.get('more'), list) else []
    for document in (first, *more):
        good, lost = stored.sound(document)
        problems += [f'{file}: what it holds of {each} cannot be read' for each in lost]
        if good is None:
            problems.append(f'{file} holds no results')
        else:
            good = _completed(good)
            read, unread = read_predictions(folder, good['predictions'])
            problems += unread or _fewer(good, read, folder)
            found.append(Measurement(good, read))
    return found, problems


def add(stored: Sequence[Measurement], new: Measurement) -> list[Measurement]:
    """All measurements once there is a new one: its sets replace those that were measured in the same way.

    What training reported stays: only a later report of the training replaces sets of it.
    """
    same = next((each for each in stored if each.own == new.own and alike(each, new)), None)
    rest = [each for each in stored if each is not same]
    whole = merged(same, new) if same else new
    first = new.own or not stored or same is stored[0]
    return [whole, *rest] if first else [*rest, whole]


def alike(one: Measurement, other: Measurement) -> bool:
    """Whether both measured in the same way, as far as an older one says how."""
    first, second = ({**UNSAID, **each.document} for each in (one, other))
    return all(first[name] == second[name] for name in CONDITIONS if name in first and name in second)


def merged(one: Measurement, other: Measurement) -> Measurement:
    """The sets of both, which measured in the same way; of those that both have, the other's."""
    kept = [name for name in one.sets if name not in other.sets]
    sets = {**one.sets, **other.sets}
    read = [*(each for each in one.predictions if each.set in kept), *other.predictions]
    missing = dict.fromkeys([*one.document['missing'], *other.document['missing']])
    earlier = {name: {**one.about, **one.document.get('earlier', {}).get(name, {})} for name in kept}
    differing = {name: {key: value for key, value in about.items() if other.about.get(key) != value}
                 for name, about in earlier.items()}
    return Measurement({
        **other.about, 'own': other.own, 'predictions': one.document['predictions'], 'sets': sets,
        'earlier': {name: about for name, about in differing.items() if about}
        | other.document.get('earlier', {}),
        'missing': [name for name in missing if name not in sets],
        **over_sets([_restored(name, values, read) for name, values in sets.items()],
                    other.document),
    }, read)


def views(stored: Sequence[Measurement]) -> list[Measurement]:
    """The measurements as readers take them, training's report first: one for each way of measuring.

    Where a set was measured again in the way of the report, the later figures count.
    """
    found: list[Measurement] = []
    for each in stored:
        place = next((number for number, other in enumerate(found) if alike(other, each)), None)
        if place is None:
            found.append(each)
        else:
            whole = merged(found[place], each)
            found[place] = whole._replace(document={**whole.document, **found[place].about,
                                                    'own': found[place].own})
    return found


def conditions(document: Mapping[str, Any], names: Sequence[str] = CONDITIONS) -> str:
    """The conditions in words: 'step 1500, protocol 36, beam 1, ...'."""
    return ', '.join(f'{name} {document[name]}' for name in names if name in document)


def refuse_another_run(stored: Sequence[Measurement], about: dict[str, Any], folder: Any) -> None:
    """Refuse to add to a folder that holds the results of another run."""
    for each in stored:
        for name in OF_A_RUN:
            if name in each.about and name in about and each.about[name] != about[name]:
                raise ConfigError(f'--out {folder} holds the results of another run ({name}: '
                                  f'{each.about[name]} instead of {about[name]}); choose another folder')


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    """A measurement as it would be written now; an older version wrote no more than one into a file."""
    given = {name: value for name, value in document.items() if name != 'more'}
    own = not str(document.get('command', '')).startswith('recog evaluate')
    return {'own': own, 'predictions': files.PREDICTIONS, 'missing': [], 'notes': [], 'averages': [], **given}


def read_predictions(folder: Any, name: str) -> tuple[list[Prediction], list[str]]:
    """The predictions in a file, none if it is lost; and what of it cannot be read."""
    if not (folder / name).is_file():
        return [], []
    found, lost = [], 0
    for row in files.read_predictions(folder, name):
        try:
            found.append(_prediction(row))
        except (ValueError, TypeError, KeyError):
            lost += 1
    return found, [f'{folder / name}: {lost} lines cannot be read'] if lost else []


def _fewer(document: dict[str, Any], read: Sequence[Prediction], folder: Any) -> list[str]:
    """Which sets have fewer predictions than they should, where there are any."""
    counts = Counter(each.set for each in read)
    file = folder / document['predictions']
    return [f'{file}: {counts[name]} of {figures["count"]:.0f} lines of {name} are left'
            for name, figures in document['sets'].items() if read and counts[name] < figures['count']]


def _prediction(row: Mapping[str, str]) -> Prediction:
    """A line; an older version wrote the mean probability of the tokens as the confidence."""
    # A byte that is no UTF-8 was read as half a surrogate, which this refuses.
    ''.join(row[name] for name in ('id', 'set', 'truth', 'text')).encode()
    known = (row['confidence'], row['score'], row['mean_token']) if 'score' in row else \
        ('', '', row['confidence'])
    confidence, score, mean_token = (float(value) if value else math.nan for value in known)
    distance = int(row['distance'])
    shares = [share for share, value in ((confidence, known[0]), (mean_token, known[2])) if value]
    if not all(0 <= share <= 1.0001 for share in shares) or distance < 0 \
            or row['right'] not in ('right', 'wrong') or None in row:
        raise ValueError
    return Prediction(row['id'], row['set'], row['truth'], row['text'], confidence, row['right'] == 'right',
                      distance, score, mean_token)


def _restored(name: str, values: dict[str, Any], read: Sequence[Prediction]) -> Result:
    """The result of a set, of its JSON and of all predictions."""
    figures = {key: value for key, value in values.items() if isinstance(value, (int, float))}
    return Result(name, {'unreadable': 0, **figures}, [each for each in read if each.set == name], [], [])
