"""Batches of a plan: rows read, fitted, augmented and encoded."""

import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from ml_collections import ConfigDict

from recog.config import values
from recog.data import labels
from recog.data.plan import Plan, Shape
from recog.data.rows import InkSource, Measured, PackedSource, RaggedSource, Row, SizedSource, Source
from recog.data.shapes import fitted, fitting, shapes
from recog.images import augment
from recog.images.fit import Canvases, prediction_width, shrunk
from recog.text.vocabulary import Vocab

WINDOW = 16  # batches within which an evaluation sorts images by size
SHRUNK = 'shrunk to'  # how the note of an image begins that was larger than any canvas


class Batches:
    """The batches of a plan as a random-access source of Grain, fast because each element is a whole batch.

    `places` gives, for the number of a batch's rows, those that this process reads.
    """

    def __init__(self, source: Source, plan: Plan, places: Callable[[int], np.ndarray], vocab: Vocab,
                 config: ConfigDict, steps: int):
        self.source, self.plan, self.vocab, self.steps = source, plan, vocab, steps
        self.places = {rows: places(rows) for rows in plan.counts()}
        self.image = config.image
        self.fixed = Shape(0, config.image.height, config.image.width, config.text.max_length)
        self.augments = augment.augments(config.image.augment)
        self.on_canvas = self.augments and config.image.augment.on_canvas
        self.seed = values.seed(config, 'augment')
        # Packed rows are taken as they are, unless their images are to be augmented.
        self.packed = source if isinstance(source, PackedSource) and not self.augments else None

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        rows, epochs = self.plan.rows(int(step))
        shape, places = self.plan.shape(int(step)) or self.fixed, self.places[len(rows)]
        whole, rows, epochs = np.array(len(rows)), rows[places], epochs[places]
        if self.packed is None:
            batch = self._read(rows, epochs, shape)
        else:
            batch = _copied(self.packed, rows, shape.length)
        return {**batch, 'rows': whole}

    def _read(self, rows: np.ndarray, epochs: np.ndarray, shape: Shape) -> dict[str, np.ndarray]:
        """A batch of examples, decoded, augmented, fitted and encoded."""
        batch = empty_batch(len(rows), shape.length)
        batch['index'][:] = rows
        fitted = Canvases(len(rows), self.image, shape.height, shape.width)
        notes: list[tuple] = []
        for place, row in enumerate(self.source.rows(rows.tolist())):
            label = labels.encode(self.vocab, row.text, self.fixed.length, shape.length)
            reason = row.reason or too_large(row.image, self.fixed, self.image) or label.reason
            if reason or label.changed:
                notes.append((int(rows[place]), row.id, reason or labels.CHANGED, row.text))
            if reason:  # the row has no weight; the reference puts a random other example in its place
                batch['weight'][place] = 0
                continue
            labels.write(label, batch, place)
            fitted.put(place, self._augmented(row, int(epochs[place]), int(rows[place]), shape))
        if self.on_canvas:
            for real in np.flatnonzero(batch['weight']):
                self._change_canvas(fitted.image[real], int(epochs[real]), int(rows[real]))
        return {**batch, 'image': fitted.image, 'size': fitted.size, 'notes': pack_notes(notes)}

    def _augmented(self, row: Row, epoch: int, number: int, shape: Shape) -> np.ndarray:
        assert row.image is not None
        if not self.augments or self.on_canvas:
            return row.image
        random = augment.generator(self.seed, epoch, number)
        room = (shape.height, shape.width) if self.image.fit == 'none' else None
        return augment.augment(row.image, random, self.image.augment, row.strokes, room)

    def _change_canvas(self, canvas: np.ndarray, epoch: int, number: int) -> None:
        """Augment an image that fills its canvas, in place."""
        random = augment.generator(self.seed, epoch, number)
        canvas[...] = augment.centred(augment.augment(canvas, random, self.image.augment), canvas.shape)


def _copied(source: PackedSource, rows: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """A batch of a packed source, which holds all of it; only the labels may have to be cut to `length`."""
    batch = source.arrays(rows)
    batch['tokens'] = batch['tokens'][:, :length]
    code = batch.pop('code')
    notes = source.notes(rows, code) if code.any() else []
    return {**batch, 'index': rows.astype(np.int32), 'notes': pack_notes(notes)}


class Steps:
    """The batches of an evaluation, each example once; fillers in the last have weight 0 and index -1.

    Images of any size are sorted into the recipe's shapes within a window of some batches. An image that is
    larger than all of them is shrunk, and a note says so.
    """

    def __init__(self, source: Source, places: Callable[[int], np.ndarray], batch: int, config: ConfigDict,
                 limit: int, multiple: int = 1):
        self.source, self.rule = source, config.image
        count = min(len(source), limit or len(source))
        form = config.image.fit
        if form in values.SEVERAL:
            allowed = shapes(config, batch, multiple)
            sizes = fitted(measure(source, count, exact=form == 'ratio').sizes, allowed, form)
            number = fitting(sizes, np.zeros(count, np.int64), allowed)
        else:
            allowed = [Shape(batch, config.image.height, config.image.width, 1)]
            number = np.zeros(count, np.int64)
        self._batches = list(_windows(number, allowed))
        self._places = {shape.rows: places(shape.rows) for shape in allowed}

    def __len__(self) -> int:
        return len(self._batches)

    def shapes(self) -> list[Shape]:
        """The shapes that batches have."""
        return list(dict.fromkeys(shape for shape, _ in self._batches))

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        shape, every = self._batches[int(step)]
        rows = every[self._places[shape.rows]]
        real = np.flatnonzero(rows >= 0)
        batch = empty_batch(len(rows), 1)
        batch['weight'][:], batch['index'][:] = 0, -1
        numbers, width = rows[real].tolist(), shape.width
        if self.rule.width_rule == 'widest':  # the images are read twice: together they may be too large
            read = (row.image for row in self.source.rows(numbers))
            width = prediction_width((image for image in read if image is not None), self.rule)
        fitted = Canvases(len(rows), self.rule, shape.height, width)
        notes = []
        for place, row in zip(real.tolist(), self.source.rows(numbers), strict=True):
            batch['index'][place], batch['weight'][place] = rows[place], row.image is not None
            image = row.image
            if image is None:
                notes.append((int(rows[place]), row.id, row.reason, row.text))
                continue
            if too_large(image, shape, self.rule):
                image, share = shrunk(image, shape.height, shape.width)
                notes.append((int(rows[place]), row.id, f'{SHRUNK} {share:.2f} of its size', row.text))
            fitted.put(place, image)
        return {**batch, 'image': fitted.image, 'size': fitted.size, 'notes': pack_notes(notes),
                'rows': np.array(shape.rows)}


def _windows(number: np.ndarray, allowed: Sequence[Shape]) -> Iterator[tuple[Shape, np.ndarray]]:
    """Shape and rows of each batch, -1 for fillers; `number` says which of the shapes each row has."""
    window = WINDOW * max(shape.rows for shape in allowed)
    for start in range(0, len(number), window):
        for each, shape in enumerate(allowed):
            rows = start + np.flatnonzero(number[start:start + window] == each)
            for first in range(0, len(rows), shape.rows):
                part = rows[first:first + shape.rows]
                yield shape, np.concatenate([part, np.full(shape.rows - len(part), -1)])


def too_large(image: np.ndarray | None, shape: Shape, rule: ConfigDict) -> str:
    """The reason why an image that keeps its size does not fit the canvas, if so."""
    if image is None or rule.fit != 'none':
        return ''
    if image.shape[0] <= shape.height and image.shape[1] <= shape.width:
        return ''
    return f'larger than {shape.height} x {shape.width}'


def measure(source: Source, count: int, exact: bool = False) -> Measured:
    """The first `count` images measured; if not exact, some may be smaller than it says."""
    if isinstance(source, RaggedSource):
        return Measured(*(values[:count] for values in source.measured()))
    if isinstance(source, InkSource):
        return Measured(np.asarray(source.ink_sizes(range(count)), np.int64), np.ones(count, bool))
    found, inked = np.ones((count, 2), np.int64), np.zeros(count, bool)
    if isinstance(source, SizedSource) and not exact:
        return Measured(np.asarray(source.sizes(range(count)), np.int64), inked)
    for start in range(0, count, 256):
        rows = range(start, min(start + 256, count))
        for index, row in zip(rows, source.rows(rows), strict=True):
            if row.image is not None:
                found[index], inked[index] = row.image.shape[:2], len(row.strokes) > 0
    return Measured(found, inked)


def empty_batch(rows: int, max_length: int) -> dict[str, np.ndarray]:
    """The arrays of a batch besides its images: every row real, every label empty."""
    return {'tokens': np.full((rows, max_length), -1, np.int32), 'length': np.zeros(rows, np.int32),
            'weight': np.ones(rows, np.float32), 'index': np.zeros(rows, np.int32)}


def pack_notes(notes: list[tuple]) -> np.ndarray:
    """(row, id, reason, text) of rows that were changed or left out, as bytes for other processes."""
    return np.frombuffer(json.dumps(notes).encode(), np.uint8)


def unpack_notes(packed: np.ndarray) -> list[tuple]:
    """The notes that `pack_notes` packed."""
    return [tuple(note) for note in json.loads(bytes(np.asarray(packed)))]
