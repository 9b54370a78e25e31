"""RandAugment's operations against the results of PARSeq's own code, and how they are drawn."""

import json

import golden
import numpy as np
import pytest
from small import DEMO

from recog.config import experiments, recipe
from recog.errors import ConfigError
from recog.images import augment, operations
from recog.images.augment_on_devices import unknown
from recog.report import augmentations

ARGUMENTS = json.loads((golden.GOLDENS / 'parseq_data.json').read_text(encoding='utf-8'))['augment_arguments']
CASES = [(name, side) for name, sides in ARGUMENTS.items() for side in sides if name != operations.NOISE]


@pytest.fixture(scope='module')
def arrays():
    with np.load(golden.GOLDENS / 'parseq_data.npz') as file:
        return dict(file)


def factor(name, argument):
    """Enhancements are given by their factor, of which ours is the part above 1."""
    enhanced = 'ColorIncreasing', 'ContrastIncreasing', 'BrightnessIncreasing'
    return argument - 1 if name in enhanced else argument


def test_all_operations_have_the_references_range_at_half_of_the_magnitude():
    assert list(operations.OPERATIONS) == list(ARGUMENTS)
    for name, operation in operations.OPERATIONS.items():
        given = next(iter(ARGUMENTS[name].values()))
        assert operation.signed == ('minus' in ARGUMENTS[name])
        assert not given or operation.argument(0.5) == pytest.approx(factor(name, given[0])), name


@pytest.mark.parametrize('name, side', CASES)
def test_an_operation_gives_the_references_pixels(arrays, name, side):
    image = arrays['augment_input'][..., ::-1]
    argument = factor(name, (ARGUMENTS[name][side] or [0])[0])
    got = operations.apply(image, name, argument, bicubic=side == 'plus')
    np.testing.assert_array_equal(got[..., ::-1], arrays[f'augment_{name}_{side}'])


def test_noise_is_the_same_in_all_channels_and_of_the_references_size():
    image = np.full((30, 200, 3), 128, np.uint8)
    got = operations.apply(image, operations.NOISE, 20.0, random=np.random.default_rng(0)).astype(int) - 128
    assert (got == got[..., :1]).all() and abs(got.mean()) < 1
    assert np.abs(got).mean() == pytest.approx(21, abs=0.2)  # 20 made odd


@pytest.mark.parametrize('shape', [(20, 60), (20, 60, 1), (20, 60, 3)])
def test_images_keep_their_channels(shape):
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    for name, operation in operations.OPERATIONS.items():
        got = operations.apply(image, name, operation.argument(0.5), random=np.random.default_rng(0))
        assert got.dtype == np.uint8 and got.shape[2:] == shape[2:] and got.ndim == image.ndim, name


def test_so_many_different_ones_are_drawn_and_half_of_them_carried_out_with_both_signs():
    random, every = np.random.default_rng(0), []
    for _ in range(800):
        one = list(operations.drawn(random, 3, 5.0, 0.5))
        assert len({name for name, _, _ in one}) == len(one) <= 3
        every += one
    assert len(every) == pytest.approx(1200, rel=0.1) and {name for name, _, _ in every} == set(ARGUMENTS)
    degrees = [argument for name, argument, _ in every if name == 'Rotate']
    assert set(degrees) == {15.0, -15.0} and {bicubic for _, _, bicubic in every} == {True, False}


def test_a_recipe_has_them_as_fields_and_an_image_is_the_same_in_each_run():
    rule = recipe.changed(recipe.base(name='crnn').image.augment, {'operations': 3})
    image = np.random.default_rng(0).integers(0, 255, (20, 60, 3), np.uint8)
    one, other = ([augment.augment(image, augment.generator(0, 1, row), rule) for row in range(20)]
                  for _ in range(2))
    assert augment.augments(rule) and all(map(np.array_equal, one, other))
    assert sum(np.array_equal(each, image) for each in one) < 10
    assert not augment.augments(recipe.changed(rule.copy_and_resolve_references(), {'probability': 0.0}))


def test_a_long_image_is_rotated_within_bounds():
    got = operations.apply(np.zeros((32, 30_000), np.uint8), 'Rotate', 15.0)
    assert got.size < 4_100_000


def test_devices_and_images_of_any_size_refuse_them_and_the_sheet_shows_each():
    config = experiments.load(DEMO, ['--config.image.augment.operations=2'])
    assert unknown(config.image)[-1] == 'operations'
    with pytest.raises(ConfigError, match=r"augment\.operations=2 cannot be combined with .*fit='none'"):
        experiments.load(DEMO, ['--config.image.augment.operations=2', '--config.image.fit=none'])
    lines = augmentations._lines([np.zeros((20, 60, 3), np.uint8)], config.image, 0)
    assert {line.name for line in lines} >= set(ARGUMENTS)
