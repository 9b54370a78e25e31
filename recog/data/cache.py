"""What is kept on the disk of sets in buckets, within a bound: the least recently used sets make room.

A set has a folder, beside it NAME.json, which says what is kept of it, NAME.parts, where files arrive, and
NAME.lock, which every process that reads the set holds: what is in use is not removed. Who changes what is
kept holds the lock of all. Locks end with their process, so a kill leaves nothing to be cleared up.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from recog.errors import ConfigError

PLACE, MOST = 'RECOG_DATA_CACHE', 'RECOG_DATA_CACHE_GB'  # of the environment
USUAL = 100.0  # GB


class Cache:
    """The part of the cache that holds one set."""

    def __init__(self, url: str):
        self.url, self.root = url, place()
        name = f'{re.sub(r"[^A-Za-z0-9.]+", "-", url)[-60:]}-{hashlib.sha256(url.encode()).hexdigest()[:12]}'
        self.folder, self._parts = self.root / name, self.root / f'{name}.parts'
        self._note, self._mark = self.root / f'{name}.json', self.root / f'{name}.lock'
        self._lock: Any = None  # which is held until the process ends
        most()

    def part(self, name: str) -> Path:
        """Where a file arrives."""
        place = self._parts / name
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def has(self, name: str, facts: tuple[int, str]) -> bool:
        """Whether a file is there as it is in the bucket; `reserve` removed what is not."""
        file = self.folder / name
        return file.is_file() and file.stat().st_size == facts[0]

    def reserve(self, wanted: Mapping[str, tuple[int, str]]) -> list[str]:
        """Make room for files; returns those that are not there yet."""
        self.root.mkdir(parents=True, exist_ok=True)
        with locked(self.root / '.all'):
            if self._lock is None:
                self._lock = self._mark.open('a')
                fcntl.flock(self._lock, fcntl.LOCK_SH)
            os.utime(self._mark)
            before = read_note(self._note).get('kept', {})
            kept: dict[str, Any] = {name: tuple(facts) for name, facts in before.items()}
            for name, facts in wanted.items():
                if kept.get(name, facts) != facts or not self.has(name, facts):
                    (self.folder / name).unlink(missing_ok=True)
            self._make_room(sum(size - kept.get(name, (0, ''))[0] for name, (size, _) in wanted.items()))
            self.folder.mkdir(exist_ok=True)
            write_note(self._note, {'url': self.url, 'kept': {**kept, **wanted}})
        return [name for name, facts in wanted.items() if not self.has(name, facts)]

    def _make_room(self, needed: int) -> None:
        """Remove sets that nobody reads, the least recently used first, until so many bytes are free."""
        sets = {mark: _size(mark.with_suffix('.json')) for mark in
                sorted(self.root.glob('*.lock'), key=lambda mark: mark.stat().st_mtime_ns)}
        total, bound = sum(sets.values()), most()
        for mark, size in sets.items():
            if needed <= self._room(total, bound):
                return
            if mark != self._mark and _removed(mark):
                total -= size
        if needed > self._room(total, bound):
            raise ConfigError(f'{self.url} needs {_gb(needed)} GB more in {self.root}, where {_gb(total)} GB '
                              f'are in use of {bound / 1e9:g} GB ({MOST}), and the disk has '
                              f'{_gb(shutil.disk_usage(self.root).free)} GB')

    def _room(self, total: int, bound: float) -> float:
        return min(bound - total, shutil.disk_usage(self.root).free)


def place() -> Path:
    """The folder of the cache: $RECOG_DATA_CACHE, else below that of all that recog keeps."""
    given = os.environ.get(PLACE)
    return Path(given or Path(os.environ.get('RECOG_CACHE') or '~/.cache/recog') / 'sets').expanduser()


def most() -> float:
    """How many bytes the cache may have."""
    given = os.environ.get(MOST) or str(USUAL)
    with contextlib.suppress(ValueError):
        if float(given) > 0:
            return float(given) * 1e9
    raise ConfigError(f'{MOST}={given!r} must be a number above 0: the gigabytes of the cache of sets')


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Alone among all threads of all processes that lock the file."""
    with file.open('a') as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def waiting(pool: Executor, work: Callable[[str], None], names: Iterable[str]) -> Iterator[None]:
    """Once for each name when its work is done, in the order of the names; the first error ends it."""
    for future in [pool.submit(work, name) for name in names]:
        yield future.result()


def read_note(file: Path) -> dict[str, Any]:
    """What a note says; nothing where there is none, or half of one."""
    try:
        return dict(json.loads(file.read_text(encoding='utf-8')))
    except (OSError, ValueError):
        return {}


def write_note(file: Path, content: Mapping[str, Any]) -> None:
    """Write a note, the old or the new whatever happens."""
    part = file.with_suffix('.new')
    part.write_text(json.dumps(content), encoding='utf-8')
    part.replace(file)


def _size(note: Path) -> int:
    return sum(size for size, _ in read_note(note).get('kept', {}).values())


def _removed(mark: Path) -> bool:
    """Remove what is kept of a set, unless a process reads it."""
    with mark.open('a') as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        mark.with_suffix('.json').unlink(missing_ok=True)
        for folder in (mark.with_suffix(''), mark.with_suffix('.parts')):
            shutil.rmtree(folder, ignore_errors=True)
        mark.unlink()
        return True


def _gb(size: int) -> str:
    return f'{size / 1e9:,.3g}'
