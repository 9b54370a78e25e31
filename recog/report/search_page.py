"""A page about a search: its best recipe as a command, what matters, and all its trials."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recog.looks import charts, markup
from recog.looks.charts import BLUE, GREEN, GREY, figure, grid


class Trial(NamedTuple):
    """A trial: its name, the values of its fields as they stand in a command, how it ended, its accuracy."""

    name: str
    values: Mapping[str, str]
    state: str
    accuracy: float | None


def write(file: Path, title: str, command: str, trials: Sequence[Trial], importances: Mapping[str, float],
          measured: str, logarithmic: Sequence[str]) -> None:
    """Write the page and, in the folder of the same name, its charts. `command` trains the best recipe,
    `measured` is the set by which trials are compared, `logarithmic` are fields that were drawn so."""
    album = charts.Album(file.with_suffix(''))
    fields = list(trials[0].values)
    drawn = [album.chart('trials', f'Accuracy on {measured} of each trial, and of the best so far.', _course,
                         trials)]
    if importances:
        words = 'The share of each field in what makes trials differ (PED-ANOVA).'
        drawn.append(album.chart('importance', words, _bars, importances))
    none = '' if importances else markup.paragraph(
        'How much each field matters is said once trials of different accuracies have come to their end.',
        faint=True)
    drawn += [album.chart(f'field-{number}', f'Accuracy over config.{field}.', _field, trials, field,
                          field in logarithmic) for number, field in enumerate(fields)]
    ranked = sorted(trials, key=lambda each: (each.state != 'complete', -(each.accuracy or 0.0)))
    rows = [[each.name, *map(_short, each.values.values()), each.state,
             '' if each.accuracy is None else f'{each.accuracy:.2%}'] for each in ranked]
    best = [markup.element('pre', command), markup.paragraph(
        f'The best of the trials that came to their end, by its accuracy on {measured}.', faint=True)] \
        if command else [markup.paragraph('No trial has come to its end yet.')]
    sections = [markup.Section('best', 'The best recipe', markup.joined(best)),
                markup.Section('charts', 'What matters', markup.joined(
                    [none, markup.element('div', *drawn, class_='charts')])),
                markup.Section('trials', 'Trials', markup.table(['trial', *fields, 'state', 'accuracy'], rows,
                                                                texts=len(fields) + 2))]
    counts = ', '.join(f'{sum(each.state == state for each in trials)} {state}'
                       for state in dict.fromkeys(each.state for each in ranked))
    lead = markup.paragraph(f'{len(trials)} trials: {counts}', faint=True)
    file.write_text(markup.page(title, lead, sections), encoding='utf-8')


def _known(trials: Sequence[Trial], state: str) -> list[tuple[int, Trial]]:
    """The trials that ended so and have an accuracy, with their places."""
    return [(place, each) for place, each in enumerate(trials)
            if each.accuracy is not None and (each.state == 'complete') == (state == 'complete')]


def _points(cell: Any, trials: Sequence[Trial], where: Any) -> None:
    """Trials as points: those that came to their end in colour, others grey."""
    for state, colour in (('other', GREY), ('complete', BLUE)):
        found = _known(trials, state)
        cell.scatter([where(place, each) for place, each in found], [each.accuracy for _, each in found],
                     color=colour, s=16, label='to the end' if state == 'complete' else 'pruned or failed')
    cell.set(ylabel='accuracy', ylim=(0, 1.02))
    grid(cell)


def _course(trials: Sequence[Trial]) -> Any:
    drawn = figure(5.4, 3.1)
    cell = drawn.subplots()
    _points(cell, trials, lambda place, each: place)
    best, top = [], 0.0
    for place, each in _known(trials, 'complete'):
        top = max(top, each.accuracy or 0.0)
        best.append((place, top))
    if best:
        cell.step(*zip(*best, strict=True), where='post', color=GREEN, linewidth=1.4, label='best so far')
    cell.set_xlabel('trial')
    cell.xaxis.get_major_locator().set_params(integer=True)
    charts.legend(drawn, 3)
    return drawn


def _field(trials: Sequence[Trial], field: str, logarithmic: bool) -> Any:
    """Accuracy over the values of a field; words stand side by side."""
    drawn = figure(5.4, 3.1)
    cell = drawn.subplots()
    numeric = all(_is_number(each.values[field]) for each in trials)
    names = list(dict.fromkeys(each.values[field] for each in trials))
    _points(cell, trials, lambda _, each: float(each.values[field]) if numeric
            else names.index(each.values[field]))
    if numeric and logarithmic:
        cell.set_xscale('log')
    elif all(name.isdigit() for name in names):
        cell.xaxis.get_major_locator().set_params(integer=True)
    if not numeric:
        cell.set_xticks(range(len(names)), names)
    cell.set_xlabel(field)
    return drawn


def _bars(importances: Mapping[str, float]) -> Any:
    drawn = figure(5.4, 1.0 + 0.35 * len(importances))
    cell = drawn.subplots()
    names = list(importances)[::-1]
    cell.barh(names, [importances[name] for name in names], color=BLUE)
    cell.set(xlabel='share', xlim=(0, 1))
    return drawn


def _short(value: str) -> str:
    """A value for the table; the command has all its digits."""
    return f'{float(value):.4g}' if _is_number(value) and not value.isdigit() else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
