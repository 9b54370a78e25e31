"""MJSynth (Jaderberg et al., 2014): nine million drawn words with the official splits,
from mjsynth.tar.gz or its unpacked tree.

The archive is read as a stream, never unpacked: once for its annotation files and lexicon, wherever they are
in it, and once for the images. In between, only hashes of the images' paths are kept: 25 bytes an image.
"""

import contextlib
import os
import re
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from recog import prepare
from recog.errors import ConfigError
from recog.prepare import regular, tars
from recog.prepare.regular import MOST, Lost

LISTS = {'annotation_train.txt': 'train', 'annotation_val.txt': 'validation', 'annotation_test.txt': 'test'}
LEXICON = 'lexicon.txt'
FOLDERS = ('', '90kDICT32px', 'max/90kDICT32px', 'ramdisk/max/90kDICT32px', 'mnt/ramdisk/max/90kDICT32px')


class Picture(NamedTuple):
    """An image of the release: its bytes, or why there are none, or its file in a tree. `word` is the word in
    the lexicon, None if there is no lexicon."""

    id: str
    content: bytes | Path | Lost
    word: str | None


class MJSynth(prepare.Builder):
    """MJSynth, 8.9 million words: --source is mjsynth.tar.gz or the folder that it was unpacked to."""

    VERSION = tfds.core.Version('1.0.0')
    name = 'mjsynth'
    EXPECTED = {'': {'train': 7_224_612, 'validation': 802_734, 'test': 891_927}}
    CHUNK = 256

    def bytes_needed(self) -> int:
        """JPEG does not shrink any further; a record adds some 150 bytes to an image of 1.2 kB."""
        return super().bytes_needed() * 9 // 8

    def tasks(self) -> Iterator[tuple[str, Any]]:
        """Every annotated image with its split."""
        if self.source.is_dir():
            yield from self._tree()
            return
        try:
            yield from self._archive()
        except ConfigError:
            raise
        except Exception as error:  # a damaged archive makes libraries raise nearly anything
            raise ConfigError(f'source {self.source} is cut off or damaged '
                              f'({regular.lost("", error).detail})') from None

    def examples(self, task: Picture) -> Iterator[prepare.Example | prepare.Rejected | prepare.Noted]:
        """The record; its text is the part of the file name between the underscores."""
        _, first, rest = Path(task.id).stem.partition('_')
        text, second, _ = rest.rpartition('_')
        if not (first and second and text):
            yield prepare.Rejected(task.id, 'file name holds no word')
            return
        if isinstance(task.content, Path) and not os.path.isfile(task.content):
            yield prepare.Rejected(task.id, 'annotated image is missing')
            return
        content = regular.attempted(task.content) if isinstance(task.content, Path) else task.content
        if isinstance(content, Lost):
            yield prepare.Rejected(task.id, *content)
            return
        if task.word is not None and task.word.lower() != text.lower():
            yield prepare.Noted(task.id, "lexicon's word is another", task.word)
        yield prepare.Example(task.id, text, content)

    def _tree(self) -> Iterator[tuple[str, Any]]:
        roots = [self.source / each for each in FOLDERS
                 if any((self.source / each / name).is_file() for name in LISTS)]
        if not roots:
            raise ConfigError(f'source {self.source} holds no {next(iter(LISTS))}, neither itself nor in '
                              f'{FOLDERS[-1]}')
        root = roots[0]
        _all_there([name for name in LISTS if (root / name).is_file()], root)
        words = None
        if (root / LEXICON).exists():
            with regular.opened(root / LEXICON) as file:
                words = [line.strip() for line in _lines(LEXICON, file)]
        for name, split in LISTS.items():
            with regular.opened(root / name) as file:
                for path, number in _entries(name, _lines(name, file)):
                    yield split, Picture(path, root / path, _word(words, number))

    def _archive(self) -> Iterator[tuple[str, Any]]:
        index, words, root = Index(), None, ''
        for folder, name, lines in _lists(self.source):
            if name == LEXICON:
                words = [line.strip() for line in lines]
            else:
                index.add(LISTS[name], _entries(name, lines))
                root = folder
        _all_there([name for name, split in LISTS.items() if split in index.ends], self.source)
        index.sort()
        self.total = len(index.hashes)
        for name, file, size in _members(self.source):
            if not name.startswith(f'{root}/') or not name.endswith('.jpg'):
                continue
            path = name.removeprefix(f'{root}/')
            place = index.find(path)
            if place < 0:
                yield '', prepare.Rejected(path, 'image is in no annotation file')
                continue
            index.seen[place] = True
            content = file.read() if size <= MOST else Lost('file is too large', f'{size:,} bytes')
            yield index.split(place), Picture(path, content, _word(words, index.numbers[place]))
        if not index.seen.all():
            # The paths were not kept. A missing image is rare enough to read the lists again.
            for _, name, lines in _lists(self.source):
                for path, _ in _entries(name, lines) if name in LISTS else ():
                    if not index.seen[index.find(path)]:
                        yield LISTS[name], prepare.Rejected(path, 'annotated image is missing')


class Index:
    """Finds the split and the number of an annotated image by a 64-bit hash of its path; keeps no path."""

    def __init__(self) -> None:
        self.hashes, self.numbers = array('q'), array('i')
        self.ends: dict[str, int] = {}

    def add(self, split: str, entries: Iterable[tuple[str, int]]) -> None:
        """Add a split's list."""
        for path, number in entries:
            self.hashes.append(hash(path))
            self.numbers.append(number)
        self.ends[split] = len(self.hashes)

    def sort(self) -> None:
        """Sort the hashes, once all lists are added; refuses an image that is listed twice."""
        hashes = np.asarray(self.hashes)
        self.order = np.argsort(hashes, kind='stable').astype(np.int32)
        hashes = hashes[self.order]
        twice = np.flatnonzero(hashes[1:] == hashes[:-1])
        if len(twice):
            places = [f'line {self._line(int(self.order[place])):,} of {self.split(int(self.order[place]))}'
                      for place in (twice[0], twice[0] + 1)]
            raise ConfigError(f'annotation files name an image twice: {" and ".join(places)} ({len(twice):,} '
                              'such images)')
        self.sorted = array('q', hashes.tobytes())
        self.seen = np.zeros(len(hashes), bool)

    def find(self, path: str) -> int:
        """The position of a path in the lists, or -1."""
        place = bisect_left(self.sorted, wanted := hash(path))
        return int(self.order[place]) if place < len(self.sorted) and self.sorted[place] == wanted else -1

    def split(self, place: int) -> str:
        """The split of a position."""
        return list(self.ends)[bisect_right(list(self.ends.values()), place)]

    def _line(self, place: int) -> int:
        return place + 1 - max(end for end in (0, *self.ends.values()) if end <= place)


def _all_there(found: list[str], where: Path) -> None:
    absent = [name for name in LISTS if name not in found]
    if absent:
        raise ConfigError(f'source {where} holds no {", ".join(absent)}; is it the whole of MJSynth?')


def _entries(name: str, lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Path and number in the lexicon of each line './2425/1/115_Lube_45484.jpg 45484'."""
    for count, line in enumerate(lines, 1):
        path, _, number = line.rstrip().rpartition(' ')
        if not path or not re.fullmatch(r'\d{1,9}', number):
            raise ConfigError(f'{name}, line {count}: {line.rstrip()[:60]!r} must be path, blank, number')
        yield path.removeprefix('./'), int(number)


def _word(words: list[str] | None, number: int) -> str | None:
    if words is None:
        return None
    return words[number] if number < len(words) else f'none at {number}'


def _lists(source: Path) -> Iterator[tuple[str, str, Iterator[str]]]:
    """Folder, name and lines of the annotation files and the lexicon; the
    archive is read only as far as needed."""
    wanted = {*LISTS, LEXICON}
    for path, content, _ in _members(source):
        folder, _, name = path.rpartition('/')
        if name in wanted:
            yield folder, name, _lines(name, content)
            wanted.remove(name)
            if not wanted:
                return


def _lines(name: str, file: IO[bytes]) -> Iterator[str]:
    """The lines of a list, whose names may be no UTF-8."""
    return (line.decode('utf-8', 'surrogateescape') for line in regular.lines(name, file))


def _members(source: Path) -> Iterator[tuple[str, IO[bytes], int]]:
    """Path, content and size of each file of the archive, in its order."""
    with regular.opened(source) as file:
        try:
            archive = tars.opened(file, 'r|*')
        except Exception:
            raise ConfigError(f'source {source} is no tar archive: it must be mjsynth.tar.gz or the folder '
                              'that it was unpacked to') from None
        with contextlib.closing(archive):
            for member in tars.members(archive):
                if member.isfile():
                    yield member.name.removeprefix('./'), archive.extractfile(member), member.size  # type: ignore


if __name__ == '__main__':
    sys.exit(prepare.main(MJSynth))
