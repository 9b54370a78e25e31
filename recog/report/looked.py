"""The parts of the page that show what the model saw: each token's place, and feature maps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recog.looks.charts import Album
from recog.looks.markup import Html, Section, captioned, element, folded, joined, paragraph, picture, quoted
from recog.models import RECTIFIED
from recog.reading import explain
from recog.reading.places import Place, seen
from recog.reading.read import Reading
from recog.report import gallery, maps
from recog.report.gallery import Gallery, Pictured
from recog.report.record import Judged, Record
from recog.report.sections import listed
from recog.workdir.opened import Opened

NO_MODEL = 'Without a checkpoint nothing can be read again.'
MOST_TOKENS = 40  # pictured one by one
HEAT = (255, 140, 0)  # RGB over the place that a token was read from
STRENGTH = 0.75  # of the heat where the weight is largest
LEGEND = ('One picture for each character or token that was read, with its confidence: the more orange, the '
          'more of it was read from there.')


class Explainer:
    """Draws how images were read, each image once."""

    def __init__(self, opened: Opened, album: Album):
        self._opened, self._album = opened, album
        self._files: dict[Judged, Path] = {}

    def figures(self, group: Sequence[Pictured], name: str) -> list[Html]:
        """A picture with a caption for each of the group that was read."""
        return [self._figure(each.example, each.reading, f'{name}-{number}-read')
                for number, each in enumerate(group, 1)
                if each.reading is not None and each.reading.text is not None]

    def _figure(self, example: Judged, reading: Reading, name: str) -> Html:
        vocab, rule = self._opened.vocab, self._opened.config.image
        if example not in self._files:
            file = self._files[example] = self._album.folder / f'{name}.png'
            explain.draw(reading, vocab, rule, file)
        found = seen(reading, vocab, rule)
        tokens = [_token(found.image, place) for place in found.places[:MOST_TOKENS]]
        caption = joined([quoted(example.id), ' of ', example.set, '; the truth is ', quoted(example.truth)],
                         '')
        whole = folded('All that the model gives',
                       picture(self._files[example], f'how {example.truth} was read'))
        return captioned(joined([element('div', *tokens, class_='tokens'), whole]), caption, 'photo')


def _token(image: np.ndarray, place: Place) -> Html:
    """The image with the place of a token, and below it the token and its confidence."""
    import cv2

    size = image.shape[1], image.shape[0]
    weights = place.weights / max(float(place.weights.max()), 1e-9)
    heat = cv2.resize(weights.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)[..., None] * STRENGTH
    mixed = image * (1 - heat) + np.array(HEAT, np.float32) * heat
    png = cv2.imencode('.png', np.ascontiguousarray(mixed.astype(np.uint8)[..., ::-1]))[1].tobytes()
    said = [element('bdi', '␣' if place.token == ' ' else place.token), f' {place.confidence:.0%}']
    return captioned(picture(png, f'where {place.token} was read'), joined(said, ''))


def features(shown: Sequence[Pictured], found: Gallery, opened: Opened | None, album: Album) -> Section:
    """The feature maps of every stage that has some, for a few images."""
    title = 'Feature maps'
    if opened is None or not shown:
        return Section('features', title, _nothing(opened is None, found))
    parts: list[Html] = [paragraph(f'Of each stage the {maps.CHANNELS} channels with the strongest response, '
                                   'by number and largest response; above them, over the image, the '
                                   'strongest of all. Each channel has its own scale, from dark (least) to '
                                   'bright (most).')]
    for number, each in enumerate(shown, 1):
        if each.reading is None or each.reading.text is None:
            continue
        stages = gallery.features(opened, each.reading)
        for name in sorted(set(stages) - {RECTIFIED}):
            said = f'Stage {name}, {" x ".join(map(str, stages[name].shape))} (height, width, channels)'
            chart = album.chart(f'features-{number}-{name}', f'{said}: {each.example.truth}', maps.stage,
                                each.reading, stages, name, opened.config.image.channels == 'bgr',
                                kind='large')
            parts.append(chart if number == 1 else folded(f'{each.example.truth}: {name}', chart))
    return Section('features', title, joined(parts))


def attention(record: Record, right: Sequence[Pictured], samples: Sequence[Pictured], found: Gallery,
              explainer: Explainer | None) -> Section:
    """Where the model looked in images that it read correctly."""
    title = 'Where the model looked'
    if explainer is None or not samples:
        return Section('attention', title, _nothing(explainer is None, found))
    said = 'Images that were read rightly.' if right else \
        'No image was read rightly; these are from all over the sets.' if record.examples else \
        'The first images.'
    drawn = explainer.figures(right or samples, 'right' if right else 'sample')
    return Section('attention', title, joined([paragraph(said, ' ', LEGEND),
                                               element('div', *drawn, class_='photos')]))


def _nothing(lacks_model: bool, found: Gallery) -> Html:
    """Why there are no pictures."""
    reasons = [NO_MODEL] if lacks_model else []
    reasons += [f'No pictures: {why}' for why in found.absent.values()]
    return listed(reasons or ['There are no images to show.'])
