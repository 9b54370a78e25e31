"""Tables in Markdown, as results and comparisons print and write them."""

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Heads and rows as a Markdown table; a bar or the end of a line in a cell does not break it."""
    first, *others = (f'| {" | ".join(map(cell, row))} |' for row in (heads, *rows))
    return '\n'.join([first, '|---' * len(heads) + '|', *others])


def cell(text: str) -> str:
    """A text as it may stand in a cell."""
    return ' '.join(text.replace('|', r'\|').splitlines())
