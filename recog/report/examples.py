"""The parts of the page that show images: mistakes, feature maps, and where the model looked."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recog.models import RECTIFIED
from recog.reading import explain
from recog.reading.read import Reading
from recog.report import charts, gallery, maps, tallies
from recog.report.gallery import Gallery, Pictured
from recog.report.markup import Html, Section, captioned, element, joined, paragraph, picture, quoted
from recog.report.record import Judged, Record
from recog.report.sections import NO_RESULTS, listed
from recog.workdir.opened import Opened

MISTAKES, EXPLAINED, RIGHT, SAMPLES = 12, 3, 4, 3
LARGEST = 600  # pixels of an image on the page, either way
NO_MODEL = 'Without a checkpoint nothing can be read again.'


class Shown(NamedTuple):
    """The examples that the page shows."""

    confident: list[Pictured]  # mistakes, the surest first
    worst: list[Pictured]  # mistakes, most edits first
    right: list[Pictured]
    samples: list[Pictured]


def choose(record: Record, found: Gallery) -> Shown:
    """The examples to show: mistakes by confidence and by distance, and others spread over the sets."""
    wrong = [example for example in record.examples if not example.right]
    confident = sorted(wrong, key=lambda example: -example.sureness)
    worst = sorted(wrong, key=lambda example: (-example.distance, -example.sureness))
    right = _spread([example for example in record.examples if example.right], RIGHT)
    samples = _spread(record.examples, SAMPLES)
    if not record.examples:
        samples = found.first([*record.config.eval.report, *record.config.eval.sets], SAMPLES)
    groups = confident[:MISTAKES], worst[:MISTAKES], right, samples
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


class Explainer:
    """Draws how images were read, each image once."""

    def __init__(self, opened: Opened, album: charts.Album):
        self._opened, self._album = opened, album
        self._files: dict[Judged, Path] = {}

    def figures(self, group: Sequence[Pictured], name: str) -> list[Html]:
        """A picture with a caption for each of the group that was read."""
        return [self._figure(each.example, each.reading, f'{name}-{number}-read')
                for number, each in enumerate(group, 1)
                if each.reading is not None and each.reading.text is not None]

    def _figure(self, example: Judged, reading: Reading, name: str) -> Html:
        if example not in self._files:
            file = self._files[example] = self._album.folder / f'{name}.png'
            explain.draw(reading, self._opened.vocab, self._opened.config.image, file)
        caption = joined([quoted(example.id), ' of ', example.set, '; the truth is ', quoted(example.truth)],
                         '')
        return captioned(picture(self._files[example], f'how {example.truth} was read'), caption, 'photo')


def mistakes(record: Record, shown: Shown, found: Gallery, album: charts.Album,
             explainer: Explainer | None) -> Section:
    """The most confident and the worst mistakes as pictures, the first few with an explanation."""
    wrong = sum(not example.right for example in record.examples)
    if not wrong:
        said = f'There is no mistake among {len(record.examples):,} examples.'
        return Section('mistakes', 'Mistakes', paragraph(said if record.examples else NO_RESULTS))
    parts: list[Html] = [paragraph(f'{wrong:,} of {len(record.examples):,} examples are wrong. Marked is '
                                   'what differs.'),
                         listed([f'No pictures: {why}' for why in found.absent.values()])]
    groups = (('confident', 'The most confident mistakes', shown.confident),
              ('worst', 'The worst mistakes', shown.worst))
    seen: set[Judged] = set()
    for name, title, group in groups:
        if group:
            cards = [_card(each, f'{name}-{number}', record, album) for number, each in enumerate(group, 1)]
            parts += [element('h3', title), element('div', *cards, class_='cards')]
        unseen = [each for each in group[:EXPLAINED] if each.example not in seen]
        drawn = explainer.figures(unseen, name) if explainer else []
        if drawn:
            parts += [element('h3', f'{title}: how the first of them were read'), *drawn]
        seen |= {each.example for each in group[:EXPLAINED]}
    return Section('mistakes', 'Mistakes', joined(parts))


def _card(each: Pictured, name: str, record: Record, album: charts.Album) -> Html:
    """An image with its truth, its text and what differs."""
    example = each.example
    truth, text = marked(example, record.separator)
    rows: list[tuple[str, Any]] = [('truth', truth), ('text', text)]
    if record.separator.join(example.wanted) != example.truth and not record.separator:
        rows.append(('label', quoted(example.truth)))
    if not math.isnan(example.confidence):
        rows.append(('confidence', f'{example.confidence:.4f}'))
    rows += [('edits', f'{example.distance:.0%} of its length')]
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


def features(shown: Shown, found: Gallery, opened: Opened | None, album: charts.Album) -> Section:
    """The feature maps of every stage that has some, for a few images."""
    title = 'Feature maps'
    if opened is None or not shown.samples:
        return Section('features', title, _nothing(opened, found))
    parts: list[Html] = [paragraph(f'Of each stage the {maps.CHANNELS} channels with the strongest response, '
                                   'by number and response; above them, over the image, the strongest of '
                                   'all.')]
    for number, each in enumerate(shown.samples, 1):
        if each.reading is None or each.reading.text is None:
            continue
        stages = gallery.features(opened, each.reading)
        for name in sorted(set(stages) - {RECTIFIED}):
            figure = maps.stage(each.reading, stages, name, opened.config.image.channels == 'bgr')
            file = album.folder / f'features-{number}-{name}.png'
            figure.savefig(file, dpi=100, facecolor='white')
            shape = ' x '.join(map(str, stages[name].shape))
            caption = joined([f'Stage {name}, {shape}: ', quoted(each.example.truth)], '')
            parts.append(captioned(picture(file, f'feature maps of stage {name}'), caption, 'photo'))
    return Section('features', title, joined(parts))


def attention(record: Record, shown: Shown, found: Gallery, explainer: Explainer | None) -> Section:
    """Where the model looked in images that it read correctly."""
    title = 'Where the model looked'
    if explainer is None or not shown.samples:
        return Section('attention', title, _nothing(explainer, found))
    group, name = (shown.right, 'right') if shown.right else (shown.samples, 'sample')
    said = 'The first images.'
    if record.examples:
        said = 'No image was read rightly; these are from all over the sets.'
    if shown.right:
        said = 'Images that were read rightly.'
    return Section('attention', title, joined([paragraph(said), *explainer.figures(group, name)]))


def _nothing(model: Any, found: Gallery) -> Html:
    """Why there are no pictures."""
    reasons = [*([NO_MODEL] if model is None else []),
               *(f'No pictures: {why}' for why in found.absent.values())]
    return listed(reasons or ['There are no images to show.'])
