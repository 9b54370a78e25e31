"""Every variant of every experiment at full size, as shapes. tests/programs/lowering.py traces and lowers
their training steps, too."""

import jax
import jax.numpy as jnp
import pytest
from full_size import recipes
from small import ROOT

from recog import models
from recog.config import experiments, values
from recog.errors import ConfigError
from recog.text import vocabulary
from recog.train import patterns


@pytest.mark.parametrize('recipe', recipes())
def test_a_recipe_loads_and_its_network_builds_in_float32(recipe):
    config = experiments.load(str(ROOT / 'experiments' / recipe))
    model = models.build(config, vocabulary.from_config(config.text))
    params = jax.eval_shape(model.init, jax.random.key(0))['params']
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype('float32')}
    # What a recipe never changes never gets a gradient.
    rules = [values.parse_group(group) for group in config.optimizer.groups]
    kept = {path for path in map('/'.join, models.flatten(params)) if patterns.multiplier(path, rules) == 0}
    assert kept <= set(model.about.no_gradient)


@pytest.mark.parametrize('file', experiments.files(ROOT), ids=lambda file: file.stem)
def test_every_experiment_has_a_fine_tuning_that_replays_what_was_drawn(file):
    config = experiments.load(f'{file}:finetune')
    drawn = 'formulas' if config.eval.protocol == 'latex' else 'rendered'
    assert config.init_recipe and config.eval.before and config.data.train == ('mine:train', f'{drawn}:train')
    assert config.optimizer.taken < 1 and len(config.data.weights) == 2 and config.train.ema


@pytest.mark.parametrize('file', experiments.files(ROOT), ids=lambda file: file.stem)
def test_a_field_of_an_experiment_allows_what_it_says_alone(file):
    for field, allowed in experiments.experiment_module(str(file)).ALLOWED.items():
        if isinstance(allowed[0], str):
            with pytest.raises(ConfigError, match=f"config.{field}='nonsense' .*{allowed[0]}"):
                experiments.load(str(file), [f'--config.{field}=nonsense'])
