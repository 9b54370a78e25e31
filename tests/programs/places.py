"""How often the centre that a model gives for a character lies inside the character's true box.

    python tests/programs/places.py runs/demo --examples 500

Words and formulas are drawn as the workdir's recipe draws them, from the test split, alone (without
neighbours or turns), so that the box of each character is known. Only texts that are read rightly count:
their tokens are those of the label, one by one. The overlap is the intersection of both boxes over their
union.
"""

import argparse
import collections
from pathlib import Path

import numpy as np

from recog.data.drawn import fonts, formulas, handwriting, placing, words
from recog.metrics.words import judge
from recog.reading.recognizer import load
from recog.workdir.description import read_config


def word_boxes(source, index):
    """A drawn word, its text, and the boxes [N, 4] of its characters in the picture."""
    _, text, dice = source._word(index)
    font, seen = source._font(text, dice), {}
    word, place = fonts.Face.word, placing.place

    def noted_word(face, text, tracking, pad):
        seen['boxes'] = glyph_boxes(face, text, tracking, pad)
        return word(face, text, tracking, pad)

    def noted_place(*given):
        seen['place'] = place(*given)
        return seen['place']

    fonts.Face.word, placing.place = noted_word, noted_place
    try:
        image, = words.draw([(text, dice)], [font], [source.difficulty], source.backgrounds)
    finally:
        fonts.Face.word, placing.place = word, place
    matrix, _, _, curve = seen['place']
    return image, text, [None if box is None else moved_box(box, matrix, curve) for box in seen['boxes']]


def glyph_boxes(face, text, tracking, pad):
    """The boxes of the characters in the mask of a word, as `Face.word` lays them out; None for a blank."""
    pen, before, found = 0.0, '', []
    for character in text:
        if character not in face._glyphs:
            face._glyphs[character] = face._raster(character)
        _, left, top, advance, height, width = face._glyphs[character]
        if before:
            pen += tracking + fonts.EM * face._kernings.get(before + character, 0.0)
        x = round(pen) + left
        found.append((x, top, x + width, top + height) if width and height else None)
        pen, before = pen + advance, character
    drawn = [box for box in found if box]
    move = np.array([pad - min(box[0] for box in drawn), pad - min(box[1] for box in drawn)] * 2)
    return [None if box is None else np.array(box) + move for box in found]


def moved_box(box, matrix, curve):
    """A box of the mask as one of the picture."""
    left, top, right, bottom = box
    x, y = (axis.ravel().astype(float) for axis in np.meshgrid(np.linspace(left, right, 9),
                                                               np.linspace(top, bottom, 9)))
    if curve:
        start, unit, bend, wave = curve
        shape = (x - start) * unit - 1
        shape = np.sin(shape * np.pi) * 0.5 + 0.5 if wave else np.square(shape)
        y = y + bend * (shape - (bend < 0))
    across, down, depth = matrix @ np.stack([x, y, np.ones_like(x)])
    return np.array([*(axis.min() for axis in (across / depth, down / depth)),
                     *(axis.max() for axis in (across / depth, down / depth))])


def formula_boxes(source, index):
    """A drawn formula, its text, and the boxes of its tokens; None for those that draw nothing."""
    written_by = []

    class Noting(handwriting.Hand):
        def write(self, token):
            box = super().write(token)
            written_by.append((token, box.parts[:]))
            return box

    hand, formulas.Hand = formulas.Hand, Noting
    try:
        written_by.clear()
        written = source._written(index)
    finally:
        formulas.Hand = hand
    margin = formulas.edges(source.paper.size)
    image = formulas.draw(written, margin)
    places = picture_points(written, margin)
    kept = {id(part): number for number, part in enumerate(written.box.parts)}
    drawn = collections.defaultdict(list)
    for token, parts in written_by:
        numbers = [kept[id(part)] for part in parts if id(part) in kept]
        if numbers:  # else it is of a formula that was too large
            points = np.concatenate([places[number] for number in numbers], 1)
            drawn[token].append(np.array([*points.min(1), *points.max(1) + written.pen]))
    tokens = written.text.split(' ')
    return image, written.text, [drawn[token].pop(0) if drawn[token] else None for token in tokens]


def picture_points(written, margin):
    """The points [2, P] of each part in the picture, as `formulas.draw` puts them there."""
    points = written.bend.matrix @ (formulas.placed(written.box) * np.float32(written.scale))
    points += written.bend.shifts @ np.sin(written.bend.waves @ points + written.bend.phases)
    points -= points.min(1, keepdims=True)
    extent, most = points.max(1), (written.width - 2 * margin - 1, written.height - 2 * margin - 1)
    points = np.rint(points * min(1.0, most[0] / max(extent[0], 1), most[1] / max(extent[1], 1))) + margin
    ends = np.cumsum([part.points.shape[1] for part in written.box.parts])
    return np.split(points, ends[:-1], 1)


def overlap(one, other):
    """Intersection over union of two boxes."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = np.prod(np.maximum(sides, 0))
    return shared / max(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared, 1e-9)


def measured(recognizer, examples, protocol):
    """How many texts are read rightly, and of their tokens whether the centre is inside, and the overlap."""
    right, inside, overlaps = 0, [], []
    answers = recognizer([image for image, _, _ in examples])
    for answer, (_, text, boxes) in zip(answers, examples, strict=True):
        if not judge(text, answer.text, protocol).right or len(answer.places) != len(boxes):
            continue
        right += 1
        for place, box in zip(answer.places, boxes, strict=True):
            if box is not None:
                x, y = place.centre
                inside.append(box[0] <= x <= box[2] and box[1] <= y <= box[3])
                overlaps.append(overlap(np.array(place.box), box))
    return right, inside, overlaps


def main():
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument('workdir', type=Path)
    own.add_argument('--examples', type=int, default=500)
    arguments = own.parse_args()
    recognizer, config = load(arguments.workdir, places=True), read_config(arguments.workdir.resolve())
    if config.eval.protocol == 'latex':
        source = formulas.Formulas(config.formulas, 'test', seed=0)
        examples = [formula_boxes(source, index) for index in range(arguments.examples)]
    else:
        source = words.Words(config.render, 'test', seed=0)
        examples = [word_boxes(source, index) for index in range(arguments.examples)]
    right, inside, overlaps = measured(recognizer, examples, config.eval.protocol)
    if not inside:
        print(f'{config.model.name}: none of {len(examples)} texts is read rightly')
        return
    print(f'{config.model.name}: {right} of {len(examples)} texts are right; of their {len(inside)} '
          f'characters {np.mean(inside):.1%} have their centre inside the true box; median overlap '
          f'{np.median(overlaps):.2f}')


if __name__ == '__main__':
    main()
