"""The results of evaluations written as JSON, CSV, Markdown and a line for each prediction."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recog.evaluation import averages, markdown, measurements, protocols, suspects
from recog.evaluation.averages import Average
from recog.evaluation.measurements import CONDITIONS, Measurement
from recog.evaluation.results import (
    CALIBRATION,
    OF_FORMULAS,
    Prediction,
    Result,
    document,
    interval,
    with_lexicons,
)
from recog.text.lines import in_line
from recog.workdir import files
from recog.workdir.folder import write_whole

COLUMNS = ('kind', 'own', 'name', 'count', 'right', 'accuracy', 'low', 'high', 'one_minus_ned', *OF_FORMULAS,
           *CALIBRATION, 'unreadable', 'note')
BY_SIZE = {'by_length': 'ExpRate by length in tokens', 'by_depth': 'ExpRate by depth of braces'}


def write_results(folder: Path, results: Sequence[Result], missing: list[str], about: Mapping[str, Any],
                  own: bool = False) -> str:
    """Add an evaluation to what a folder holds of its run; returns what to print. `own`: training reports."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {**document(results, missing, about), 'own': own, 'predictions': files.PREDICTIONS}
    stored = measurements.read(folder)
    new = Measurement(found, [each for result in results for each in result.predictions])
    every = measurements.add(stored, new)
    _write(folder, every, {each.document['predictions'] for each in stored})
    of_this_way = next(each for each in every if each.own == own and measurements.alike(each, new))
    write_whole(folder / files.SUSPECTS, suspects.as_tsv(suspects.ranked(of_this_way.predictions)))
    return sections(found)


def _write(folder: Path, every: Sequence[Measurement], before: set[str]) -> None:
    """Write all files; files of predictions whose measurements have others now are removed."""
    documents = [{**each.document, 'predictions': _file(number, each)} for number, each in enumerate(every)]
    for found, each in zip(documents, every, strict=True):
        if each.predictions:
            write_whole(folder / found['predictions'], _as_tsv(each.predictions))
    first, *more = documents
    whole = {**first, **({'more': more} if more else {})}
    write_whole(folder / files.RESULTS, json.dumps(whole, indent=2) + '\n')
    write_whole(folder / files.RESULTS_CSV, as_csv(documents))
    write_whole(folder / files.RESULTS_PAGE, '\n\n'.join(map(_page, documents)) + '\n')
    for name in before - {found['predictions'] for found in documents}:
        (folder / name).unlink(missing_ok=True)


def _file(number: int, measurement: Measurement) -> str:
    """The name of the file of its predictions."""
    if not number:
        return files.PREDICTIONS
    stem, kind = files.PREDICTIONS.split('.')
    parts = [f'{name}{measurement.document[name]}' for name in CONDITIONS if name in measurement.document]
    return '-'.join([stem, *parts, *(['own'] if measurement.own else [])]).replace(' ', '') + f'.{kind}'


def _as_tsv(predictions: Iterable[Prediction]) -> str:
    with io.StringIO(newline='') as file:
        out = csv.writer(file, delimiter='\t', lineterminator='\n')
        out.writerow(Prediction._fields)
        for each in predictions:
            words = {'id': in_line(each.id), 'right': 'right' if each.right else 'wrong',
                     **{name: _number(getattr(each, name)) for name in ('confidence', 'score', 'mean_token')}}
            out.writerow((each._asdict() | words).values())
        return file.getvalue()


def _number(value: float) -> str:
    return '' if math.isnan(value) else f'{value:.4f}'


def _page(found: Mapping[str, Any]) -> str:
    """A measurement in Markdown, with its provenance."""
    title = 'Reported by training' if found['own'] else 'Measured'
    facts = [f'- {name}: {markdown.line(str(value))}' for name, value in found.items()
             if name not in measurements.PARTS]
    facts += [f'- {name}, which was measured before, differs in {key}: {value}'
              for name, about in found.get('earlier', {}).items() for key, value in about.items()]
    return '\n\n'.join([f'# {title}: {measurements.conditions(found)}', sections(found),
                        '## Where this comes from', '\n'.join(facts)])


def sections(found: Mapping[str, Any]) -> str:
    """A measurement in Markdown, without its provenance."""
    parts = [f'Protocol {found["protocol"]}', _table(with_lexicons(found['sets']), found['missing']),
             *map(markdown.line, found['notes'])]
    if found['averages']:
        parts += ['## Averages', averages.described(Average(**each) for each in found['averages'])]
    if found['protocol'] == 'latex':
        parts += _tables_by_size(found['sets'])
    if any(found.get('differences', {}).get('counts', {}).values()):
        parts += ['## Where the protocol decides',
                  protocols.described(protocols.from_json(found['differences']))]
    return '\n\n'.join(parts)


def table(results: Iterable[Result], missing: list[str]) -> str:
    """The sets as a Markdown table, each followed by its lexicons."""
    return _table([row for result in results for row in ((result.name, result.figures),
                                                         *result.lexicons.items())], missing)


def _table(named: Sequence[tuple[str, Mapping[str, Any]]], missing: list[str]) -> str:
    found = {name for _, figures in named for name in figures}
    beside, sure = ([name for name in names if name in found] for names in (OF_FORMULAS, CALIBRATION))
    things, accuracy = ('formulas', 'ExpRate') if beside else ('words', 'accuracy')
    heads = ['set', things, 'right', accuracy, '95 % interval', *(OF_FORMULAS[name] for name in beside),
             '1-NED', *(CALIBRATION[name] for name in sure), 'unreadable']
    rows = []
    for name, figures in named:
        low, high = interval(figures)
        rows.append([name, f'{figures["count"]:.0f}', f'{figures["right"]:.0f}', f'{figures["accuracy"]:.2%}',
                     f'{low:.2%} to {high:.2%}', *(_cell(each, figures) for each in beside),
                     f'{figures["one_minus_ned"]:.4f}',
                     *(f'{figures[each]:.4f}' if each in figures else '' for each in sure),
                     f'{figures["unreadable"]:.0f}' if 'unreadable' in figures else ''])
    rows += [[name, 'missing', *[''] * (len(heads) - 2)] for name in missing]
    return markdown.table(heads, rows)


def as_csv(documents: Sequence[Mapping[str, Any]]) -> str:
    """A row for each set, lexicon and average, with the provenance, and a note if a set is missing."""
    rows = [row for found in documents for row in _csv_rows(found)]
    facts = dict.fromkeys(name for found in documents for name in found if name not in measurements.PARTS)
    with io.StringIO(newline='') as file:
        out = csv.DictWriter(file, [*COLUMNS, *facts], lineterminator='\n')
        out.writeheader()
        out.writerows(rows)
        return file.getvalue()


def _csv_rows(found: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    facts = {name: value for name, value in found.items() if name not in measurements.PARTS}
    facts['own'] = 'own' if found['own'] else ''
    for given, values in found['sets'].items():
        about = {**facts, **found.get('earlier', {}).get(given, {})}
        for name, figures in with_lexicons({given: values}):
            low, high = interval(figures)
            numbers = {key: value for key, value in figures.items() if key in COLUMNS}
            yield {'kind': 'set' if figures is values else 'lexicon', 'name': name, **numbers, 'low': low,
                   'high': high, **about}
    for name in found['missing']:
        yield {'kind': 'set', 'name': name, 'note': 'missing', **facts}
    for average in (Average(**each) for each in found['averages']):
        value = {'accuracy': average.value} if average.high is None else \
            {'low': average.value, 'high': average.high}
        note = average.definition if average.value is not None else average.shown()
        yield {'kind': 'average', 'name': average.name, **value, 'note': note, **facts}


def _cell(name: str, figures: Mapping[str, float]) -> str:
    if name not in figures:
        return ''
    return f'{figures[name]:.0f}' if name == 'seen' else f'{figures[name]:.2%}'


def _tables_by_size(sets: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Tables of the sets of formulas, a column for each range of lengths, then of depths."""
    for part, title in BY_SIZE.items():
        found = {name: values[part] for name, values in sets.items() if part in values}
        if found:
            heads = ['set', *next(iter(found.values()))]
            rows = [[name, *(f'{cell["accuracy"]:.2%} of {cell["count"]:.0f}' if cell['count'] else '-'
                             for cell in cells.values())] for name, cells in found.items()]
            yield f'## {title}'
            yield markdown.table(heads, rows)
