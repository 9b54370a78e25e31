"""Packed sets that are on the devices from the start: batches are taken there by their rows, several steps run at one call."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog.data.joined import Joined, JoinedPacked
from recog.devices.mesh import batch_sharding, compiler_options, local_rows, replicated, rounded
from recog.errors import ConfigError
from recog.images import augment_on_devices
from recog.images.fit import channels

AT_ONCE = 16  # steps of a call at most
ROOM = 0.6  # the share of a device's memory that the data may take
PARTS = ('image', 'size', 'tokens', 'length', 'weight')


def check(config: ConfigDict, source: Joined, mesh: Mesh) -> None:
    """Refuse what cannot be on the devices: sets that are not packed, images that training changes, too many bytes."""
    if not isinstance(source, JoinedPacked):
        raise ConfigError(f'config.data.resident: {source.name} is not packed; pack it first: recog pack SET --config '
                          'FILE:VARIANT')
    unknown = augment_on_devices.unknown(config.image.augment)
    if unknown:
        raise ConfigError(f'config.data.resident: devices cannot augment by {", ".join(unknown)}; set '
                          + ' '.join(f'--config.image.augment.{name}=0' for name in unknown))
    needed, there = size(source, mesh), memory(mesh)
    if there is not None and needed > ROOM * there:
        raise ConfigError(f'config.data.resident: {source.name} takes {needed / 1e9:,.1f} GB on each of {mesh.size} devices; '
                          f'{ROOM:.0%} of the {there / 1e9:,.1f} GB of one are for data')


def size(source: JoinedPacked, mesh: Mesh) -> int:
    """The bytes that a device of the mesh has to hold."""
    row = sum(values.nbytes for name, values in source.arrays(np.zeros(1, np.int64)).items() if name in PARTS)
    return row * (rounded(mesh, len(source)) // mesh.size)


def expected(config: ConfigDict, rows: int, mesh: Mesh) -> int:
    """The bytes that a device of the mesh would have to hold of so many rows of a recipe, once they are packed."""
    rule = config.image
    row = rule.height * rule.width * channels(rule) + 4 * (2 + config.text.max_length + 2)  # size, tokens, length, weight
    return row * (rounded(mesh, rows) // mesh.size)


def memory(mesh: Mesh) -> int | None:
    """The bytes of a device, of the machine where its devices are CPUs; None where nobody says."""
    device = mesh.local_devices[0]
    if device.platform == 'cpu':
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // len(mesh.local_devices)
    stats = device.memory_stats()
    return int(stats['bytes_limit']) if stats and 'bytes_limit' in stats else None


class Store:
    """All rows of packed sets, each device holding its share."""

    def __init__(self, source: Joined, mesh: Mesh):
        assert isinstance(source, JoinedPacked)  # `check` has seen to it
        self._source = source
        self._here = local_rows(mesh, mesh.size)
        rows, layout = rounded(mesh, len(source)), batch_sharding(mesh)
        placed: dict[str, list[jax.Array]] = {name: [] for name in PARTS}
        for device, cuts in layout.addressable_devices_indices_map((rows,)).items():
            start, stop, _ = (cuts or (slice(None),))[0].indices(rows)
            # What fills the last share is never taken.
            values = source.arrays(np.minimum(np.arange(start, stop), len(source) - 1))
            for name in PARTS:
                placed[name].append(jax.device_put(values[name], device))
        self.arrays = {name: jax.make_array_from_single_device_arrays((rows, *parts[0].shape[1:]), layout, parts)
                       for name, parts in placed.items()}

    def batch(self, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
        """The shapes of a batch."""
        shapes = {name: jax.ShapeDtypeStruct((rows, *array.shape[1:]), array.dtype) for name, array in self.arrays.items()}
        number = jax.ShapeDtypeStruct((rows,), jnp.int32)
        return {**shapes, 'index': number, 'epoch': number}

    def notes(self, rows: np.ndarray) -> tuple[int, list[tuple]]:
        """How many of a batch's rows this process answers for, and what was said of them when they were packed."""
        mine = rows.reshape(-1, len(rows) // self._cuts())[self._here].ravel()
        code = self._source.codes(mine)
        return len(mine), self._source.notes(mine, code) if code.any() else []

    def _cuts(self) -> int:
        return self.arrays['length'].sharding.num_devices


def taken(arrays: dict[str, jax.Array], places: jax.Array, mesh: Mesh) -> dict[str, jax.Array]:
    """The batch of these rows and epochs [2, B], over all devices."""
    rows, epochs = places
    batch = {name: array.at[rows].get(mode='clip') for name, array in arrays.items()}
    return jax.lax.with_sharding_constraint({**batch, 'index': rows, 'epoch': epochs}, batch_sharding(mesh))


def several(step: Callable, mesh: Mesh, layout: Any, looped: bool) -> Callable:
    """The compiled function (state, arrays, places [AT_ONCE, 2, B], count) -> state after `count` steps, their metrics [AT_ONCE].

    It is one call if it is `looped`; on a CPU it should not be: there XLA makes convolutions in a loop forty times slower.
    """
    compile = partial(jax.jit, donate_argnums=0, out_shardings=(layout, replicated(mesh)),
                      compiler_options=compiler_options(mesh))
    one_step = compile(lambda state, arrays, places: step(state, taken(arrays, places, mesh)))

    def one_by_one(state: Any, arrays: dict[str, jax.Array], places: np.ndarray, count: int) -> tuple[Any, dict[str, jax.Array]]:
        found = []
        for number in range(count):
            state, metrics = one_step(state, arrays, places[number])
            found.append(metrics)
        return state, jax.tree.map(lambda *values: jnp.stack(values), *found)

    def run(state: Any, arrays: dict[str, jax.Array], places: jax.Array, count: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        def one(number: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            state, metrics = carry
            state, new = step(state, taken(arrays, places[number], mesh))
            return state, jax.tree.map(lambda every, value: every.at[number].set(value), metrics, new)

        shapes = jax.eval_shape(lambda: step(state, taken(arrays, places[0], mesh))[1])
        zeros = jax.tree.map(lambda leaf: jnp.zeros((AT_ONCE, *leaf.shape), leaf.dtype), shapes)
        return jax.lax.fori_loop(0, count, one, (state, zeros))

    return compile(run) if looped else one_by_one


def padded(places: np.ndarray) -> np.ndarray:
    """Rows and epochs [K, 2, B] of K steps as [AT_ONCE, 2, B]."""
    return np.pad(places.astype(np.int32), ((0, AT_ONCE - len(places)), (0, 0), (0, 0)))
