"""The parts of the page that need no image: the run, its curves, results, confusions, lengths, speed."""

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from recog.config import values
from recog.config.fields import FIELDS
from recog.devices import cost
from recog.devices.measured import recorded
from recog.evaluation.measurements import conditions
from recog.evaluation.results import CALIBRATION, OF_FORMULAS, with_lexicons
from recog.looks import charts as looks
from recog.looks.charts import Album
from recog.looks.markup import Html, Section, element, folded, joined, paragraph, quoted, table
from recog.metrics.words import wilson_interval
from recog.report import charts, tallies
from recog.report.record import Record
from recog.workdir.opened import Opened

CONFUSIONS = 15
# The headings of a set's figures; all others are shown by their own names.
FIGURES = {'count': 'count', 'right': 'right', 'accuracy': 'accuracy', **OF_FORMULAS,
           'one_minus_ned': '1-NED', **CALIBRATION, 'unreadable': 'unreadable'}
BY_FOUR_PLACES = ('one_minus_ned', *CALIBRATION)
COUNTS = ('count', 'right', 'unreadable', 'seen')
SPEEDS = {'images_per_second': ('images a second', '{:,.1f}', 1.0),
          'flops_per_second': ('TFLOP/s', '{:.3f}', 1e12),
          'data_wait': ('share of the time spent waiting for data', '{:.1%}', 1.0)}
NO_RESULTS = 'The run has not been evaluated: recog evaluate does that.'
NO_LOG = 'The workdir has no metrics.jsonl: the run was not trained here, or has not begun.'


def run(record: Record, opened: Opened | None, why: str) -> Section:
    """What was run: what the results say of the evaluation, the model, the fields of the recipe."""
    short = {name: value for name, value in record.facts.items() if not isinstance(value, (dict, list))}
    facts = {'model': record.config.model.name, 'trained on': ', '.join(record.config.data.train),
             'protocol': record.protocol,
             'seed': record.config.seed, 'config': values.digest(record.config.to_dict())} | short
    if opened is not None:
        facts |= {'weights shown below': f'step {opened.step}',
                  'trainable parameters': f'{cost.parameters(opened.variables["params"]):,}',
                  'tokens': f'{len(opened.vocab)}, vocabulary {opened.vocab.hash}'}
        facts |= {'weights imported from': opened.imported} if opened.imported else {}
    fields, plain = values.flat(record.config), values.flat(FIELDS)
    own = {name: value for name, value in fields.items() if name not in plain or value != plain[name]}
    parts = [table(('', ''), ((name, element('bdi', value)) for name, value in facts.items()), texts=2)]
    if why:
        parts.append(paragraph(why))
    parts.append(folded(f'What of the recipe differs from the defaults ({len(own)} fields)', _fields(own)))
    parts.append(folded(f'All fields ({len(fields)})', _fields(fields)))
    parts += [folded(name, element('pre', json.dumps(value, indent=2, ensure_ascii=False)))
              for name, value in record.facts.items() if name not in short and name != 'averages']
    return Section('run', 'What was run', joined(parts))


def _fields(fields: Mapping[str, Any]) -> Html:
    return table(('field', 'value'), ((element('code', name), element('code', repr(value))) for name, value in
                                      sorted(fields.items())), texts=2)


def curves(record: Record, album: Album) -> Section:
    """Loss, accuracy of each set, and learning rate over the steps."""
    loss, rate = _series(record, 'loss'), _series(record, 'rate')
    if not loss:
        return Section('curves', 'Curves', paragraph(NO_LOG))
    parts = [album.chart('curve-loss',
                         f'Loss of the training batches; the last is {loss[-1][1]:.4g} at step '
                         f'{loss[-1][0]}.',
                         looks.curves, {'loss': loss}, 'loss',
                         'log' if min(value for _, value in loss) > 0 else 'linear')]
    ends = [name for line in record.lines for name in line if name.endswith('/accuracy')]
    accuracies = {name.removesuffix('/accuracy'): _series(record, name) for name in dict.fromkeys(ends)}
    if accuracies:
        best = '; '.join(f'{name}: best {max(value for _, value in points):.2%}'
                         for name, points in accuracies.items())
        parts.append(album.chart('curve-accuracy', f'Accuracy while training. {best}.', looks.curves,
                                 accuracies, 'accuracy', 'linear', 1.02))
    if rate:
        parts.append(album.chart('curve-rate',
                                 f'Learning rate; at most {max(value for _, value in rate):.3g}.',
                                 looks.curves, {'rate': rate}, 'learning rate'))
    return Section('curves', 'Curves', element('div', *parts, class_='charts'))


def _series(record: Record, name: str) -> list[tuple[float, float]]:
    return [(line['step'], line[name]) for line in record.lines if name in line]


def results(record: Record) -> Section:
    """The figures of every set, alone and with its lexicons; averages; formulas by depth; and the sets that
    were measured in other ways."""
    if not record.sets:
        return Section('results', 'Results', paragraph(NO_RESULTS))
    parts = [_figures(with_lexicons(record.sets), record.missing)]
    if 'averages' in record.facts and record.facts['averages']:
        parts += _averages(record.facts['averages'])
    depths = {name: figures['by_depth'] for name, figures in record.sets.items() if 'by_depth' in figures}
    if depths:
        rows = [(name, *(f'{cell["accuracy"]:.2%} of {cell["count"]:,}' if cell['count'] else ''
                         for cell in parted.values()))
                for name, parted in depths.items()]
        parts += [element('h3', 'ExpRate by depth of braces'),
                  table(('set', *next(iter(depths.values()))), rows)]
    unread = [(name, image, reason) for name, figures in record.sets.items()
              for kind in ('unreadable_images', 'shrunk_images')
              if kind in figures for image, reason in figures[kind]]
    if unread:
        parts.append(folded(f'Images left out or shrunk ({len(unread)})',
                            table(('set', 'image', 'why'), unread, texts=3)))
    for other in record.others:
        parts += [element('h3', f'Also measured: {conditions(other)}'),
                  _figures(with_lexicons(other['sets']), other['missing'])]
    return Section('results', 'Results', joined(parts))


def _figures(every: Sequence[tuple[str, Mapping[str, Any]]], missing: Sequence[str]) -> Html:
    """The table of all figures that are numbers, with the interval after the accuracy."""
    found = dict.fromkeys(name for _, figures in every
                          for name, value in figures.items() if _is_number(value))
    names = [name for name in FIGURES if name in found] + [name for name in found if name not in FIGURES]
    heads = ['set', *(FIGURES[name] if name in FIGURES else name for name in names)]
    place = names.index('accuracy') + 2
    rows: list[list[Any]] = []
    for name, figures in every:
        row = [name, *(_figure(each, figures[each]) if each in figures else '' for each in names)]
        low, high = wilson_interval(int(figures['right']), int(figures['count']))
        rows.append([*row[:place], f'{low:.2%} to {high:.2%}', *row[place:]])
    rows += [[name, 'missing', *[''] * (len(heads) - 1)] for name in missing]
    return table([*heads[:place], '95 % interval', *heads[place:]], rows)


def _averages(averages: Sequence[Mapping[str, Any]]) -> list[Html]:
    """The averages that can be computed, and in one line what is missing for all others."""
    rows = [(each['name'], f'{each["value"]:.2%}' + (f' to {each["high"]:.2%}' if each['high'] else ''),
             each['definition']) for each in averages if each['value'] is not None]
    missing = dict.fromkeys(what for each in averages if each['value'] is None for what in each['missing'])
    said = paragraph(f'Other averages cannot be computed: {", ".join(missing)}.', faint=True)
    return [element('h3', 'Averages'), *([table(('average', 'value', 'of'), rows, texts=3)] if rows else []),
            *([said] if missing else [])]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _figure(name: str, value: float) -> str:
    if name in COUNTS:
        return f'{value:,.0f}'
    return f'{value:.4f}' if name in BY_FOUR_PLACES or not 0 <= value <= 1 else f'{value:.2%}'


def confusion(record: Record, album: Album) -> Section:
    """Which characters, or tokens, are read as which."""
    title = 'Confusion matrix'
    found = tallies.pairs(record.examples)
    often = tallies.confused(found, CONFUSIONS)
    if not often:
        said = 'No character was read as another.' if record.examples else NO_RESULTS
        return Section('confusion', title, paragraph(said))
    matrix = tallies.matrix(found, record.protocol == 'latex')
    total = sum(found.values())
    wrong = total - sum(times for (truth, read), times in found.items() if truth == read)
    said = paragraph(f'Truth and text aligned with the fewest edits under protocol {record.protocol}: '
                     f'of {total:,} places {wrong:,} are wrong ({wrong / total:.2%}). “{tallies.NOTHING}” '
                     'stands for what was left out (column) or made up (row).'
                     + (f' “{tallies.OTHER}” is all that is rarer.' if tallies.OTHER in matrix.names else ''))
    chart = album.chart('confusion',
                        'Rows are the truth, columns what was read; what is right is grey, by its share of '
                        'the row.',
                        charts.confusion, matrix, kind='large')
    rows = [(quoted(charts.shown(truth)), quoted(charts.shown(read)), f'{times:,}',
             '' if truth == tallies.NOTHING else f'{share:.2%}') for truth, read, times, share in often]
    listed = table(('truth', 'read as', 'times', 'of this truth'), rows, texts=2)
    often_read = element('div', element('h3', 'Most frequent confusions'), listed)
    both = element('div', chart, often_read, class_='pair uneven')
    return Section('confusion', title, joined([said, both]))


def lengths(record: Record, album: Album) -> Section:
    """Accuracy by the length of the truth."""
    if not record.examples:
        return Section('length', 'Accuracy by length', paragraph(NO_RESULTS), True)
    bins = tallies.by_length(record.examples)
    things = 'tokens' if record.protocol == 'latex' else 'characters'
    chart = album.chart('length',
                        f'Accuracy, with its 95 % interval, by the number of {things} of the truth; '
                        'below, how many examples there are.', charts.bars, bins, things)
    rows = [(each.label, f'{each.total:,}', f'{each.right / each.total:.2%}') for each in bins]
    figures = folded('Figures', table((things, 'examples', 'accuracy'), rows))
    return Section('length', 'Accuracy by length', joined([chart, figures]), True)


def speed(record: Record, album: Album, device: str) -> Section:
    """How fast it was trained."""
    rows = []
    for name, (label, form, unit) in SPEEDS.items():
        values = [value / unit for _, value in _series(record, name)]
        values = values[1:] or values
        if values:
            rows.append([label, form.format(statistics.median(values)), form.format(min(values)),
                         form.format(max(values))])
    parts: list[Html] = []
    if rows:
        rate = _series(record, 'images_per_second')
        parts = [paragraph('While training, by the log; its first line, which has the compilation in it, is '
                           'left out.'),
                 table(('', 'median', 'least', 'most'), rows),
                 album.chart('curve-speed', 'Images a second while training.', looks.curves,
                             {'images a second': rate}, 'images a second')]
    measured = recorded(record.config, device)
    if measured is not None:
        parts.append(paragraph(f'recog bench measured {measured:,.1f} images a second for a training step on '
                               f'{device}, here.'))
    return Section('speed', 'Speed', joined(parts) if parts else paragraph(NO_LOG))


def listed(texts: Sequence[str]) -> Html:
    """Texts as a list, each once; nothing if there are none."""
    return element('ul', *(element('li', text) for text in dict.fromkeys(texts))) if texts else Html('')
