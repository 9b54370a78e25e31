"""Formulas as trees of lines and items, and the parts of them that may be exchanged for one another."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from recog.data.drawn.grammar import RELATIONS, SIGNS
from recog.data.drawn.handwriting import CLOSING, OPENING

BIG = (r'\sum', r'\int', r'\lim')  # their scripts are limits, which other scripts do not replace
SEPARATORS = frozenset((*SIGNS, *RELATIONS, ','))
Edges = tuple[float, float, float, float]  # left, top, right, bottom

# The slots of lines, and how large their symbols are beside those around, to begin with.
SLOTS = {'whole': 1.0, 'fraction': 0.95, 'root': 1.0, 'index': 0.6, 'sub': 0.7, 'sup': 0.7, 'below': 0.7,
         'above': 0.7}
BRACKETS = 'brackets'  # the slot of what stands in a pair of brackets, which is no line of its own


class NoTree(ValueError):
    """Tokens that make no tree: braces that do not match, a script of nothing."""


@dataclass(slots=True)
class Item:
    """A symbol, a fraction or a root with its scripts: tokens `first` to `end`, drawn by its own `symbol`."""

    token: str
    first: int
    end: int = 0
    symbol: int = -1
    parts: list['Line'] = field(default_factory=list)  # numerator and denominator, or what the root is of
    index: 'Line | None' = None                        # of the root
    sub: 'Line | None' = None
    sup: 'Line | None' = None
    own: Edges = (0.0, 0.0, 0.0, 0.0)    # of the item without its scripts
    edges: Edges = (0.0, 0.0, 0.0, 0.0)  # of all of it

    def lines(self) -> list['Line']:
        """The lines right below, in the order of their tokens."""
        return [line for line in (self.index, *self.parts, self.sub, self.sup) if line is not None]


@dataclass(slots=True)
class Line:
    """Items side by side: tokens `first` to `end`, with the size and baseline that the hand gave them."""

    slot: str
    items: list[Item]
    first: int
    end: int
    pairs: dict[int, int] = field(default_factory=dict)  # a closing bracket's item -> its opening one
    edges: Edges = (0.0, 0.0, 0.0, 0.0)
    size: float = 1.0  # about the height of a digit
    base: float = 0.0

    def all(self) -> list['Line']:
        """This line and all below it, in the order of their tokens."""
        return [self, *(below for item in self.items for line in item.lines() for below in line.all())]


class Span(NamedTuple):
    """Items `start` to `stop` of a line, tokens `first` to `end` of its formula; one of the same `kind` may
    replace it."""

    formula: int
    line: Line
    start: int
    stop: int
    first: int
    end: int
    kind: tuple[str, str]  # the slot, and whether it is all of it, a side of a relation, or an operand


def tree(tokens: Sequence[str]) -> Line:
    """The line that tokens in the normal form make; raises `NoTree`."""
    reader = _Reader(tokens)
    line = reader.line('whole', '')
    if reader.place <= len(tokens):
        raise NoTree('a brace closes nothing')
    return line


class _Reader:
    """Reads tokens once, from left to right."""

    def __init__(self, tokens: Sequence[str]):
        self.tokens, self.place = [*tokens, ''], 0

    def line(self, slot: str, end: str) -> Line:
        """The items up to the end, which is stepped over."""
        items, first = [], self.place
        while self.tokens[self.place] != end:
            if self.tokens[self.place] in ('', '{', '}', '_', '^', r'\limits'):
                raise NoTree(f'{self.tokens[self.place]!r} has no place here')
            items.append(self.item())
        self.place += 1
        if not items:
            raise NoTree('a line is empty')
        return Line(slot, items, first, self.place - 1, _pairs(items))

    def group(self, slot: str) -> Line:
        """What stands in braces."""
        if self.tokens[self.place] != '{':
            raise NoTree('a brace is missing')
        self.place += 1
        return self.line(slot, '}')

    def item(self) -> Item:
        item = Item(self.tokens[self.place], self.place)
        self.place += 1
        if item.token == r'\frac':
            item.parts = [self.group('fraction'), self.group('fraction')]
        elif item.token == r'\sqrt':
            if self.tokens[self.place] == '[':
                self.place += 1
                item.index = self.line('index', ']')
            item.parts = [self.group('root')]
        self.place += self.tokens[self.place] == r'\limits'
        below, above = ('below', 'above') if item.token in BIG else ('sub', 'sup')
        if self.tokens[self.place] == '_':
            self.place += 1
            item.sub = self.group(below)
        if self.tokens[self.place] == '^':
            self.place += 1
            item.sup = self.group(above)
        item.end = self.place
        return item


def _pairs(items: Sequence[Item]) -> dict[int, int]:
    """Which brackets belong together: closing -> opening; none if one has no partner."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for place, item in enumerate(items):
        closes = item.token in CLOSING or item.token == '|' and opened and items[opened[-1]].token == '|'
        if closes and not opened:
            return {}
        if closes:
            found[place] = opened.pop()
        elif item.token in OPENING or item.token == '|':
            opened.append(place)
    return {} if opened else found


def spans(formula: int, whole: Line) -> list[Span]:
    """All parts of a formula that may be exchanged."""
    return [span for line in whole.all() for span in _in_line(formula, line)]


def _in_line(formula: int, line: Line) -> list[Span]:
    items, found = line.items, []

    def add(start: int, stop: int, slot: str, form: str) -> None:
        if start < stop:
            first, end = items[start].first, items[stop - 1].end
            found.append(Span(formula, line, start, stop, first, end, (slot, form)))

    def inside(start: int, stop: int, slot: str) -> None:
        """The parts of the items start to stop, and of what is in brackets among them."""
        if slot != 'whole':
            add(start, stop, slot, 'all')
        closing = {opening: place for place, opening in line.pairs.items()}
        breaks, place = [start - 1], start
        while place < stop:
            if place in closing:
                inside(place + 1, closing[place], BRACKETS)
                place = closing[place]
            elif items[place].token in SEPARATORS:
                breaks.append(place)
            place += 1
        breaks.append(stop)
        relations = [place for place in breaks[1:-1] if items[place].token in RELATIONS]
        if relations:
            for left, right in zip([start - 1, *relations], [*relations, stop], strict=True):
                add(left + 1, right, slot, 'side')
        if len(breaks) > 2:
            for left, right in zip(breaks, breaks[1:], strict=False):
                add(left + 1, right, slot, 'operand')

    # Where brackets do not match, a piece between two signs may hold half a pair.
    if not line.pairs and any(item.token in (*OPENING, *CLOSING, '|') for item in items):
        if line.slot != 'whole':
            add(0, len(items), line.slot, 'all')
    else:
        inside(0, len(items), line.slot)
    return found


def union(edges: Sequence[Edges]) -> Edges:
    """The edges of what lies within any of these."""
    if len(edges) == 1:
        return edges[0]
    left, top, right, bottom = zip(*edges, strict=True)
    return min(left), min(top), max(right), max(bottom)
