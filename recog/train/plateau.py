"""The part of an optimizer that reduces the rate while evaluations do not get better."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


class Plateau(NamedTuple):
    """What the rate is multiplied by since evaluations do not get better."""

    scale: jax.Array


def scale_by_plateau() -> optax.GradientTransformation:
    """Multiply all updates by a number of the state, which `rescaled` sets between steps."""
    def update(updates: Any, state: Plateau, params: Any = None) -> tuple[Any, Plateau]:
        return jax.tree.map(lambda leaf: leaf * state.scale, updates), state

    return optax.GradientTransformation(lambda params: Plateau(jnp.ones(())), update)


def rescaled(opt: Any, scale: float) -> Any:
    """The optimizer's state with another number by which updates are multiplied."""
    def new(part: Any) -> Any:
        if not isinstance(part, Plateau):
            return part
        return Plateau(jax.device_put(np.float32(scale), part.scale.sharding))

    return jax.tree.map(new, opt, is_leaf=_is_plateau)


def plateau_scale(opt: Any) -> Any:
    """The number by which updates are multiplied; 1 without one."""
    found = [part.scale for part in jax.tree.leaves(opt, is_leaf=_is_plateau) if _is_plateau(part)]
    return found[0] if found else 1.0


def _is_plateau(part: Any) -> bool:
    return isinstance(part, Plateau)
