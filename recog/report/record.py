"""What a workdir holds of its run: results, log and predictions, each of which may be missing."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from recog.errors import ConfigError, nearest
from recog.evaluation import measurements, robustness
from recog.evaluation.measurements import Measurement
from recog.evaluation.results import Prediction
from recog.metrics.words import canonical, edit_distance, protocol_id
from recog.workdir import calibration, files

BESIDE = ('sets', 'missing', 'notes', 'earlier')  # of a measurement, what is no fact about it as a whole


class Judged(NamedTuple):
    """A line of predictions.tsv, the tokens of its texts that are compared, and
    its position among the lines of its set."""

    set: str
    place: int
    id: str
    truth: str
    text: str
    confidence: float
    right: bool
    wanted: tuple[str, ...]
    written: tuple[str, ...]
    score: float = math.nan  # the text's log-probability

    @property
    def edits(self) -> int:
        """The fewest edits that turn one text into the other."""
        return edit_distance(self.wanted, self.written)

    @property
    def sureness(self) -> float:
        """By which it is sorted: its confidence, 0 where an older version did not record it."""
        return 0.0 if math.isnan(self.confidence) else self.confidence


class Record(NamedTuple):
    """All that a workdir holds of its run; empty where the run has not come so far."""

    name: str
    config: ConfigDict
    facts: dict[str, Any]  # what results.json says of the measurement as a whole
    sets: dict[str, dict[str, Any]]  # its figures by set
    missing: list[str]
    lines: list[dict[str, float]]
    examples: list[Judged]
    protocol: str
    others: Sequence[Mapping[str, Any]] = ()  # what was measured in other ways, as results.json holds it
    unread: Sequence[str] = ()  # what could not be read and is left out
    calibration: Mapping[str, Any] = {}  # what was fitted to the measured step, if it was
    robustness: Sequence[Mapping[str, Any]] = ()  # what was read of corrupted images

    @property
    def separator(self) -> str:
        """The separator between the tokens of a text that is shown."""
        return ' ' if self.protocol == 'latex' else ''


def read(folder: Path, name: str, config: ConfigDict, sets: Sequence[str] = (),
         step: int | None = None) -> Record:
    """The record of a workdir, of these sets alone if any are named.

    It is of the first measurement, which is what training reported, unless another has the sets or the step.
    """
    sound, unread = measurements.read_sound(folder)
    stored = measurements.views(sound)
    usual = protocol_id(config.eval.protocol, config.eval.nfkd)
    # The predictions of a workdir whose results are lost.
    lost, unread_too = ([], []) if stored else measurements.read_predictions(folder, files.PREDICTIONS)
    unmeasured = Measurement({'protocol': usual, 'sets': {}, 'missing': []}, lost)
    unread = [*unread, *unread_too, *_unread_log(folder)]
    chosen = max(stored, key=lambda each: (set(sets) <= set(_known(each)),
                                             step is not None and each.document.get('step') == step),
                 default=unmeasured)
    known = _known(chosen)
    for wanted in sets:
        if known and wanted not in known:
            every = dict.fromkeys(each for measured in stored or [chosen] for each in _known(measured))
            raise ConfigError(f'--set {wanted!r} is not in {folder / files.PREDICTIONS}'
                              f'{nearest(wanted, every)}; there are: {", ".join(every)}')
    protocol = chosen.document['protocol']
    figures = {each: values for each, values in chosen.sets.items() if not sets or each in sets}
    examples = _examples((each for each in chosen.predictions if not sets or each.set in sets), protocol)
    facts = {each: value for each, value in chosen.document.items() if each not in BESIDE} if stored else {}
    others = [each.document for each in stored if each is not chosen]
    (fitted, damage), (corrupted, more) = _calibration(folder, chosen.document), _robustness(folder, sets)
    return Record(name, config, facts, figures, chosen.document['missing'], files.read_log(folder), examples,
                  protocol, others, [*unread, *damage, *more], fitted, corrupted)


def _calibration(folder: Path, measured: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What was fitted to the step that was measured, and what cannot be read of it."""
    try:
        return calibration.read(folder, measured['step']) if 'step' in measured else {}, []
    except ConfigError as error:
        return {}, [str(error)]


def _robustness(folder: Path, sets: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """What was read of corrupted images of these sets, or of all, and what cannot be read of that."""
    try:
        return [each for each in robustness.read(folder) if not sets or each['set'] in sets], []
    except ConfigError as error:
        return [], [str(error)]


def _unread_log(folder: Path) -> list[str]:
    count = files.unread_log(folder)
    return [f'{folder / files.LOG}: {count} lines cannot be read'] if count else []


def _known(measurement: Measurement) -> list[str]:
    """The sets that were measured or read."""
    return list(dict.fromkeys([*measurement.sets, *(each.set for each in measurement.predictions)]))


def _examples(predictions: Iterable[Prediction], protocol: str) -> list[Judged]:
    examples: list[Judged] = []
    places: Counter[str] = Counter()
    for each in predictions:
        wanted, written = (tuple(canonical(text, protocol)) for text in (each.truth, each.text))
        examples.append(Judged(each.set, places[each.set], each.id, each.truth, each.text, each.confidence,
                               each.right, wanted, written, each.score))
        places[each.set] += 1
    return examples
