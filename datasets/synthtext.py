"""SynthText in the Wild (Gupta et al., 2016): every word of its
858,750 pictures cut out, upright or rectified.

The plain set, `synthtext:train`, has the words of letters and digits only, as by its paper (Baek et al. 2019)
has the LMDB that the references train on. That holds 5,522,808 of the release's 7,266,866 words. How it was
cut out is not published, so the count of a preparation may differ; a warning says by how much.

gt.mat is read one variable at a time, without the boxes of characters, and kept as one
array of corners and one string per picture.
"""

import re
import sys
import zipfile
from argparse import ArgumentParser
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np
import tensorflow_datasets as tfds

from recog import prepare
from recog.errors import ConfigError
from recog.images.read import Unreadable, read_image
from recog.prepare import matlab, regular, trees
from recog.prepare.matlab import Matrix
from recog.prepare.regular import Lost

# JPEG quality of the words, with full colour resolution: half the size of PNG, an error of one grey level.
QUALITY = 95
SMALLEST = 2     # pixels of a side
FARTHEST = 1e5   # in pixels; no picture is so large that a corner could be there
ROOTS = ('', 'SynthText/')
OTHERS = re.compile('[^0-9a-zA-Z]')
Made = prepare.Example | prepare.Rejected | prepare.Noted
T = TypeVar('T')


class Picture(NamedTuple):
    """A picture (its bytes, or why there are none, or its file) with its words and their
    corners, clockwise from the text's top left."""

    id: str
    content: bytes | Path | Lost
    words: list[str]
    corners: np.ndarray  # [words, 4, 2], x and y


class SynthText(prepare.Builder):
    """SynthText, 7 million words, of which the plain set has those of 0-9a-zA-Z: --source is SynthText.zip or
    the folder that it was unpacked to."""

    VERSION = tfds.core.Version('1.0.0')
    name = 'synthtext'
    PLAIN = 'box_alnum'
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name='box_alnum', description='as box, words of 0-9a-zA-Z only'),
        tfds.core.BuilderConfig(name='box', description='upright bounding boxes, all words'),
        tfds.core.BuilderConfig(name='rectified_alnum', description='as rectified, words of 0-9a-zA-Z only'),
        tfds.core.BuilderConfig(name='rectified', description='the four corners pulled to a rectangle'),
    ]
    EXPECTED = {**dict.fromkeys(('box_alnum', 'rectified_alnum'), {'train': 5_522_808}),
                **dict.fromkeys(('box', 'rectified'), {'train': 7_266_866})}
    CHUNK = 16

    @classmethod
    def arguments(cls, parser: ArgumentParser) -> None:
        """Where gt.mat is, if not in the source."""
        parser.add_argument('--annotation', default='', metavar='FILE',
                            help='gt.mat, if it is not in --source')

    def bytes_needed(self) -> int:
        """Words cover a part of each picture."""
        return super().bytes_needed() // 3

    def tasks(self) -> Iterator[tuple[str, Any]]:
        """Every picture that gt.mat names."""
        with closing(Store(self.source)) as store:
            with _annotation(store, self.options['annotation']) as file:
                truth = Truth(file)
            self.total = len(truth.names)
            root = next((each for each in ROOTS for name in truth.names[:100] if store.has(each + name)),
                        None)
            if root is None:
                raise ConfigError(f'source {self.source} holds none of the pictures of gt.mat, e.g. '
                                  f'{truth.names[0]}')
            for number, name in enumerate(truth.names):
                words, corners = truth.texts[number].split(), truth.boxes(number)
                if corners is None or len(words) != len(corners):
                    yield 'train', prepare.Rejected(name, 'words and boxes do not match',
                                                    f'{len(words)} and '
                                                    f'{"other shapes" if corners is None else len(corners)}')
                elif not store.has(root + name):
                    yield 'train', prepare.Rejected(name, 'picture is missing', f'{len(words)} words')
                else:
                    yield 'train', Picture(name, store.content(root + name), words, corners)

    def examples(self, task: Picture) -> Iterator[Made]:
        """The words of a picture."""
        if isinstance(task.content, Lost):
            yield prepare.Rejected(task.id, *task.content)
            return
        try:
            picture = read_image(task.content, task.id)
        except Unreadable as error:
            yield prepare.Rejected(task.id, 'picture cannot be decoded',
                                   f'{error.reason}, {len(task.words)} words')
            return
        shape, _, alnum = self.config_name.partition('_')
        for number, (word, corners) in enumerate(zip(task.words, task.corners.astype(float), strict=True)):
            name = f'{task.id}#{number}'
            if alnum and OTHERS.search(word):
                yield prepare.Rejected(name, 'text has characters outside 0-9a-zA-Z', word)
                continue
            problem = _problem(corners, *picture.shape[:2])
            crop = None if problem else (upright if shape == 'box' else rectified)(picture, corners)
            if crop is None or min(crop.shape[:2]) < SMALLEST:
                yield prepare.Rejected(name, problem or f'side is below {SMALLEST} pixels',
                                       f'{word}, {_told(corners)}')
                continue
            if (corners < 0).any() or (corners > picture.shape[1::-1]).any():
                yield prepare.Noted(name, 'box reaches out of the picture', f'{word}, {_told(corners)}')
            yield prepare.Example(name, word, _encode(crop), size=crop.shape[:2])


class Store:
    """The release as a folder or as a zip."""

    def __init__(self, source: Path):
        self.source, self.archive = source, None
        if source.is_file():
            try:
                self.archive = zipfile.ZipFile(regular.opened(source))
            except Exception:  # a damaged archive makes the library raise nearly anything
                raise ConfigError(f'source {source} is no zip: it must be SynthText.zip or the folder that '
                                  'it was unpacked to') from None

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self.archive.NameToInfo if self.archive else (self.source / name).is_file()

    def open(self, name: str) -> IO[bytes]:
        """A file's content."""
        try:
            return self.archive.open(name) if self.archive else regular.opened(self.source / name)
        except Exception as error:  # as of a damaged archive
            raise ConfigError(f'{name} cannot be read: {regular.lost("", error).detail}') from None

    def content(self, name: str) -> bytes | Path | Lost:
        """A picture for a worker: the path of a file, but the bytes of a member of a zip, because each worker
        would have to read the zip's whole directory."""
        return trees.member(self.archive, name) if self.archive else self.source / name

    def close(self) -> None:
        """Close the zip."""
        if self.archive:
            self.archive.close()


class Truth:
    """gt.mat: the pictures' names, the words' corners, and each picture's text."""

    def __init__(self, file: IO[bytes]):
        self.names = list(_each(file, 'imnames', lambda cell: (cell.lines() or [''])[0]))
        counts, corners = array('q'), bytearray()
        for found in _each(file, 'wordBB', _corners):
            counts.append(-1 if found is None else len(found))
            corners += b'' if found is None else found.tobytes()
        self._check('wordBB', len(counts))
        self.counts = np.asarray(counts)
        self.starts = np.cumsum(np.maximum(self.counts, 0)) - np.maximum(self.counts, 0)
        self.corners = np.frombuffer(corners, np.float32).reshape(-1, 4, 2)
        # Lines are padded to one length; each word between white space has a box.
        self.texts = list(_each(file, 'txt', lambda cell: '\n'.join(cell.lines())))
        self._check('txt', len(self.texts))

    def _check(self, variable: str, count: int) -> None:
        if count != len(self.names):
            raise ConfigError(f'gt.mat: {count:,} {variable} and {len(self.names):,} imnames do not match')

    def boxes(self, number: int) -> np.ndarray | None:
        """Corners of the words of a picture: [words, 4, 2]; None if they are no corners."""
        count = int(self.counts[number])
        return None if count < 0 else self.corners[self.starts[number]:][:count]


def _annotation(store: Store, given: str) -> IO[bytes]:
    if given:
        try:
            return regular.opened(given)
        except OSError as error:
            raise ConfigError(f'annotation {given} cannot be opened: {error.strerror}') from None
    for root in ROOTS:
        if store.has(f'{root}gt.mat'):
            return store.open(f'{root}gt.mat')
    raise ConfigError(f'source {store.source} holds no gt.mat; say where it is with --annotation')


def _each(file: IO[bytes], name: str, read: Callable[[Matrix], T]) -> Iterator[T]:
    """What is read of each cell of a variable of gt.mat; the others are skipped."""
    try:
        found = matlab.variable(file, name)
        if found is None:
            raise ConfigError(f'gt.mat holds no {name}')
        yield from map(read, found.cells())
    except ConfigError:
        raise
    except Exception as error:  # it may stand in a damaged zip
        raise ConfigError(f'gt.mat cannot be read: {regular.lost("", error).detail}') from None


def _corners(cell: Matrix) -> np.ndarray | None:
    """The corners of words, [words, 4, 2]; MATLAB drops the last axis where there is one word only."""
    found = cell.numbers()
    if not found.size:
        return np.zeros((0, 4, 2), np.float32)
    if found.ndim not in (2, 3) or found.shape[:2] != (2, 4):
        return None
    with np.errstate(over='ignore'):  # a corner that far is infinite
        return found.reshape(2, 4, -1).transpose(2, 1, 0).astype(np.float32)


def _problem(corners: np.ndarray, height: int, width: int) -> str:
    """Why a word cannot be cut out of a picture of this size, '' if it can."""
    if not (np.isfinite(corners).all() and (np.abs(corners) < FARTHEST).all()):
        return 'box is degenerate'
    x, y = corners[:, 0], corners[:, 1]
    if abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) < 2:  # an area of one pixel
        return 'box is degenerate'
    if x.max() <= 0 or y.max() <= 0 or x.min() >= width or y.min() >= height:
        return 'box is outside the picture'
    return ''


def upright(picture: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The smallest upright box round the corners, as far as it lies in the picture: [h, w, 3]."""
    left, top = np.maximum(np.floor(corners.min(0)), 0).astype(int)
    right, bottom = np.ceil(corners.max(0)).astype(int)
    return picture[top:bottom, left:right]


def rectified(picture: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The quadrilateral warped to a rectangle, each side as long as the longer of opposite sides; outside the
    picture its edge is repeated: [h, w, 3]."""
    import cv2

    sides = np.linalg.norm(corners - np.roll(corners, -1, 0), axis=1)
    width, height = (max(1, int(round(max(sides[first], sides[first + 2])))) for first in (0, 1))
    longest = max(picture.shape[:2]) * 2
    width, height = min(width, longest), min(height, longest)
    corner = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    # Corners lie at the edges of pixels; OpenCV counts from their centres.
    turn = cv2.getPerspectiveTransform(corners.astype(np.float32) - 0.5, corner - 0.5)
    return cv2.warpPerspective(picture, turn, (width, height), flags=cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REPLICATE)


def _encode(crop: np.ndarray) -> bytes:
    import cv2

    full = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode('.jpg', crop, full)[1].tobytes()


def _told(corners: np.ndarray) -> str:
    return ' '.join(f'{x:g},{y:g}' for x, y in np.round(corners, 1))


if __name__ == '__main__':
    sys.exit(prepare.main(SynthText))
