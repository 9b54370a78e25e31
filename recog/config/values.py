"""What the values of a recipe mean: lengths, buckets, groups, seeds."""

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from recog.errors import ConfigError

# Fields that say how a run is carried out on a machine; nothing else comes of it.
CARRIED_OUT = ('log.', 'mesh.', 'data.workers', 'data.threads', 'data.prefetch')
SEVERAL = ('none', 'ratio')  # values of image.fit under which batches have canvases of several sizes
LENGTHS = "a length such as '72 epochs', '5000 steps', '51200 images' or '5 %'"


def flat(config: ConfigDict | Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Every field by its dotted path."""
    fields: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, (ConfigDict, Mapping)):
            fields.update(flat(value, f'{prefix}{key}.'))
        else:
            fields[f'{prefix}{key}'] = value
    return fields


def seed(config: ConfigDict, stream: str) -> int:
    """The seed of one stream (init, data, augment or dropout): its own, or the one made from `seed`."""
    own: int | None = config.seeds[stream]
    every: int = config.seed
    return own if own is not None else every * 4 + ('init', 'data', 'augment', 'dropout').index(stream)


def steps(length: str, *, batch: float, epoch: int, total: int = 0) -> int:
    """Optimizer steps of a length such as '2 epochs' (of `epoch` steps) or '5 %' (of the `total`)."""
    number, unit = parse_length(length, 'length')
    return round(number * {'epochs': epoch, 'steps': 1, 'images': 1 / batch, '%': total / 100}[unit])


def averages_starts(config: ConfigDict) -> bool:
    """Whether weights at the starts of periods are averaged."""
    return parse_length(config.swa.start, 'config.swa.start')[0] > 0


def averages(config: ConfigDict) -> bool:
    """Whether averages of the weights are kept, and evaluated instead of them."""
    return config.train.ema > 0 or averages_starts(config)


def digest(fields: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for these fields."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def parse_length(length: str, field: str) -> tuple[float, str]:
    """Number and unit (epochs, steps, images or %) of a length."""
    words = length.split()
    with contextlib.suppress(ValueError):
        if len(words) == 2 and words[1] in ('epochs', 'steps', 'images', '%') and float(words[0]) >= 0:
            return float(words[0]), words[1]
    raise ConfigError(f'{field}={length!r} must be {LENGTHS}')


def parse_bucket(bucket: str, longest: int) -> tuple[int, int, int]:
    """Height, width and tokens of one of `data.buckets`; without tokens, the longest."""
    with contextlib.suppress(ValueError):
        sizes = [int(size) for size in bucket.split('x')]
        if len(sizes) in (2, 3) and min(sizes) > 0:
            return sizes[0], sizes[1], (*sizes, longest)[2]
    raise ConfigError(f'config.data.buckets: {bucket!r} must be HEIGHTxWIDTH or HEIGHTxWIDTHxTOKENS, '
                      "such as '64x256'")


def parse_group(group: str) -> tuple[str, float]:
    """Pattern and multiplier of one of `optimizer.groups`."""
    pattern, equals, number = group.rpartition('=')
    with contextlib.suppress(ValueError):
        if pattern and equals and 0 <= float(number) < math.inf:
            return pattern, float(number)
    raise ConfigError(f'config.optimizer.groups: {group!r} must be a pattern of parameters and a multiplier '
                      "of at least 0, such as 'transform/*=0.1'")
