"""The sizes drawn for a whole set of augmented images are those of the images once they are changed."""

import numpy as np
import pytest

from recog.config import recipe
from recog.images import augment, augment_many, ink, warp
from recog.images.uniforms import uniforms

EACH = {'scale': 0.25, 'stretch': 0.2, 'rotation': 5.0, 'perspective': 0.1, 'curve': 0.3, 'elastic': 2.5}
ROOM = (90, 150)


def rule(**fields):
    fields = {'probability': 0.5, 'stroke': 1.0, 'noise': 3.0, **fields}
    return recipe.changed(recipe.base(name='can').image.augment, fields)


def test_the_numbers_are_those_of_each_rows_own_generator():
    for seed, epoch in ((0, 0), (7, 300)):
        numbers = uniforms(seed, epoch, np.arange(20), 11)
        for row in range(20):
            np.testing.assert_array_equal(numbers[row], augment.generator(seed, epoch, row).random(11))


@pytest.mark.parametrize('names', [*((name,) for name in EACH), tuple(EACH)])
def test_images_are_as_large_as_was_drawn_and_never_larger_than_the_room(names):
    allowed = rule(**{name: EACH[name] for name in names})
    given = np.random.default_rng(0).integers((8, 12), (90, 150), (200, 2))
    drawn = augment_many.sizes(given, np.zeros(200, bool), 3, 5, allowed, ROOM)
    assert (drawn <= ROOM).all() and (drawn != given).any() and (drawn == given).all(1).any()
    for row, size in enumerate(given):
        image = augment.augment(np.zeros(size, np.uint8), augment.generator(3, 5, row), allowed, room=ROOM)
        assert image.shape == tuple(drawn[row])


def strokes(row):
    """A hand that writes some lines, in whole numbers as a tablet has them."""
    random = np.random.default_rng(row)
    return [np.cumsum(random.integers(-40, 60, (12, 2)), 0).astype(float)
            for _ in range(random.integers(1, 5))]


@pytest.mark.parametrize('names', [*((name,) for name in EACH), tuple(EACH)])
def test_ink_is_at_most_as_large_as_was_drawn_and_not_much_smaller(names):
    allowed, room = rule(**{name: EACH[name] for name in names}), (160, 200)
    hands = [strokes(row) for row in range(100)]
    hands = [hand for hand in hands if (np.array(ink.draw(hand).shape) <= room).all()]
    given = np.array([ink.draw(hand).shape for hand in hands])
    drawn = augment_many.sizes(given, np.ones(len(given), bool), 3, 5, allowed, room)
    assert (drawn <= room).all() and (drawn != given).any() and len(given) > 40
    found = np.array([augment.augment(ink.draw(hand), augment.generator(3, 5, row), allowed, hand, room).shape
                      for row, hand in enumerate(hands)])
    assert (found <= drawn).all() and (drawn - found).mean() < 14


def test_without_geometry_sizes_are_not_drawn():
    assert not augment_many.change_sizes(rule()) and augment_many.change_sizes(rule(scale=0.1))
    assert not augment_many.change_sizes(rule(scale=0.1, probability=0.0))


def test_movements_are_those_that_each_image_is_moved_by():
    strengths = dict.fromkeys(augment.PLAIN, 0.0)
    allowed = rule(**EACH, probability=0.7)
    given = np.random.default_rng(0).integers((20, 30), (90, 150), (50, 2))
    drawn = augment_many.draw(given, 3, 5, np.arange(100, 150), allowed, (400, 400))
    assert set(drawn.strengths) == {*EACH, 'stroke', 'noise'}
    for row, size in enumerate(given):
        random, strengths = augment.generator(3, 5, 100 + row), dict.fromkeys(augment.PLAIN, 0.0)
        for name, most in augment.switched_on(allowed).items():
            if random.random() < 0.7:
                strengths[name] = random.uniform(-most if name in augment.SIGNED else 0.0, most)
        for name, values in drawn.strengths.items():
            assert values[row] == strengths[name]
        movement = warp.random_warp(tuple(size), random, strengths)
        if movement is None:
            assert (drawn.back[row] == np.eye(3)).all() and (drawn.sizes[row] == size).all()
            continue
        assert (drawn.bend[row], drawn.ripple[row]) == (movement.bend, movement.ripple)
        if movement.ripple:
            np.testing.assert_allclose(drawn.waves[row], movement.waves)
        # The way back leads from the pixels of the canvas to the sheet, up to where the canvas begins.
        forth = movement.matrix @ drawn.back[row]
        np.testing.assert_allclose((forth / forth[2, 2])[:2, :2], np.eye(2), atol=1e-9)
