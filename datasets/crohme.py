"""CROHME: handwritten formulas of the competitions of 2011 to 2019,
drawn from their ink or as published bitmaps.

A twentieth of the training formulas, chosen by a hash of their tokens in normal form, are the split
`validation`, the same in both configs; `train+validation` is the whole release.

Ink: --source is a tree or zip of InkML. Its splits are folders and archives called train, or test and 2014,
2016 or 2019, or what --ink SPLIT=FOLDER names; of files of one name in a split, that with a truth in the
latest release is taken. Bitmaps: --captions SPLIT=FILE (key, tab or blank, tokens) and --bitmaps SPLIT=PATH
(a folder of png or bmp, an archive, or WAP's pkl). Paths are relative to --source, also into archives.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from recog import prepare
from recog.errors import ConfigError
from recog.images.ink import joined
from recog.images.read import Unreadable
from recog.prepare import bitmaps, inkml, repeats, trees
from recog.prepare.folding import FORMULAS, formula
from recog.prepare.regular import Lost
from recog.prepare.repeats import Place
from recog.text.held_out import held_out

TESTS = {'test_2014': 986, 'test_2016': 1_147, 'test_2019': 1_199}
SPLITS = ('train', *TESTS)  # of the releases
OTHER = re.compile(r'symbol|struct|matri|isolated|junk')  # the competitions' other tasks
NOWHERE = 'in no folder called train, or test and 2014, 2016 or 2019'


class Ink(NamedTuple):
    """An InkML file, or why it cannot be read."""

    id: str
    content: bytes | Lost


class Bitmap(NamedTuple):
    """A caption and its encoded image, or why there is none."""

    id: str
    text: str
    content: bytes | Lost


class Crohme(prepare.Builder):
    """CROHME's handwritten formulas. `truth` is the text as given, `points` and `strokes` (their lengths)
    are the ink, `writer` is who wrote it; `symbols` says of each stroke which token of the text it draws (-1:
    none), and is empty where the file does not say so.

    The ink is kept in whole numbers, in thousandths where a file has fractions,
    so that drawing it gives the image again.
    """

    VERSION = tfds.core.Version('2.0.0')
    fold = FORMULAS
    name = 'crohme'
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name='ink', version='2.1.0',
                                               description='drawn from InkML, tokens from its truth and '
                                                           'MathML'),
                       tfds.core.BuilderConfig(name='bitmaps',
                                               description='published bitmaps and captions: WAP, BTTR, CAN')]
    PLAIN = 'ink'
    EXPECTED = {'ink': {'train': 8_418, 'validation': 416, **TESTS},
                'bitmaps': {'train': 8_420, 'validation': 415, **TESTS}}

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        for name, metavar, text in (('--ink', 'SPLIT=FOLDER',
                                     'ink: where a split is (default: told by the names of folders)'),
                                    ('--captions', 'SPLIT=FILE', "bitmaps: a split's captions"),
                                    ('--bitmaps', 'SPLIT=PATH', "bitmaps: a split's folder, archive or pkl")):
            parser.add_argument(name, action='append', default=[], metavar=metavar,
                                help=f'{text}; repeatable')

    def extra_features(self) -> dict[str, Any]:
        features = {'truth': tfds.features.Text(),
                    'points': tfds.features.Tensor(shape=(None, 2), dtype=np.float32),
                    'strokes': tfds.features.Tensor(shape=(None,), dtype=np.int32)}
        if self.config_name == 'bitmaps':
            return features
        return {**features, 'writer': tfds.features.Text(),
                'symbols': tfds.features.Tensor(shape=(None,), dtype=np.int32)}

    def tasks(self) -> Iterator[tuple[str, Any]]:
        """Every InkML file, or every caption, with its split."""
        foreign = {'ink': ('captions', 'bitmaps'), 'bitmaps': ('ink',)}[self.config_name]
        for option in foreign:
            if self.options[option]:
                raise ConfigError(f'--{option} is for --config {"bitmaps" if option != "ink" else "ink"}, '
                                  f'this is {self.config_name}')
        yield from self._inks() if self.config_name == 'ink' else self._bitmaps()

    def dealt(self, split: str, text: str) -> str:
        """Training's own split, or `validation`: no formula is in both."""
        return 'validation' if split == 'train' and held_out(formula(text)) else split

    def examples(self, task: Ink | Bitmap) -> Iterator[prepare.Example | prepare.Rejected | prepare.Noted]:
        """The record of an InkML file, or of a caption with its bitmap."""
        yield from inkml.drawn(*task) if isinstance(task, Ink) else _published(task)

    def _inks(self) -> Iterator[tuple[str, Any]]:
        given = _pairs('ink', self.options['ink'], self.source)
        files: dict[tuple[str, str], list[Place]] = {}
        for split, where in given.items() or [('', self.source)]:
            for place in _files(where):
                self.total += 1
                found = split or split_of(place.path)
                if found:
                    files.setdefault((found, _key(place)), []).append(place)
                else:
                    yield 'none', prepare.Rejected(place.path, NOWHERE)
        several = [place for places in files.values() if len(places) > 1 for place in places]
        known = repeats.contents(several, 'truth')
        splits = {}
        for (split, key), places in files.items():
            splits |= dict.fromkeys(places, split)
            for place, reason, meant in repeats.settled(places, known, 'truth') if len(places) > 1 else ():
                if not reason:
                    raise ConfigError(f'{meant.path} and {place.path} are both {key} of {split}; --ink '
                                      f'{split}=FOLDER says which is meant')
                del splits[place]
                yield split, prepare.Rejected(place.path, reason, meant.path)
        for place, content in repeats.read(splits):
            yield splits[place], Ink(_key(place), content)

    def _bitmaps(self) -> Iterator[tuple[str, Any]]:
        lists, places = (_pairs(option, self.options[option], self.source)
                         for option in ('captions', 'bitmaps'))
        if not lists or lists.keys() != places.keys():
            raise ConfigError('--config bitmaps takes --captions SPLIT=FILE and --bitmaps SPLIT=PATH for the '
                              'same splits')
        for split, file in lists.items():
            texts = bitmaps.captions(file)
            self.total += len(texts)
            for key, content in bitmaps.stream(places[split], texts):
                yield split, Bitmap(key, texts[key], content)


def split_of(path: str) -> str:
    """The split that the innermost folder of a path names; '' if none does,
    or if it is the test of another year."""
    folders = [folder.lower() for folder in path.split('/')[:-1]]
    if any(OTHER.search(folder) for folder in folders):
        return ''
    for place in range(len(folders) - 1, -1, -1):
        if 'train' in folders[place]:
            return 'train'
        if 'test' in folders[place]:
            years = [year for folder in reversed(folders[:place + 1])
                     for year in re.findall(r'20\d\d', folder)]
            split = f'test_{years[0]}' if years else ''
            return split if split in SPLITS else ''
    return ''


def _pairs(option: str, given: Sequence[str], source: Path) -> dict[str, Path]:
    """Split -> path of options SPLIT=PATH, whose paths are relative to the source."""
    found = {}
    for pair in given:
        split, sign, path = pair.partition('=')
        if not sign or not path or split not in SPLITS:
            raise ConfigError(f'--{option} {pair!r} must be SPLIT=PATH, the split one of {", ".join(SPLITS)}')
        if split in found:
            raise ConfigError(f'--{option} {pair!r}: {split} is given twice')
        found[split] = source / path
        if not trees.exists(found[split]):
            raise ConfigError(f'--{option} {pair!r}: {found[split]} does not exist')
    return found


def _files(where: Path) -> Iterator[Place]:
    """The InkML files below a path, also in archives, whose names count as folders."""
    for tree in trees.found(where)[0]:
        below = f'{tree.path.relative_to(where).with_suffix("")}/' if where in tree.path.parents else ''
        for name in sorted(tree.names):
            if name.lower().endswith('.inkml') and '__MACOSX' not in name:
                yield Place(tree, name, f'{where.resolve().name}/{below}{name}')


def _key(place: Place) -> str:
    return place.name.rpartition('/')[2][:-len('.inkml')]


def _published(task: Bitmap) -> Iterator[prepare.Example | prepare.Rejected]:
    if isinstance(task.content, Lost):
        yield prepare.Rejected(task.id, *task.content)
        return
    try:
        image = bitmaps.recorded(task.content, task.id)
    except Unreadable as error:
        yield prepare.Rejected(task.id, 'image cannot be decoded', error.reason)
        return
    if not task.text:
        yield prepare.Rejected(task.id, 'there is no caption')
        return
    points, lengths = joined([])
    extra: Mapping[str, Any] = {'truth': task.text, 'points': points, 'strokes': lengths}
    yield prepare.Example(task.id, task.text, image, extra)


if __name__ == '__main__':
    sys.exit(prepare.main(Crohme))
