"""Packed sets that the devices hold: batches are gathered there by rows, and one call runs several steps."""

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

AT_ONCE = 16  # steps that one call runs at most
ROOM = 0.6  # share of a device's memory that the data may take
PARTS = ('image', 'size', 'tokens', 'length', 'weight')
Arrays = dict[str, jax.Array]


def check(config: ConfigDict, source: Joined, mesh: Mesh) -> None:
    """Refuse sets that are not packed or too large, and augmentations that only the host can do."""
    if not isinstance(source, JoinedPacked):
        raise ConfigError(f'config.data.resident: {source.name} is not packed; '
                          'pack it first: recog pack SET --config FILE:VARIANT')
    unknown = augment_on_devices.unknown(config.image.augment)
    if unknown:
        raise ConfigError(f'config.data.resident: devices cannot augment by {", ".join(unknown)}; set '
                          + ' '.join(f'--config.image.augment.{name}=0' for name in unknown))
    needed, there = size(source, mesh), memory(mesh)
    if there is not None and needed > ROOM * there:
        raise ConfigError(f'config.data.resident: {source.name} takes {needed / 1e9:,.1f} GB on each of '
                          f'{mesh.size} devices; {ROOM:.0%} of the {there / 1e9:,.1f} GB of one are for data')


def size(source: JoinedPacked, mesh: Mesh) -> int:
    """The bytes that each device of the mesh holds."""
    row = sum(values.nbytes for name, values in source.arrays(np.zeros(1, np.int64)).items() if name in PARTS)
    return row * (rounded(mesh, len(source)) // mesh.size)


def expected(config: ConfigDict, rows: int, mesh: Mesh) -> int:
    """The bytes that each device of the mesh would hold of so many rows of a recipe, once they are packed."""
    pixels = config.image.height * config.image.width * channels(config.image)
    row = pixels + 4 * (2 + config.text.max_length + 2)  # size, tokens, length and weight
    return row * (rounded(mesh, rows) // mesh.size)


def memory(mesh: Mesh) -> int | None:
    """The bytes of a device, or of the machine's share if it is a CPU; None if it is not known."""
    device = mesh.local_devices[0]
    if device.platform == 'cpu':
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // len(mesh.local_devices)
    stats = device.memory_stats()
    return int(stats['bytes_limit']) if stats and 'bytes_limit' in stats else None


class Store:
    """All rows of packed sets, an equal share on each device."""

    def __init__(self, source: Joined, mesh: Mesh):
        assert isinstance(source, JoinedPacked)  # `check` refuses any other
        self._source = source
        self._here = local_rows(mesh, mesh.size)
        rows, layout = rounded(mesh, len(source)), batch_sharding(mesh)
        placed: dict[str, list[jax.Array]] = {name: [] for name in PARTS}
        for device, cuts in layout.addressable_devices_indices_map((rows,)).items():
            start, stop, _ = (cuts or (slice(None),))[0].indices(rows)
            # The rows that fill up the last share are never used.
            values = source.arrays(np.minimum(np.arange(start, stop), len(source) - 1))
            for name in PARTS:
                placed[name].append(jax.device_put(values[name], device))
        self.arrays = {
            name: jax.make_array_from_single_device_arrays((rows, *shares[0].shape[1:]), layout, shares)
            for name, shares in placed.items()}

    def batch(self, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
        """The shapes of a batch."""
        shapes = {name: jax.ShapeDtypeStruct((rows, *array.shape[1:]), array.dtype)
                  for name, array in self.arrays.items()}
        number = jax.ShapeDtypeStruct((rows,), jnp.int32)
        return {**shapes, 'index': number, 'epoch': number}

    def notes(self, rows: np.ndarray) -> tuple[int, list[tuple]]:
        """How many of a batch's rows are this process's, and the notes that packing left on them."""
        devices = self.arrays['length'].sharding.num_devices
        mine = rows.reshape(-1, len(rows) // devices)[self._here].ravel()
        code = self._source.codes(mine)
        return len(mine), self._source.notes(mine, code) if code.any() else []


def gather_batch(arrays: dict[str, jax.Array], places: jax.Array, mesh: Mesh) -> dict[str, jax.Array]:
    """The batch of these rows and epochs [2, B], over all devices; inside of jit."""
    rows, epochs = places
    batch = {name: array.at[rows].get(mode='clip') for name, array in arrays.items()}
    return jax.lax.with_sharding_constraint({**batch, 'index': rows, 'epoch': epochs}, batch_sharding(mesh))


def several(step: Callable, mesh: Mesh, layout: Any, looped: bool) -> Callable:
    """The compiled function (state, arrays, places [AT_ONCE, 2, B], count) -> state, metrics [AT_ONCE].

    The state is that after `count` steps. If `looped`, one program runs them all, else it runs one at a time:
    on a CPU, XLA makes convolutions in a loop forty times slower.
    """
    compiled = partial(jax.jit, donate_argnums=0, out_shardings=(layout, replicated(mesh)),
                       compiler_options=compiler_options(mesh))
    one_step = compiled(lambda state, arrays, places: step(state, gather_batch(arrays, places, mesh)))

    def one_by_one(state: Any, arrays: Arrays, places: np.ndarray, count: int) -> tuple[Any, Arrays]:
        found = []
        for number in range(count):
            state, metrics = one_step(state, arrays, places[number])
            found.append(metrics)
        return state, jax.tree.map(lambda *values: jnp.stack(values), *found)

    def loop(state: Any, arrays: Arrays, places: jax.Array, count: jax.Array) -> tuple[Any, Arrays]:
        def body(number: jax.Array, carry: tuple[Any, Arrays]) -> tuple[Any, Arrays]:
            state, metrics = carry
            state, new = step(state, gather_batch(arrays, places[number], mesh))
            return state, jax.tree.map(lambda every, value: every.at[number].set(value), metrics, new)

        shapes = jax.eval_shape(lambda: step(state, gather_batch(arrays, places[0], mesh))[1])
        zeros = jax.tree.map(lambda leaf: jnp.zeros((AT_ONCE, *leaf.shape), leaf.dtype), shapes)
        return jax.lax.fori_loop(0, count, body, (state, zeros))

    return compiled(loop) if looped else one_by_one


def padded(places: np.ndarray) -> np.ndarray:
    """Rows and epochs [K, 2, B] of K steps as [AT_ONCE, 2, B]."""
    return np.pad(places.astype(np.int32), ((0, AT_ONCE - len(places)), (0, 0), (0, 0)))
