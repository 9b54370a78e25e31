"""Tables in Markdown, as results and comparisons print and write them."""

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Heads and rows as a Markdown table; no bar, end of a line or HTML in a cell breaks it."""
    first, *others = (f'| {" | ".join(map(cell, row))} |' for row in (heads, *rows))
    return '\n'.join([first, '|---' * len(heads) + '|', *others])


def cell(text: str) -> str:
    """A text as it may stand in a cell."""
    return line(text).replace('|', r'\|')


def line(text: str) -> str:
    """A text as it may stand in a line: in one line, and no HTML."""
    return ' '.join(text.replace('<', '&lt;').splitlines())
