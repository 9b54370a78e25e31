"""The state of a training, and the pure function that is one step of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog import models
from recog.config import values
from recog.devices.mesh import cut, micro_batch_sharding, unsharded
from recog.models.precision import in_precision
from recog.train import optimizer
from recog.train.plateau import plateau_scale
from recog.train.remat import rematerialised


class State(NamedTuple):
    """All that a step changes; `ema` has averages of `params` and `stats`, or is empty if none are kept."""

    step: jax.Array
    params: Any
    stats: Any
    opt: Any
    ema: Any


def make_state(model: models.Model, tx: optax.GradientTransformation, ema: float | bool, key: jax.Array,
               given: models.Variables | None = None, kept: models.Variables | None = None) -> State:
    """The state before the first step; the variables that are given replace the drawn ones.

    Of those in `kept` only what its masks say is replaced.
    """
    variables = model.init(key)
    if given:
        drawn, masks = models.flatten(variables), models.flatten(kept or {})
        variables = models.variables(drawn | {
            path: jnp.where(masks[path], leaf, drawn[path]) if path in masks else leaf
            for path, leaf in models.flatten(given).items()})
    params, stats = variables['params'], variables['stats']
    averages = {'params': params, 'stats': stats} if ema else {}
    return State(jnp.zeros((), jnp.int32), params, stats, tx.init(params), averages)


def averaged(ema: Any, params: Any, stats: Any, decay: float, step: jax.Array) -> Any:
    """The averages after `params` and `stats` of one more step; `step` of them were done before it.

    They keep the share min(decay, (1 + step) / (10 + step)): 0.1 at the first step, half at the ninth. So the
    weights of the start, which are random, are soon forgotten however slow the decay is.
    """
    share = jnp.maximum(1 - decay, 9 / (10 + step))  # of the new; exact where decay is near 1
    return optax.incremental_update({'params': params, 'stats': stats}, ema, share)


def averaged_starts(ema: Any, before: Any, after: Any, periods: optimizer.Periods, step: jax.Array) -> Any:
    """The averages of what stood at the starts of the periods so far, with equal shares; until the first of
    them, the newest itself.

    `before` and `after` are the parameters and statistics on both sides of one more step.
    """
    first, every = periods
    number, early = (step - first) // every, step < first
    share = jnp.where(early, 1.0, jnp.where((step - first) % every == 0, 1 / jnp.maximum(number + 1, 1), 0.0))
    new = jax.tree.map(lambda old, newer: jnp.where(early, newer, old), before, after)
    return optax.incremental_update(new, ema, share)


def make_step(model: models.Model, tx: optax.GradientTransformation, rate: Callable, config: ConfigDict,
              mesh: Mesh | None = None, periods: optimizer.Periods | None = None) -> Callable:
    """The pure function (state, batch) -> state, metrics; weights are averaged at the starts of periods."""
    accumulate, decay, seed = config.train.accumulate, config.train.ema, values.seed(config, 'dropout')

    def loss(params, stats, batch, key, step):
        variables = {'params': params, 'stats': stats}
        (total, count), (stats, sums) = model.loss(variables, batch, key=key, train=True, step=step)
        return total, (stats, {'total': total, 'count': count, 'rows': batch['weight'].sum(), **sums})

    loss = rematerialised(loss, config.train.remat)

    def whole(state, batch, key):
        # Sharded parameters are gathered once, not at each use, which in a loop comes again and again.
        params = state.params if mesh is None else unsharded(mesh, state.params)
        gradient, others = jax.grad(loss, has_aux=True)(params, state.stats, batch, key, state.step)
        return gradient if mesh is None else cut(mesh, gradient), others

    def in_parts(state, batch, key):
        """The sums over micro-batches; statistics are the mean of theirs, weighted by their real rows."""
        def split(leaf):
            parts = leaf.reshape(accumulate, -1, *leaf.shape[1:])
            # Each micro-batch lies over all devices again.
            layout = None if mesh is None else micro_batch_sharding(mesh)
            return parts if layout is None else jax.lax.with_sharding_constraint(parts, layout)

        def part(total, item):
            number, micro = item
            gradient, (stats, sums) = whole(state, micro, jax.random.fold_in(key, number))
            weighted = jax.tree.map(lambda leaf: leaf * sums['rows'], stats)
            return jax.tree.map(jnp.add, total, (gradient, weighted, sums)), None

        def flat(out):
            gradient, (stats, sums) = out
            return gradient, stats, sums

        items = (jnp.arange(accumulate), jax.tree.map(split, batch))
        first = jax.tree.map(lambda leaf: leaf[0], items[1])
        shapes = jax.eval_shape(lambda: flat(whole(state, first, key)))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        (gradient, stats, sums), _ = jax.lax.scan(part, zeros, items)
        rows = sums['rows']
        stats = jax.tree.map(lambda new, old: jnp.where(rows > 0, new / jnp.maximum(rows, 1), old),
                             stats, state.stats)
        return gradient, (stats, sums)

    def step(state: State, batch: models.Batch) -> tuple[State, dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        gradient, (stats, sums) = (in_parts if accumulate > 1 else whole)(state, batch, key)
        total, count = sums.pop('total'), sums.pop('count')
        # A loss with count 0 is a sum that is not divided.
        share = jnp.where(count > 0, 1 / jnp.maximum(count, 1e-9), 1.0)
        gradient = jax.tree.map(lambda leaf: leaf * share, gradient)
        updates, opt = tx.update(gradient, state.opt, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = averaged(state.ema, params, stats, decay, state.step) if decay else state.ema
        if periods is not None:
            before, after = ({'params': each, 'stats': other} for each, other in
                             ((state.params, state.stats), (params, stats)))
            ema = averaged_starts(state.ema, before, after, periods, state.step)
        metrics = {'loss': total * share, 'grad_norm': optimizer.norm(gradient),
                   'rate': rate(state.step) * plateau_scale(state.opt), **sums}
        if config.log.layer_norms:
            metrics |= optimizer.layer_norms(gradient)
        return State(state.step + 1, params, stats, opt, ema), metrics

    return in_precision(step, config.train.precision)


def parts(state: State) -> dict[str, Any]:
    """The state as the parts of a checkpoint."""
    variables = {'params': state.params, 'stats': state.stats}
    return {'variables': {**variables, 'ema': state.ema} if state.ema else variables,
            'optimizer': {'step': state.step, 'opt': state.opt}}
