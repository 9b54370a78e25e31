"""Buckets of clouds: which there are, and the library that each needs."""

import importlib.util
from typing import Any

from recog.errors import ConfigError

LIBRARIES = {'gs': 'gcsfs', 's3': 's3fs', 'az': 'adlfs'}


def is_remote(folder: Any) -> bool:
    """Whether the folder is in a bucket."""
    return '://' in str(folder)


def check_library(what: str, name: Any) -> str:
    """The kind of a bucket; refuse one that is not known, or whose library is not installed."""
    kind = str(name).partition('://')[0]
    if kind not in LIBRARIES:
        raise ConfigError(f'{what} {name}: {kind}:// must be one of '
                          + ', '.join(f'{known}://' for known in LIBRARIES))
    if importlib.util.find_spec(LIBRARIES[kind]) is None:
        raise ConfigError(f'{what} {name} needs {LIBRARIES[kind]}: pip install {LIBRARIES[kind]}')
    return kind


def refuse_remote(what: str, name: Any) -> None:
    """Refuse a bucket where files are written that only a disk can hold."""
    if is_remote(name):
        raise ConfigError(f'{what} {name} must be a local folder; what is in it can be copied to a bucket')
