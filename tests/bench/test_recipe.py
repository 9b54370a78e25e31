"""What `recog bench --config` measures."""

import jax
import pytest
from small import ROOT

from recog.bench import recipe
from recog.bench.asked import Asked
from recog.config import experiments
from recog.devices.mesh import make_mesh


@pytest.mark.parametrize('name, asked, rows', [
    ('comer.py:formulas', 0, 1),    # data.pixels allows no more on its canvas of 496 x 2128
    ('comer.py:formulas', 3, 3),
    ('comer.py:crohme', 0, 8),      # one group of batch norm
    ('svtrv2.py:t', 0, 256),
    ('crnn.py:r34', 0, recipe.CPU_TRAIN_BATCH),
    ('crnn.py:demo', 0, recipe.CPU_TRAIN_BATCH),
])
def test_a_training_step_has_as_many_images_as_the_recipe_has_on_its_largest_canvas(name, asked, rows):
    config = experiments.load(f'{ROOT}/experiments/{name}', [])
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    (label, _, found), = recipe.wanted(config, Asked(name, (), ('train',), 32, asked, 1.0, '', ''), mesh)
    assert (label, found) == (f'train_{rows}', rows)
