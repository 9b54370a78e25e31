"""The parts of the page that show images with what was read: samples, and mistakes."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recog.evaluation.suspects import disagreement
from recog.looks.charts import Album
from recog.looks.markup import Html, Section, captioned, element, joined, paragraph, quoted
from recog.report import gallery, tallies
from recog.report.gallery import Gallery, Pictured
from recog.report.looked import LEGEND, Explainer
from recog.report.record import Judged, Record
from recog.report.sections import NO_RESULTS, listed
from recog.workdir.opened import Opened

MISTAKES, EXPLAINED, RIGHT, SAMPLES, OVERVIEW, SUSPECTS = 8, 3, 4, 3, 12, 12
LARGEST = 600  # pixels of an image on the page, either way


class Shown(NamedTuple):
    """The examples that the page shows."""

    confident: list[Pictured]  # mistakes that disagree most confidently with their labels
    worst: list[Pictured]  # mistakes, most edits first, of these the longest truths
    right: list[Pictured]
    samples: list[Pictured]
    overview: list[Pictured] = []  # spread over all sets, right and wrong


def choose(record: Record, found: Gallery) -> Shown:
    """The examples to show: mistakes by confidence and by edits, and others spread over the sets."""
    wrong = [example for example in record.examples if not example.right]
    confident = sorted(wrong, key=lambda example: -disagreement(example.sureness, example.edits))
    worst = sorted(wrong, key=lambda example: (-example.edits, -len(example.wanted), -example.sureness))
    right = _spread([example for example in record.examples if example.right], RIGHT)
    samples, overview = _spread(record.examples, SAMPLES), _spread(record.examples, OVERVIEW)
    if not record.examples:
        samples = found.first([*record.config.eval.report, *record.config.eval.sets], SAMPLES)
    groups = confident[:SUSPECTS], worst[:MISTAKES], right, samples, overview
    return Shown(*(found.pictured(group) for group in groups))


def _spread(examples: Sequence[Judged], most: int) -> list[Judged]:
    """At most `most` of the examples, evenly spread."""
    count = min(len(examples), most)
    return [examples[number * len(examples) // count] for number in range(count)]


def readings(opened: Opened, shown: Shown, beam: int, mesh: Any) -> Shown:
    """The same examples, with a reading of each that is explained; every image is read once."""
    wanted = [*shown.confident[:EXPLAINED], *shown.worst[:EXPLAINED], *shown.right, *shown.samples]
    once = list({each.example: each for each in wanted}.values())
    again = {each.example: each for each in gallery.read(opened, once, beam, mesh)}
    return Shown(*([again[each.example] if each.example in again else each for each in group]
                   for group in shown))


def samples(record: Record, shown: Shown, found: Gallery, album: Album) -> Section:
    """Some of all examples, as they come."""
    title = 'Samples'
    if not shown.overview:
        reasons = [*([] if record.examples else [NO_RESULTS]), *_missing(found)]
        return Section('samples', title, listed(reasons or ['There are no images to show.']))
    cards = [_card(each, f'overview-{number}', record, album)
             for number, each in enumerate(shown.overview, 1)]
    return Section('samples', title, joined([
        paragraph(f'{len(cards)} of {len(record.examples):,} images, evenly spread. Marked is what differs.'),
        element('div', *cards, class_='cards')]))


def mistakes(record: Record, shown: Shown, found: Gallery, album: Album,
             explainer: Explainer | None) -> Section:
    """The worst mistakes as pictures, the first few with an explanation."""
    wrong = sum(not example.right for example in record.examples)
    if not wrong:
        said = f'There is no mistake among {len(record.examples):,} examples.'
        return Section('mistakes', 'Mistakes', paragraph(said if record.examples else NO_RESULTS))
    said = paragraph(f'{wrong:,} of {len(record.examples):,} examples are wrong. Marked is what differs; '
                     'edits are counted in so many ' + ('tokens.' if record.separator else 'characters.'))
    return Section('mistakes', 'Mistakes', joined([said, listed(_missing(found)), *_pictures(
        'worst', 'The worst: most edits, then longest', shown.worst, record, album, explainer)]))


def suspects(record: Record, shown: Shown, album: Album, explainer: Explainer | None) -> Section:
    """The mistakes that disagree most confidently with their labels, as pictures."""
    title = 'Labels that may be wrong'
    if all(example.right for example in record.examples):
        none = 'Everything was read as it is labelled.' if record.examples else NO_RESULTS
        return Section('suspects', title, paragraph(none))
    known = [each.example for each in shown.worst[:EXPLAINED]]
    said = paragraph('Either the reader or the label is wrong here: first what is read most surely, and with '
                     'most edits, otherwise than it is labelled. recog evaluate writes all of it to '
                     'suspects.tsv.')
    return Section('suspects', title, joined([said, *_pictures(
        'confident', 'The most confident disagreements', shown.confident, record, album, explainer, known)]))


def _pictures(name: str, title: str, group: Sequence[Pictured], record: Record, album: Album,
              explainer: Explainer | None, explained: Sequence[Judged] = ()) -> list[Html]:
    """Mistakes as cards, and how the first of them were read that are not explained already."""
    if not group:
        return []
    cards = [_card(each, f'{name}-{number}', record, album) for number, each in enumerate(group, 1)]
    parts = [element('h3', title), element('div', *cards, class_='cards')]
    first = [each for each in group[:EXPLAINED] if each.example not in explained]
    if explainer and (drawn := explainer.figures(first, name)):
        parts += [element('h3', f'{title}: how the first of them were read'), paragraph(LEGEND),
                  element('div', *drawn, class_='photos')]
    return parts


def _missing(found: Gallery) -> list[str]:
    return [f'No pictures: {why}' for why in found.absent.values()]


def _card(each: Pictured, name: str, record: Record, album: Album) -> Html:
    """An image with its truth, its text and what differs."""
    example = each.example
    truth, text = marked(example, record.separator)
    rows: list[tuple[str, Any]] = [*([] if example.right else [('truth', truth)]), ('text', text)]
    if record.separator.join(example.wanted) != example.truth and not record.separator:
        rows.append(('label', quoted(example.truth)))
    if not math.isnan(example.confidence):
        rows.append(('confidence', f'{example.confidence:.1%}'))
    if not example.right:
        rows.append(('edits', f'{example.edits} in {len(example.wanted)}'))
    words = element('dl', *(part for head, value in rows
                            for part in (element('dt', head), element('dd', value))))
    caption = joined([words, quoted(f'{example.set} {example.id}')])
    return captioned(album.photograph(name, f'image of {example.truth}', _smaller(each.image)), caption)


def marked(example: Judged, separator: str) -> tuple[Html, Html]:
    """Truth and text in the form in which they are compared, with the differences marked."""
    sides: tuple[list[Html], list[Html]] = [], []
    for step in tallies.aligned(example.wanted, example.written):
        for side, pieces in zip(sides, (step.wanted, step.written), strict=True):
            if pieces:
                words = separator.join(pieces)
                side.append(element('span' if step.equal else 'mark', words))
    truth, text = (element('bdi', joined(side, separator)) if side
                   else element('span', '(nothing)', class_='faint')
                   for side in sides)
    return truth, text


def _smaller(image: np.ndarray) -> np.ndarray:
    """The image at a size for the page."""
    import cv2

    scale = LARGEST / max(image.shape[:2])
    if scale >= 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
