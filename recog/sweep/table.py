"""The table of a sweep: a row for each recipe, over its seeds, beside the first."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from recog.evaluation import compare, markdown, robustness
from recog.evaluation.measurements import CONDITIONS
from recog.evaluation.runs import Measured, averages, labels_and_verdicts, reported_and_later, seeds
from recog.sweep.runs import SweepRun
from recog.workdir import files

NOTE = ('steps, images and minutes: of the training; images/s: the median while training; accuracy and 1-NED '
        'over seeds: mean ± standard deviation; difference: of the accuracy over all examples of these sets, '
        'paired by example and seed, with its 95 % interval (bootstrap of the examples); corrupted: the mean '
        'accuracy over all corruptions and severities, where all runs were measured so '
        '(config.eval.corrupted)')


class Table(NamedTuple):
    """Recipes that were measured alike."""

    heads: list[str]
    rows: list[list[str]]
    notes: list[str]

    def markdown(self) -> str:
        """The table with its notes."""
        return markdown.table(self.heads, self.rows) + '\n\n' + '\n'.join(f'- {note}' for note in self.notes)


def tables(runs: Sequence[SweepRun]) -> list[Table]:
    """A table for each protocol, sets and way in which runs were measured, what training reported first."""
    alike: defaultdict[tuple, dict[str, list[Measured]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for found in reported_and_later(run.workdir):
            way = ', '.join(filter(None, (f'protocol {found.results["protocol"]}', found.label)))
            alike[way, *sorted(found.results['sets'])][run.variant].append(found)
    return [_table(way, variants) for (way, *_), variants in alike.items()]


def _table(way: str, variants: dict[str, list[Measured]]) -> Table:
    first, *others = variants
    sets = list(variants[first][0].results['sets'])
    means = [name for name in averages(variants[first][0])
             if all(name in averages(run) for group in variants.values() for run in group)]
    row = 'recipe' if any(':' in name for name in variants) else 'variant'
    corrupted = _corrupted(variants, sets)
    heads = [row, 'seeds', 'parameters', 'steps', 'images', 'images/s', 'minutes', *sets, *means, '1-NED',
             *(['corrupted'] if corrupted else []), *([f'difference to {first}'] if others else [])]
    rows = []
    for name, group in variants.items():
        logs = [files.read_log(run.folder) for run in group]
        figures = [[run.results['sets'][each] for each in sets] for run in group]
        rows.append([
            name, ', '.join(map(seeds, group)), _parameters(group), *(
                _mean((_last(log, field) for log in logs), '{:,.0f}') for field in ('step', 'images')),
            _mean(map(_speed, logs), '{:,.0f}'), _mean(map(_minutes, logs), '{:,.1f}'),
            *(compare.spread([run.results['sets'][each]['accuracy'] for run in group]) for each in sets),
            *(compare.spread([averages(run)[each] for run in group]) for each in means),
            compare.spread([statistics.fmean(each['one_minus_ned'] for each in of_run) for of_run in figures],
                           '{:.4f}'),
            *([compare.spread(corrupted[name])] if corrupted else []),
            *([] if not others else [''] if name == first else [_difference(variants[first], group, sets)])])
    return Table(heads, rows, [way, NOTE])


def _corrupted(variants: Mapping[str, Sequence[Measured]], sets: Sequence[str]) -> dict[str, list[float]]:
    """The mean accuracies of all runs under corruptions; none unless all were measured alike."""
    found = {name: [[record for record in robustness.read(run.folder) if record['set'] in sets and all(
        record.get(each) == run.results.get(each) for each in CONDITIONS)] for run in group]
        for name, group in variants.items()}
    measured = {tuple((each['set'], each['count'], *sorted(each['corruptions'])) for each in records)
                for group in found.values() for records in group}
    if len(measured) > 1 or not all(measured):
        return {}
    return {name: [statistics.fmean(map(robustness.mean, records)) for records in group]
            for name, group in found.items()}


def _parameters(group: Sequence[Measured]) -> str:
    found = {run.results['parameters'] for run in group if 'parameters' in run.results}
    return ', '.join(f'{count:,}' for count in sorted(found))


def _speed(log: Sequence[dict[str, Any]]) -> float | None:
    """Images a second; the first line has the compilation in it."""
    rates = [line['images_per_second'] for line in log if 'images_per_second' in line][1:]
    return statistics.median(rates) if rates else None


def _last(log: Sequence[dict[str, Any]], field: str) -> float | None:
    """How far a count of the log came."""
    return max((line[field] for line in log if field in line), default=None)


def _minutes(log: Sequence[dict[str, Any]]) -> float | None:
    seconds = [line['seconds'] for line in log if 'seconds' in line]
    return max(seconds) / 60 if seconds else None


def _mean(values: Iterable[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return form.format(statistics.fmean(known)) if known else ''


def _difference(one: Sequence[Measured], other: Sequence[Measured], sets: Sequence[str]) -> str:
    """The difference to the first variant, over the seeds that both have."""
    mine, others = ({seeds(run): run for run in group} for group in (one, other))
    by_example: defaultdict[tuple, list[int]] = defaultdict(list)
    for seed in [seed for seed in mine if seed in others]:
        first, second = (labels_and_verdicts(group[seed], sets) for group in (mine, others))
        for key in first:
            if key in second:
                by_example[key].append(int(second[key][1]) - int(first[key][1]))
    if not by_example:
        return 'no seed in common'
    return compare.change(*compare.mean_difference([statistics.fmean(each) for each in by_example.values()]))
