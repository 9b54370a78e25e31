"""What is written and printed of an evaluation: sets, averages, formulas by size, and where the protocol decides."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from recog.evaluation import markdown, protocols
from recog.evaluation.averages import Average, Tally, averages, averages_table
from recog.metrics.formulas import accuracy_by_depth, accuracy_by_length
from recog.metrics.words import NFKD, canonical, judge, wilson_interval

# The columns that formulas have besides, by their figure.
OF_FORMULAS = {'within_1': '≤ 1', 'within_2': '≤ 2', 'within_3': '≤ 3', 'normalised': 'normalised', 'structure': 'structure',
               'token_accuracy': 'tokens', 'bleu': 'BLEU-4', 'accuracy_unseen': 'unseen', 'seen': 'seen'}
COLUMNS = ('kind', 'name', 'count', 'right', 'accuracy', 'low', 'high', 'one_minus_ned', *OF_FORMULAS, 'unreadable', 'note')


class Prediction(NamedTuple):
    """A line of predictions.tsv."""

    id: str
    set: str
    truth: str
    text: str
    confidence: float
    right: bool
    distance: int


class Result(NamedTuple):
    """What came of one set."""

    name: str
    figures: dict[str, float]  # count, right, accuracy, one_minus_ned, unreadable
    predictions: list[Prediction]
    unreadable: list[tuple[str, str]]  # id, reason
    shrunk: list[tuple[str, str]]  # images larger than the largest canvas, and by how much they were shrunk
    lexicons: Mapping[str, dict[str, float]] = {}  # figures of IIIT5K-50 and its like, by that name


class Findings(NamedTuple):
    """All that is said of an evaluation; `about` says where it comes from, its protocol's id among it."""

    results: list[Result]
    missing: list[str]
    about: dict[str, Any]
    averages: list[Average]
    differences: protocols.Differences | None  # of words


def findings(results: list[Result], missing: list[str], about: dict[str, Any]) -> Findings:
    """What follows from the results: averages, and where the protocol decides."""
    protocol = about['protocol']
    if protocol == 'latex':
        return Findings(results, missing, about, [], None)
    plain, as_ascii = ({result.name: _tally(result, each) for result in results}
                       for each in ('', protocol.removesuffix(NFKD) + NFKD))
    words = (protocols.Word(each.set, each.id, each.truth, each.text) for result in results for each in result.predictions)
    return Findings(results, missing, about, averages(plain, as_ascii), protocols.differences(words, protocol))


def _tally(result: Result, protocol: str) -> Tally:
    """What was counted of a set, or is under another protocol."""
    figures = result.figures
    right = int(figures['right']) if not protocol or not result.predictions else sum(
        each.truth == each.text or judge(each.truth, each.text, protocol).right for each in result.predictions)
    return Tally(right, int(figures['count']), int(figures['unreadable']))


def interval(figures: Mapping[str, float]) -> tuple[float, float]:
    """The 95 % interval of an accuracy."""
    return wilson_interval(int(figures['right']), int(figures['count']))


def table(results: list[Result], missing: list[str]) -> str:
    """The sets as a Markdown table, each with what the lexicons make of it."""
    found = {name for result in results for name in result.figures}
    beside = [name for name in OF_FORMULAS if name in found]
    things, accuracy = ('formulas', 'ExpRate') if beside else ('words', 'accuracy')
    heads = ['set', things, 'right', accuracy, '95 % interval', *(OF_FORMULAS[name] for name in beside), '1-NED', 'unreadable']
    rows = []
    for name, figures in _every(results):
        low, high = interval(figures)
        rows.append([name, f'{figures["count"]:.0f}', f'{figures["right"]:.0f}', f'{figures["accuracy"]:.2%}',
                     f'{low:.2%} to {high:.2%}', *(_cell(each, figures) for each in beside),
                     f'{figures["one_minus_ned"]:.4f}', f'{figures["unreadable"]:.0f}' if 'unreadable' in figures else ''])
    rows += [[name, 'missing', *[''] * (len(heads) - 2)] for name in missing]
    return markdown.table(heads, rows)


def _every(results: Iterable[Result]) -> Iterable[tuple[str, Mapping[str, float]]]:
    """Name and figures of the sets, and behind each of what the lexicons make of it."""
    for result in results:
        yield result.name, result.figures
        yield from result.lexicons.items()


def _cell(name: str, figures: Mapping[str, float]) -> str:
    if name not in figures:
        return ''
    return f'{figures[name]:.0f}' if name == 'seen' else f'{figures[name]:.2%}'


def sections(found: Findings) -> str:
    """All of it in Markdown, but where it comes from."""
    parts = [f'Protocol {found.about["protocol"]}', table(found.results, found.missing)]
    parts += list(_notes(found))
    if found.averages:
        parts += ['## Averages', averages_table(found.averages)]
    formulas = {result.name: sizes(result) for result in found.results} if found.about['protocol'] == 'latex' else {}
    for part, title in (('by_length', 'ExpRate by length in tokens'), ('by_depth', 'ExpRate by depth of braces')):
        if formulas:
            heads = ['set', *next(iter(formulas.values()))[part]]
            rows = [[name, *(f'{cell["accuracy"]:.2%} of {cell["count"]:.0f}' if cell['count'] else '-'
                             for cell in parted[part].values())] for name, parted in formulas.items()]
            parts += [f'## {title}', markdown.table(heads, rows)]
    if found.differences:
        parts += ['## Where the protocol decides', protocols.described(found.differences)]
    return '\n\n'.join(parts)


def _notes(found: Findings) -> Iterable[str]:
    protocol = found.about['protocol']
    for result in found.results:
        empty = sum(not canonical(each.truth, protocol) for each in result.predictions)
        if empty:
            yield f'{empty} of the labels of {result.name} hold nothing that is compared; reading nothing is right there.'


def sizes(result: Result) -> dict[str, dict[str, dict[str, float]]]:
    """by_length and by_depth of a set of formulas."""
    truths, texts = [each.truth for each in result.predictions], [each.text for each in result.predictions]
    return {'by_length': accuracy_by_length(truths, texts), 'by_depth': accuracy_by_depth(truths, texts)}


def document(found: Findings) -> dict[str, Any]:
    """All of it as JSON holds it."""
    sets = {result.name: {
        **result.figures, 'interval': interval(result.figures), 'unreadable_images': result.unreadable,
        'shrunk_images': result.shrunk,
        'lexicons': {name: {**figures, 'interval': interval(figures)} for name, figures in result.lexicons.items()},
        **(sizes(result) if found.about['protocol'] == 'latex' else {})} for result in found.results}
    differences = {'differences': protocols.as_json(found.differences)} if found.differences else {}
    averages = [each._asdict() for each in found.averages]
    return {**found.about, 'sets': sets, 'missing': found.missing, 'averages': averages, **differences}


def as_csv(found: Findings) -> str:
    """One row a set, lexicon and average, each with where it comes from; what is not there says so in its note."""
    rows: list[dict[str, Any]] = []
    for result in found.results:
        for name, figures in _every([result]):
            low, high = interval(figures)
            rows.append({'kind': 'set' if figures is result.figures else 'lexicon', 'name': name, **figures, 'low': low,
                         'high': high})
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
