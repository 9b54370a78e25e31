"""What a workdir holds of its run: results, log and predictions, each of which may be missing."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from recog.errors import ConfigError, nearest
from recog.metrics.words import canonical, edit_distance, protocol_id
from recog.workdir import files


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

    @property
    def distance(self) -> float:
        """Edits as a share of the longer text."""
        return edit_distance(self.wanted, self.written) / max(len(self.wanted), len(self.written), 1)


class Record(NamedTuple):
    """All that a workdir holds of its run; empty where the run has not come so far."""

    name: str
    config: ConfigDict
    facts: dict[str, Any]  # what results.json says of the evaluation as a whole
    sets: dict[str, dict[str, Any]]  # its figures by set
    missing: list[str]
    lines: list[dict[str, float]]
    examples: list[Judged]
    protocol: str

    @property
    def separator(self) -> str:
        """The separator between the tokens of a text that is shown."""
        return ' ' if self.protocol == 'latex' else ''


def read(folder: Path, name: str, config: ConfigDict, sets: Sequence[str] = ()) -> Record:
    """The record of a workdir, of these sets alone if any are named."""
    results = files.read_results(folder) if (folder / files.RESULTS).is_file() else {}
    figures, missing = results.pop('sets', {}), results.pop('missing', [])
    usual = protocol_id(config.eval.protocol, config.eval.nfkd)
    protocol = results['protocol'] if 'protocol' in results else usual
    examples = _examples(folder, protocol)
    known = dict.fromkeys([*figures, *(example.set for example in examples)])
    for wanted in sets:
        if known and wanted not in known:
            raise ConfigError(f'--set {wanted!r} is not in {folder / files.PREDICTIONS}'
                              f'{nearest(wanted, known)}; there are: {", ".join(known)}')
    if sets:
        figures = {name: values for name, values in figures.items() if name in sets}
        examples = [example for example in examples if example.set in sets]
    return Record(name, config, results, figures, missing, files.read_log(folder), examples, protocol)


def _examples(folder: Path, protocol: str) -> list[Judged]:
    examples: list[Judged] = []
    places: Counter[str] = Counter()
    for row in files.read_predictions(folder) if (folder / files.PREDICTIONS).is_file() else []:
        wanted, written = (tuple(canonical(row[column], protocol)) for column in ('truth', 'text'))
        examples.append(Judged(row['set'], places[row['set']], row['id'], row['truth'], row['text'],
                               float(row['confidence']), row['right'] == 'right', wanted, written))
        places[row['set']] += 1
    return examples
