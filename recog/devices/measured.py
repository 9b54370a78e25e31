"""What was measured before, kept by device and by what a recipe's speed depends on."""

import json
import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from recog.config import values
from recog.devices.cache import cache

# A recipe's speed is that of these fields; bench results are kept by them.
SPEED = ('model', 'text', 'image', 'train.batch', 'train.accumulate', 'train.precision', 'train.norm_group',
         'optimizer.name')


def recorded(config: ConfigDict, device: str) -> float | None:
    """Training images/s that an earlier bench measured for this recipe on such a device."""
    kept = place(config, device)
    if not kept.is_file():
        return None
    figures = json.loads(kept.read_text())
    return next((value['images_per_second'] for name, value in figures.items() if name.startswith('train_')
                 and isinstance(value, dict)), None)


def place(config: ConfigDict, device: str) -> Path:
    """The file that keeps what was measured of such a recipe on such a device."""
    fields = {name: value for name, value in values.flat(config).items() if name.startswith(SPEED)}
    cpus = len(os.sched_getaffinity(0))
    return cache() / 'bench' / f'{device.replace(" ", "_")}-{cpus}-{values.digest(fields)}.json'


def keep(figures: Any, file: str) -> None:
    """Write figures as JSON to a file, or to standard output for '-'."""
    if file == '-':
        print(json.dumps(figures))
    elif file:
        Path(file).write_text(json.dumps(figures, indent=2) + '\n', encoding='utf-8')
