"""Blocks of placed symbols: moved, stretched, and set side by side."""

from collections.abc import Sequence
from typing import NamedTuple

from recog.data.drawn.parts import Edges, Line, union

CLEAR = 0.1    # of a line's size: what is put next to something stands at least so far from it
TUCKED = 0.15  # of a line's size, by which a new sample at most reaches under or over what is next to it


class Piece:
    """A symbol and how it is placed: x is a x + b, and c more for each unit beyond the knot; y is d y + e."""

    __slots__ = ('a', 'b', 'c', 'd', 'e', 'knot', 'symbol')

    def __init__(self, symbol: int, a: float = 1.0, b: float = 0.0, d: float = 1.0, e: float = 0.0,
                 c: float = 0.0, knot: float = 0.0):
        self.symbol, self.a, self.b, self.c, self.knot, self.d, self.e = symbol, a, b, c, knot, d, e


class Block:
    """Pieces that stand together, and their edges."""

    __slots__ = ('bottom', 'left', 'pieces', 'right', 'top')

    def __init__(self, pieces: list[Piece], edges: Edges):
        self.pieces = pieces
        self.left, self.top, self.right, self.bottom = edges

    @property
    def edges(self) -> Edges:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom

    def moved(self, x: float, y: float, scale: float = 1.0) -> 'Block':
        """Scale everything about 0, then shift it."""
        if x == 0 and y == 0 and scale == 1:
            return self
        for piece in self.pieces:
            piece.a, piece.b, piece.c = piece.a * scale, piece.b * scale + x, piece.c * scale
            piece.d, piece.e = piece.d * scale, piece.e * scale + y
        self.left, self.right = self.left * scale + x, self.right * scale + x
        self.top, self.bottom = self.top * scale + y, self.bottom * scale + y
        return self

    def reaching(self, top: float, bottom: float) -> None:
        """Stretch everything to reach from one height to another."""
        factor = (bottom - top) / max(self.bottom - self.top, 1e-9)
        for piece in self.pieces:
            piece.d, piece.e = piece.d * factor, top + (piece.e - self.top) * factor
        self.top, self.bottom = top, bottom

    def add(self, other: 'Block') -> None:
        """Put another block where it stands."""
        self.pieces += other.pieces
        self.left, self.top, self.right, self.bottom = union((self.edges, other.edges))


class Entry(NamedTuple):
    """Something of a line: as it was, and as it is now."""

    old: Edges
    new: Block
    foreign: bool


def grown_by(entries: Sequence[Entry]) -> tuple[float, float]:
    """How far what stands between brackets has moved up and down at its edges."""
    if not entries:
        return 0.0, 0.0
    return (min(entry.new.top for entry in entries) - min(entry.old[1] for entry in entries),
            max(entry.new.bottom for entry in entries) - max(entry.old[3] for entry in entries))


def stretch(block: Block, grown: tuple[float, float]) -> None:
    """Stretch a bracket."""
    top, bottom = block.top + grown[0], block.bottom + grown[1]
    if grown != (0.0, 0.0) and bottom - top > (block.bottom - block.top) / 3:
        block.reaching(top, bottom)


def is_new(old: Edges, new: Edges, size: float) -> bool:
    """Whether something is drawn otherwise than it was: it is wider or narrower."""
    return abs((new[2] - new[0]) - (old[2] - old[0])) > 1e-6 * size


def set_beside(entry: Entry, before: Entry | None, line: Line) -> None:
    """Put an entry of a line as far from the one before as it was; the first stays where it was."""
    if before is None:
        entry.new.moved(entry.old[0] - entry.new.left, 0.0)
        return
    gap = entry.old[0] - before.old[2]
    if entry.foreign or before.foreign:
        gap = max(gap, CLEAR * line.size)
    elif is_new(entry.old, entry.new.edges, line.size) or is_new(before.old, before.new.edges, line.size):
        gap = max(gap, -TUCKED * line.size)
    entry.new.moved(before.new.right + gap - entry.new.left, 0.0)
