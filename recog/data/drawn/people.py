"""People's ink: formulas with the strokes of every symbol, by token and by writer."""

from collections.abc import Iterable, Iterator
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
        for each in written:
            tokens = tuple(each.text.split())
            try:
                whole = tree(tokens)
            except NoTree:
                continue
            if len(each.symbols):
                self._add(each, tokens, whole, strokes, counts)
        self.points = np.concatenate([*strokes, np.zeros((0, 2))]).astype(np.float32)
        self.first_point = np.cumsum([0, *(len(stroke) for stroke in strokes)])
        self.first_stroke = np.cumsum([0, *counts])
        if len(strokes):
            self.low = np.minimum.reduceat(self.points, self.first_point[:-1])
            self.high = np.maximum.reduceat(self.points, self.first_point[:-1])
            self._measure()

    def _add(self, written: Written, tokens: tuple[str, ...], whole: Line, strokes: list[np.ndarray],
             counts: list[int]) -> None:
        """Take the strokes of a formula in, symbol by symbol."""
        of: dict[int, list[np.ndarray]] = {}
        for place, stroke in zip(written.symbols, written.strokes, strict=True):
            if place >= 0:
                of.setdefault(int(place), []).append(stroke)
        hand = self.hands.setdefault(written.writer, {})
        for item in items(whole):
            item.symbol = len(counts)
            strokes += of[item.first]
            counts.append(len(of[item.first]))
            hand.setdefault(item.token, []).append(item.symbol)
        number = len(self.formulas)
        found = tuple(spans(number, whole))
        self.formulas.append(Formula(tokens, written.writer, whole, found))
        for span in found:
            for writer in (None, written.writer):
                self.exchangeable.setdefault((span.kind, writer), []).append(span)

    def _measure(self) -> None:
        """Find the edges of all symbols, items and lines, and the size and baseline of each line."""
        low, high = (edge.reduceat(values, self.first_stroke[:-1]).astype(np.float64)
                     for edge, values in ((np.minimum, self.low), (np.maximum, self.high)))
        self.edges = list(map(tuple, np.concatenate([low, high], 1).tolist()))
        lines: list[Line] = []
        owner, of, ratio, token = np.zeros(len(self.edges), int), [], [], [''] * len(self.edges)
        for number, formula in enumerate(self.formulas):
            for line, share in _lines(formula.whole, 1.0):
                for item in line.items:
                    owner[item.symbol], token[item.symbol] = len(lines), item.token
                lines.append(line)
                of.append(number)
                ratio.append(share)
            self._enclose(formula.whole)
        names = sorted(set(token))
        place = {name: number for number, name in enumerate(names)}
        size, base = baselines.find(
            Symbols(owner, np.array([place[name] for name in token]), (high - low).max(1),
                    (low[:, 1] + high[:, 1]) / 2,
                    np.array([baselines.STRETCHED if name in STRETCHED else 1.0 for name in token])),
            np.array(of), np.array(ratio), np.array([name in DIGITS for name in names]))
        for line, its_size, its_base in zip(lines, size.tolist(), base.tolist(), strict=True):
            line.size, line.base = its_size, its_base
        self.sizes = size[owner].tolist()

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
