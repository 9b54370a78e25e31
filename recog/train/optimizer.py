"""Optimizers and learning-rate schedules of a recipe, from optax."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from recog.config import values
from recog.devices.mesh import SMALLEST
from recog.errors import ConfigError
from recog.train import patterns
from recog.train.plateau import scale_by_plateau

Periods = tuple[int, int]


def schedule(config: ConfigDict, total: int, epoch: int,
             average: float | None = None) -> Callable[[Any], Any]:
    """The learning rate by optimizer step; `total` steps in all, `epoch` of them in one.

    Batches hold `average` images in the mean, by default `train.batch`.
    """
    periods, planned = starts(config, total, epoch, average), _schedule(config, total, epoch, average)
    if periods is None or not config.swa.rate:
        return planned
    (start, every), last = periods, config.swa.rate * config.optimizer.rate

    def rate(step: Any) -> Any:
        passed = jnp.minimum((step - start) // every, config.swa.periods)
        share = (1 + jnp.cos(jnp.pi * passed / config.swa.periods)) / 2
        return jnp.where(step < start, planned(step), last + (planned(start) - last) * share)

    return rate


def starts(config: ConfigDict, total: int, epoch: int, average: float | None = None) -> Periods | None:
    """The first step whose weights `config.swa` averages, and the steps of a period; None without it."""
    if not values.averages_starts(config):
        return None
    first, every = (values.steps(text, batch=average or config.train.batch, epoch=epoch, total=total)
                    for text in (config.swa.start, config.swa.every))
    if not first < total or not every:
        raise ConfigError(f'config.swa.start={config.swa.start!r} and every={config.swa.every!r} are {first} '
                          f'and {every} steps: the start must be below the {total} of '
                          f'config.train.length={config.train.length!r}, and a period at least one step')
    return first, every


def _schedule(config: ConfigDict, total: int, epoch: int, average: float | None) -> Callable[[Any], Any]:
    """The rate by `config.schedule` alone."""
    rule, rate = config.schedule, config.optimizer.rate

    def length(text: str) -> int:
        return values.steps(text, batch=average or config.train.batch, epoch=epoch, total=total)

    warmup = length(rule.warmup)
    if warmup >= total and rule.name in ('cosine', 'one_cycle', 'pytorch_one_cycle'):
        raise ConfigError(f'config.schedule.warmup={rule.warmup!r} is {warmup} steps and must be below '
                          f'the {total} of config.train.length={config.train.length!r}')
    if rule.name in ('one_cycle', 'pytorch_one_cycle'):
        if rule.name == 'pytorch_one_cycle':  # the last step of each part has the rate at its end
            warmup, total = max(warmup - 1, 0), max(total - 1, 1)
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


def optimizer(config: ConfigDict, rate: Callable[[Any], Any],
              rates: Mapping[str, Any] | None = None) -> optax.GradientTransformation:
    """The chain clip, coupled decay, direction, decoupled decay, groups, plateau, rate.

    This is Paddle's order, in which decay is not clipped. `rates`, by path, multiply the rate of what a
    training took from elsewhere.
    """
    rule = config.optimizer
    decay = [optax.add_decayed_weights(rule.decay, mask=_decayed(rule))] if rule.decay else []
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
        *([scale_each(rates)] if rates else []),
        *([scale_by_plateau()] if config.schedule.plateau.patience else []),
        optax.scale_by_learning_rate(rate))


def _decayed(rule: ConfigDict) -> Callable[[Any], Any] | None:
    """Which parameters decay, as a mask of their tree; None is all."""
    if rule.decay_vectors and not rule.undecayed:
        return None

    def mask(tree: Any) -> Any:
        patterns.check('config.optimizer.undecayed', rule.undecayed,
                       [_path(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(tree)])
        return jax.tree_util.tree_map_with_path(
            lambda keys, leaf: (rule.decay_vectors or leaf.ndim > 1)
            and not patterns.chosen(_path(keys), rule.undecayed), tree)

    return mask


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


def scale_each(rates: Mapping[str, Any]) -> optax.GradientTransformation:
    """Multiply the updates of the parameters at these paths by a number, or by an array that broadcasts."""
    def scale(keys: Any, leaf: jax.Array) -> jax.Array:
        return leaf * rates[_path(keys)] if _path(keys) in rates else leaf
    return optax.stateless(lambda updates, params: jax.tree_util.tree_map_with_path(scale, updates))


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


def layer_norms(gradient: Any, depth: int = 2) -> dict[str, jax.Array]:
    """The 2-norm of each layer: of the parameters whose paths begin alike."""
    layers: dict[str, list[jax.Array]] = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        layers.setdefault(_path(keys[:min(depth, max(len(keys) - 1, 1))]), []).append(leaf)
    return {f'grad_norm/{name}': norm(leaves) for name, leaves in layers.items()}


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
