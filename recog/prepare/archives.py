"""The official archives of the scene text benchmarks: how they are recognised, and the words in them.

IIIT5K (.mat, with lexicons), SVT (XML of whole scenes, with lexicons), ICDAR 2003 (XML of words
or of scenes), 2013 and 2015 (gt.txt), and folders of crops with labels.tsv. They may be unpacked
or not, anywhere below the given folder.
"""

import io
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from recog.errors import ConfigError
from recog.prepare import labels, matlab, regular, trees
from recog.prepare.matlab import Matrix
from recog.prepare.regular import Lost
from recog.prepare.trees import Tree

# Number of words in each release; it identifies an annotation if the name of its folder does not.
SIZES = {('ic03', 'test'): 1110, ('ic03', 'train'): 1156, ('ic13', 'test'): 1095, ('ic13', 'train'): 848,
         ('ic15', 'test'): 2077, ('ic15', 'train'): 4468}
FOLDERS = ('iiit5k', 'svt', 'svtp', 'cute80', 'ic03', 'ic13', 'ic15')
_YEARS = {'ic03': r'(?<![a-z])ic(dar)?[ _-]?(20)?03',
          'ic13': r'(?<![a-z])(ic(dar)?[ _-]?(20)?13|ch(allenge)?[ _-]?2(?!\d))',
          'ic15': r'(?<![a-z])(ic(dar)?[ _-]?(20)?15|ch(allenge)?[ _-]?4(?!\d))'}
_SPLITS = {'train': r'(?<![a-z])train(ing)?(?![a-z])', 'test': r'(?<![a-z])test(ing)?(?![a-z])'}


class Word(NamedTuple):
    """A word in a picture; without a box (x, y, width, height) the word is the whole picture."""

    id: str
    text: str
    box: tuple[float, float, float, float] | None = None
    lexicons: Mapping[str, str] = {}  # name of the feature -> words, one a line


class Picture(NamedTuple):
    """An encoded image, or why there is none, and its words."""

    name: str
    image: bytes | Lost
    words: Sequence[Word]


class Archive(NamedTuple):
    """An annotation, its set and split, and the folder to which the names of its images are relative."""

    name: str
    split: str
    form: str  # mat, words, scenes, or one of recog.labels
    tree: Tree
    file: str
    images: Tree
    folder: str

    @property
    def place(self) -> str:
        """The annotation's path."""
        if self.tree.kind == 'folder':
            return str(self.tree.path / self.file)
        return f'{self.tree.path}:{self.file}'


def found(root: Path) -> tuple[list[Archive], list[str]]:
    """The annotations at and below the root, those of single words before those of scenes;
    and a line for each that is left out."""
    forest, large = trees.found(root)
    archives: list[Archive] = []
    lines = [f'{path} is larger than {trees.LARGEST_TAR:,} bytes: not looked into' for path in large]
    for tree in forest:
        for file in sorted(tree.names):
            try:
                made = _recognised(tree, file, forest)
            except ConfigError as error:
                made = f'{error}: left out'
            if isinstance(made, Archive):
                archives.append(made)
            elif made:
                lines.append(made)
    return sorted(archives, key=lambda archive: archive.form == 'scenes'), lines


def pictures(archive: Archive) -> Iterator[Picture]:
    """The pictures of an annotation with their words."""
    reader = {'mat': _mat, 'words': _words, 'scenes': _scenes}.get(archive.form, _listed)
    words: defaultdict[str, list[Word]] = defaultdict(list)
    for name, word in reader(archive):
        words[_join(archive.folder, name)].append(word)
    for name, image in archive.images.stream(list(words)):
        yield Picture(name, image, words.pop(name))
    for name, rest in words.items():
        yield Picture(name, Lost('image file is missing', name), rest)


def _recognised(tree: Tree, file: str, forest: Sequence[Tree]) -> Archive | str:
    """The archive of an annotation; a line if its set or split is
    unclear; '' if the file is no annotation."""
    folder, _, base = file.rpartition('/')
    lower = base.lower()
    if lower in ('testdata.mat', 'traindata.mat'):
        return Archive('iiit5k', lower.partition('data')[0], 'mat', tree, file, tree, folder)
    if lower in ('test.xml', 'train.xml', 'words.xml', 'word.xml'):
        return _xml(tree, file, folder)
    if lower == 'gt.txt' or lower.endswith('task3_gt.txt'):
        return _icdar(tree, file, forest)
    if lower == 'labels.tsv':
        parts = _parts(tree, folder)
        name, split = parts[-1].lower(), _told(_SPLITS, parts)
        return Archive(name, split or 'test', 'tsv', tree, file, tree, folder) if name in FOLDERS else ''
    return ''


def _xml(tree: Tree, file: str, folder: str) -> Archive | str:
    head = tree.read(file)[:20_000]
    form = 'words' if b'<imagelist' in head else 'scenes' if b'<taggedRectangle' in head else ''
    if not form:
        return ''
    if b'<lex>' in head:
        return Archive('svt', Path(file).stem.lower(), form, tree, file, tree, folder)
    split = _told(_SPLITS, _parts(tree, file))
    if not split:
        return (f'{tree.path}: {file} looks like ICDAR 2003, but neither train nor test is in its path: '
                'left out')
    return Archive('ic03', split, form, tree, file, tree, folder)


def _icdar(tree: Tree, file: str, forest: Sequence[Tree]) -> Archive | str:
    """ICDAR's word lists, which lie beside their images or were downloaded separately."""
    try:
        content = list(labels.read(str(tree.path / file), io.BytesIO(tree.read(file)), 'icdar'))
    except ConfigError as error:
        return f'{error}: left out'
    parts = _parts(tree, file)
    kind = _told(_YEARS, parts), _told(_SPLITS, parts)
    if not all(kind):
        kind = next((each for each, size in SIZES.items() if size == len(content) and each[0] != 'ic03'),
                    kind)
    if not content or not all(kind) or kind[0] == 'ic03':
        return (f'{tree.path}: {file} lists {len(content)} words, of no set that its path or their '
                'number tells: left out')
    places = [(each, name.rpartition('/')[0]) for each in forest for name in sorted(each.names)
              if name.rpartition('/')[2] == content[0].file]
    beside = [place for place in places if place == (tree, file.rpartition('/')[0])]
    told = [place for place in places
            if (_told(_YEARS, _parts(*place)), _told(_SPLITS, _parts(*place))) == kind]
    if not beside and not told and len(places) != 1:
        return (f'{tree.path}: {file} names images such as {content[0].file}, of which no folder is told to '
                f'be {kind}: left out')
    images, folder = (beside or told or places)[0]
    return Archive(kind[0], kind[1], 'icdar', tree, file, images, folder)


def _parts(tree: Tree, name: str) -> list[str]:
    """The parts of a path that may name a release: those below the given
    folder, its own name and its parent's."""
    path = tree.path.resolve()
    return [path.parent.name, path.name, *(part for part in name.split('/') if part)]


def _told(patterns: Mapping[str, str], parts: Sequence[str]) -> str:
    """Which of the patterns the innermost part of a path matches, '' if none."""
    for part in reversed(parts):
        # TrialTest is read as Trial Test.
        part = re.sub('(?<=[a-z])(?=[A-Z])', ' ', part).lower()
        for kind, pattern in patterns.items():
            if re.search(pattern, part):
                return kind
    return ''


def _join(folder: str, name: str) -> str:
    return f'{folder}/{name}' if folder else name


def _listed(archive: Archive) -> Iterator[tuple[str, Word]]:
    content = io.BytesIO(archive.tree.read(archive.file))
    for label in labels.read(archive.place, content, archive.form):
        yield label.file, Word(label.file, label.text)


def _mat(archive: Archive) -> Iterator[tuple[str, Word]]:
    """IIIT5K's structures: ImgName, GroundTruth, smallLexi (50 words), mediumLexi (1,000)."""
    fields = {'lexicon_50': 'smallLexi', 'lexicon_1k': 'mediumLexi'}
    content = io.BytesIO(archive.tree.read(archive.file))
    try:
        table = matlab.variable(content, variable := Path(archive.file).stem)
        if table is None:
            raise ConfigError(f'{archive.place} is not as IIIT5K has it: it holds no {variable}')
        for entry in table.records():
            name, text = _strings(entry['ImgName'])[0], _strings(entry['GroundTruth'])[0]
            lexicons = {feature: '\n'.join(_strings(entry[field])) for feature, field in fields.items()}
            yield name, Word(name, text, None, lexicons)
    except (matlab.Damaged, LookupError) as error:
        raise ConfigError(f'{archive.place} is not as IIIT5K has it: {error}') from None


def _strings(value: Matrix, deepest: int = 8) -> list[str]:
    """The strings in MATLAB's cells, however deep."""
    if value.kind != matlab.CELL:
        return value.lines()
    if not deepest:
        raise matlab.Damaged('its cells are nested too deep')
    return [text for item in value.cells() for text in _strings(item, deepest - 1)]


def _parsed(archive: Archive) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(archive.tree.read(archive.file))
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two: of its encoding
        raise ConfigError(f'{archive.place} is no XML that can be read: {regular.said(error)}') from None


def _words(archive: Archive) -> Iterator[tuple[str, Word]]:
    """ICDAR 2003's word recognition: <image file="word/1/1.jpg" tag="..."/>."""
    for image in _parsed(archive).iter('image'):
        name, text = image.get('file'), image.get('tag')
        if name is None or text is None:
            raise ConfigError(f'{archive.place}: an image without file or tag')
        yield name, Word(name, text)


def _scenes(archive: Archive) -> Iterator[tuple[str, Word]]:
    """Scenes of SVT and ICDAR 2003: an image's name, its lexicon, and its tagged rectangles."""
    numbers: Counter[str] = Counter()
    for image in _parsed(archive).iter('image'):
        name = (image.findtext('imageName') or '').strip()
        lexicon = image.findtext('lex')
        words = [] if lexicon is None else [word.strip() for word in lexicon.split(',') if word.strip()]
        extra = {} if lexicon is None else {'lexicon_50': '\n'.join(words)}
        for rectangle in image.iter('taggedRectangle'):
            numbers[name] += 1
            try:
                x, y, width, height = (float(rectangle.attrib[key]) for key in ('x', 'y', 'width', 'height'))
            except (KeyError, ValueError):
                raise ConfigError(f'{archive.place}: rectangle {numbers[name]} of {name} lacks x, y, width '
                                  'or height') from None
            yield name, Word(f'{name}#{numbers[name]}', rectangle.findtext('tag') or '',
                             (x, y, width, height), extra)
