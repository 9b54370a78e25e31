"""The files of a run: their names, how they are read, and what they say of how far it came."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

CONFIG, VOCAB = 'config.json', 'vocab.json'
LOG = 'metrics.jsonl'  # what was measured at a step, a line each
RESULTS, RESULTS_CSV, RESULTS_PAGE = 'results.json', 'results.csv', 'results.md'
PREDICTIONS = 'predictions.tsv'
SUSPECTS = 'suspects.tsv'  # labels that may be wrong, of the latest evaluation
ROBUSTNESS = 'robustness.json'  # what was read of corrupted images
AVERAGED = 'averaged.json'  # how a mean of two models was found
CALIBRATION = 'calibration.json'  # the temperature that was fitted to a step
LEXICON, LEXICON_WORDS = 'lexicon.json', 'lexicon.txt.xz'  # words that the model prefers
BEFORE, BEFORE_PAGE = 'before.json', 'before.md'  # of a fine-tuning: figures of its start beside its own
SAMPLES_SHEET, SAMPLES = 'samples.png', 'samples'  # words in one picture, and a folder of the first of them
# A signal ended the run before its recipe was done; a scheduler may queue it again.
STOPPED = 'stopped'
LARGEST = 1e300  # of a number in the log
READER = 'reader.json'  # of a published reader, which has no checkpoints


def is_workdir(folder: Any) -> bool:
    """Whether the folder holds a run."""
    return (folder / CONFIG).is_file()


def is_published(folder: Any) -> bool:
    """Whether the folder holds a published reader."""
    return (folder / READER).is_file()


def is_done(folder: Any) -> bool:
    """Whether the run in this folder came to its end."""
    # Training writes the picture last; `recog evaluate` writes results in the middle of a run, too.
    written = all((folder / name).is_file() for name in (RESULTS, SAMPLES_SHEET))
    return written and not (folder / STOPPED).exists()


def read_results(folder: Any) -> dict[str, Any]:
    """What results.json holds."""
    return json.loads((folder / RESULTS).read_text(encoding='utf-8'))


def reported_step(folder: Any) -> int | None:
    """The step of which results.json holds what training reported; None without such a file."""
    try:
        return int(read_results(folder)['step'])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def read_log(folder: Any) -> list[dict[str, float]]:
    """The lines of the log, none without one; what is no line of it, as after a power cut, does not count."""
    return _log(folder)[0]


def unread_log(folder: Any) -> int:
    """How many lines of the log are none."""
    return _log(folder)[1]


def _log(folder: Any) -> tuple[list[dict[str, float]], int]:
    file = folder / LOG
    lines = file.read_text(encoding='utf-8', errors='replace').splitlines() if file.is_file() else []
    found = []
    for line in lines:
        try:
            values = json.loads(line)
            json.dumps(values, ensure_ascii=False).encode()  # refuses halves of characters
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict) and isinstance(values.get('step'), int) \
                and all(map(_is_number, values.values())):
            found.append(values)
    return found, len(lines) - len(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not abs(value) > LARGEST


def read_predictions(folder: Any, name: str = PREDICTIONS) -> Iterator[dict[str, str]]:
    """The rows of predictions.tsv, or of another file like it, by their columns: id, set, truth, text,
    confidence, right, distance, and since they are recorded score and mean_token; one that is none has
    nothing in it."""
    text = (folder / name).read_bytes().decode(errors='surrogateescape')
    rows = csv.DictReader(io.StringIO(text, newline=''), delimiter='\t')
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield {}
