"""The charts of the report: accuracy by bins, confidence against accuracy, and the matrix of confusions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from recog.looks.charts import GREY, INK, ORANGE, counts, figure, intervals, plain_numbers
from recog.metrics.words import wilson_interval
from recog.report.tallies import Bin, Matrix

FIRST_COLOUR, FIRST_GREY = 0.3, 0.12  # opacity of the faintest; a fainter one would not be seen


def bars(bins: Sequence[Bin], label: str) -> Any:
    """The accuracy of bins with its 95 % interval; below it, how many examples each has."""
    drawn = figure(max(5.4, 0.36 * len(bins)), 3.6)
    top, below = drawn.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    places = np.arange(len(bins))
    _accuracies(top, places, bins)
    top.set(ylabel='accuracy', ylim=(0, 1.04))
    counts(below, places, (each.total for each in bins), 'examples')
    below.set_xlabel(label)
    labels = [each.label for each in bins]
    below.set_xticks(places, labels, rotation=45 if max(map(len, labels)) > 4 else 0)
    return drawn


def reliability(bins: Sequence[Bin]) -> Any:
    """Accuracy over the confidence of bins, with the diagonal where both agree; below it, how many examples
    each bin has."""
    drawn = figure(5.4, 4.6)
    top, below = drawn.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    top.plot((0, 1), (0, 1), color=GREY, linestyle='--', linewidth=1)
    filled = [each for each in bins if each.total]
    _accuracies(top, np.array([each.confidence for each in filled]), filled)
    top.set(ylabel='accuracy', xlim=(0, 1), ylim=(0, 1.04))
    counts(below, (np.arange(len(bins)) + 0.5) / len(bins), (each.total for each in bins), 'examples')
    below.set_xlabel('confidence')
    return drawn


def _accuracies(cell: Any, places: np.ndarray, bins: Sequence[Bin]) -> None:
    intervals(cell, places, [each.right / each.total for each in bins],
              [wilson_interval(each.right, each.total) for each in bins])


def confusion(found: Matrix) -> Any:
    """How often each token (row) was read as which (column): errors in colour, correct readings in grey by
    their share of the row. All cells are transparent to some degree, so that any background does."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgba

    count = len(found.names)
    size = min(11.0, max(4.0, 1.6 + 0.2 * count))
    drawn = figure(size + 0.6, size)
    cell = drawn.subplots()
    wrong = np.where(np.eye(count, dtype=bool), 0, found.counts)
    most = max(2, int(wrong.max()))
    scale = LogNorm(1, most)
    colours = LinearSegmentedColormap.from_list(
        'errors', [to_rgba(ORANGE, FIRST_COLOUR), to_rgba(ORANGE), to_rgba('#d0312d')])
    pixels = np.where((wrong > 0)[..., None], colours(scale(np.maximum(wrong, 1))), 0.0)
    shares = np.diag(found.counts) / np.maximum(found.counts.sum(1), 1)
    for place, share in enumerate(shares):
        pixels[place, place] = to_rgba(GREY, FIRST_GREY + 0.6 * share)
    cell.imshow(pixels, interpolation='nearest')
    names = [shown(name) for name in found.names]
    fine = {'fontsize': min(8.5, 5.4 * 72 * size / 7 / count), 'family': 'DejaVu Sans Mono',
            'parse_math': False}
    cell.set_xticks(range(count), names, **fine)
    for name, label in zip(names, cell.get_xticklabels(), strict=True):
        label.set_rotation(90 if len(name) > 1 else 0)
    cell.set_yticks(range(count), names, **fine)
    cell.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    cell.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    cell.grid(which='minor', color=GREY, alpha=0.25, linewidth=0.4)
    cell.tick_params(which='both', length=0)
    cell.set(xlabel='read as', ylabel='truth')
    bar = drawn.colorbar(ScalarMappable(scale, colours), ax=cell, shrink=0.5, pad=0.02,
                         label='times wrong (grey: right)')
    bar.outline.set_edgecolor(INK)
    plain_numbers(bar.ax.yaxis, 1, most)
    return drawn


def shown(token: str) -> str:
    """A token in visible form: a blank as ␣, other characters that cannot be seen by code point."""
    if token == ' ':
        return '␣'
    return token if token.isprintable() and token.strip() else f'U+{ord(token[0]):04X}'
