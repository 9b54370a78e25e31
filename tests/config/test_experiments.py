"""Every variant of every experiment at full size, as shapes: it loads and builds, and its loss and its
optimizer keep shapes and types. tests/programs/lowering.py traces and lowers whole training steps."""

import jax
import jax.numpy as jnp
import optax
import pytest
from full_size import kinds, recipes, shapes
from small import ROOT

from recog import models
from recog.config import experiments, values
from recog.errors import ConfigError
from recog.train import patterns


@pytest.fixture(scope='module')
def seen():
    """The networks and optimizers that were looked at so far: variants of an experiment share some."""
    return set()


@pytest.mark.parametrize('recipe', recipes())
def test_a_recipe_builds_at_full_size_and_its_loss_and_optimizer_keep_all_kinds(recipe, seen):
    config, model, _, tx, state, batch = shapes(recipe)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype('float32')}
    network = tuple(config[part].to_json() for part in ('model', 'image', 'text', 'train'))
    if network not in seen:
        (total, _), (stats, _) = jax.eval_shape(
            lambda variables, batch, key: model.loss(variables, batch, key=key, train=True, step=0),
            {'params': state.params, 'stats': state.stats}, batch, jax.random.key(0))
        assert total.shape == () and total.dtype == jnp.float32
        assert kinds(stats) == kinds(state.stats)
        seen.add(network)

    def update(params, memory):  # gradients have the kinds of what they are of
        updates, memory = tx.update(params, memory, params)
        return optax.apply_updates(params, updates), memory

    rule = config.model.name, config.optimizer.to_json()
    if rule not in seen:
        assert kinds(jax.eval_shape(update, state.params, state.opt)) == kinds((state.params, state.opt))
        seen.add(rule)


@pytest.mark.parametrize('recipe', [
    recipe for recipe in recipes() if recipe.endswith(('r50', 'modern', 'demo'))])
def test_what_a_recipe_never_changes_never_gets_a_gradient(recipe):
    config, model, *_, state, _ = shapes(recipe)
    rules = [values.parse_group(group) for group in config.optimizer.groups]
    kept = {path for path in map('/'.join, models.flatten(state.params))
            if patterns.multiplier(path, rules) == 0}
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
