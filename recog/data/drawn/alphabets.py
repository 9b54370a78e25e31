"""The characters of fonts, remembered in the cache: to find those of two thousand fonts takes a minute."""

import contextlib
import json
import os
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from recog.data.drawn.lexicon import PLAIN

EM = 40  # pixels of the cached glyphs: about the size of most drawn words, so that one warp does all scaling


class Broken(ValueError):
    """A file that is no font that can be read."""


@cache
def alphabet(path: str) -> frozenset[str]:
    """The characters of a font; a letter or digit that it maps but draws as nothing does not count."""
    kept = _kept()
    try:
        stat = os.stat(path)
    except OSError as error:
        raise Broken(str(error)) from None
    facts = [stat.st_size, stat.st_mtime_ns]
    if path not in kept or kept[path][:2] != facts:
        kept[path] = [*facts, *_read(path)]
        _New.count += 1
    _, _, ranges, reason = kept[path]
    if reason:
        raise Broken(reason)
    return frozenset(chr(code) for first, last in ranges for code in range(first, last + 1))


def _read(path: str) -> tuple[list[list[int]], str]:
    """The ranges of characters of a font file, and why it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        font.set_size(EM, 72)
        mapped = {code for code in font.get_charmap() if code < 0x110000}
        empty = {ord(letter) for letter in PLAIN if ord(letter) in mapped
                 and not font.load_char(ord(letter)).width}
    except (OSError, RuntimeError) as error:
        return [], str(error).splitlines()[0]
    numbered = enumerate(sorted(mapped - empty))
    runs = [[code for _, code in run] for _, run in groupby(numbered, lambda each: each[1] - each[0])]
    return [[run[0], run[-1]] for run in runs], ''


class _New:
    count = 0  # fonts that were read and are not in the file yet


def _file() -> Path:
    import matplotlib

    folder = Path(os.environ.get('RECOG_CACHE') or '~/.cache/recog').expanduser()
    return folder / f'fonts-{matplotlib.__version__}.json'


@cache
def _kept() -> dict[str, Any]:
    """What is remembered: path -> size, time of change, ranges of characters, why it cannot be read."""
    found: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        for path, facts in json.loads(_file().read_text(encoding='utf-8')).items():
            size, changed, ranges, reason = facts
            found[path] = [int(size), int(changed), [[int(first), int(last)] for first, last in ranges],
                           str(reason)]
    return found


def remember() -> None:
    """Write what was found out, whole or not at all; a cache that cannot be written is no fault."""
    if not _New.count:
        return
    file = _file()
    draft = file.with_name(f'{file.name}.{os.getpid()}')
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(_kept()), encoding='utf-8', errors='surrogateescape')
        draft.replace(file)
        _New.count = 0
