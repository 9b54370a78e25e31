"""Where characters stand in the image that was given, whatever was done to it before it was read."""

import json

import cv2
import numpy as np
import pytest
from narrow_models import MATHS, make_workdir

from recog import models
from recog.commands import command_line
from recog.config import recipe
from recog.models.parts import spline
from recog.models.parts.rectification import slanted_points, spline_grid
from recog.reading.located import located
from recog.reading.read import Reading
from recog.reading.recognizer import load
from recog.text.vocabulary import Vocab

VOCAB = Vocab(tuple('abc'))


def rule(**fields):
    image = recipe.base().image
    image.update(fields)
    return image


def reading(maps, canvas, size, turned=0, **details):
    """A reading of as many characters as there are maps, on a canvas on which its image has this size."""
    count = len(maps)
    return Reading(0, 'abc'[:count], details={
        'tokens': np.arange(count), 'token_confidence': np.full(count, 0.5), 'attention': np.asarray(maps),
        'image': np.zeros((*canvas, 3), np.uint8), 'size': np.array(size), **details}, turned=turned)


def spot(shape, row, column):
    """A map that looks at one cell."""
    cells = np.zeros(shape)
    cells[row, column] = 1
    return cells


def test_characters_of_a_line_meet_in_the_middle_and_are_as_high_as_the_image():
    maps = [spot((1, 25), 0, column) for column in (2, 6, 12)]  # on 100 pixels, of which the image has 60
    found = located(reading(maps, (32, 100), (32, 60)), np.zeros((64, 120, 3)), VOCAB, rule())
    assert [each.token for each in found] == ['a', 'b', 'c'] and found[0].confidence == 0.5
    assert [round(each.centre[0], 6) for each in found] == [20, 52, 100]  # twice as large
    np.testing.assert_allclose([each.box for each in found],
                               [(4, 0, 36, 64), (36, 0, 76, 64), (76, 0, 120, 64)], atol=1e-6)
    alone = located(reading(maps[:1], (32, 100), (32, 60)), np.zeros((64, 120, 3)), VOCAB, rule())
    assert alone[0].box == (0, 0, 120, 64) and alone[0].facts()['centre'] == [20.0, 32.0]


def test_a_map_of_the_plane_is_as_wide_and_high_as_what_it_covers():
    cells = np.zeros((8, 16))
    cells[2:4, 4:8] = 1  # pixels 16 to 32 down, 32 to 64 across
    found, = located(reading([cells], (64, 128), (64, 128)), np.zeros((64, 128, 3)), VOCAB, rule(fit='none'))
    np.testing.assert_allclose(found.box, (32, 16, 64, 32), atol=1)
    assert found.centre == pytest.approx((48, 24))


@pytest.mark.parametrize('turned', [0, 90, 180, 270])
def test_places_are_turned_back(turned):
    image = np.zeros((40, 100))
    image[5:10, 20:30] = 1
    seen = np.rot90(image, turned // 90)
    found, = located(reading([seen], seen.shape, seen.shape, turned), image, VOCAB, rule(fit='none'))
    np.testing.assert_allclose(found.box, (20, 5, 30, 10), atol=0.2)


@pytest.mark.parametrize(('height', 'fit'), [(12, 'none'), (100, 'none'), (100, 'thumbnail')])
def test_places_lead_back_from_what_the_image_was_adapted_to(height, fit):
    from recog.images.fit import fit_image
    from recog.reading.adapt import adapted

    own = rule(fit=fit, ink='light', symbol=30.0, height=256, width=512, channels='grey')
    image = np.full((3 * height, 6 * height, 3), 255, np.uint8)  # black on white, of another size
    for column in (1, 4):
        cv2.rectangle(image, (column * height, height), ((column + 1) * height, 2 * height), (0, 0, 0), 2)
    image[:height // 2] = 255
    seen = adapted(image, own)
    canvas, size = (fit_image(seen, own) if fit != 'none' else
                    (np.zeros((256, 512, 1), np.uint8), seen.shape[:2]))
    ink = canvas[..., 0] if fit != 'none' else np.pad(seen, [(0, 256 - seen.shape[0]),
                                                             (0, 512 - seen.shape[1])])
    half = np.flatnonzero(ink.any(0)).mean()
    right = np.where(np.arange(512) > half, (ink > 127) * 1.0, 0)
    found, = located(reading([right], (256, 512), size), image, VOCAB, own, 'auto')
    np.testing.assert_allclose(found.centre, (4.5 * height, 1.5 * height), atol=0.04 * height + 1)


def test_the_way_back_through_a_rectification_is_that_of_its_grid():
    points = slanted_points(20)
    grid = np.asarray(spline_grid(points[None].astype(np.float32), height=32, width=100))[0]
    blank = np.zeros((32, 100, 3))
    found, = located(reading([spot((32, 100), 10, 70)], (32, 100), (32, 100), rectified=blank,
                             fiducials=points), blank, VOCAB, rule())
    x, y = (grid[10, 70] + 1) / 2 * (99, 31) + 0.5
    np.testing.assert_allclose(found.centre, np.clip((x, y), 0, (100, 32)), atol=1e-2)
    straight = spline.targets(20)
    np.testing.assert_allclose(spline.moved(straight * 0.5, straight), straight * 0.5, atol=1e-4)


# Frames, attention through a rectification, attention over a map, and images of any size, which are adapted.
@pytest.mark.parametrize('name', ['crnn', 'rare', 'srn', 'can'])
def test_a_model_says_where_its_tokens_are_and_in_which_turn_it_read(name, tmp_path, capsys):
    workdir = make_workdir(tmp_path / 'run', name)
    images = workdir / 'samples'
    flags = ['--places', '--rotate', 'auto', '--batch', '16', '--max-length', '4', '--devices', '0']
    assert command_line.main(['predict', str(workdir), str(images), *flags]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 4 and {line['turned'] for line in lines} <= {0, 90, 180, 270}
    for line in lines:
        height, width = cv2.imread(line['file']).shape[:2]
        text = ''.join(place['text'] for place in line['places'])
        assert text == line['text'].replace(' ', '') and all(
            0 <= left <= x <= right <= width and 0 <= top <= y <= bottom <= height
            for (x, y), (left, top, right, bottom) in
            ((place['centre'], place['box']) for place in line['places']))
    assert any(line['places'] for line in lines)


def test_answers_of_python_have_them_too(tmp_path):
    workdir = make_workdir(tmp_path / 'run', next(name for name in models.names() if name not in MATHS))
    file = workdir / 'samples' / '0.png'
    answer = load(workdir, places=True, rotate='auto')(file)
    assert ''.join(each.token for each in answer.places) == answer.text and answer.turned % 90 == 0
