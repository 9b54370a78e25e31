"""The sheet of augmentations: its size, and that strengths on both sides of zero are shown."""

import numpy as np
import pytest
from PIL import Image

from recog.config import experiments, recipe
from recog.errors import ConfigError
from recog.images import augment
from recog.report import augmentations


def words(count):
    dice = np.random.default_rng(0)
    return [dice.integers(0, 255, (30, 60 + 20 * number, 3), np.uint8) for number in range(count)]


def files(folder, count):
    return [str(folder / f'{number}.png') for number, image in enumerate(words(count))
            if Image.fromarray(image).save(folder / f'{number}.png') is None]


@pytest.mark.parametrize('algorithm', ['crnn', 'can', 'latex_ocr'])
def test_a_sheet_is_narrow_however_many_images_and_augmentations_there_are(algorithm, tmp_path):
    config = experiments.load(f'experiments/{algorithm}.py:demo')
    heights = []
    for count in (1, 2, 5):
        out = augmentations.show(config, files(tmp_path, count), tmp_path / 'sheet.png', every=True)
        with Image.open(out) as sheet:
            assert sheet.width <= 1400
            heights.append(sheet.height)
    assert heights[1] <= 1.1 * heights[0] and 2 * heights[1] < heights[2] < 3.5 * heights[1]


def test_each_augmentation_has_a_line_with_what_its_strength_means_and_both_of_its_directions():
    rule = recipe.base(name='crnn').image
    rule.augment.update({**augment.PLAIN, 'probability': 0.5})
    lines = augmentations._lines(words(1), rule, 0)
    assert [line.name for line in lines] == [*augment.PLAIN, *['as in training'] * augmentations.TRAINING]
    for line in lines[:len(augment.PLAIN)]:
        below, none, above = line.pictures[0]
        assert line.meaning and (below is not None) == (line.name in augment.SIGNED)
        assert line.name == 'scale' or none.shape != above.shape or (none != above).any()
        assert below is None or line.name == 'scale' or below.shape != above.shape or (below != above).any()


def test_too_many_images_and_recipes_that_change_none_are_refused(tmp_path):
    config = experiments.load('experiments/crnn.py:demo')
    with pytest.raises(ConfigError, match='25 images are too many for one picture; at most 24'):
        augmentations.show(config, files(tmp_path, 25), tmp_path / 'sheet.png', every=True)
    with pytest.raises(ConfigError, match='the recipe changes no image'):
        augmentations.show(recipe.base(name='crnn'), files(tmp_path, 1), tmp_path / 'sheet.png')
