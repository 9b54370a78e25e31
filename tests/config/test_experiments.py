"""Every experiment times every variant: it loads, builds, and its training step is traced at full size; its
operations are lowered for GPUs and TPUs as well."""

import importlib.util

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import jaxprs_in_params
from small import ROOT

from recog import models
from recog.config import experiments, values
from recog.images.fit import channels
from recog.text import vocabulary
from recog.train import optimizer
from recog.train.step import make_state, make_step


def recipes():
    for path in sorted((ROOT / 'experiments').glob('*.py')):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield from (f'{path.name}:{name}' for name in module.VARIANTS)


@pytest.fixture(scope='module')
def lowered():
    """The operations that were lowered so far."""
    return set()


def operations(jaxpr):
    """The operations of a program, whatever the sizes: each with the types and ranks of its inputs."""
    found, waiting, seen = set(), [jaxpr], {id(jaxpr)}
    while waiting:
        for equation in waiting.pop().eqns:
            found.add((equation.primitive.name, *((str(read.aval.dtype), read.aval.ndim)
                                                  for read in equation.invars)))
            new = [inner for inner in jaxprs_in_params(equation.params) if id(inner) not in seen]
            waiting += new
            seen |= set(map(id, new))
    return found


@pytest.mark.parametrize('recipe', recipes())
def test_a_recipe_builds_and_its_training_step_is_traced_at_full_size_and_lowered_for_gpus_and_tpus(
    recipe, lowered
):
    config = experiments.load(str(ROOT / 'experiments' / recipe))
    model = models.build(config, vocabulary.from_config(config.text))
    epoch = max(1, (config.data.nominal or config.render.count) // config.train.batch)
    total = values.steps(config.train.length, batch=config.train.batch, epoch=epoch)
    rate = optimizer.schedule(config, total, epoch)
    tx = optimizer.optimizer(config, rate)
    state = jax.eval_shape(lambda key: make_state(model, tx, config.train.ema, key), jax.random.key(0))
    rows, rule, length = config.train.batch, config.image, config.text.max_length
    batch = {
        'image': jax.ShapeDtypeStruct((rows, rule.height, rule.width, channels(rule)), jnp.uint8),
        'size': jax.ShapeDtypeStruct((rows, 2), jnp.int32),
        'tokens': jax.ShapeDtypeStruct((rows, length), jnp.int32),
        'length': jax.ShapeDtypeStruct((rows,), jnp.int32),
        'weight': jax.ShapeDtypeStruct((rows,), jnp.float32),
        'index': jax.ShapeDtypeStruct((rows,), jnp.int32),
    }
    traced = jax.jit(make_step(model, tx, rate, config)).trace(state, batch)
    after, metrics = traced.out_info
    made_of = operations(traced.jaxpr.jaxpr)
    if not made_of <= lowered:
        assert traced.lower(lowering_platforms=('cuda', 'tpu')).compiler_ir('stablehlo') is not None
        lowered.update(made_of)
    kinds = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (state, after)]
    assert kinds[0] == kinds[1]
    assert {leaf.dtype for leaf in jax.tree.leaves(after.params)} == {jnp.dtype('float32')}
    assert metrics['loss'].shape == () and metrics['loss'].dtype == jnp.float32
