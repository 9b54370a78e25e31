"""People's ink: formulas with the strokes of every symbol, by token and by writer."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from recog.data.drawn import baselines
from recog.data.drawn.baselines import Symbols
from recog.data.drawn.grammar import DIGITS
from recog.data.drawn.handwriting import CLOSING, OPENING
from recog.data.drawn.parts import BIG, SLOTS, Edges, Item, Line, NoTree, Span, spans, tree, union
from recog.data.rows import Written

STRETCHED = frozenset((*BIG, *OPENING, *CLOSING, '|', '/', r'\frac', r'\sqrt'))

NEAR_TOP = 0.2  # of the height of a root's sign


class Formula(NamedTuple):
    """A formula as somebody wrote it."""

    tokens: tuple[str, ...]
    writer: str
    whole: Line
    spans: tuple[Span, ...]


class People:
    """Formulas and symbols of many writers, each formula in the units of its own file."""

    def __init__(self, written: Iterable[Written]):
        self.formulas: list[Formula] = []
        self.hands: dict[str, dict[str, list[int]]] = {}  # writer -> token -> symbols
        self.exchangeable: dict[tuple, list[Span]] = {}   # (kind of span, writer or None: anybody) -> spans
        self.edges: list[Edges] = []                      # of each symbol
        self.knots: dict[int, float] = {}                 # sign of a root -> where the line above it begins
        self.sizes: list[float] = []                      # of the line of each symbol
        strokes: list[np.ndarray] = []
        counts: list[int] = []
        read = []
        for each in written:
            tokens = tuple(each.text.split())
            try:
                whole = tree(tokens)
            except NoTree:
                continue
            if len(each.symbols):
                _take_strokes(each, whole, strokes, counts)
                read.append((tokens, each.writer, whole))
        self.points = np.concatenate([*strokes, np.zeros((0, 2))]).astype(np.float32)
        self.first_point = np.cumsum([0, *(len(stroke) for stroke in strokes)])
        self.first_stroke = np.cumsum([0, *counts])
        if len(strokes):
            self.low = np.minimum.reduceat(self.points, self.first_point[:-1])
            self.high = np.maximum.reduceat(self.points, self.first_point[:-1])
            low = np.minimum.reduceat(self.low, self.first_stroke[:-1])
            high = np.maximum.reduceat(self.high, self.first_stroke[:-1])
            self.edges = list(map(tuple, np.concatenate([low, high], 1).tolist()))
            for formula in read:
                self._add(*formula)
        if self.formulas:
            self._measure()

    def _add(self, tokens: tuple[str, ...], writer: str, whole: Line) -> None:
        """Take a formula in, unless its symbols do not stand as its tokens say: then some are mixed up."""
        self._enclose(whole)
        if not all(map(self._in_order, whole.all())):
            return
        hand = self.hands.setdefault(writer, {})
        for item in items(whole):
            hand.setdefault(item.token, []).append(item.symbol)
        number = len(self.formulas)
        found = tuple(spans(number, whole))
        self.formulas.append(Formula(tokens, writer, whole, found))
        for span in found:
            for somebody in (None, writer):
                self.exchangeable.setdefault((span.kind, somebody), []).append(span)

    def _in_order(self, line: Line) -> bool:
        """Whether items stand from left to right, numerators above bars, and indices left of roots."""
        if any(_middle(after.own)[0] < _middle(item.own)[0] for item, after in pairwise(line.items)):
            return False
        for item in line.items:
            if item.token == r'\frac':
                above, below = (_middle(part.edges)[1] for part in item.parts)
                if not above < _middle(self.edges[item.symbol])[1] < below:
                    return False
            if item.index is not None and _middle(item.index.edges)[0] > item.parts[0].edges[0]:
                return False
        return True

    def _measure(self) -> None:
        """Find the size and baseline of each line."""
        lines: list[Line] = []
        owner, of, ratio = [], [], []
        every: list[Item] = []
        for number, formula in enumerate(self.formulas):
            for line, share in _lines(formula.whole, 1.0):
                every += line.items
                owner += [len(lines)] * len(line.items)
                lines.append(line)
                of.append(number)
                ratio.append(share)
        names = sorted({item.token for item in every})
        place = {name: number for number, name in enumerate(names)}
        edges = np.array([self.edges[item.symbol] for item in every])
        size, base = baselines.find(
            Symbols(np.array(owner), np.array([place[item.token] for item in every]),
                    (edges[:, 2:] - edges[:, :2]).max(1), edges[:, 1::2].mean(1),
                    np.array([baselines.STRETCHED if item.token in STRETCHED else 1.0 for item in every])),
            np.array(of), np.array(ratio), np.array([name in DIGITS for name in names]))
        self.sizes = [1.0] * len(self.edges)
        for line, its_size, its_base in zip(lines, size.tolist(), base.tolist(), strict=True):
            line.size, line.base = its_size, its_base
            for item in line.items:
                self.sizes[item.symbol] = its_size

    def _knot(self, symbol: int) -> float:
        """Where the line above a root begins: the leftmost point near the top of its sign."""
        first, end = self.first_point[self.first_stroke[[symbol, symbol + 1]]]
        points, (_, top, _, bottom) = self.points[first:end], self.edges[symbol]
        return float(points[points[:, 1] <= top + NEAR_TOP * (bottom - top), 0].min())

    def _enclose(self, line: Line) -> None:
        """Find the edges of a line and all below it."""
        for item in line.items:
            for below in item.lines():
                self._enclose(below)
            item.own = self.edges[item.symbol]
            if item.token == r'\sqrt':
                self.knots[item.symbol] = self._knot(item.symbol)
            item.own = union([item.own, *(part.edges for part in item.parts),
                              *([item.index.edges] if item.index else [])])
            item.edges = union([item.own, *(script.edges for script in (item.sub, item.sup) if script)])
        line.edges = union([item.edges for item in line.items])


def _take_strokes(written: Written, whole: Line, strokes: list[np.ndarray], counts: list[int]) -> None:
    """Take the strokes of a formula in, symbol by symbol, and number its symbols."""
    of: dict[int, list[np.ndarray]] = {}
    for place, stroke in zip(written.symbols, written.strokes, strict=True):
        if place >= 0:
            of.setdefault(int(place), []).append(stroke)
    for item in items(whole):
        item.symbol = len(counts)
        strokes += of[item.first]
        counts.append(len(of[item.first]))


def _middle(edges: Edges) -> tuple[float, float]:
    left, top, right, bottom = edges
    return (left + right) / 2, (top + bottom) / 2


def items(line: Line) -> Iterator[Item]:
    """All items of a line and of the lines below it."""
    for part in line.all():
        yield from part.items


def _lines(line: Line, share: float) -> Iterator[tuple[Line, float]]:
    """A line and all below it, each with its usual size beside the formula's."""
    yield line, share
    for item in line.items:
        for below in item.lines():
            yield from _lines(below, share * SLOTS[below.slot])
