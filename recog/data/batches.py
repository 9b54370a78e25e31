"""Batches of a plan: rows read, fitted, augmented and encoded."""

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from ml_collections import ConfigDict

from recog.config import values
from recog.data.plan import Plan, Shape, fitting, shapes
from recog.data.rows import Row, Source
from recog.images import augment
from recog.images.fit import fit_batch, prediction_width, shrunk
from recog.text.vocabulary import Unencodable, Vocab

WINDOW = 16  # batches within which an evaluation sorts images by size
SHRUNK = 'shrunk to'  # how the note of an image begins that is larger than any canvas


class Batches:
    """The batches of a plan as a random-access source of Grain: element k is a whole batch, which is what makes it fast.

    `places` gives, for the number of a batch's rows, those that this process reads.
    """

    def __init__(self, source: Source, plan: Plan, places: Callable[[int], np.ndarray], vocab: Vocab, config: ConfigDict,
                 steps: int):
        self.source, self.plan, self.vocab, self.steps = source, plan, vocab, steps
        self.places = {rows: places(rows) for rows in plan.counts()}
        self.image, self.fixed = config.image, Shape(0, config.image.height, config.image.width, config.text.max_length)
        self.augments = augment.augments(config.image.augment)
        self.seed = values.seed(config, 'augment')
        self.packed = not self.augments and hasattr(source, 'arrays')

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        rows, epochs = self.plan.rows(int(step))
        shape, places = self.plan.shape(int(step)) or self.fixed, self.places[len(rows)]
        rows, epochs, whole = rows[places], epochs[places], np.array(len(rows))
        if self.packed:
            return {**self._copied(rows, shape.length), 'rows': whole}
        batch = empty_batch(len(rows), shape.length)
        batch['index'][:] = rows
        pictures: list[np.ndarray | None] = []
        notes: list[tuple] = []
        for place, row in enumerate(self.source.rows(rows.tolist())):
            reason = row.reason or too_large(row.image, shape, self.image) or self._label(batch, place, row, notes)
            if reason:
                # Unlike the reference, which puts a random other sample in its place.
                notes.append((int(rows[place]), row.id, reason, row.text))
                batch['weight'][place] = 0
            picture = None if reason else self._augmented(row, int(epochs[place]), int(rows[place]))
            if picture is not None and too_large(picture, shape, self.image):  # augmentation made it so
                picture = shrunk(picture, shape.height, shape.width)[0]
            pictures.append(picture)
        batch['image'], batch['size'] = fit_batch(pictures, self.image, shape.height, shape.width)
        return {**batch, 'notes': pack_notes(notes), 'rows': whole}

    def _copied(self, rows: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """A batch of packed sources, which hold it as it is, but for labels shorter than the longest."""
        batch = self.source.arrays(rows)  # type: ignore[attr-defined]
        batch['tokens'] = batch['tokens'][:, :length]
        code = batch.pop('code')
        notes = self.source.notes(rows, code) if code.any() else []  # type: ignore[attr-defined]
        return {**batch, 'index': rows.astype(np.int32), 'notes': pack_notes(notes)}

    def _label(self, batch: dict[str, np.ndarray], place: int, row: Row, notes: list[tuple]) -> str:
        """Write the row's tokens; the answer is the reason why it cannot be used, if so."""
        try:
            encoding = self.vocab.encode(row.text, max_length=batch['tokens'].shape[1])
        except Unencodable as error:
            return error.reason
        if encoding.dropped:
            notes.append((int(batch['index'][place]), row.id, 'changed', row.text))
        batch['length'][place] = len(encoding.ids)
        batch['tokens'][place, :len(encoding.ids)] = encoding.ids
        return ''

    def _augmented(self, row: Row, epoch: int, number: int) -> np.ndarray:
        assert row.image is not None
        if not self.augments:
            return row.image
        return augment.augment(row.image, augment.generator(self.seed, epoch, number), self.image.augment, row.strokes)


class Steps:
    """The batches of an evaluation, each example exactly once; fillers in the last one have weight 0 and index -1.

    Images of any size are sorted into the recipe's shapes within a window of some batches; what is larger than any of them
    is shrunk, and named.
    """

    def __init__(self, source: Source, places: Callable[[int], np.ndarray], batch: int, config: ConfigDict, limit: int,
                 multiple: int = 1):
        self.source, self.rule = source, config.image
        count = min(len(source), limit or len(source))
        fixed = Shape(batch, config.image.height, config.image.width, 1)
        if config.image.fit == 'none':
            self.given = shapes(config, batch, multiple)
            sizes = measure_sizes(source, count)
            owner = fitting(sizes, np.zeros(count, np.int64), self.given)
        else:
            self.given, owner = [fixed], np.zeros(count, np.int64)
        self._batches = list(_windows(owner, self.given))
        self._places = {shape.rows: places(shape.rows) for shape in self.given}

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        shape, every = self._batches[int(step)]
        rows = every[self._places[shape.rows]]
        real = np.flatnonzero(rows >= 0)
        batch = empty_batch(len(rows), 1)
        batch['weight'][:], batch['index'][:] = 0, -1
        pictures: list[np.ndarray | None] = [None] * len(rows)
        notes = []
        for place, row in zip(real, self.source.rows(rows[real].tolist()), strict=True):
            batch['index'][place], batch['weight'][place] = rows[place], row.image is not None
            pictures[place] = row.image
            if row.image is None:
                notes.append((int(rows[place]), row.id, row.reason, row.text))
            elif too_large(row.image, shape, self.rule):
                pictures[place], share = shrunk(row.image, shape.height, shape.width)
                notes.append((int(rows[place]), row.id, f'{SHRUNK} {share:.2f} of its size', row.text))
        width = shape.width
        if self.rule.width_rule == 'widest':
            width = prediction_width([picture for picture in pictures if picture is not None], self.rule)
        batch['image'], batch['size'] = fit_batch(pictures, self.rule, shape.height, width)
        return {**batch, 'notes': pack_notes(notes), 'rows': np.array(shape.rows)}


def _windows(owner: np.ndarray, given: Sequence[Shape]) -> Iterator[tuple[Shape, np.ndarray]]:
    """Shape and rows of each batch, -1 for fillers; `owner` is the number of each row's shape."""
    window = WINDOW * max(shape.rows for shape in given)
    for start in range(0, len(owner), window):
        for number, shape in enumerate(given):
            rows = start + np.flatnonzero(owner[start:start + window] == number)
            for first in range(0, len(rows), shape.rows):
                part = rows[first:first + shape.rows]
                yield shape, np.concatenate([part, np.full(shape.rows - len(part), -1)])


def too_large(image: np.ndarray | None, shape: Shape, rule: ConfigDict) -> str:
    """The reason why an image that keeps its size does not fit the canvas, if so."""
    if image is None or rule.fit != 'none' or (image.shape[0] <= shape.height and image.shape[1] <= shape.width):
        return ''
    return f'larger than {shape.height} x {shape.width}'


def measure_sizes(source: Source, count: int) -> np.ndarray:
    """Heights and widths of the first `count` images, 1 where one cannot be read.  -> int64 [N, 2]"""
    if hasattr(source, 'sizes'):
        return np.asarray(source.sizes(range(count)), np.int64)
    found = np.ones((count, 2), np.int64)
    for start in range(0, count, 256):
        rows = range(start, min(start + 256, count))
        for index, row in zip(rows, source.rows(rows), strict=True):
            if row.image is not None:
                found[index] = row.image.shape[:2]
    return found


def empty_batch(rows: int, max_length: int) -> dict[str, np.ndarray]:
    """The arrays of a batch besides its images: every row real, every label empty."""
    return {'tokens': np.full((rows, max_length), -1, np.int32), 'length': np.zeros(rows, np.int32),
            'weight': np.ones(rows, np.float32), 'index': np.zeros(rows, np.int32)}


def pack_notes(notes: list[tuple]) -> np.ndarray:
    """(row, id, reason, text) of rows that were changed or left out, as bytes: what travels between processes."""
    return np.frombuffer(json.dumps(notes).encode(), np.uint8)


def unpack_notes(packed: np.ndarray) -> list[tuple]:
    """The notes that `pack_notes` packed."""
    return [tuple(note) for note in json.loads(bytes(np.asarray(packed)))]
