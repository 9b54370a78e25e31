"""What tells that a set is still the one it was: a hash that changes with its examples."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from recog.data import bucket, file_hashes
from recog.data.drawn.words import Words
from recog.data.origin import DRAWN_BY, origin
from recog.data.rows import Source
from recog.data.sets import set_folder
from recog.data.tables import HUB, Table


def fingerprint(source: Source, config: ConfigDict, root: str | Path) -> str:
    """The hash of a set: of what draws it, of the recorded hashes of its files, else of labels and sizes."""
    name = source.name
    if name.partition(':')[0] in DRAWN_BY:
        drawn_from = source.drawn_from() if isinstance(source, Words) else {}
        content = json.dumps([origin(name, config), drawn_from], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()[:16]
    if isinstance(source, Table) and name.partition(':')[0] == HUB:
        return source.fingerprint()
    folder = set_folder(name, root)
    if (folder / file_hashes.SEAL).is_file():
        return file_hashes.digest(folder)[:16]
    total = hashlib.sha256()
    in_bucket = bucket.sizes(folder)
    for path, size in sorted(in_bucket.items() if in_bucket is not None else _files(folder)):
        total.update(f'{path}\0{size}\n'.encode(errors='surrogateescape'))
    if (folder / 'labels.tsv').is_file():
        total.update((folder / 'labels.tsv').read_bytes())
    return total.hexdigest()[:16]


def _files(folder: Path, within: str = '') -> Iterator[tuple[str, int]]:
    """Path and size of every file below a folder."""
    with os.scandir(folder / within) as entries:
        for entry in entries:
            path = f'{within}{entry.name}'
            if entry.is_dir():
                yield from _files(folder, f'{path}/')
            else:
                yield path, entry.stat().st_size if entry.is_file() else 0
