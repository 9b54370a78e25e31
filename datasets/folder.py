"""Any folder of images with labels (tsv, csv, PaddleOCR's list, JSON lines,
ICDAR's gt.txt), HME100K and im2latex-100k.

Each split has a file of labels (--split train=train.tsv --split test=test.tsv), or one file is divided by
shares (--labels labels.tsv --ratio train=0.9 --ratio validation=0.1). Shares go by a hash of the image's
file name, so that a label keeps its split.
"""

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds

from recog import prepare
from recog.data import walk
from recog.errors import ConfigError
from recog.prepare import labels, regular
from recog.prepare.folding import FORMULAS, WORDS

PROBED = 100  # labels that are tried to find the folder of the images
LARGEST = 1 << 28  # bytes of im2latex's formulas


class Folder(prepare.Builder):
    """A set made of a folder of images and what is written in them: --name says what it is called."""

    name = 'folder'
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name='own', description='any folder with labels'),
        tfds.core.BuilderConfig(name='hme100k',
                                description='train_labels.txt and test_labels.txt: name, tab, tokens'),
        tfds.core.BuilderConfig(name='im2latex',
                                description='im2latex_{train,validate,test}.lst and im2latex_formulas.lst'),
    ]
    PLAIN = 'own'
    EXPECTED = {'hme100k': {'train': 74_502, 'test': 24_607},
                'im2latex': {'train': 83_883, 'validation': 9_319, 'test': 10_354}}

    def __init__(self, *, config: str | None = None, name: str = '', **rest: Any):
        own = config in (None, self.PLAIN)
        if own and not name:
            raise ConfigError('give --name NAME: what the set is called')
        super().__init__(config=config, name=name or str(config), **rest)
        self.fold = WORDS if own else FORMULAS

    @property
    def builder_config_name(self) -> None:
        """None: a config says only what form the source has, so it gets no folder of its own."""

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('--labels', default='', metavar='FILE',
                            help='the file of labels (default: labels.tsv in the source)')
        parser.add_argument('--split', action='append', metavar='NAME=FILE',
                            help='a split and its file of labels; repeatable')
        parser.add_argument('--ratio', action='append', metavar='NAME=SHARE',
                            help='a split and its share of the labels')
        parser.add_argument('--seed', type=int, default=0, help='another way to deal out by shares')
        parser.add_argument('--images', default='', metavar='FOLDER',
                            help='where the images are (default: is found)')
        parser.add_argument('--form', choices=labels.FORMS,
                            help='of the labels (default: by the name of their file)')
        parser.add_argument('--columns', default='', metavar='FILE,TEXT',
                            help='names of the columns, where they are unusual')

    def tasks(self) -> Iterator[tuple[str, Any]]:
        lists = {'own': self._own, 'hme100k': self._hme100k, 'im2latex': self._im2latex}[self.config_name]()
        shares = self._shares()
        firsts = [list(islice(each.labels, PROBED)) for each in lists]
        self.total = sum(_count(each.file) for each in lists)
        for each, first in zip(lists, firsts, strict=True):
            folder = self._folder(each, first)
            for label in chain(first, each.labels):
                split = each.split or self._dealt(shares, label.file)
                yield split, (label.file, label.text, str(folder / label.file))

    def examples(self, task: tuple[str, str, str]) -> Iterator[Any]:
        name, text, path = task
        content = regular.attempted(path)
        if isinstance(content, regular.Lost):
            yield prepare.Rejected(name, f'image {content.reason}', content.detail)
        else:
            yield prepare.Example(name, text, content)

    def _folder(self, listed: 'Listed', first: Sequence[labels.Label]) -> Path:
        """Where the images of these labels are."""
        if not first:
            raise ConfigError(f'{listed.file} holds no label')
        folders = [Path(self.options['images'])] if self.options['images'] else listed.folders
        for folder in folders:
            if any(os.path.isfile(folder / label.file) for label in first):  # whatever the name
                return folder
        raise ConfigError(f'{listed.file}: neither {first[0].file!r} nor the labels after it name an image '
                          'in '
                          f'{", ".join(map(str, dict.fromkeys(folders)))}; give --images FOLDER')

    def _own(self) -> list['Listed']:
        options, base = self.options, self.source if self.source.is_dir() else self.source.parent
        if options['split'] and (options['labels'] or options['ratio']):
            raise ConfigError('--split names a file for every split: it goes with neither --labels nor '
                              '--ratio')
        if options['split']:
            files = _pairs('--split', options['split'])
        else:
            file = options['labels'] or (str(self.source) if self.source.is_file() else 'labels.tsv')
            files = {'' if options['ratio'] else 'train': file}
        columns = tuple(part.strip() for part in options['columns'].split(',')) if options['columns'] else ()
        if len(columns) not in (0, 2):
            raise ConfigError(f'--columns {options["columns"]!r} must be FILE,TEXT: the names of two columns')
        made = []
        for split, name in files.items():
            file = Path(name) if Path(name).is_file() else base / name
            if not file.is_file():
                raise ConfigError(f'labels {str(file)!r} do not exist; give --labels FILE, or --split '
                                  'NAME=FILE for each split')
            folders = [file.parent, base, file.parent / 'images', base / 'images', base.parent,
                       base.parent.parent]
            made.append(Listed(split, file, _read(file, options['form'], columns), folders))
        return made

    def _shares(self) -> dict[str, float]:
        """Split -> where its share of the interval from 0 to 1 ends."""
        ends, end = {}, 0.0
        for name, share in _pairs('--ratio', self.options['ratio'] or []).items():
            try:
                end += float(share)
            except ValueError:
                raise ConfigError(f'--ratio {name}={share} must be a number between 0 and 1') from None
            ends[name] = end
        if ends and abs(end - 1) > 1e-6:
            raise ConfigError(f'--ratio {" ".join(self.options["ratio"])} adds up to {end:g}; it must be 1')
        return ends

    def _dealt(self, ends: Mapping[str, float], name: str) -> str:
        digest = hashlib.sha256(f'{self.options["seed"]}/{name}'.encode('utf-8', 'surrogatepass')).digest()
        place = int.from_bytes(digest[:8]) / 2 ** 64
        return next((split for split, end in ends.items() if place < end), [*ends][-1])

    def _release_only(self) -> None:
        for option in ('split', 'ratio', 'form', 'columns'):
            if self.options[option]:
                raise ConfigError(f'--{option} is for labels of one\'s own; {self.config_name} has its '
                                  'splits and its form')

    def _hme100k(self) -> list['Listed']:
        self._release_only()
        made = []
        for split in ('train', 'test'):
            for file in sorted(path for path in map(Path, walk.files(self.source))
                               if path.name == f'{split}_labels.txt'):
                folders = [file.parent / f'{split}_images', file.parent / 'images', file.parent, self.source]
                made.append(Listed(split, file, _read(file), folders))
        if not made:
            raise ConfigError(f'{self.source} holds neither train_labels.txt nor test_labels.txt of HME100K')
        return made

    def _im2latex(self) -> list['Listed']:
        self._release_only()
        file = Path(self.options['labels'] or self.source / 'im2latex_formulas.lst')
        if not file.is_file():
            raise ConfigError(f'{file} does not exist: it is the list of the formulas of im2latex-100k')
        formulas = [_either(line.removesuffix(b'\r'))
                    for line in regular.content(file, LARGEST).removesuffix(b'\n').split(b'\n')]
        made = []
        for split, name in (('train', 'train'), ('validation', 'validate'), ('test', 'test')):
            each = self.source / f'im2latex_{name}.lst'
            if each.is_file():
                folders = [self.source / sub
                           for sub in ('formula_images', 'formula_images_processed', 'images', '')]
                made.append(Listed(split, each, _rendered(each, formulas), folders))
        if not made:
            raise ConfigError(f'{self.source} holds none of im2latex_train.lst, im2latex_validate.lst, '
                              'im2latex_test.lst')
        return made


class Listed(NamedTuple):
    """A file of labels: its split ('' if it is divided by shares), and
    the folders that may hold its images."""

    split: str
    file: Path
    labels: Iterator[labels.Label]
    folders: list[Path]


def _read(file: Path, form: str = '', columns: Sequence[str] = ()) -> Iterator[labels.Label]:
    with regular.opened(file) as content:
        yield from labels.read(str(file), content, form or '', columns)


def _count(file: Path) -> int:
    with file.open('rb') as content:
        return sum(block.count(b'\n') for block in iter(lambda: content.read(1 << 20), b''))


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for pair in given:
        name, _, value = pair.partition('=')
        if not name or not value or name in pairs:
            raise ConfigError(f'{option} {pair!r} must be NAME=VALUE, each name once')
        pairs[name] = value
    return pairs


def _rendered(file: Path, formulas: Sequence[str]) -> Iterator[labels.Label]:
    """im2latex's lists: the formula's number, from 0, the image's name, how it was rendered."""
    with regular.opened(file) as content:
        for number, line in labels.lines(str(file), content):
            cells = line.split()
            place = int(cells[0]) if len(cells) > 1 and re.fullmatch(r'\d{1,9}', cells[0]) else len(formulas)
            if place >= len(formulas):
                raise ConfigError(f'{file}, line {number}: {line[:60]!r} must be the number of a formula '
                                  f'below {len(formulas):,} '
                                  'and the name of an image')
            yield labels.Label(f'{cells[1].removesuffix(".png")}.png', formulas[place])


def _either(line: bytes) -> str:
    """Decode a line; a few formulas of the release are Latin-1."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode('latin-1')


if __name__ == '__main__':
    sys.exit(prepare.main(Folder))
