"""Image files as a set: a folder with labels.tsv, or files that were given."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from recog.data import bucket, file_hashes, walk
from recog.data.rows import Row
from recog.errors import ConfigError
from recog.images.read import Unreadable, read_image

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.ppm', '.pgm')


class Files:
    """Image files, with or without texts, as a source."""

    def __init__(self, name: str, paths: Sequence[str], texts: Sequence[str] = (), ids: Sequence[str] = ()):
        self.name, self.paths = name, paths
        self.texts, self.ids = texts or [''] * len(paths), ids or paths

    def __len__(self) -> int:
        return len(self.paths)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return [(self.ids[i], self.texts[i]) for i in indices]

    def rows(self, indices: Sequence[int]) -> Iterator[Row]:
        return (read_row(self.ids[i], self.texts[i], self.paths[i]) for i in indices)


def labelled_folder(name: str, folder: Path) -> Files:
    """A folder of images with labels.tsv: file, tab, text (further columns are left alone)."""
    file_hashes.check_sizes(folder)
    paths, texts, ids = [], [], []
    file = folder / 'labels.tsv'
    try:
        text = file.read_bytes().decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ConfigError(f'{file} must be UTF-8; byte {error.start} is not') from None
    # Not splitlines: U+2028 and its like may stand in a text.
    for number, line in enumerate(text.replace('\r\n', '\n').removesuffix('\n').split('\n'), 1):
        columns = line.split('\t')
        if len(columns) < 2 or not columns[0]:
            raise ConfigError(f'{file}, line {number}: {line[:60]!r} must be file, tab, text')
        paths.append(str(folder / columns[0]))
        texts.append(columns[1])
        ids.append(columns[0])
    if not paths:
        raise ConfigError(f'{file} holds no example')
    bucket.bring(folder)
    return Files(name, paths, texts, ids)


def read_row(name: str, text: str, encoded: Any) -> Row:
    """The example with its image decoded, or the reason why not."""
    try:
        return Row(name, text, read_image(encoded))
    except Unreadable as error:
        return Row(name, text, None, error.reason)


def find_images(names: Iterable[str]) -> list[str]:
    """The image files that files, folders and patterns stand for, in the order given (folders sorted).

    What is no regular file is among them, so that reading it says so.
    """
    files: list[str] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = sorted(file for file in walk.files(path) if file.lower().endswith(SUFFIXES))
            if not inside:
                raise ConfigError(f'folder {name} holds no image ({", ".join(SUFFIXES)})')
            files += inside
        elif os.path.lexists(name):
            files.append(name)
        else:
            matches = walk.matching(name) if glob.has_magic(name) else []
            if not matches:
                raise ConfigError(f'image {name} does not exist')
            files += [match for match in matches if not os.path.isdir(match)]
    return files
