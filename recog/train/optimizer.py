"""Optimizers and learning-rate schedules of a recipe, from optax."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from recog.config import values
from recog.devices.mesh import SMALLEST
from recog.errors import ConfigError
from recog.train import patterns


def schedule(config: ConfigDict, total: int, epoch: int,
             average: float | None = None) -> Callable[[Any], Any]:
    """The learning rate by optimizer step; `total` steps in all, `epoch` of them in one.

    Batches hold `average` images in the mean, by default `train.batch`.
    """
    rule, rate = config.schedule, config.optimizer.rate

    def length(text: str) -> int:
        return values.steps(text, batch=average or config.train.batch, epoch=epoch, total=total)

    warmup = length(rule.warmup)
    if warmup >= total and rule.name in ('cosine', 'one_cycle'):
        raise ConfigError(f'config.schedule.warmup={rule.warmup!r} is {warmup} steps and must be below '
                          f'the {total} of config.train.length={config.train.length!r}')
    if rule.name == 'one_cycle':
        up = optax.cosine_decay_schedule(rate, max(warmup, 1), alpha=1 / 25)
        down = optax.cosine_decay_schedule(rate, total - warmup, alpha=rule.final)
        return optax.join_schedules([lambda step: up(warmup - step), down], [warmup])
    if rule.name == 'cosine':
        after = optax.cosine_decay_schedule(rate, total - warmup, alpha=rule.final)
    elif rule.name == 'piecewise':
        # join_schedules counts from the end of the warm-up; boundaries are given from the start of the run.
        steps = {length(boundary) - warmup: factor
                 for boundary, factor in zip(rule.boundaries, rule.factors, strict=True)}
        after = optax.piecewise_constant_schedule(rate, steps)
    elif rule.name == 'two_cosines':
        # Both start after the warm-up, though the second, as in the reference, is as long as the whole run.
        first = length(rule.boundaries[0]) - warmup
        down, up = optax.cosine_decay_schedule(rate, max(first, 1)), optax.cosine_decay_schedule(rate, total)
        after = lambda step: jnp.where(step <= first, down(step), up(step))  # noqa: E731
    else:
        after = optax.constant_schedule(rate)
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, rate, warmup), after], [warmup])


def optimizer(config: ConfigDict, rate: Callable[[Any], Any]) -> optax.GradientTransformation:
    """The chain clip, coupled decay, direction, decoupled decay, groups, rate.

    This is Paddle's order, in which decay is not clipped.
    """
    rule = config.optimizer
    decayed = None if rule.decay_vectors else (lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree))
    decay = [optax.add_decayed_weights(rule.decay, mask=decayed)] if rule.decay else []
    direction = {
        'adam': lambda: optax.scale_by_adam(rule.b1, rule.b2, rule.eps),
        'adamw': lambda: optax.scale_by_adam(rule.b1, rule.b2, rule.eps),
        'momentum': lambda: optax.trace(rule.momentum, rule.nesterov),
        'adadelta': lambda: optax.scale_by_adadelta(rule.rho, rule.eps),
    }[rule.name]()
    coupled = rule.decay_kind == 'coupled'
    return optax.chain(
        *([clip_each(rule.clip_tensor)] if rule.clip_tensor else []),
        *([clip_all(rule.clip_norm)] if rule.clip_norm else []),
        *(decay if coupled else []), direction, *([] if coupled else decay),
        *([scale_groups(rule.groups)] if rule.groups else []),
        optax.scale_by_learning_rate(rate))


def scale_groups(groups: Sequence[str]) -> optax.GradientTransformation:
    """Multiply each parameter's update by the last of the 'PATTERN=MULTIPLIER' whose pattern fits its path.

    A path is 'transform/points/kernel'; in a pattern `*` stands for anything. 0 freezes a parameter: it does
    not decay either, but its gradient still counts in the norm over all tensors.
    """
    rules = [values.parse_group(group) for group in groups]

    def init(params: Any) -> optax.EmptyState:
        paths = [_path(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(params)]
        patterns.check('config.optimizer.groups', [pattern for pattern, _ in rules], paths)
        return optax.EmptyState()

    def scale(keys: Any, leaf: jax.Array) -> jax.Array:
        multiplier = patterns.multiplier(_path(keys), rules)
        return leaf if multiplier is None else leaf * multiplier

    def update(updates: Any, state: optax.EmptyState, params: Any = None) -> tuple[Any, optax.EmptyState]:
        return jax.tree_util.tree_map_with_path(scale, updates), state

    return optax.GradientTransformation(init, update)


def _path(keys: Any) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator='/')


def norm(gradient: Any) -> jax.Array:
    """The 2-norm over all tensors.

    The small ones, which are most of a network's, are concatenated: one by one, as optax takes them, each
    keeps an accelerator busy for as long as a large one.
    """
    leaves = jax.tree.leaves(gradient)
    small = [leaf.reshape(-1) for leaf in leaves if leaf.size < SMALLEST]
    parts = [leaf for leaf in leaves if leaf.size >= SMALLEST] + ([jnp.concatenate(small)] if small else [])
    return jnp.sqrt(jnp.stack([jnp.sum(jnp.square(part)) for part in parts]).sum())


def clip_all(limit: float) -> optax.GradientTransformation:
    """All gradients together are cut to this 2-norm, as by `optax.clip_by_global_norm`."""
    def clip(gradient: Any, _: Any) -> Any:
        length = norm(gradient)
        return jax.tree.map(lambda leaf: jnp.where(length < limit, leaf, leaf / length * limit), gradient)
    return optax.stateless(clip)


def clip_each(limit: float) -> optax.GradientTransformation:
    """Each tensor's gradient is cut to this 2-norm (Paddle's ClipGradByNorm, which optax lacks)."""
    def clip(gradient: jax.Array) -> jax.Array:
        return gradient * (limit / jnp.maximum(jnp.linalg.norm(gradient.reshape(-1)), limit))
    return optax.stateless(lambda updates, params: jax.tree.map(clip, updates))
