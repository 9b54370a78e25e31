"""Where recog keeps what it can make or fetch again."""

import os
from pathlib import Path


def cache() -> Path:
    """The folder of compiled programs, measurements and pulled readers: $RECOG_CACHE, else ~/.cache/recog."""
    return Path(os.environ.get('RECOG_CACHE') or '~/.cache/recog').expanduser()
