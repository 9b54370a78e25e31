"""Formulas put together from people's own symbols: sub-expressions are exchanged between the formulas of
CROHME's training set, and symbols between their samples.

A function of (seed, index), without end. None is a formula that is held out for validation.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recog.data.drawn.arranged import Arrangement
from recog.data.drawn.blocks import Piece
from recog.data.drawn.dice import Dice
from recog.data.drawn.parts import Span
from recog.data.drawn.people import Formula, People
from recog.data.rows import Row, WrittenSource
from recog.errors import ConfigError
from recog.images import ink
from recog.text.held_out import held_out
from recog.text.latex import UNDRAWN

if TYPE_CHECKING:
    from ml_collections import ConfigDict

TOGETHER = 256  # formulas that are measured at a time
UNIT = 1024     # of a line's size; coordinates are whole numbers, as in records of ink
TRIES = 200     # formulas that may be unfit before the request counts as impossible
WRITERS = 20    # that are asked whether they have written every symbol of a formula
ANOTHER = 0.8   # of a writer's own symbols, the share that another sample of the same writer replaces


class Chosen(NamedTuple):
    """A formula before it is written: its parts, and the dice that choose the hand."""

    host: Formula
    exchanged: Mapping[int, Mapping[int, tuple[Span, Span]]]  # of a line, by its first item
    tokens: tuple[str, ...]
    swapped: bool
    dice: Dice


class Composed:
    """Composed formulas as a source of examples; any index can be drawn,
    and the length is only the size of an epoch."""

    def __init__(self, rule: 'ConfigDict', source: WrittenSource, split: str, *, seed: int):
        if split != 'train':
            raise ConfigError(f'split {split!r} of composed must be train: it is made of training ink, for '
                              'training')
        written = source.written()
        leaked = next((each.text for each in written if held_out(each.text)), None)
        if leaked is not None:
            raise ConfigError(f'{source.name} has {leaked!r}, which is held out for validation; '
                              'prepare it again')
        self.name, self.count, self.shares = 'composed:train', rule.count, tuple(rule.shares)
        self.tokens, self.parts, self.other_hand = tuple(rule.tokens), rule.parts, rule.other_hand
        self.people = People(written)
        if not self.people.formulas:
            raise ConfigError(f'{source.name} has no formula whose symbols are known')
        self.writers = list(self.people.hands)
        self.stream = int.from_bytes(hashlib.blake2b(f'{seed}:composed'.encode(), digest_size=8).digest())
        self._chosen(0)  # a rule that no formula fits is refused at once

    def __len__(self) -> int:
        return self.count

    def rows(self, indices: Sequence[int]) -> list[Row]:
        """The formulas written: their strokes, and the images drawn from these as CROHME's are."""
        found = []
        for index in indices:
            chosen = self._chosen(index)
            strokes = self._strokes(self._written(chosen))
            found.append(Row(self._id(index), ' '.join(chosen.tokens), ink.draw(strokes), strokes=strokes))
        return found

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        """Id and text of the formulas, without writing them."""
        return [(self._id(index), ' '.join(self._chosen(index).tokens)) for index in indices]

    def ink_sizes(self, indices: Sequence[int]) -> np.ndarray:
        """Heights and widths int32 [N, 2] of the images, without drawing them."""
        found: list[tuple[int, int]] = []
        for start in range(0, len(indices), TOGETHER):
            many = [self._written(self._chosen(index)) for index in indices[start:start + TOGETHER]]
            numbers, maps, owners = self._strokes_of(many)
            low, high = (_mapped(edge[numbers], maps) for edge in (self.people.low, self.people.high))
            ends = np.searchsorted(owners, np.arange(1, len(many) + 1))
            found += [ink.drawn_size(low[first:end], high[first:end])
                      for first, end in zip([0, *ends], ends, strict=False)]
        return np.array(found, np.int32).reshape(-1, 2)

    def _id(self, index: int) -> str:
        return f'train-{int(index):09d}'

    def _chosen(self, index: int) -> Chosen:
        if index < 0:
            raise IndexError(f'{self.name} has no formula {index}')
        dice = Dice(self.stream << 64 | int(index))
        swap, exchange, _ = self.shares
        kind = dice.random() * sum(self.shares)
        for _ in range(TRIES):
            host = dice.pick(self.people.formulas)
            exchanged: dict[int, dict[int, tuple[Span, Span]]] = {}
            tokens = host.tokens
            if kind >= swap:
                pairs = self._exchanges(host, None if kind >= swap + exchange else host.writer, dice)
                if not pairs:
                    continue
                for old, new in pairs:
                    exchanged.setdefault(id(old.line), {})[old.start] = (old, new)
                tokens = self._spliced(tokens, pairs)
            if self.tokens[0] <= len(tokens) <= self.tokens[1] and not held_out(' '.join(tokens)):
                return Chosen(host, exchanged, tokens, not swap <= kind < swap + exchange, dice)
        raise ConfigError(f'config.composed.tokens={self.tokens}, shares={self.shares}: no such formula '
                          f'could be put together in {TRIES} tries; allow more lengths, or other shares')

    def _exchanges(self, host: Formula, writer: str | None, dice: Dice) -> list[tuple[Span, Span]]:
        """Parts of a formula and what is put in their place, which this writer wrote, or anybody."""
        pairs: list[tuple[Span, Span]] = []
        for _ in range(dice.whole(1, self.parts) if host.spans else 0):
            old = dice.pick(host.spans)
            new = dice.pick(self.people.exchangeable[old.kind, writer])
            apart = all(old.end <= other.first or other.end <= old.first for other, _ in pairs)
            if apart and new.formula != old.formula:
                pairs.append((old, new))
        return sorted(pairs, key=lambda pair: pair[0].first)

    def _spliced(self, tokens: tuple[str, ...], pairs: Sequence[tuple[Span, Span]]) -> tuple[str, ...]:
        """The tokens with the new parts in place of the old ones."""
        found: list[str] = []
        place = 0
        for old, new in pairs:
            found += tokens[place:old.first]
            found += self.people.formulas[new.formula].tokens[new.first:new.end]
            place = old.end
        return (*found, *tokens[place:])

    def _written(self, chosen: Chosen) -> list[Piece]:
        """The symbols of a formula, each in its place, in whole units."""
        own, dice, people = chosen.host.writer, chosen.dice, self.people
        writer = self._hand(chosen) if chosen.swapped else ''
        hand = people.hands[writer] if writer else {}
        share = 1.0 if chosen.exchanged or writer != own else ANOTHER  # others' symbols never stay

        def sample(token: str, symbol: int) -> int:
            return dice.pick(hand[token]) if token in hand and dice.chance(share) else symbol

        whole = chosen.host.whole
        block = Arrangement(people, sample, chosen.exchanged).line(whole)
        scale = UNIT / whole.size
        return block.moved(-block.left * scale, -block.top * scale, scale).pieces

    def _hand(self, chosen: Chosen) -> str:
        """Whose symbols a formula is written with: one other writer's who has written each of them, or its
        own writer's."""
        if chosen.dice.chance(self.other_hand):
            needed = set(chosen.tokens) - UNDRAWN
            for _ in range(WRITERS):
                writer = chosen.dice.pick(self.writers)
                if needed <= self.people.hands[writer].keys():
                    return writer
        return chosen.host.writer

    def _strokes_of(self, many: Sequence[Sequence[Piece]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The numbers of all strokes of some formulas [S], the map of each [S, 6], and its formula [S]."""
        symbols = np.array([piece.symbol for pieces in many for piece in pieces])
        maps = np.array([(p.a, p.b, p.c, p.knot, p.d, p.e) for pieces in many for p in pieces])
        first = self.people.first_stroke[symbols]
        counts = self.people.first_stroke[symbols + 1] - first
        owners = np.repeat(np.arange(len(many)), [len(pieces) for pieces in many])
        return _ranges(first, counts), np.repeat(maps, counts, 0), np.repeat(owners, counts)

    def _strokes(self, pieces: Sequence[Piece]) -> list[np.ndarray]:
        """The strokes of the symbols, in whole numbers."""
        numbers, maps, _ = self._strokes_of([pieces])
        first = self.people.first_point[numbers]
        counts = self.people.first_point[numbers + 1] - first
        points = _mapped(self.people.points[_ranges(first, counts)], np.repeat(maps, counts, 0))
        return ink.parted(points, counts)


def _ranges(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The numbers from each first one on, so many of them, one after another."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1]) + np.repeat(first - ends + counts, counts)


def _mapped(points: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Points [N, 2] placed by their maps [N, 6], in whole numbers."""
    a, b, c, knot, d, e = maps.T
    x, y = points.T.astype(np.float64)
    return np.rint(np.stack([a * x + b + c * np.maximum(x - knot, 0), d * y + e], 1)).astype(np.float32)
