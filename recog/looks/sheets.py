"""Sheets of pictures as PNG: the light colours of the style sheet, and text beside the pictures."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from recog.looks import charts

# As in style.css.
PAPER, CARD, INK, FAINT, LINE, GOOD, BAD = (
    '#fbfbfa', '#ffffff', '#1b1e23', '#5f6772', '#d9dce1', '#1d7a4c', '#b3261e')
# For matplotlib.
STYLE: dict[Any, Any] = charts.STYLE | {
    **dict.fromkeys(('text.color', 'axes.labelcolor', 'axes.edgecolor', 'xtick.color', 'ytick.color'), INK),
    **dict.fromkeys(('figure.facecolor', 'savefig.facecolor', 'axes.facecolor'), PAPER)}


@cache
def font(size: int, bold: bool = False) -> Any:
    """DejaVu Sans, which comes with matplotlib, for Pillow."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(Path(get_data_path()) / 'fonts' / 'ttf' / name, size)


def wrapped(text: str, width: int, size: int, most: int) -> list[str]:
    """A text in lines of this width in pixels, at most so many; what is cut off ends in …."""
    lines: list[str] = ['']
    for word in drawable(text).split():
        longer = f'{lines[-1]} {word}'.strip()
        if font(size).getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[:most - 1], f'{lines[most - 1]} …']
    return lines


def drawable(text: str) -> str:
    """The text without what no font can draw: broken bytes of a file's name."""
    return text.encode('utf-8', 'replace').decode()


def strengths(value: float) -> Sequence[str]:
    """The headings of the columns of a strength: below, at, and above none."""
    return f'−{value:g}', '0', f'+{value:g}'
