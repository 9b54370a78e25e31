"""The charts of the page, drawn by matplotlib: saved as SVG and PNG,
and embedded in the colours of the page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recog.metrics.words import wilson_interval
from recog.report import markup
from recog.report.tallies import Bin, Matrix

# Colours that nothing else uses: the page replaces them by its own colours of text and background.
INK, PAPER = '#010203', '#fefdfc'
BLUE, GREEN, RED, GREY = '#3b82c4', '#2f9e6e', '#d9534f', '#8a8f98'
STYLE: dict[Any, Any] = {
    'text.color': INK, 'axes.labelcolor': INK, 'axes.edgecolor': INK, 'xtick.color': INK, 'ytick.color': INK,
    'figure.facecolor': PAPER, 'savefig.facecolor': PAPER, 'axes.facecolor': PAPER, 'font.size': 9.0,
    'font.family': 'DejaVu Sans', 'axes.spines.top': False, 'axes.spines.right': False,
    'svg.fonttype': 'path', 'svg.hashsalt': 'recog',
}
COLOURS = (GREEN, BLUE, '#c77d1e', '#8d5fc0', RED, GREY)
MARKS = 'os^Dv<>ph*'
# Metadata that would make the SVG of the same figure differ.
NO_METADATA = {'Date': None, 'Creator': None, 'Format': None, 'Type': None}
Series = Sequence[tuple[float, float]]  # step and value
FIRST_COLOUR = 0.2  # where the colour scale starts; fainter colours would not be seen


class Album:
    """The folder of the page's pictures; each picture is saved there and returned as HTML."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def chart(self, name: str, alternative: str, draw: Callable[..., Any], *arguments: Any) -> markup.Html:
        """NAME.svg and NAME.png of a figure that is drawn in the page's style."""
        import matplotlib

        file = self.folder / f'{name}.svg'
        with matplotlib.rc_context(STYLE):
            figure = draw(*arguments)
            figure.savefig(file, metadata=NO_METADATA)
            figure.savefig(file.with_suffix('.png'), dpi=130)
        inside = markup.drawing(file.read_text(encoding='utf-8'), name, alternative, INK, PAPER)
        return markup.captioned(inside, alternative)

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
    """Values over the steps, a line for each name; `top` is the upper
    end of a linear axis, which begins at 0."""
    drawn = figure(5.4, 3.1)
    cell = drawn.subplots()
    for number, (name, points) in enumerate(series.items()):
        few = {'marker': MARKS[number % len(MARKS)], 'markersize': 4} if len(points) <= 40 else {}
        cell.plot(*zip(*points, strict=True), color=COLOURS[number % len(COLOURS)], linewidth=1.4, label=name,
                  **few)
    cell.set(xlabel='step', ylabel=label, yscale=scale)
    if scale == 'linear':
        cell.set_ylim(0, top)
        cell.ticklabel_format(axis='y', scilimits=(-2, 5), useMathText=True)
    else:
        _plain_numbers(cell.yaxis, *cell.get_ylim())
    cell.grid(color=GREY, alpha=0.25, linewidth=0.6)
    if len(series) > 1:
        legend = drawn.legend(loc='outside upper center', ncols=2, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return drawn


def bars(bins: Sequence[Bin], label: str) -> Any:
    """The accuracy of bins with its 95 % interval; below it, how many examples each has."""
    drawn = figure(max(5.4, 0.36 * len(bins)), 3.6)
    top, below = drawn.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    places = np.arange(len(bins))
    _accuracies(top, places, bins)
    top.set(ylabel='accuracy', ylim=(0, 1.04))
    _counts(below, places, bins)
    below.set_xlabel(label)
    labels = [each.label for each in bins]
    below.set_xticks(places, labels, rotation=45 if max(map(len, labels)) > 4 else 0)
    return drawn


def reliability(bins: Sequence[Bin]) -> Any:
    """Accuracy over the confidence of bins, with the diagonal where both agree;
    below it, how many examples each bin has."""
    drawn = figure(5.4, 4.6)
    top, below = drawn.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    top.plot((0, 1), (0, 1), color=GREY, linestyle='--', linewidth=1)
    filled = [each for each in bins if each.total]
    _accuracies(top, np.array([each.confidence for each in filled]), filled)
    top.set(ylabel='accuracy', xlim=(0, 1), ylim=(0, 1.04))
    _counts(below, (np.arange(len(bins)) + 0.5) / len(bins), bins)
    below.set_xlabel('confidence')
    return drawn


def _accuracies(cell: Any, places: np.ndarray, bins: Sequence[Bin]) -> None:
    shares = np.array([each.right / each.total for each in bins])
    ends = np.array([wilson_interval(each.right, each.total) for each in bins]).T
    # At 0 and 1 rounding may put an end of the interval on the wrong side.
    reach = np.maximum(np.stack([shares - ends[0], ends[1] - shares]), 0)
    cell.errorbar(places, shares, reach, color=GREEN, marker='o', markersize=4, linewidth=1.4, elinewidth=1,
                  capsize=2)
    cell.grid(color=GREY, alpha=0.25, linewidth=0.6)


def _counts(cell: Any, places: np.ndarray, bins: Sequence[Bin]) -> None:
    width = 0.8 * (places[1] - places[0]) if len(places) > 1 else 0.8
    cell.bar(places, [each.total for each in bins], width, color=GREY, alpha=0.7)
    cell.set_ylabel('examples')


def confusion(found: Matrix) -> Any:
    """How often each token (row) was read as which (column): errors in colour, correct
    readings in grey by their share of the row."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm

    count = len(found.names)
    size = min(11.0, max(3.5, 1.6 + 0.17 * count))
    drawn = figure(size + 0.6, size)
    cell = drawn.subplots()
    wrong = np.where(np.eye(count, dtype=bool), 0, found.counts)
    most = max(2, int(wrong.max()))
    scale = LogNorm(1, most)
    colours = ListedColormap(colormaps['YlOrRd'](np.linspace(FIRST_COLOUR, 1, 256)))
    pixels = colours(scale(np.maximum(wrong, 1)))
    pixels[wrong == 0] = 1
    for channel in range(3):
        np.fill_diagonal(pixels[:, :, channel],
                         0.95 - 0.35 * np.diag(found.counts) / np.maximum(found.counts.sum(1), 1))
    cell.imshow(pixels, interpolation='nearest')
    names = [shown(name) for name in found.names]
    fine = {'fontsize': min(8.0, 5.4 * 72 * size / 7 / count), 'family': 'DejaVu Sans Mono',
            'parse_math': False}
    cell.set_xticks(range(count), names, **fine)
    for name, label in zip(names, cell.get_xticklabels(), strict=True):
        label.set_rotation(90 if len(name) > 1 else 0)
    cell.set_yticks(range(count), names, **fine)
    cell.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    cell.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    cell.grid(which='minor', color='#e3e5e9', linewidth=0.4)
    cell.tick_params(which='both', length=0)
    cell.set(xlabel='read', ylabel='truth')
    bar = drawn.colorbar(ScalarMappable(scale, colours), ax=cell, shrink=0.5, pad=0.02, label='times')
    _plain_numbers(bar.ax.yaxis, 1, most)
    return drawn


def _plain_numbers(axis: Any, low: float, high: float) -> None:
    """Numbers without powers on a logarithmic axis: over several decades 1, 2 and 5 of each, else all."""
    wide = high > 20 * low
    axis.set_major_formatter('{x:g}')
    axis.set_minor_formatter(lambda value, _: f'{value:g}' if not wide or f'{value:.0e}'[0] in '25' else '')


def shown(token: str) -> str:
    """A token in visible form: a blank as ␣, other characters that cannot be seen by code point."""
    if token == ' ':
        return '␣'
    return token if token.isprintable() and token.strip() else f'U+{ord(token[0]):04X}'
