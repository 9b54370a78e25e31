r"""Formulas compared by their symbol layout trees (symLG): which symbol stands where, however it is written.

`x _ i ^ 2` and `{ x } ^ { 2 } _ { i }` are the same tree. A symbol is named by its path: the first of a row
is `O`, the next one appends `R`, and `Sub`, `Sup`, `Above`, `Below` and `Inside` (a root) likewise. The rules
are those by which CoMER's published figures were measured; commands other than `\frac` and `\sqrt` are
symbols.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from recog.text.normal_form import DEEPEST, Malformed

LIMITS, FRACTION, ROOT = r'\limits', r'\frac', r'\sqrt'
SCRIPTS = {'_': 'Sub', '^': 'Sup'}
BESIDE = {'_': 'Below', '^': 'Above'}  # after \limits
LABELS = {'<': r'\lt', '>': r'\gt', ',': 'COMMA', "'": r'\prime'}  # of symbols that are not called as written


class Symbol:
    """A symbol and the rows that hang on it by their relation; two of the same relation share their paths."""

    def __init__(self, label: str):
        self.label, self.rows = label, list[tuple[str, list[Symbol]]]()
        self.is_plain_root = False  # without an index


class Tree(NamedTuple):
    """The labels at each path, more than one where paths are shared, and the edges with their relation."""

    nodes: dict[str, frozenset[str]]
    edges: frozenset[tuple[str, str, str]]


class Difference(NamedTuple):
    """In how many symbols and relations two formulas differ, and whether they have the same paths and edges.

    No error is what counts as right, but of two formulas without a tree, which are never right.
    """

    nodes: int
    edges: int
    structure: bool

    @property
    def errors(self) -> int:
        """Both together."""
        return self.nodes + self.edges


def tree(formula: Sequence[str]) -> Tree:
    """The layout tree of a formula's tokens; raises `Malformed`."""
    nodes: dict[str, set[str]] = {}
    edges: set[tuple[str, str, str]] = set()
    _place(_Reader(formula).whole(), 'O', nodes, edges)
    return Tree({path: frozenset(labels) for path, labels in nodes.items()}, frozenset(edges))


def difference(truth: Tree | None, prediction: Tree | None) -> Difference:
    """How two trees differ; None is a formula that has none, which differs from every other in all it has."""
    if truth is None or prediction is None:
        known = truth or prediction or Tree({}, frozenset())
        return Difference(max(1, len(known.nodes)), len(known.edges), False)
    paths = truth.nodes.keys() | prediction.nodes.keys()
    none = frozenset[str]()
    wrong = sum(not truth.nodes.get(path, none) & prediction.nodes.get(path, none) for path in paths)
    edges = len(truth.edges ^ prediction.edges)
    return Difference(wrong, edges, truth.nodes.keys() == prediction.nodes.keys() and not edges)


def layout_figures(truths: Iterable[Sequence[str]], predictions: Iterable[Sequence[str]]) -> dict[str, float]:
    """The shares of formulas with no error (symlg), at most one and at most two."""
    found = [difference(_tree_or_none(truth), _tree_or_none(prediction)).errors
             for truth, prediction in zip(truths, predictions, strict=True)]
    return {name: sum(errors <= most for errors in found) / max(len(found), 1)
            for most, name in enumerate(('symlg', 'symlg_within_1', 'symlg_within_2'))}


def _tree_or_none(formula: Sequence[str]) -> Tree | None:
    try:
        return tree(formula)
    except Malformed:
        return None


def _place(row: Sequence[Symbol], path: str, nodes: dict[str, set[str]],
           edges: set[tuple[str, str, str]]) -> None:
    """Give the symbols of a row, and all that hangs on them, their paths."""
    for number, symbol in enumerate(row):
        if number:
            edges.add((path, f'{path}R', 'Right'))
            path += 'R'
        nodes.setdefault(path, set()).add(symbol.label)
        for relation, below in symbol.rows:
            start = path + relation
            if below:
                edges.add((path, start, relation))
            if relation == 'Inside' and symbol.is_plain_root and len(below) > 1:
                edges.add((path, f'{start}R', relation))  # an oddity of the published figures
            _place(below, start, nodes, edges)


class _Reader:
    """Reads the tokens of a formula once, from left to right, as rows of symbols."""

    def __init__(self, tokens: Sequence[str]):
        self.tokens, self.position, self.depth = tokens, 0, 0

    def whole(self) -> list[Symbol]:
        found = self.row('')
        if self.peek():
            raise Malformed('} closes nothing')
        return found

    def peek(self) -> str:
        """The next token, '' at the end."""
        return self.tokens[self.position] if self.position < len(self.tokens) else ''

    def took(self, token: str) -> bool:
        """Whether the next token is this one, which then is stepped over."""
        self.position += (found := self.peek() == token)
        return found

    def row(self, end: str) -> list[Symbol]:
        """The symbols up to `end` at this depth; braces, which only group, are left out."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise Malformed(f'groups are nested more than {DEEPEST} deep')
        found: list[Symbol] = []
        while self.peek() not in (end, '}', ''):
            found += self.item()
        self.depth -= 1
        return found

    def group(self, end: str = '}') -> list[Symbol]:
        """The row in brackets whose first has been stepped over."""
        found = self.row(end)
        if not self.took(end):
            raise Malformed(f'{end} is missing')
        return found

    def item(self, atom: list[Symbol] | None = None) -> list[Symbol]:
        """An atom, read already if it is given, with its scripts, which the last symbol of a group has.

        Scripts that stand alone hang on a symbol that nobody sees.
        """
        if atom is None:
            atom = [Symbol('')] if self.peek() in SCRIPTS else self.atom()
        names = BESIDE if self.took(LIMITS) else SCRIPTS
        kind = self.peek()
        if kind not in SCRIPTS:
            return atom
        atom = atom or [Symbol('')]
        self.position += 1
        first = None if self.peek() in SCRIPTS else self.atom()
        other = '^' if kind == '_' else '_'
        if first is not None and self.took(other):
            if self.peek() in SCRIPTS:
                raise Malformed(f'an argument of {other} is missing')
            both = {kind: first, other: self.atom()}
            atom[-1].rows += [(names[each], both[each]) for each in ('_', '^')]
        else:  # a single script is a whole item: x ^ 2 ^ 3 is x ^ { 2 ^ 3 }
            self.depth += 1
            if self.depth > DEEPEST:
                raise Malformed(f'scripts are nested more than {DEEPEST} deep')
            atom[-1].rows.append((names[kind], self.item(first)))
            self.depth -= 1
        return atom

    def atom(self) -> list[Symbol]:
        """A group, a fraction, a root or a symbol."""
        token = self.peek()
        self.position += 1
        if token == '{':
            return self.group()
        if token in ('', '}', LIMITS):
            raise Malformed(f'{token or "the end"} stands where a symbol must')
        symbol = Symbol('-' if token == FRACTION else LABELS.get(token, token))
        if token == FRACTION:
            symbol.rows = [('Above', self.argument()), ('Below', self.argument())]
        elif token == ROOT:
            index = self.bracketed()
            symbol.is_plain_root = index is None
            symbol.rows = [('Above', index or []), ('Inside', self.argument())]
        return [symbol]

    def argument(self) -> list[Symbol]:
        """A group, in braces or brackets, or one token."""
        if (inside := self.bracketed()) is not None:
            return inside
        if self.peek() in (*SCRIPTS, FRACTION):
            raise Malformed(f'an argument is missing before {self.peek()}')
        if self.took(ROOT):
            return [Symbol('√')]
        return self.atom()

    def bracketed(self) -> list[Symbol] | None:
        """What stands in brackets, if a bracket opens here that closes in this group."""
        if self.peek() != '[':
            return None
        depth = 0
        for token in self.tokens[self.position:]:
            depth += (token == '{') - (token == '}')
            if depth < 0 or (token == ']' and not depth):
                break
        else:
            return None
        if depth < 0:
            return None
        self.position += 1
        return self.group(']')
