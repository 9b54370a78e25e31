"""The part of the page on confidences: how often they are right, before and after they were fitted, and what
is kept at a threshold."""

import math
from collections.abc import Sequence

from recog.evaluation.calibrate import KEPT_HEADS, kept_rows
from recog.looks.charts import Album
from recog.looks.markup import Html, Section, element, folded, joined, paragraph, table
from recog.metrics.calibration import calibration_figures, kept, tempered
from recog.report import charts, tallies
from recog.report.record import Judged, Record
from recog.report.sections import NO_RESULTS

TITLE = 'Confidence against accuracy'
OLDER = ('The predictions are those of an older version, which did not record how likely a text is: '
         'recog evaluate writes them anew.')
UNFITTED = 'Nothing was fitted to these confidences: recog calibrate fits them to a validation set.'


def calibration(record: Record, album: Album) -> Section:
    """Confidence against accuracy, and the table of thresholds."""
    examples = [example for example in record.examples if not math.isnan(example.confidence)]
    if not examples:
        return Section('calibration', TITLE, paragraph(OLDER if record.examples else NO_RESULTS), True)
    if record.calibration:
        before, now = (_at(examples, each) for each in (1.0, record.calibration['temperature']))
        parts = [*_fitted(record), element('h3', 'Before'), *_diagram(before, 'calibration-before', album),
                 element('h3', 'After'), *_diagram(now, 'calibration', album)]
    else:
        now, parts = examples, [*_diagram(examples, 'calibration', album), paragraph(UNFITTED, faint=True)]
    rows = kept([each.confidence for each in now], [each.right for each in now])
    return Section('calibration', TITLE, joined([
        *parts, element('h3', 'What is kept at a threshold'),
        table(KEPT_HEADS, kept_rows(rows))]), True)


def _at(examples: Sequence[Judged], temperature: float) -> list[Judged]:
    """The examples with the confidences of this temperature; an older version recorded no score."""
    return [each if math.isnan(each.score) else each._replace(confidence=tempered(each.score, temperature))
            for each in examples]


def _fitted(record: Record) -> list[Html]:
    """To what the temperature was fitted, and what it changed there."""
    found = record.calibration
    return [paragraph(f'Temperature {found["temperature"]:.3f}, fitted to {found["count"]:,} answers in '
                      f'{", ".join(found["sets"])}: there the expected calibration error went from '
                      f'{found["before"]["ece"]:.4f} to {found["after"]["ece"]:.4f} ({found["held_out"]:.4f} '
                      'if each half has the temperature of the other). What follows is of the sets of this '
                      'page.')]


def _diagram(examples: Sequence[Judged], name: str, album: Album) -> list[Html]:
    """The errors in words, the reliability diagram, and its figures."""
    bins, count = tallies.by_confidence(examples), len(examples)
    figures = calibration_figures([example.confidence for example in examples],
                                  [example.right for example in examples])
    mean = sum(example.confidence for example in examples) / count
    right = sum(example.right for example in examples) / count
    apart = f', AUROC {figures["auroc"]:.4f}' if 'auroc' in figures else ''
    said = paragraph(f'Expected calibration error {figures["ece"]:.4f}{apart} over {len(bins)} bins of '
                     f'{count:,} examples; mean confidence {mean:.4f}, accuracy {right:.4f}.')
    chart = album.chart(name,
                        'Accuracy of the examples of each bin over their mean confidence; on the dashed line '
                        'both agree. Below, how many examples there are.', charts.reliability, bins)
    rows = [(each.label, f'{each.total:,}', f'{each.confidence:.4f}', f'{each.right / each.total:.2%}')
            for each in bins if each.total]
    heads = ('confidence', 'examples', 'mean confidence', 'accuracy')
    return [said, chart, folded('Figures', table(heads, rows))]
