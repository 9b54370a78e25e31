"""Formulas arranged anew: other parts, and other samples of the symbols, where a writer's own stood.

Gaps, baselines and sizes stay those of the formula as it was written. What is as it was stays where it was;
bars and roots become as wide as what they belong to, brackets as high.
"""

from collections.abc import Callable, Mapping

from recog.data.drawn.blocks import TUCKED, Block, Entry, Piece, grown_by, is_new, set_beside, stretch
from recog.data.drawn.handwriting import CLOSING, OPENING
from recog.data.drawn.parts import BIG, Edges, Item, Line, Span, union
from recog.data.drawn.people import People

FENCES = frozenset((*OPENING, *CLOSING, '|'))
LARGEST = 2.0  # a sample is at most so many times as large, or as small, beside its line as where it stood
SINK = 0.35    # of a script's size, by which another script in its place may come nearer to the base


class Arrangement:
    """A formula arranged: `exchanged` gives the parts in place of items of a line, by the first item's place;
    `sample` the symbol to draw instead of one, by token and number."""

    def __init__(self, people: People, sample: Callable[[str, int], int],
                 exchanged: Mapping[int, Mapping[int, tuple[Span, Span]]]):
        self.people, self.sample, self.exchanged = people, sample, exchanged

    def line(self, line: Line) -> Block:
        """A whole line."""
        return self.items(line, 0, len(line.items))

    def items(self, line: Line, start: int, stop: int) -> Block:
        """Items of a line side by side, the first at its own left edge."""
        exchanged = self.exchanged.get(id(line), {})
        entries: dict[int, Entry] = {}
        place, before = start, None
        while place < stop:
            if place in exchanged:
                old, new = exchanged[place]
                entry = Entry(union([item.edges for item in line.items[old.start:old.stop]]),
                              self._foreign(line, new), True)
                after = old.stop
            else:
                item, opening = line.items[place], line.pairs.get(place, -1)
                grown = (0.0, 0.0)
                if opening in entries:
                    grown = grown_by([entry for at, entry in entries.items() if at > opening])
                    stretch(entries[opening].new, grown)
                entry, after = Entry(item.edges, self.item(item, grown), False), place + 1
            set_beside(entry, before, line)
            entries[place], before, place = entry, entry, after
        whole, *others = [entry.new for entry in entries.values()]
        for other in others:
            whole.add(other)
        return whole

    def _foreign(self, line: Line, span: Span) -> Block:
        """Items of another formula, in the size and on the baseline of a line."""
        block, scale = self.items(span.line, span.start, span.stop), line.size / span.line.size
        return block.moved(0.0, line.base - span.line.base * scale, scale)

    def item(self, item: Item, grown: tuple[float, float] = (0.0, 0.0)) -> Block:
        """An item with its scripts; brackets are stretched, up and down, as what stands in them has grown."""
        if item.token == r'\frac':
            block = self.fraction(item)
        elif item.token == r'\sqrt':
            block = self.root(item)
        else:
            block = self.symbol(item)
        stretch(block, grown)
        base = block.edges
        if item.sub is not None:
            block.add(self.script(item, item.sub, base, True))
        if item.sup is not None:
            block.add(self.script(item, item.sup, base, False))
        return block

    def script(self, item: Item, script: Line, base: Edges, is_sub: bool) -> Block:
        """A script where it stood: beside its base, or below or above it."""
        new, old, own = self.line(script), script.edges, item.own
        down = base[3] - own[3] if is_sub else base[1] - own[1]
        middle = (old[0] + old[2]) / 2
        if item.token in BIG and middle < own[2]:
            x = (base[0] + base[2] - own[0] - own[2]) / 2 + middle - (new.left + new.right) / 2
            return new.moved(x, down + (old[1] - new.top if is_sub else old[3] - new.bottom))
        if not item.parts and item.token not in FENCES:
            down = 0.0  # a sample of a symbol may end elsewhere, but stands where the base stood
        nearer = (old[1] - new.top if is_sub else new.bottom - old[3]) - SINK * script.size
        if nearer > 0:
            down += nearer if is_sub else -nearer
        gap = old[0] - own[2]
        if item.token not in BIG and is_new(own, base, script.size):
            gap = max(gap, -TUCKED * script.size)
        return new.moved(base[2] + gap - new.left, down)

    def fraction(self, item: Item) -> Block:
        """The bar, as wide as what is above and below it."""
        bar = self.people.edges[item.symbol]
        centre, middle = (bar[0] + bar[2]) / 2, (bar[1] + bar[3]) / 2
        olds, news = [part.edges for part in item.parts], [self.line(part) for part in item.parts]
        before, now = max(old[2] - old[0] for old in olds), max(new.right - new.left for new in news)
        spread = now / before if before > now else 1.0  # what is narrower is less off the middle
        for old, new, is_above in zip(olds, news, (True, False), strict=True):
            x = centre + ((old[0] + old[2]) / 2 - centre) * spread - (new.left + new.right) / 2
            new.moved(x, old[3] - new.bottom if is_above else old[1] - new.top)
        around = union(olds)
        left = min(new.left for new in news) + bar[0] - around[0]
        right = max(new.right for new in news) + bar[2] - around[2]
        symbol = self.sample(item.token, item.symbol)
        own = self.people.edges[symbol]
        scale = (right - left) / (own[2] - own[0]) if own[2] > own[0] and right > left else 1.0
        flat = min(scale, self._scales(item.symbol, symbol) * LARGEST)
        piece = Piece(symbol, scale, left - scale * own[0], flat, middle - flat * (own[1] + own[3]) / 2)
        block = Block([piece], (left, flat * own[1] + piece.e, right, flat * own[3] + piece.e))
        for new in news:
            block.add(new)
        return block

    def root(self, item: Item) -> Block:
        """The sign, as wide and high as what is in the root, and its index."""
        inside, sign = item.parts[0], self.people.edges[item.symbol]
        new = self.line(inside)
        edges = (new.left + sign[0] - inside.edges[0], new.top + sign[1] - inside.edges[1],
                 new.right + sign[2] - inside.edges[2], new.bottom + sign[3] - inside.edges[3])
        knot = new.left + self.people.knots[item.symbol] - inside.edges[0]
        block = Block([self._sign(self.sample(item.token, item.symbol), edges, knot)], edges)
        block.add(new)
        if item.index is not None:
            index, old = self.line(item.index), item.index.edges
            share = (old[3] - sign[1]) / max(sign[3] - sign[1], 1e-9)
            bottom = edges[1] + share * (edges[3] - edges[1])
            block.add(index.moved(edges[0] + old[2] - sign[0] - index.right, bottom - index.bottom))
        return block

    def _sign(self, symbol: int, edges: Edges, knot: float) -> Piece:
        """The sign of a root within these edges; what is left of the knot is the tick."""
        own, bend = self.people.edges[symbol], self.people.knots[symbol]
        d = (edges[3] - edges[1]) / (own[3] - own[1]) if own[3] > own[1] and edges[3] > edges[1] else 1.0
        e = edges[1] - d * own[1]
        if min(bend - own[0], own[2] - bend, knot - edges[0], edges[2] - knot) > 1e-9:
            a, right = (knot - edges[0]) / (bend - own[0]), (edges[2] - knot) / (own[2] - bend)
            return Piece(symbol, a, knot - a * bend, d, e, right - a, bend)
        a = (edges[2] - edges[0]) / (own[2] - own[0]) if own[2] > own[0] and edges[2] > edges[0] else 1.0
        return Piece(symbol, a, edges[0] - a * own[0], d, e)

    def symbol(self, item: Item) -> Block:
        """A symbol, or another sample of it: as large, and about the same middle."""
        symbol = self.sample(item.token, item.symbol)
        if symbol == item.symbol:
            return Block([Piece(symbol)], self.people.edges[symbol])
        old, own = self.people.edges[item.symbol], self.people.edges[symbol]
        width, height = own[2] - own[0], own[3] - own[1]
        usual = self._scales(item.symbol, symbol)
        scale = max(old[2] - old[0], old[3] - old[1]) / max(width, height, 1e-9)
        scale = min(max(scale, usual / LARGEST), usual * LARGEST)
        piece = Piece(symbol, scale, (old[0] + old[2] - scale * (own[0] + own[2])) / 2,
                      scale, (old[1] + old[3] - scale * (own[1] + own[3])) / 2)
        return Block([piece], (scale * own[0] + piece.b, scale * own[1] + piece.e,
                               scale * own[2] + piece.b, scale * own[3] + piece.e))

    def _scales(self, symbol: int, sample: int) -> float:
        """How large the line of a symbol is beside that of its sample."""
        return self.people.sizes[symbol] / self.people.sizes[sample]
