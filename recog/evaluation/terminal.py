"""Markdown as a terminal shows it: tables with aligned columns, no wider than the terminal."""

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

USUAL = 110  # columns where the output is no terminal
NARROW = 16  # columns of text to which one may be wrapped
GAP = '  '
_BAR = re.compile(r'(?<!\\)\|')  # between cells
_NUMBER = re.compile(r'[-+]?\d|-$')


def shown(markdown: str, width: int = 0) -> str:
    """The text with its tables laid out; `width` is that of the terminal unless it is given."""
    width = width or shutil.get_terminal_size((USUAL, 0)).columns
    parts: list[str] = []
    for is_table, lines in groupby(markdown.split('\n'), lambda line: line.startswith('|')):
        if is_table:
            parts += _tables([_cells(line) for line in lines], width)
        else:
            parts += [_wrapped(re.sub('^#+ ', '', line), width) for line in lines]
    return '\n'.join(parts)


def _wrapped(line: str, width: int) -> str:
    indent = GAP if line.startswith('- ') else ''
    return textwrap.fill(_plain(line), width, subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False)


def _cells(line: str) -> list[str]:
    return [_plain(cell.strip()) for cell in _BAR.split(line.strip())[1:-1]]


def _plain(text: str) -> str:
    return text.replace('&lt;', '<').replace(r'\|', '|')


def _tables(rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """The lines of a table: what exceeds the width is wrapped, or continued below beside the first column."""
    heads, _, *body = rows  # the second is the rule
    columns = list(zip(heads, *body, strict=True))
    widths = _narrowed([max(map(len, column)) for column in columns], columns, width)
    for number, part in enumerate(_parts(widths, width)):
        if number:
            yield ''
        chosen, sizes = [columns[place] for place in part], [widths[place] for place in part]
        right = [all(_NUMBER.match(cell) for cell in column[1:] if cell) for column in chosen]
        head, *others = (_lines(cells, sizes, right) for cells in zip(*chosen, strict=True))
        yield from head
        yield GAP.join('-' * size for size in sizes)
        for lines in others:
            yield from lines


def _narrowed(widths: list[int], columns: Sequence[Sequence[str]], most: int) -> list[int]:
    """The widths of columns, of which those of words are narrowed, the widest first, until all fit."""
    words = [place for place, column in enumerate(columns) if place and widths[place] > NARROW
             and any(' ' in cell for cell in column) and not all(_NUMBER.match(cell) for cell in column[1:])]
    while words and (excess := _sum(widths) - most) > 0:
        widest = max(words, key=lambda place: widths[place])
        if widths[widest] <= NARROW:
            break
        second = max((widths[place] for place in words if widths[place] < widths[widest]), default=NARROW)
        widths[widest] = max(NARROW, second - 1, widths[widest] - excess)
    return widths


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _parts(widths: Sequence[int], most: int) -> list[list[int]]:
    """The columns of each table, each with the first column; as many as fit side by side."""
    parts = [[0]]
    for place in range(1, len(widths)):
        if len(parts[-1]) > 1 and _sum([widths[each] for each in (*parts[-1], place)]) > most:
            parts.append([0])
        parts[-1].append(place)
    return parts


def _lines(cells: Sequence[str], sizes: Sequence[int], right: Sequence[bool]) -> list[str]:
    """The lines of a row."""
    wrapped = [textwrap.wrap(cell, size) or [''] for cell, size in zip(cells, sizes, strict=True)]
    lines = []
    for number in range(max(map(len, wrapped))):
        each = [part[number] if number < len(part) else '' for part in wrapped]
        padded = [cell.rjust(size) if to_right else cell.ljust(size)
                  for cell, size, to_right in zip(each, sizes, right, strict=True)]
        lines.append(GAP.join(padded).rstrip())
    return lines
