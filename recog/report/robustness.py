"""The part of the page on corrupted images: accuracy by severity, as a chart and a table."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recog.evaluation import robustness
from recog.images.corrupt import CORRUPTIONS, SEVERITIES
from recog.looks.charts import COLOURS, MARKS, Album, figure, grid, legend
from recog.looks.markup import Html, Section, element, joined, paragraph, table
from recog.report.record import Record

TITLE = 'Corrupted images'
NOT_MEASURED = 'This was not measured: recog evaluate NAME --corrupt does that.'
ACROSS = 4  # panels


def corrupted(record: Record, album: Album) -> Section:
    """A chart and a table for each set that was measured so."""
    parts: list[Html] = []
    for number, each in enumerate(record.robustness, 1):
        parts += [element('h3', f'{each["set"]}: {robustness.conditions(each)}'),
                  album.chart(f'robustness-{number}',
                              'Accuracy over the severity of each corruption; 0 stands for the '
                              f'{each["count"]:,} images as they are; {robustness.mean(each):.2%} in the '
                              'mean.',
                              chart, {record.name: each}, kind='large'),
                  table(robustness.heads(), robustness.rows(each))]
    return Section('robustness', TITLE, joined(parts) if parts else paragraph(NOT_MEASURED))


def chart(named: Mapping[str, Mapping[str, Any]]) -> Any:
    """A panel for each corruption that all readers were measured on, and a line in it for each reader."""
    every = list(named.values())
    names = [name for name in CORRUPTIONS if all(name in each['corruptions'] for each in every)]
    down = math.ceil(len(names) / ACROSS)
    drawn = figure(2.4 * ACROSS, 1.9 * down + 0.4)
    cells = drawn.subplots(down, ACROSS, sharex=True, sharey=True, squeeze=False).reshape(-1)
    for cell, name in zip(cells, names, strict=False):
        for number, (reader, record) in enumerate(named.items()):
            total = max(record['count'], 1)
            shares = [right / total for right in (record['clean'], *record['corruptions'][name])]
            cell.plot((0, *SEVERITIES), shares, color=COLOURS[number % len(COLOURS)], linewidth=1.4,
                      marker=MARKS[number % len(MARKS)], markersize=4,
                      label=reader if cell is cells[0] else None)
        cell.set_title(name, fontsize=9, parse_math=False)
        cell.set(ylim=(0, 1.02), xticks=(0, *SEVERITIES))
        grid(cell)
    for cell in cells[len(names):]:
        cell.set_axis_off()
    drawn.supxlabel('severity', fontsize=9)
    drawn.supylabel('accuracy', fontsize=9)
    legend(drawn, len(named))
    return drawn


def write_comparison(folder: Path, compared: Mapping[str, Mapping[str, Any]], said: str) -> Path:
    """Write the tables of several readers and a chart for each set; returns the file of tables."""
    album, file = Album(folder), folder / 'robustness.md'
    for name, readers in compared.items():
        place = re.sub(r'[^\w.-]+', '-', name)
        album.chart(f'robustness-{place}', f'Accuracy on {name} by severity.', chart, readers)
    file.write_text(said + '\n', encoding='utf-8')
    return file
