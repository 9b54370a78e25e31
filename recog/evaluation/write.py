"""The results of an evaluation written as JSON, CSV, Markdown and a line for each prediction."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recog.evaluation import markdown, protocols
from recog.evaluation.averages import averages_table
from recog.evaluation.results import OF_FORMULAS, Findings, Prediction, Result, findings, interval
from recog.metrics.formulas import accuracy_by_depth, accuracy_by_length
from recog.metrics.words import canonical
from recog.text.lines import in_line
from recog.workdir import files

COLUMNS = ('kind', 'name', 'count', 'right', 'accuracy', 'low', 'high', 'one_minus_ned', *OF_FORMULAS,
           'unreadable', 'note')
BY_SIZE = {'by_length': 'ExpRate by length in tokens', 'by_depth': 'ExpRate by depth of braces'}


def write_results(folder: Path, results: list[Result], missing: list[str], about: dict[str, Any]) -> str:
    """Write an evaluation to a folder; returns what to print."""
    folder.mkdir(parents=True, exist_ok=True)
    found = findings(results, missing, about)
    said, facts = sections(found), '\n'.join(f'- {name}: {markdown.line(str(value))}'
                                            for name, value in about.items())
    page = f'{said}\n\n## Where this comes from\n\n{facts}\n'
    (folder / files.RESULTS).write_text(json.dumps(document(found), indent=2) + '\n', encoding='utf-8')
    (folder / files.RESULTS_CSV).write_text(as_csv(found), encoding='utf-8')
    (folder / files.RESULTS_PAGE).write_text(page, encoding='utf-8')
    with (folder / files.PREDICTIONS).open('w', encoding='utf-8', newline='') as file:
        out = csv.writer(file, delimiter='\t', lineterminator='\n')
        out.writerow(Prediction._fields)
        for each in (prediction for result in results for prediction in result.predictions):
            words = {'id': in_line(each.id), 'confidence': f'{each.confidence:.4f}',
                     'right': 'right' if each.right else 'wrong'}
            out.writerow((each._asdict() | words).values())
    return said


def sections(found: Findings) -> str:
    """The results in Markdown, without their provenance."""
    parts = [f'Protocol {found.about["protocol"]}', table(found.results, found.missing), *_notes(found)]
    if found.averages:
        parts += ['## Averages', averages_table(found.averages)]
    if found.results and found.about['protocol'] == 'latex':
        parts += _tables_by_size({result.name: sizes(result) for result in found.results})
    if found.differences:
        parts += ['## Where the protocol decides', protocols.described(found.differences)]
    return '\n\n'.join(parts)


def table(results: list[Result], missing: list[str]) -> str:
    """The sets as a Markdown table, each followed by its lexicons."""
    found = {name for result in results for name in result.figures}
    beside = [name for name in OF_FORMULAS if name in found]
    things, accuracy = ('formulas', 'ExpRate') if beside else ('words', 'accuracy')
    heads = ['set', things, 'right', accuracy, '95 % interval', *(OF_FORMULAS[name] for name in beside),
             '1-NED', 'unreadable']
    rows = []
    for name, figures in _with_lexicons(results):
        low, high = interval(figures)
        rows.append([name, f'{figures["count"]:.0f}', f'{figures["right"]:.0f}', f'{figures["accuracy"]:.2%}',
                     f'{low:.2%} to {high:.2%}', *(_cell(each, figures) for each in beside),
                     f'{figures["one_minus_ned"]:.4f}',
                     f'{figures["unreadable"]:.0f}' if 'unreadable' in figures else ''])
    rows += [[name, 'missing', *[''] * (len(heads) - 2)] for name in missing]
    return markdown.table(heads, rows)


def sizes(result: Result) -> dict[str, dict[str, dict[str, float]]]:
    """by_length and by_depth of a set of formulas."""
    truths, texts = [each.truth for each in result.predictions], [each.text for each in result.predictions]
    return {'by_length': accuracy_by_length(truths, texts), 'by_depth': accuracy_by_depth(truths, texts)}


def document(found: Findings) -> dict[str, Any]:
    """The results as JSON holds them."""
    sets = {result.name: {
        **result.figures, 'interval': interval(result.figures), 'unreadable_images': result.unreadable,
        'shrunk_images': result.shrunk,
        'lexicons': {name: {**figures, 'interval': interval(figures)}
                     for name, figures in result.lexicons.items()},
        **(sizes(result) if found.about['protocol'] == 'latex' else {})} for result in found.results}
    differences = {'differences': protocols.as_json(found.differences)} if found.differences else {}
    averages = [each._asdict() for each in found.averages]
    return {**found.about, 'sets': sets, 'missing': found.missing, 'averages': averages, **differences}


def as_csv(found: Findings) -> str:
    """A row for each set, lexicon and average, with the provenance, and a note if a set is missing."""
    rows: list[dict[str, Any]] = []
    for result in found.results:
        for name, figures in _with_lexicons([result]):
            low, high = interval(figures)
            rows.append({'kind': 'set' if figures is result.figures else 'lexicon', 'name': name, **figures,
                         'low': low, 'high': high})
    rows += [{'kind': 'set', 'name': name, 'note': 'missing'} for name in found.missing]
    for each in found.averages:
        value = {'accuracy': each.value} if each.high is None else {'low': each.value, 'high': each.high}
        note = each.definition if each.value is not None else each.shown()
        rows.append({'kind': 'average', 'name': each.name, **value, 'note': note})
    with io.StringIO(newline='') as file:
        out = csv.DictWriter(file, [*COLUMNS, *found.about], lineterminator='\n')
        out.writeheader()
        out.writerows({**row, **found.about} for row in rows)
        return file.getvalue()


def _with_lexicons(results: Iterable[Result]) -> Iterable[tuple[str, Mapping[str, float]]]:
    """Name and figures of each set, followed by those with its lexicons."""
    for result in results:
        yield result.name, result.figures
        yield from result.lexicons.items()


def _cell(name: str, figures: Mapping[str, float]) -> str:
    if name not in figures:
        return ''
    return f'{figures[name]:.0f}' if name == 'seen' else f'{figures[name]:.2%}'


def _notes(found: Findings) -> Iterable[str]:
    protocol = found.about['protocol']
    for result in found.results:
        empty = sum(not canonical(each.truth, protocol) for each in result.predictions)
        if empty:
            yield (f'{empty} of the labels of {markdown.line(result.name)} hold nothing that is compared; '
                   'reading nothing is right there.')


def _tables_by_size(formulas: Mapping[str, dict[str, dict[str, dict[str, float]]]]) -> Iterable[str]:
    """Tables of the sets of formulas, a column for each range of lengths, then of depths."""
    for part, title in BY_SIZE.items():
        heads = ['set', *next(iter(formulas.values()))[part]]
        rows = [[name, *(f'{cell["accuracy"]:.2%} of {cell["count"]:.0f}' if cell['count'] else '-'
                         for cell in found[part].values())] for name, found in formulas.items()]
        yield f'## {title}'
        yield markdown.table(heads, rows)
