"""A page about several runs: their table, and the curves of all of them in the same charts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recog.looks import charts, markup
from recog.workdir import files

WORST = 1e-12  # a loss that a logarithmic axis can show
Table = tuple[Sequence[str], Sequence[Sequence[str]], Sequence[str]]  # heads, rows, notes


def write(file: Path, title: str, tables: Sequence[Table], runs: Mapping[str, Path]) -> None:
    """Write the page and, in the folder of the same name, its charts; `runs` are folders by their names."""
    album = charts.Album(file.with_suffix(''))
    parts = [markup.joined([markup.table(heads, rows, texts=2), *map(markup.paragraph, notes)])
             for heads, rows, notes in tables]
    logs = {name: files.read_log(folder) for name, folder in runs.items()}
    curves = markup.element('div', *_charts(logs, album), class_='charts')
    sections = [markup.Section('results', 'Results', markup.joined(parts)),
                markup.Section('curves', 'Curves', curves)]
    lead = markup.paragraph(f'{len(runs)} runs: {", ".join(runs)}', faint=True)
    file.write_text(markup.page(title, lead, sections), encoding='utf-8')


def _charts(logs: Mapping[str, Sequence[Mapping[str, Any]]], album: charts.Album) -> list[markup.Html]:
    """The loss of all runs, and their accuracy on each set that was measured while training."""
    losses = _series(logs, 'loss')
    drawn = []
    if losses:
        low = min(value for points in losses.values() for _, value in points)
        drawn.append(album.chart('loss', 'Loss of the training batches of each run.', charts.curves, losses,
                                 'loss', 'log' if low > WORST else 'linear'))
    measured = dict.fromkeys(name for log in logs.values() for line in log for name in line
                             if name.endswith('/accuracy'))
    for number, name in enumerate(measured):
        of = name.removesuffix('/accuracy')
        drawn.append(album.chart(f'accuracy-{number}', f'Accuracy of each run on {of} while training.',
                                 charts.curves, _series(logs, name), f'accuracy of {of}', 'linear', 1.02))
    return drawn or [markup.paragraph('No run has logged anything.')]


def _series(logs: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> dict[str, list[tuple]]:
    found = {run: [(line['step'], line[name]) for line in log if name in line] for run, log in logs.items()}
    return {run: points for run, points in found.items() if points}
