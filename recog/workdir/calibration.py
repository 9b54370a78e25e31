"""The temperature of a model's confidences, which `recog calibrate` fits to a step, in a file of the workdir.

A text's score is its log-probability; its confidence is exp(score / temperature). This changes no text, and
no order of confidences.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from recog.errors import ConfigError
from recog.workdir.files import CALIBRATION
from recog.workdir.folder import write_whole

BOUNDS = (0.01, 100.0)  # of a temperature


def read(folder: Any, step: int) -> dict[str, Any]:
    """What was fitted to a step; nothing where it was not."""
    file = folder / CALIBRATION
    found = _steps(file).get(str(step), {})
    if found:
        temperature(found, file)
    return found


def write(folder: Any, step: int, record: Mapping[str, Any]) -> None:
    """Add what was fitted to a step, instead of what was before."""
    file = folder / CALIBRATION
    found = {**_steps(file), str(step): dict(record)}
    write_whole(file, json.dumps({'steps': found}, indent=2) + '\n')


def temperature(record: Any, place: Any) -> float:
    """The temperature of a record, 1 of an empty one; `place` is named where it is none."""
    value = 1.0 if not record else record.get('temperature') if isinstance(record, Mapping) else record
    low, high = BOUNDS
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) \
            or not low <= value <= high:
        raise ConfigError(f'{place}: temperature {str(value)[:40]!r} must be a number from {low} to {high}; '
                          'fit it again with recog calibrate')
    return float(value)


def _steps(file: Any) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding='utf-8'))['steps']
        if not all(isinstance(record, dict) for record in found.values()):
            raise ValueError
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ConfigError(f'{file} is damaged; remove it, then recog calibrate {file.parent}') from None
    return found
