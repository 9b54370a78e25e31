"""Pictures of a run: its curves, and sample words with what was read."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

RIGHT, WRONG, INK = '#2a7f4f', '#b3261e', '#1f4e79'


def curves(workdir: Path) -> list[Path]:
    """loss.png and loss.svg from metrics.jsonl: the loss and each set's accuracy over the steps."""
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    losses = [(line['step'], line['loss']) for line in lines if 'loss' in line]
    accuracies: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name.endswith('/accuracy'):
                accuracies.setdefault(name.removesuffix('/accuracy'), []).append((line['step'], value))
    figure = Figure(figsize=(7, 4), layout='constrained')
    left = figure.subplots()
    left.plot(*zip(*losses, strict=True), color=INK, label='loss')
    left.set(xlabel='step', ylabel='loss', yscale='log' if min(loss for _, loss in losses) > 0 else 'linear')
    left.spines[['top']].set_visible(False)
    if accuracies:
        right = left.twinx()
        right.set(ylabel='word accuracy', ylim=(0, 1.02))
        right.spines[['top']].set_visible(False)
        for (name, points), mark in zip(accuracies.items(), 'os^Dv<>ph*' * len(accuracies), strict=False):
            right.plot(*zip(*points, strict=True), color=RIGHT, marker=mark, label=name)
        figure.legend(loc='outside upper center', ncols=1 + len(accuracies), frameon=False)
    return _save(figure, workdir / 'loss', ('png', 'svg'))


def sheet(images: Sequence[np.ndarray], truths: Sequence[str], texts: Sequence[str], rights: Sequence[bool], file: Path,
          columns: int = 4) -> Path:
    """Words as pictures, each over what was read; what is wrong stands in red beside the truth."""
    from matplotlib.figure import Figure

    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.6 * columns, 0.95 * rows), layout='constrained')
    cells = np.atleast_1d(figure.subplots(rows, columns)).reshape(-1)
    for cell in cells:
        cell.set_axis_off()
    for cell, image, truth, text, right in zip(cells, images, truths, texts, rights, strict=False):
        cell.imshow(image[:, :, ::-1] if image.ndim == 3 and image.shape[2] == 3 else image, cmap='gray', aspect='equal')
        said = text if right else f'{text or "(nothing)"}  [{truth}]'
        cell.set_title(said.replace('$', r'\$'), fontsize=9, color=RIGHT if right else WRONG, family='monospace')
    return _save(figure, file.with_suffix(''), ('png',))[0]


def _save(figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    import matplotlib

    files = []
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'recog'}):
        for kind in formats:
            files.append(stem.with_suffix(f'.{kind}'))
            figure.savefig(files[-1], dpi=130, metadata={'Date': None} if kind == 'svg' else None)
    return files
