"""Size and SHA-256 of every file of a prepared set, recorded once; sizes are checked whenever it is opened.

Otherwise a shard that is cut off at a block's boundary would read as empty records, without an error.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from recog.errors import ConfigError

SEAL = 'files.json'


def seal(folder: Path) -> int:
    """Record every file of a prepared set; returns how many."""
    files = {str(file.relative_to(folder)): {'size': file.stat().st_size, 'sha256': _hash(file)}
             for file in _files(folder)}
    part = folder / f'{SEAL}.new'
    part.write_text(json.dumps(files, indent=1) + '\n', encoding='utf-8')
    part.replace(folder / SEAL)
    return len(files)


def check_sizes(folder: Path) -> None:
    """Refuse a set whose files are missing or have other sizes than recorded, if it has a record.

    Of a set in a bucket not all files need be here.
    """
    problem = next(_problems(folder, hashes=False), None) if (folder / SEAL).is_file() else None
    if problem:
        raise ConfigError(f'{folder}: {problem}; prepare the set again')


def check_hashes(folder: Path) -> list[str]:
    """What differs from the record, a line each, every byte being read."""
    return list(_problems(folder, hashes=True))


def digest(folder: Path) -> str:
    """The hash of the record: two sets with the same digest have the same files."""
    return _hash(folder / SEAL)


def found(root: Path) -> list[Path]:
    """The folders of prepared sets at and below the root."""
    marks = [file for name in ('dataset_info.json', 'labels.tsv', 'packed.json') for file in root.rglob(name)]
    return sorted({file.parent for file in marks})


def recorded(folder: Path) -> dict[str, dict]:
    """Size and SHA-256 of each file by its name."""
    try:
        return dict(json.loads((folder / SEAL).read_text(encoding='utf-8')))
    except (ValueError, TypeError):
        raise ConfigError(f'{folder}: {SEAL} is damaged; prepare the set again') from None


def _problems(folder: Path, hashes: bool) -> Iterator[str]:
    try:
        files = json.loads((folder / SEAL).read_text(encoding='utf-8'))
    except ValueError:
        yield f'{SEAL} is damaged'
        return
    partial = folder.with_name(f'{folder.name}.json').is_file()  # the cache of a bucket, whose note this is
    for name, want in files.items():
        file = folder / name
        if not file.is_file():
            if not partial:
                yield f'file {name} is missing'
        elif file.stat().st_size != want['size']:
            yield f'file {name} has {file.stat().st_size:,} bytes instead of {want["size"]:,}'
        elif hashes and _hash(file) != want['sha256']:
            yield f'file {name} has other content than recorded'


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob('*') if file.is_file() and not file.name.startswith(SEAL))


def _hash(file: Path) -> str:
    with file.open('rb') as content:
        return hashlib.file_digest(content, 'sha256').hexdigest()
