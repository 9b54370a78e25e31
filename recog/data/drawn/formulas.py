"""Formulas as a hand writes them: the embedded data set for mathematics, unlimited and without a download.

White ink on black, in the sizes of CROHME's bitmaps; a function of (seed, split, index). The symbols' shapes
are mathtext's, drawn as lines of one width, as by a pen.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recog.data.drawn.dice import SPLITS, Dice
from recog.data.drawn.grammar import Grammar
from recog.data.drawn.handwriting import Box, Hand, layout
from recog.errors import ConfigError
from recog.images import ink

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from recog.data.rows import Row

SMALLEST = 0.7  # of the size asked for; a formula that only fits if it is smaller still is not drawn
MEASURED = 200_000  # sizes; of more the canvas is given instead, as each takes a fifth of a millisecond
TRIES = 200  # formulas from the grammar that do not fit until the picture is known to be too small


class Paper(NamedTuple):
    """What of config.formulas the drawing needs; of a ConfigDict each field would take a microsecond."""

    difficulty: float
    size: float
    height: int
    width: int


class Bend(NamedTuple):
    """How all of a formula is stretched, slanted and turned by a matrix, then bent by waves."""

    matrix: np.ndarray  # float32 [2, 2]
    waves: np.ndarray   # float32 [4, 2], radians a pixel
    phases: np.ndarray  # float32 [4, 1]
    shifts: np.ndarray  # float32 [2, 4], pixels


class Written(NamedTuple):
    """A formula laid out, the pixels of an EM, and what its picture is made with."""

    id: str
    text: str
    box: Box
    scale: float
    bend: Bend
    pen: int
    height: int
    width: int


class Formulas:
    """Drawn formulas as a source of examples; any index can be drawn, the length is what an epoch counts."""

    held_out = 1_000  # formulas that an evaluation of validation or test counts

    def __init__(self, rule: 'ConfigDict', split: str, *, seed: int):
        if split not in SPLITS:
            raise ConfigError(f'split {split!r} of formulas must be train, validation or test')
        self.name, self.split, self.tokens = f'formulas:{split}', split, tuple(rule.tokens)
        self.paper = Paper(*(rule[field] for field in Paper._fields))
        self.count = rule.count if split == 'train' else self.held_out
        self.grammar = Grammar(rule.symbols, rule.depth)
        self.stream = int.from_bytes(hashlib.blake2b(f'{seed}:{split}'.encode(), digest_size=8).digest())
        self._written(0)  # a rule that no formula fits is refused at once

    def __len__(self) -> int:
        return self.count

    def rows(self, indices: Sequence[int]) -> 'list[Row]':
        """The formulas drawn: grey images [H, W]."""
        from recog.data.rows import Row

        written = [self._written(index) for index in indices]
        return [Row(each.id, each.text, draw(each, edges(self.paper.size))) for each in written]

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        """Id and text of the formulas, without drawing them."""
        return [self._written(index)[:2] for index in indices]

    def sizes(self, indices: Sequence[int]) -> np.ndarray:
        """Heights and widths int32 [N, 2] that the pictures do not exceed, found without drawing them."""
        if len(indices) > MEASURED:
            return np.tile(np.array([[self.paper.height, self.paper.width]], np.int32), (len(indices), 1))
        return np.array([self._written(index)[-2:] for index in indices], np.int32).reshape(-1, 2)

    def _written(self, index: int) -> Written:
        if index < 0:
            raise IndexError(f'{self.name} has no formula {index}')
        dice = Dice(self.stream << 64 | int(index))
        for _ in range(TRIES):
            tokens = self.grammar.draw(dice, self.tokens, self.split)
            box = layout(tokens, Hand(dice, self.paper.difficulty))
            scale = fitted(box, self.paper)
            if scale:
                bend, pen = bending(dice, self.paper), thickness(dice, self.paper)
                return Written(f'{self.split}-{int(index):09d}', ' '.join(tokens), box, scale, bend, pen,
                               *room(box, scale, bend, self.paper))
        raise ConfigError(f'config.formulas.height={self.paper.height}, width={self.paper.width} must have '
                          f'room for formulas of config.formulas.tokens={self.tokens} with symbols of '
                          f'size={self.paper.size} pixels')


def edges(size: float) -> int:
    """Pixels from the border to the middle of the outermost line, for symbols of this size."""
    return max(2, round(ink.MARGIN * size / ink.HEIGHT))


def fitted(box: Box, paper: Paper) -> float:
    """Pixels of an EM by which symbols get the mean height asked for and all fits; 0 if too small.

    As for CROHME's bitmaps, nearly flat symbols do not count.
    """
    heights = [part.height * part.d for part in box.parts]
    tall = [height for height in heights if height > max(heights) / ink.FLAT]
    wanted = paper.size * len(tall) / sum(tall) if sum(tall) > 0 else paper.size
    wanted = min(wanted, 3 * paper.size)  # dots alone
    border = 2 * edges(paper.size) + 1
    most = min((paper.width - border) / max(box.width, 0.1),
               (paper.height - border) / max(box.bottom - box.top, 0.1))
    return 0.0 if most < SMALLEST * wanted else min(wanted, most)


def thickness(dice: Dice, paper: Paper) -> int:
    """Pixels of the pen."""
    pen = ink.PEN * paper.size / ink.HEIGHT * math.exp(paper.difficulty * dice.uniform(-0.3, 0.3))
    return max(1, int(pen + dice.random()) if paper.difficulty else round(pen))


def bending(dice: Dice, paper: Paper) -> Bend:
    """A slant, a turn and a few waves, the stronger the more difficult."""
    size, wild = paper.size, paper.difficulty
    slant, turn = wild * dice.uniform(-0.35, 0.3), math.tan(wild * dice.uniform(-0.05, 0.05))
    matrix = np.array(((math.exp(wild * dice.uniform(-0.15, 0.15)), slant), (turn, 1.0)), np.float32)
    # Of the lines within a symbol, of symbols, of some together, and of the baseline.
    waves, shifts, phases = [], [], []
    for shortest, longest, most in ((0.6, 1.2, 0.035), (1.2, 2.5, 0.06), (2.5, 6.0, 0.1), (6.0, 15.0, 0.2)):
        frequency = 2 * math.pi / (size * dice.uniform(shortest, longest))
        height = size * wild * dice.uniform(0, most)
        along, across = dice.uniform(0, 2 * math.pi), dice.uniform(0, 2 * math.pi)
        waves.append((frequency * math.cos(along), frequency * math.sin(along)))
        shifts.append((height * math.cos(across), height * math.sin(across)))
        phases.append((dice.uniform(0, 2 * math.pi),))
    return Bend(matrix, np.array(waves, np.float32), np.array(phases, np.float32),
                np.array(shifts, np.float32).T)


def room(box: Box, scale: float, bend: Bend, paper: Paper) -> tuple[int, int]:
    """Height and width of the picture at most."""
    (stretch, slant), (turn, _) = np.abs(bend.matrix).tolist()
    # Hardly ever more: all waves would have to peak at one place.
    across, down = (2 * np.sqrt((bend.shifts ** 2).sum(1))).tolist()
    width, height = box.width * scale, (box.bottom - box.top) * scale
    border = 2 * edges(paper.size) + 1
    return (min(paper.height, math.ceil(height + turn * width + down) + border),
            min(paper.width, math.ceil(stretch * width + slant * height + across) + border))


def draw(written: Written, margin: int) -> np.ndarray:
    """The picture uint8 [H, W], no larger than it may be."""
    import cv2

    points = written.bend.matrix @ (placed(written.box) * np.float32(written.scale))
    points += written.bend.shifts @ np.sin(written.bend.waves @ points + written.bend.phases)
    points -= points.min(1, keepdims=True)
    extent, most = points.max(1).tolist(), (written.width - 2 * margin - 1, written.height - 2 * margin - 1)
    factor = min(1.0, most[0] / max(extent[0], 1), most[1] / max(extent[1], 1))
    columns, rows = np.rint(points * np.float32(factor)).astype(np.intp) + margin
    width, height = int(columns.max()) + margin + 1, int(rows.max()) + margin + 1
    image = np.zeros((height, width), np.uint8)
    image[rows, columns] = 255
    return cv2.dilate(image, np.ones((written.pen, written.pen), np.uint8)) if written.pen > 1 else image


def placed(box: Box) -> np.ndarray:
    """All points float32 [2, P] of a formula, x and y, in EM."""
    points = np.empty((2, sum(part.points.shape[1] for part in box.parts)), np.float32)
    start = 0
    for part in box.parts:
        end = start + part.points.shape[1]
        matrix = np.array(((part.a, part.b, part.x), (part.c, part.d, part.y)), np.float32)
        points[:, start:end] = matrix[:, :2] @ part.points + matrix[:, 2:]
        start = end
    return points
