"""The table of results: a line for each row, from the records of what was reproduced."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recog.evaluation import markdown
from recog.reproduce import record
from recog.reproduce.rows import Row, rows

HEADS = ('row', 'trained', 'reported by the reference', 'here', 'images, time, device')
NOT_RUN = 'not run'


def lines(folder: Path) -> list[str]:
    """The table in Markdown, printed from the records in a folder."""
    found = record.read(folder)
    return markdown.table(HEADS, [_line(row, found.get(row.name, ())) for row in rows()]).splitlines()


def _line(row: Row, records: Sequence[dict[str, Any]]) -> Sequence[str]:
    head = f'`{row.name}`', row.reported.title, row.reported.published or '-'
    if not records:
        return *head, NOT_RUN, ''
    sets = '; '.join(_figures(name, records) for name in records[0]['sets'])
    hours = statistics.fmean(each['hours'] for each in records)
    first = records[0]
    device = first['processor'] if first['device'].endswith('cpu') else first['device']
    cost = f'{first["images"] / 1e6:.3g} M, {_time(hours)}, {device}'
    return *head, sets, cost


def _figures(name: str, records: Sequence[dict[str, Any]]) -> str:
    """'iiit5k:test 81.07 % (2,432 of 3,000)', of several seeds the mean and the spread."""
    every = [each['sets'][name] for each in records if name in each['sets']]
    mean = statistics.fmean(each['accuracy'] for each in every)
    if len(every) > 1:
        spread = statistics.stdev(each['accuracy'] for each in every)
        return f'{name} {mean:.2%} ± {spread:.2%} ({len(every)} seeds)'
    return f'{name} {mean:.2%} ({every[0]["right"]:,.0f} of {every[0]["count"]:,.0f})'


def _time(hours: float) -> str:
    return f'{hours:.1f} h' if hours >= 1 else f'{hours * 60:.0f} min'
