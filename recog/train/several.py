"""The compiled program that runs several steps on data that the devices hold."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from recog.devices.mesh import compiler_options, replicated

AT_ONCE = 16  # steps that one call runs at most


class Several:
    """Up to `AT_ONCE` steps of one shape: (state, arrays, places) -> state, metrics is one of them.

    If `looped`, one program runs them all, else it runs one at a time: on a CPU, XLA makes convolutions in a
    loop forty times slower.
    """

    def __init__(self, step: Callable, mesh: Mesh, layout: Any, looped: bool):
        self._step, self._looped = step, looped
        self._jitted = jax.jit(self._loop if looped else step, donate_argnums=0,
                               out_shardings=(layout, replicated(mesh)),
                               compiler_options=compiler_options(mesh))

    def lower(self, state: Any, arrays: Any, places: list[dict[str, np.ndarray]]) -> Any:
        """The lowered program, for places such as these."""
        if self._looped:
            return self._jitted.lower(state, arrays, _padded(places), len(places))
        return self._jitted.lower(state, arrays, places[0])

    def run(self, compiled: Callable, state: Any, arrays: Any,
            places: list[dict[str, np.ndarray]]) -> tuple[Any, Any]:
        """The state after a step at each of the places, and the metrics of all in arrays."""
        if self._looped:
            return compiled(state, arrays, _padded(places), len(places))
        found = []
        for place in places:
            state, metrics = compiled(state, arrays, place)
            found.append(metrics)
        return state, jax.tree.map(lambda *every: jnp.stack(every), *found)

    def _loop(self, state: Any, arrays: Any, places: dict[str, jax.Array],
              count: jax.Array) -> tuple[Any, Any]:
        """The state after `count` steps, and metrics [AT_ONCE]."""
        def at(number: jax.Array | int) -> dict[str, jax.Array]:
            return jax.tree.map(lambda every: every[number], places)

        def body(number: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            state, metrics = carry
            state, new = self._step(state, arrays, at(number))
            return state, jax.tree.map(lambda every, value: every.at[number].set(value), metrics, new)

        shapes = jax.eval_shape(lambda: self._step(state, arrays, at(0))[1])
        zeros = jax.tree.map(lambda leaf: jnp.zeros((AT_ONCE, *leaf.shape), leaf.dtype), shapes)
        return jax.lax.fori_loop(0, count, body, (state, zeros))


def _padded(places: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The places of some steps in arrays of `AT_ONCE`."""
    return {name: np.stack([place[name] for place in [*places, *places[:1] * (AT_ONCE - len(places))]])
            for name in places[0]}
