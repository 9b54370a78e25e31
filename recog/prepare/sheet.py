"""The picture of a preparation's report: distributions, what labels are made of, what was rejected, samples.

Labels of words are made of characters, those of formulas of tokens, and images of formulas go onto canvases.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recog.images.read import read_image
from recog.looks.charts import BLUE, GREEN, GREY, ORANGE, PURPLE
from recog.looks.sheets import STYLE
from recog.prepare.pieces import MONO, characters, drawable, tokens
from recog.prepare.tally import SETS, Shared, Tally, ranked, spread

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
CANVASES = 10  # that are listed
COLUMNS, ROWS, BINS = 8, 3, 60
CAPTION_LENGTH = 24  # characters over a picture
MOST_LETTERS = 10 * CAPTION_LENGTH  # of a label that are looked at
# In inches, placed by hand: matplotlib's own layout of so many pictures takes seconds.
WIDTH, MARGIN, GAP, CHART, LINE, CAPTION = 15.0, 0.2, 0.12, 1.9, 0.15, 0.2
LARGEST = 1000  # pixels a side of a sample that is kept while others are read; larger ones are shrunk


def draw(file: Path, title: str, tallies: Mapping[str, Tally], problems: Mapping[str, Counter[str]],
         shared: Sequence[Shared], records: Mapping[str, Any], formulas: bool = False) -> None:
    """Write the sheet; `tallies` and `records`, which gives random access, have the same splits."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        _draw(file, title, tallies, problems, shared, records, formulas)


def _draw(file: Path, title: str, tallies: Mapping[str, Tally], problems: Mapping[str, Counter[str]],
          shared: Sequence[Shared], records: Mapping[str, Any], formulas: bool) -> None:
    from matplotlib.figure import Figure

    samples = {split: _samples(source) for split, source in records.items()}
    columns = _columns(tallies, problems, shared, formulas)
    words = LINE * (2 + max(map(len, columns.values())))
    heights = [0.45, CHART + 0.55, CHART + 0.55, words + 0.2, *(_height(each) for each in samples.values())]
    figure = Figure(figsize=(WIDTH, sum(heights)))
    tops = np.cumsum([0, *heights]).tolist()
    figure.text(MARGIN / WIDTH, 1 - 0.25 / sum(heights), title, fontsize=13, weight='bold', va='center')
    _distributions(figure, tops[1], tallies, formulas)
    bars = tokens if formulas else characters
    bars(_axes(figure, 0.6, tops[2] + 0.15, WIDTH - 0.8, CHART - (0.5 if formulas else 0.2)), tallies)
    _words(figure, tops[3], words, columns)
    for top, (split, rows), colour in zip(tops[4:], samples.items(), COLOURS * len(samples), strict=False):
        _cells(figure, top, rows, f'{split}: {len(rows)} of {tallies[split].count:,}', colour)
    figure.savefig(file, dpi=100)


def _axes(figure: Any, left: float, top: float, width: float, height: float) -> Any:
    """Axes placed in inches from the top left."""
    total = figure.get_size_inches()[1]
    axes = figure.add_axes((left / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total))
    axes.tick_params(labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)
    return axes


def _distributions(figure: Any, top: float, tallies: Mapping[str, Tally], formulas: bool) -> None:
    """A line for each split; the last bin holds all that is greater."""
    measures = {'width': 'width, pixels', 'height': 'height, pixels', 'length': 'length, characters'}
    if formulas:
        measures = {'width': 'width, pixels', 'height': 'height, pixels', 'tokens': 'length, LaTeX tokens'}
    elif any(tally.quantiles('tokens')['99 %'] > 1 for tally in tallies.values()):
        measures['tokens'] = 'length, words between blanks'
    width = (WIDTH - MARGIN) / len(measures)
    for number, (measure, label) in enumerate(measures.items()):
        axes = _axes(figure, 0.6 + number * width, top, width - 0.7, CHART)
        limit = max(tally.quantiles(measure)['99 %'] for tally in tallies.values()) * 1.1 + 1
        step = max(1, int(np.ceil(limit / BINS)))
        edges = np.arange(0, limit + step, step) - 0.5
        for (split, tally), colour in zip(tallies.items(), COLOURS * len(tallies), strict=False):
            values = np.minimum(np.fromiter(tally.counters[measure].keys(), float), edges[-1] - 0.5)
            weights = np.fromiter(tally.counters[measure].values(), float) / tally.count
            shares, _ = np.histogram(values, edges, weights=weights)
            axes.stairs(100 * shares, edges, color=colour, linewidth=1.4, fill=len(tallies) == 1,
                        label=f'{split} {tally.count:,}')
        most = max(max(tally.counters[measure]) for tally in tallies.values())
        axes.set_xlabel(f'{label} (at most {most:,})', fontsize=9)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0)
    figure.axes[0].set_ylabel('% of records', fontsize=9)
    figure.axes[0].legend(fontsize=8, frameon=False)


def canvases(tally: Tally) -> list[str]:
    """Lines with the share of images that fit into a canvas, for those that are as small as can be."""
    lines, most = [], 0.0
    for (height, width), share in sorted(tally.fitting().items(), key=lambda each: each[0][0] * each[0][1]):
        if share > most + 0.001:  # what a smaller canvas holds, too, says nothing
            lines.append(f'{share:11.1%}  {height} x {width}')
            most = share
    return lines[-CANVASES:]


def _columns(tallies: Mapping[str, Tally], problems: Mapping[str, Counter[str]],
             shared: Sequence[Shared], formulas: bool) -> dict[str, list[str]]:
    """The lines of text, by heading."""
    rejected = [f'{count:>11,}  {kind}: {reason}' for kind, counts in problems.items()
                for reason, count in ranked(counts)]
    outside = [f'{count:>11,} {count / tally.count:7.2%}  {split}: outside {name}'
               for split, tally in tallies.items()
               for name in SETS if (count := tally.counters['outside'][name]) or name == '94']
    common = [f'{each.folded:>11,} {each.folded / tallies[each.split].count:7.2%}  {each.split} in '
              f'{each.other}'
              for each in shared]
    split = 'train' if 'train' in tallies else next(iter(tallies))
    middle = {f'{split}: images that fit into a canvas, height x width': canvases(tallies[split])} \
        if formulas else {'labels with characters outside the usual sets': outside}
    return {'rejected and noted': rejected or ['none'], **middle,
            'labels that stand in another split, too (folded)': common or ['there is one split']}


def _words(figure: Any, top: float, height: float, columns: Mapping[str, Sequence[str]]) -> None:
    for number, (head, lines) in enumerate(columns.items()):
        axes = _axes(figure, MARGIN + number * WIDTH / len(columns), top, WIDTH / len(columns) - MARGIN,
                     height)
        axes.set_axis_off()
        axes.text(0, 1, head, fontsize=9, va='top', weight='bold', transform=axes.transAxes)
        for place, line in enumerate(lines):
            axes.text(0, 1 - LINE * (place + 1.4) / height, drawable(line), va='top',
                      transform=axes.transAxes, **MONO)


def _samples(records: Any) -> list[tuple[np.ndarray, str]]:
    found = records.__getitems__(spread(len(records), COLUMNS * ROWS))
    return [(_shrunk(read_image(record['image'])), record['text'].decode()[:MOST_LETTERS])
            for record in found]


def _shrunk(image: np.ndarray) -> np.ndarray:
    """A large picture made smaller, which nobody sees here: two dozen of full size take gigabytes."""
    import cv2

    scale = LARGEST / max(image.shape)
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _cell(rows: Sequence[tuple[np.ndarray, str]]) -> tuple[float, float]:
    """Width and height of a cell that suits most of the pictures."""
    width = (WIDTH - 2 * MARGIN) / COLUMNS - GAP
    ratio = float(np.quantile([image.shape[0] / image.shape[1] for image, _ in rows], 0.7))
    return width, float(np.clip(ratio * width, 0.4, 1.2))


def _height(rows: Sequence[tuple[np.ndarray, str]]) -> float:
    return 0.5 + -(-len(rows) // COLUMNS) * (_cell(rows)[1] + CAPTION + GAP)


def _cells(figure: Any, top: float, rows: Sequence[tuple[np.ndarray, str]], head: str, colour: str) -> None:
    """The pictures in one pair of axes, whose unit is an inch, each as large as its cell allows."""
    width, height = _cell(rows)
    axes = _axes(figure, MARGIN, top, WIDTH - 2 * MARGIN, _height(rows))
    axes.set_axis_off()
    axes.text(0, 0.1, head, fontsize=10, color=colour, weight='bold', va='center')
    for number, (image, text) in enumerate(rows):
        left, upper = (number % COLUMNS) * (width + GAP), 0.3 + number // COLUMNS * (height + CAPTION + GAP)
        scale = min(width / image.shape[1], height / image.shape[0])
        across, down = scale * image.shape[1], scale * image.shape[0]
        x, y = left + (width - across) / 2, upper + CAPTION + (height - down) / 2
        axes.imshow(image[:, :, ::-1], extent=(x, x + across, y + down, y), aspect='auto')
        said = drawable(text)
        said = said if len(said) <= CAPTION_LENGTH else f'{said[:CAPTION_LENGTH - 1]}…'
        axes.text(left + width / 2, upper + CAPTION / 2, said, ha='center', va='center', **MONO)
    axes.set(xlim=(0, WIDTH - 2 * MARGIN), ylim=(_height(rows), 0))
