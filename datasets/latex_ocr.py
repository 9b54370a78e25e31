"""LaTeX-OCR's set (GuoJiashu): caption_data.csv (Column1 name of a bitmap,
Column2 LaTeX) with its folder of bitmaps.

`published` is the author's split by image, which shares formulas between splits. `disjoint` splits by
formula, 70/15/15 by a hash: formulas with the same tokens in normal form stay together. Formulas of
CROHME's official tests, recognised by the names of their images or given by --exclude, form a split
`official`, so that no training has them.
"""

import argparse
import io
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from recog import prepare
from recog.errors import ConfigError
from recog.images.read import Unreadable
from recog.prepare import bitmaps, labels, trees
from recog.prepare.folding import FORMULAS, formula
from recog.prepare.regular import Lost
from recog.text.held_out import share

CSV, COLUMNS = 'caption_data.csv', ('Column1', 'Column2')
# scikit-learn's train_test_split, twice: share and seed.
REST, TEST = (0.3, 42), (0.5, 41)
SHARES = (('test', 0.15), ('validation', 0.30), ('train', 1.0))  # of the hashes, cumulative
# The names of CROHME's test images of 2014, and of 2016 and 2019. Its training images have others.
OFFICIAL = re.compile(r'(18|2\d|3\d|5\d\d)_em_\d+[a-z]?|RIT_2014_\d+|(UN|ISICal)(19)?(wb)?_\d+_em_\d+')


class Formula(NamedTuple):
    """A line of the list and its encoded image, or why there is none."""

    id: str
    text: str
    content: bytes | Lost


class LatexOcr(prepare.Builder):
    """LaTeX-OCR's 22,984 formulas: --source is a folder or zip with caption_data.csv and the bitmaps,
    or their archive."""

    VERSION = tfds.core.Version('1.0.0')
    name = 'latex_ocr'
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name='published', description="the author's split by image"),
                       tfds.core.BuilderConfig(name='disjoint',
                                               description='parted by formula, official tests apart')]
    fold = FORMULAS
    EXPECTED = {'published': {'train': 16_088, 'validation': 3_448, 'test': 3_448}}

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('--exclude', action='append', default=[], metavar='FILE',
                            help='disjoint: captions (key, tab, tokens) that training shall not have; '
                                 'repeatable')

    def tasks(self) -> Iterator[tuple[str, Any]]:
        """Every line of the list with its split, in the split's order."""
        rows = self._rows()
        self.total = len(rows)
        if self.config_name == 'published':
            if self.options['exclude']:
                raise ConfigError('--exclude is for --config disjoint: the published split is as it is')
            dealt = published(len(rows))
        else:
            dealt = disjoint(rows, [text for file in self.options['exclude']
                                    for text in bitmaps.captions(Path(file)).values()])
        counts = Counter(row.file for row in rows)
        uses: dict[str, list[tuple[str, Formula]]] = {}
        for split, numbers in dealt.items():
            for number in numbers:
                name, text = rows[number]
                # The row number distinguishes records of one image.
                key = name if counts[name] == 1 else f'{name}#{number}'
                uses.setdefault(name, []).append((split, Formula(key, text, b'')))
        for name, content in bitmaps.stream(self.source, uses):
            yield from ((split, formula._replace(content=content)) for split, formula in uses.pop(name))

    def examples(self, task: Formula) -> Iterator[prepare.Example | prepare.Rejected]:
        """The record, with LaTeX as given."""
        if isinstance(task.content, Lost):
            yield prepare.Rejected(task.id, *task.content)
            return
        try:
            yield prepare.Example(task.id, task.text, bitmaps.recorded(task.content, task.id))
        except Unreadable as error:
            yield prepare.Rejected(task.id, 'image cannot be decoded', error.reason)

    def _rows(self) -> list[labels.Label]:
        lists = [(tree, name) for tree in trees.found(self.source)[0]
                 for name in tree.names if name.rpartition('/')[2] == CSV]
        if len(lists) != 1:
            raise ConfigError(f'{self.source} has {len(lists)} files called {CSV} instead of one')
        tree, name = lists[0]
        return [labels.Label(bitmaps.stem(row.file), row.text)
                for row in labels.read(name, io.BytesIO(tree.read(name)), 'csv', COLUMNS)]


def published(count: int) -> dict[str, list[int]]:
    """The author's split of `count` rows, as scikit-learn's train_test_split makes it."""
    train, rest = _parted(np.arange(count), *REST)
    validation, test = _parted(rest, *TEST)
    return {'train': train.tolist(), 'validation': validation.tolist(), 'test': test.tolist()}


def _parted(rows: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.RandomState(seed).permutation(len(rows))
    count = math.ceil(share * len(rows))
    return rows[order[count:]], rows[order[:count]]


def disjoint(rows: Sequence[labels.Label], excluded: Iterable[str] = ()) -> dict[str, list[int]]:
    """The split by formula; within a split, rows are in the order of their hashes."""
    keys = [formula(row.text) for row in rows]
    official = {formula(text) for text in excluded}
    official |= {key for key, row in zip(keys, rows, strict=True) if OFFICIAL.fullmatch(row.file)}
    dealt: dict[str, list[int]] = {'train': [], 'validation': [], 'test': [], 'official': []}
    places = {key: share(key) for key in keys}
    for number in sorted(range(len(rows)), key=lambda number: (places[keys[number]], number)):
        place = places[keys[number]]
        dealt_to = next(split for split, end in SHARES if place < end)
        split = 'official' if keys[number] in official else dealt_to
        dealt[split].append(number)
    return dealt


if __name__ == '__main__':
    sys.exit(prepare.main(LatexOcr))
