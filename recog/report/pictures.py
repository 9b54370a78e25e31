"""Pictures that a run leaves in its workdir: its curves, and sample words with what was read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recog.data.rows import Source
from recog.evaluation.results import Result
from recog.looks.charts import COLOURS, GREY, MARKS, Series, figure
from recog.looks.sheets import BAD, GOOD, STYLE
from recog.workdir import files

SHOWN, KEPT = 32, 8  # sample words in the picture, and as files


def curves(workdir: Path) -> list[Path]:
    """loss.png and loss.svg from metrics.jsonl: the loss and each set's accuracy over the steps."""
    import matplotlib

    lines = files.read_log(workdir)
    losses = [(line['step'], line['loss']) for line in lines if 'loss' in line]
    accuracies: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name.endswith('/accuracy'):
                accuracies.setdefault(name.removesuffix('/accuracy'), []).append((line['step'], value))
    with matplotlib.rc_context(STYLE):
        return _save(_curves(losses, accuracies), workdir / 'loss', ('png', 'svg'))


def _curves(losses: Series, accuracies: Mapping[str, Series]) -> Any:
    """The loss, and the accuracies on an axis of their own."""
    drawn = figure(7, 4)
    left = drawn.subplots()
    left.plot(*zip(*losses, strict=True), color=GREY, label='loss')
    left.set(xlabel='step', ylabel='loss', yscale='log' if min(loss for _, loss in losses) > 0 else 'linear')
    if accuracies:
        right = left.twinx()
        right.set(ylabel='accuracy', ylim=(0, 1.02))
        right.spines['right'].set_visible(True)
        for place, (name, points) in enumerate(accuracies.items()):
            right.plot(*zip(*points, strict=True), color=COLOURS[place % len(COLOURS)],
                       marker=MARKS[place % len(MARKS)], label=name)
        drawn.legend(loc='outside upper center', ncols=1 + len(accuracies), frameon=False)
    return drawn


def rates(rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], fastest: float,
          file: Path) -> None:
    """The loss over a rising learning rate, with the rate at which it falls fastest."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        drawn = figure(7, 4)
        cell = drawn.subplots()
        cell.plot(rates, losses, color=GREY, alpha=0.5, label='loss')
        cell.plot(rates, smoothed, color=COLOURS[0], label='smoothed')
        cell.axvline(fastest, color=COLOURS[1], linestyle='--', label=f'falls fastest at {fastest:.1e}')
        cell.set(xlabel='learning rate', xscale='log', ylabel='loss',
                 ylim=(0, 1.1 * max(smoothed[:max(len(smoothed) // 2, 2)])))
        drawn.legend(loc='outside upper center', ncols=3, frameon=False)
        _save(drawn, file.with_suffix(''), (file.suffix[1:],))


def sheet(words: Sequence[np.ndarray], truths: Sequence[str], texts: Sequence[str], rights: Sequence[bool],
          file: Path, columns: int = 4) -> Path:
    """Images of words, each with what was read; mistakes are in red, with the truth beside them."""
    import matplotlib

    rows = -(-len(words) // columns)
    with matplotlib.rc_context(STYLE):
        drawn = figure(2.6 * columns, 0.95 * rows)
    cells = np.atleast_1d(drawn.subplots(rows, columns)).reshape(-1)
    for cell in cells:
        cell.set_axis_off()
    for cell, image, truth, text, right in zip(cells, words, truths, texts, rights, strict=False):
        has_colours = image.ndim == 3 and image.shape[2] == 3
        cell.imshow(image[:, :, ::-1] if has_colours else image, cmap='gray', aspect='equal')
        said = text if right else f'{text or "(nothing)"}  [{truth}]'
        cell.set_title(said.replace('$', r'\$'), fontsize=9, color=GOOD if right else BAD,
                       family='monospace')
    return _save(drawn, file.with_suffix(''), ('png',))[0]


def samples(workdir: Path, source: Source, result: Result) -> None:
    """samples.png, and the first few of its words as files with their labels."""
    import cv2

    count = min(SHOWN, len(result.predictions))
    rows = [row for row in source.rows(range(min(len(source), 2 * SHOWN))) if row.image is not None][:count]
    shown = result.predictions[:len(rows)]
    images = [row.image for row in rows if row.image is not None]
    sheet(images, [each.truth for each in shown], [each.text for each in shown],
          [each.right for each in shown], workdir / files.SAMPLES_SHEET)
    folder = workdir / files.SAMPLES
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images[:KEPT]):
        cv2.imwrite(str(folder / f'{number}.png'), image)
    labels = [f'{number}.png\t{row.text}\n' for number, row in enumerate(rows[:KEPT])]
    (folder / 'labels.tsv').write_text(''.join(labels), encoding='utf-8')


def _save(figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    import matplotlib

    written = []
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'recog'}):
        for kind in formats:
            written.append(stem.with_suffix(f'.{kind}'))
            figure.savefig(written[-1], dpi=130, metadata={'Date': None} if kind == 'svg' else None)
    return written
