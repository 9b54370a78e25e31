"""Sets in a bucket: the files that are read are kept on the disk, in a folder that looks like a local set's.

A set is opened as a local one, so that its rows, batches and fingerprint are the same. Rows are shuffled over
the whole set, so all that a split needs is fetched before training, several files at a time.
"""

import hashlib
import logging
import os
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from recog.buckets import LIBRARIES, check_library
from recog.data import file_hashes
from recog.data.cache import Cache, locked, waiting
from recog.errors import ConfigError, nearest, one_line

TOGETHER = 8  # files that are fetched at the same time
TRIES = 3  # of a file that does not arrive, or not as it was recorded
ABOUT = ('dataset_info.json', 'features.json', 'packed.json', 'labels.tsv')  # what says what else there is
SHARDS = ('.parquet', '.tar')

_OPEN: dict[Path, 'Bucketed'] = {}  # the sets of this process by their folders on the disk
_FOUND: dict[tuple[str, str], Path] = {}
_ALONE = threading.Lock()


class Bucketed:
    """A set's folder in a bucket: its files with their sizes and marks, and its folder on the disk."""

    def __init__(self, files: Any, url: str, listed: dict[str, tuple[int, str]]):
        self.url, self.listed, self._files = url, listed, files
        self._base = files._strip_protocol(url)
        self._cache = Cache(url)
        self.folder = self._cache.folder
        self._recorded: dict[str, Any] = {}

    def bring(self, names: Iterable[str]) -> None:
        """Have these files on the disk, each as large as in the bucket and with the hash that is recorded."""
        wanted = {name: self.listed[name] for name in names}
        missing = self._cache.reserve(wanted)
        if not missing:
            return
        size = sum(wanted[name][0] for name in missing)
        if size > 1e6 or len(missing) > TOGETHER:
            print(f'fetching {len(missing):,} files, {size / 1e9:,.2f} GB, of {self.url} into {self.folder}',
                  file=sys.stderr, flush=True)
        from tqdm import tqdm

        pool = ThreadPoolExecutor(TOGETHER)
        try:
            with tqdm(total=size, unit='B', unit_scale=True, disable=None) as bar:
                for name, _ in zip(missing, waiting(pool, self._fetch, missing), strict=True):
                    bar.update(wanted[name][0])
        finally:
            pool.shutdown(cancel_futures=True)

    def bring_about(self) -> None:
        """Have what says what the set holds, and the record of its files' hashes."""
        self.bring([file_hashes.SEAL] if file_hashes.SEAL in self.listed else [])
        if file_hashes.SEAL in self.listed:
            self._recorded = file_hashes.recorded(self.folder)
            for name, (size, _) in self.listed.items():
                if size != self._recorded.get(name, {'size': size})['size']:
                    raise ConfigError(f'{self.url}/{name} has {size:,} bytes instead of '
                                      f'{self._recorded[name]["size"]:,}; copy it to the bucket again')
            lost = next((name for name in self._recorded if name not in self.listed), '')
            if lost:
                raise ConfigError(f'{self.url}/{lost} is missing; copy it to the bucket again')
        self.bring(name for name in self.listed if name in ABOUT)

    def _fetch(self, name: str) -> None:
        """One file; of several processes that want it one fetches it, and the others wait."""
        place, part = self.folder / name, self._cache.part(name)
        problem = ''
        with locked(part.with_name(f'{part.name}.lock')):
            for _ in range(TRIES):
                if self._cache.has(name, self.listed[name]):
                    return
                problem = self._arrives(name, part)
                if not problem:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(part, place)
        raise ConfigError(f'{self.url}/{name} {problem}')

    def _arrives(self, name: str, part: Path) -> str:
        """What is wrong with the file that came; '' if nothing is."""
        try:
            self._files.get_file(f'{self._base}/{name}', str(part))
            size = part.stat().st_size
        except Exception as error:  # each library of a cloud raises what it likes
            return f'cannot be fetched: {one_line(error)}'
        if size != self.listed[name][0]:
            return f'came with {size:,} bytes instead of {self.listed[name][0]:,}: was it changed just now?'
        known = self._recorded.get(name)
        with part.open('rb') as content:
            os.fsync(content.fileno())  # else a power cut could leave a file of this size with nothing in it
            if known and hashlib.file_digest(content, 'sha256').hexdigest() != known['sha256']:
                return f'has other content than {file_hashes.SEAL} records; copy it to the bucket again'
        return ''


def set_folder(path: str, split: str, root: str) -> Path:
    """The folder on the disk of a set below a root in a bucket, which has what says what the set holds."""
    url = f'{str(root).rstrip("/")}/{path}'
    with _ALONE:
        if (url, split) in _FOUND:
            return _FOUND[url, split]
        files = _library(str(root))
        listed = _listed(files, url, root)
        inner = _inner(listed, split)
        if inner is None:
            raise ConfigError(_missing(files, path, split, root))
        within = f'{inner}/' if inner else ''
        found = Bucketed(files, f'{url}/{inner}' if inner else url, {
            name.removeprefix(within): facts for name, facts in listed.items() if name.startswith(within)})
        if found.folder not in _OPEN:
            found.bring_about()
            _OPEN[found.folder] = found
        _FOUND[url, split] = found.folder
        return found.folder


def bring(folder: Path, names: Iterable[str] | None = None) -> None:
    """Have these files of a folder on the disk, or all, if it is that of a set in a bucket."""
    bucketed = _OPEN.get(folder)
    if bucketed:
        bucketed.bring(bucketed.listed if names is None else names)


def sizes(folder: Path) -> dict[str, int] | None:
    """The sizes of all files that a set in a bucket has there; None of a local set."""
    bucketed = _OPEN.get(folder)
    return {name: size for name, (size, _) in bucketed.listed.items()} if bucketed else None


def _library(root: str) -> Any:
    """What reads files of that bucket."""
    kind = check_library('--data', root)
    import fsspec

    logging.getLogger(LIBRARIES[kind]).addHandler(logging.NullHandler())  # what it logs is raised as well
    try:
        return fsspec.filesystem(kind, use_listings_cache=False)
    except Exception as error:  # no credentials, a wrong setting: each library raises what it likes
        raise _unreachable(root, error) from None


def _listed(files: Any, url: str, root: str) -> dict[str, tuple[int, str]]:
    """All files below a folder of a bucket: size, and what changes when the file does."""
    base = files._strip_protocol(url)
    try:
        found = files.find(base, detail=True, refresh=True)
    except FileNotFoundError:
        return {}
    except Exception as error:
        raise _unreachable(root, error) from None
    return {name.removeprefix(base).lstrip('/'): (int(facts['size']), _mark(facts))
            for name, facts in sorted(found.items()) if facts['type'] == 'file' and not name.endswith('/')}


def _mark(facts: dict[str, Any]) -> str:
    known = (facts.get(name) for name in ('generation', 'etag', 'ETag', 'LastModified', 'created'))
    return str(next((each for each in known if each), ''))


def _unreachable(root: str, error: Exception) -> ConfigError:
    return ConfigError(f'--data {root} cannot be read: {one_line(error)} ({type(error).__name__})')


def _inner(listed: dict[str, Any], split: str) -> str | None:
    """Where below its name a set's files stand, as in a local folder; None if there is no set."""
    if 'packed.json' in listed and not split:
        return ''
    if f'{split}/labels.tsv'.lstrip('/') in listed:
        return split
    versions = sorted(name.partition('/')[0] for name in listed
                      if name.count('/') == 1 and name.endswith('/dataset_info.json'))
    if versions:
        return versions[-1]
    known = 'dataset_info.json' in listed or any(name.endswith(SHARDS) for name in listed)
    return '' if known else None


def _missing(files: Any, path: str, split: str, root: str) -> str:
    try:
        there = [each.rstrip('/').rpartition('/')[2] for each in files.ls(files._strip_protocol(root),
                                                                         detail=False)]
    except FileNotFoundError:
        there = []
    except Exception as error:
        return str(_unreachable(root, error))
    name = f'{path}:{split}' if split else path
    return (f'set {name!r} is not there below --data {root}{nearest(path, there)}; there are: '
            f'{", ".join(sorted(there)) or "none"}')
