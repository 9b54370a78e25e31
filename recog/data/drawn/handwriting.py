"""Where the symbols of a formula stand when a hand writes it: tokens in the normal form to placed lines.

Lengths are in shares of an EM, y downwards from the baseline of the formula.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recog.data.drawn.dice import Dice
from recog.data.drawn.grammar import FUNCTIONS, RELATIONS, SIGNS
from recog.data.drawn.symbols import FONTS, FONTS_OF, Glyph, glyph

AXIS = -0.25  # of fractions and signs
STEP = 0.02   # between the points of a straight line
CLOSING = {')': '(', ']': '[', r'\}': r'\{'}
OPENING = frozenset(CLOSING.values())
BIG = {r'\sum': 1.25, r'\int': 1.6}  # heights
ABOVE_BELOW = frozenset((r'\sum', r'\lim'))
# Room on both sides of a token; others have 0.06.
ROOM = {**dict.fromkeys(RELATIONS, 0.22), **dict.fromkeys(SIGNS, 0.16), **dict.fromkeys(FUNCTIONS, 0.12),
        r'\sum': 0.12, r'\int': 0.1, r'\lim': 0.14, '/': 0.05, '.': 0.08, ',': 0.12, r'\ldots': 0.14,
        r'\cdots': 0.14, r'\frac': 0.1}


@dataclass
class Part:
    """A line of points and the matrix (a b x; c d y) that places it."""

    points: np.ndarray  # float32 [2, P]
    height: float
    a: float
    b: float
    c: float
    d: float
    x: float
    y: float


@dataclass
class Box:
    """Parts that stand together, and their extent; the left edge is at 0."""

    parts: list[Part]
    width: float
    top: float
    bottom: float
    room: float = 0.06
    token: str = ''

    def moved(self, x: float, y: float) -> None:
        """Shift everything."""
        for part in self.parts:
            part.x += x
            part.y += y
        self.top += y
        self.bottom += y

    def scaled(self, factor: float) -> 'Box':
        """Shrink or enlarge everything, about the left end of the baseline."""
        for part in self.parts:
            part.a *= factor
            part.b *= factor
            part.c *= factor
            part.d *= factor
            part.x *= factor
            part.y *= factor
        self.width *= factor
        self.top *= factor
        self.bottom *= factor
        return self

    def stretched(self, top: float, bottom: float) -> None:
        """Make it reach from one height to another."""
        factor = (bottom - top) / max(self.bottom - self.top, 0.01)
        for part in self.parts:
            part.c *= factor
            part.d *= factor
            part.y = top + (part.y - self.top) * factor
        self.top, self.bottom = top, bottom

    def add(self, other: 'Box', x: float, y: float) -> None:
        """Put another box at a place of this one."""
        other.moved(x, y)
        self.parts += other.parts
        self.width = max(self.width, x + other.width)
        self.top, self.bottom = min(self.top, other.top), max(self.bottom, other.bottom)


@dataclass
class Hand:
    """How somebody writes: the same sign always in the same font, but never quite the same."""

    dice: Dice
    difficulty: float
    fonts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wild, uniform = self.difficulty, self.dice.uniform
        self.choice = FONTS[:1 + round(wild * (len(FONTS) - 1))]
        self.spread = 1 + wild * uniform(-0.3, 1.2)
        self.script = uniform(0.62, 0.62 + 0.18 * wild)
        self.fraction = uniform(0.85 - 0.15 * wild, 0.9 + 0.1 * wild)

    def about(self, middle: float, spread: float) -> float:
        """A number near the middle, nearer the easier the hand is."""
        return middle + self.difficulty * spread * (2 * self.dice.random() - 1)

    def write(self, token: str) -> Box:
        """A symbol."""
        font = self.fonts.get(token)
        if font is None:
            font = self.fonts[token] = self.dice.pick(FONTS_OF.get(token) or self.choice)
        shape = glyph(token, font)
        size = BIG[token] / (shape.bottom - shape.top) if token in BIG else 1.0
        return self.placed(shape, self.about(size, 0.12 * size), token)

    def placed(self, shape: Glyph, size: float, token: str = '') -> Box:
        """A line, somewhat larger or smaller, turned and slanted."""
        points, width, top, bottom = shape
        wide, slant, y = size * self.about(1, 0.1), size * self.about(0, 0.08), self.about(0, 0.05)
        turn = wide * self.about(0, min(0.08, 0.12 / max(width, 0.1)))  # long bars turn less
        # Turned and slanted about its middle, so that it stays where it is.
        part = Part(points, bottom - top, wide, -slant, turn, size,
                    slant * (top + bottom) / 2, y - turn * width / 2)
        box = Box([part], width * wide, top * size + y, bottom * size + y, ROOM.get(token, 0.06), token)
        if token in BIG:
            box.moved(0, AXIS - (box.top + box.bottom) / 2)
        return box


def layout(tokens: Sequence[str], hand: Hand) -> Box:
    """A formula as written by a hand; its tokens are in the normal form."""
    return _Reader(tokens, hand).line('')


class _Reader:
    """Reads tokens once, from left to right."""

    def __init__(self, tokens: Sequence[str], hand: Hand):
        self.tokens, self.hand, self.place = [*tokens, ''], hand, 0

    def next(self) -> str:
        """The next token, left behind."""
        self.place += 1
        return self.tokens[self.place - 1]

    def group(self) -> Box:
        """What stands in braces."""
        self.place += 1
        return self.line('}')

    def line(self, end: str) -> Box:
        """What stands side by side up to the end, which is left behind."""
        boxes: list[Box] = []
        opened: list[int] = []
        while self.tokens[self.place] != end:
            box = self.item()
            _bracket(box, boxes, opened)
            self.scripts(box)
            boxes.append(box)
        self.place += 1
        whole, before = Box([], 0.0, math.inf, -math.inf) if boxes else Box([], 0.0, 0.0, 0.0), 0.0
        for number, box in enumerate(boxes):
            sign = box.token in SIGNS and (number == 0 or boxes[number - 1].token in RELATIONS)
            gap = max(before, box.room) * self.hand.spread + self.hand.about(0.03, 0.05)
            whole.add(box, whole.width + gap if number else 0.0, 0.0)
            before = 0.06 if sign else box.room
        return whole

    def item(self) -> Box:
        """A symbol, a fraction or a root."""
        token = self.next()
        if token == r'\frac':
            return self.fraction()
        if token == r'\sqrt':
            return self.root()
        if token == '{':
            return self.line('}')
        return self.hand.write(token)

    def fraction(self) -> Box:
        """One group above the other, a bar between."""
        hand = self.hand
        above, below = (self.group().scaled(hand.about(hand.fraction, 0.05)) for _ in range(2))
        width = max(above.width, below.width) + hand.about(0.2, 0.12)
        bar = hand.placed(_straight(((0.0, 0.0), (width, 0.0))), 1.0)
        bar.moved(0, AXIS)
        over = AXIS - hand.about(0.14, 0.06) - above.bottom
        under = AXIS + hand.about(0.14, 0.06) - below.top
        for box, y in ((above, over), (below, under)):
            bar.add(box, max(0.0, (width - box.width) / 2 + hand.about(0, 0.12)), y)
        bar.room = ROOM[r'\frac']
        return bar

    def root(self) -> Box:
        """The radical sign around a group, the index before it."""
        hand, index = self.hand, None
        if self.tokens[self.place] == '[':
            self.place += 1
            index = self.line(']').scaled(hand.script * 0.9)
        inside = self.group()
        top = min(inside.top, -0.4) - hand.about(0.16, 0.06)
        bottom = max(inside.bottom, -0.05) + hand.about(0.06, 0.05)
        tick, long = hand.about(0.3, 0.08), inside.width + hand.about(0.12, 0.1)
        corners = ((0.0, bottom - 0.4 * (bottom - top)), (0.3 * tick, bottom - 0.47 * (bottom - top)),
                   (0.7 * tick, bottom), (tick + 0.15, top), (tick + 0.15 + long, top + hand.about(0, 0.03)))
        sign = hand.placed(_straight(corners), 1.0)
        sign.add(inside, tick + 0.2, 0.0)
        if index is None:
            return sign
        whole = Box([], 0.0, 0.0, 0.0)
        whole.add(index, 0.0, bottom - 0.55 * (bottom - top) - index.bottom)
        whole.add(sign, max(0.0, index.width - 0.4 * tick), 0.0)
        return whole

    def scripts(self, base: Box) -> None:
        """Write the scripts that stand here at a symbol."""
        centred, top, bottom = base.token in ABOVE_BELOW, base.top, base.bottom
        if self.tokens[self.place] == r'\limits':
            self.place, centred = self.place + 1, True
        hand, tall, width, middle = self.hand, bottom - top, base.width, base.width / 2
        while self.tokens[self.place] in ('_', '^'):
            kind = self.next()
            script = self.group().scaled(hand.about(hand.script, 0.06))
            if centred:
                gap, x = hand.about(0.1, 0.05), middle - script.width / 2
                if x < 0:  # wider than what it stands at
                    base.moved(-x, 0)
                    base.width, middle, x = base.width - x, middle - x, 0.0
                base.add(script, x, bottom + gap - script.top if kind == '_' else top - gap - script.bottom)
            elif kind == '_':
                y = bottom - hand.about(0.18, 0.08) * min(tall, 1.2) - script.top
                base.add(script, width + hand.about(0.08, 0.05), y)
            else:
                y = top + hand.about(0.38, 0.1) * min(max(tall, 0.4), 1.0) - script.bottom
                base.add(script, width + hand.about(0.09, 0.05), y)


def _straight(corners: Sequence[tuple[float, float]]) -> Glyph:
    """The line through corners."""
    pieces = []
    for (x0, y0), (x1, y1) in zip(corners, corners[1:], strict=False):
        steps = max(1, math.ceil(math.hypot(x1 - x0, y1 - y0) / STEP))
        share = np.arange(steps + 1, dtype=np.float32) / steps
        pieces.append(np.stack([x0 + (x1 - x0) * share, y0 + (y1 - y0) * share]))
    heights = [y for _, y in corners]
    return Glyph(np.concatenate(pieces, 1), corners[-1][0], min(heights), max(heights))


def _bracket(box: Box, before: list[Box], opened: list[int]) -> None:
    """Make brackets as high as what stands between them, once the closing one is there."""
    token = box.token
    closes_bar = token == '|' and any(before[place].token == '|' for place in opened)
    partner = CLOSING.get(token, '|' if closes_bar else '')
    if partner and opened:
        while opened and before[opened[-1]].token != partner:
            opened.pop()
        if opened:
            start = opened.pop()
            inside = before[start + 1:]
            top = min([each.top for each in inside] + [-0.5])
            bottom = max([each.bottom for each in inside] + [-0.1])
            if bottom - top > 0.9:
                for each in (before[start], box):
                    each.stretched(top - 0.08, bottom + 0.08)
            return
    if token in OPENING or token == '|':
        opened.append(len(before))
