"""Charts by matplotlib, saved as SVG and PNG, and embedded in the colours of the page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recog.looks import markup

# Colours that nothing else uses: the page replaces them by its own colours of text and background.
INK, PAPER = '#010203', '#fefdfc'
# These can be told from a light and from a dark background.
BLUE, GREEN, ORANGE, PURPLE, RED, GREY = '#3b82c4', '#2f9e6e', '#c77d1e', '#8d5fc0', '#d9534f', '#8a8f98'
COLOURS = (GREEN, BLUE, ORANGE, PURPLE, RED, GREY)
STYLE: dict[Any, Any] = {
    'text.color': INK, 'axes.labelcolor': INK, 'axes.edgecolor': INK, 'xtick.color': INK, 'ytick.color': INK,
    'figure.facecolor': PAPER, 'savefig.facecolor': PAPER, 'axes.facecolor': PAPER, 'font.size': 9.0,
    'font.family': 'DejaVu Sans', 'axes.spines.top': False, 'axes.spines.right': False,
    'svg.fonttype': 'path', 'svg.hashsalt': 'recog',
}
MARKS = 'os^Dv<>ph*'
# Metadata that would make the SVG of the same figure differ.
NO_METADATA = {'Date': None, 'Creator': None, 'Format': None, 'Type': None}
FEW = 40  # points of a curve that are marked one by one
Series = Sequence[tuple[float, float]]  # step and value


class Album:
    """The folder of the page's pictures; each picture is saved there and returned as HTML."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def chart(self, name: str, alternative: str, draw: Callable[..., Any], *arguments: Any,
              kind: str = '') -> markup.Html:
        """NAME.svg and NAME.png of a figure that is drawn in the page's style."""
        import matplotlib

        file = self.folder / f'{name}.svg'
        with matplotlib.rc_context(STYLE):
            figure = draw(*arguments)
            figure.savefig(file, metadata=NO_METADATA)
            figure.savefig(file.with_suffix('.png'), dpi=130)
        inside = markup.drawing(file.read_text(encoding='utf-8'), name, alternative, INK, PAPER)
        return markup.captioned(markup.element('div', inside, class_='wide'), alternative, kind)

    def photograph(self, name: str, alternative: str, pixels: np.ndarray) -> markup.Html:
        """NAME.png of pixels [H, W, 3] or [H, W] in OpenCV's order."""
        import cv2

        file = self.folder / f'{name}.png'
        file.write_bytes(cv2.imencode('.png', pixels)[1].tobytes())
        return markup.picture(file, alternative)


def figure(width: float, height: float) -> Any:
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout='constrained')


def curves(series: Mapping[str, Series], label: str, scale: str = 'linear', top: float | None = None) -> Any:
    """Values over the steps, a line for each name; `top` is the upper end of a linear axis, which begins at
    0."""
    drawn = figure(5.4, 3.1)
    cell = drawn.subplots()
    for number, (name, points) in enumerate(series.items()):
        few = {'marker': MARKS[number % len(MARKS)], 'markersize': 4} if len(points) <= FEW else {}
        cell.plot(*zip(*points, strict=True), color=COLOURS[number % len(COLOURS)], linewidth=1.4, label=name,
                  **few)
    cell.set(xlabel='step', ylabel=label, yscale=scale)
    if scale == 'linear':
        cell.set_ylim(0, top)
        cell.ticklabel_format(axis='y', scilimits=(-2, 5), useMathText=True)
    else:
        plain_numbers(cell.yaxis, *cell.get_ylim())
    grid(cell)
    legend(drawn, len(series))
    return drawn


def grid(cell: Any) -> None:
    """A faint grid."""
    cell.grid(color=GREY, alpha=0.25, linewidth=0.6)


def legend(drawn: Any, lines: int) -> None:
    """The names of the lines above the chart, if there are several."""
    if lines > 1:
        for text in drawn.legend(loc='outside upper center', ncols=2, frameon=False).get_texts():
            text.set_parse_math(False)


def intervals(cell: Any, places: Any, shares: Sequence[float],
              ends: Sequence[tuple[float, float]]) -> None:
    """Shares as points with their intervals, joined by a line."""
    values, (low, high) = np.array(shares), np.array(ends).T
    # At 0 and 1 rounding may put an end of the interval on the wrong side.
    reach = np.maximum(np.stack([values - low, high - values]), 0)
    cell.errorbar(places, values, reach, color=GREEN, marker='o', markersize=4, linewidth=1.4, elinewidth=1,
                  capsize=2)
    grid(cell)


def counts(cell: Any, places: np.ndarray, numbers: Iterable[int], label: str) -> None:
    """Grey bars of how many there are at each place."""
    width = 0.8 * (places[1] - places[0]) if len(places) > 1 else 0.8
    cell.bar(places, list(numbers), width, color=GREY, alpha=0.7)
    cell.set_ylabel(label)


def plain_numbers(axis: Any, low: float, high: float) -> None:
    """Numbers without powers on a logarithmic axis: over several decades 1, 2 and 5 of each, else all."""
    wide = high > 20 * low
    axis.set_major_formatter('{x:g}')
    axis.set_minor_formatter(lambda value, _: f'{value:g}' if not wide or f'{value:.0e}'[0] in '25' else '')
