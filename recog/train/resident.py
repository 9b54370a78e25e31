"""Packed sets that the devices hold: batches are gathered there by rows, and one call runs several steps."""

import functools
import os

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog.config import values
from recog.data.joined import Joined, JoinedPacked, JoinedRagged
from recog.data.plan import Plan, Shape
from recog.devices.mesh import batch_sharding, local_rows, rounded
from recog.errors import ConfigError
from recog.images import augment_on_devices
from recog.images.fit import channels
from recog.train.resident_ragged import RaggedStore, ragged_size

ROOM = 0.6  # share of a device's memory that the data may take
PARTS = ('image', 'size', 'tokens', 'length', 'weight')
Arrays = dict[str, jax.Array]


def check(config: ConfigDict, source: Joined, mesh: Mesh) -> None:
    """Refuse sets that are not packed or too large, and augmentations that only the host can do."""
    if not isinstance(source, (JoinedPacked, JoinedRagged)):
        raise ConfigError(f'config.data.resident: {source.name} is not packed; '
                          'pack it first: recog pack SET --config FILE:VARIANT')
    unknown = augment_on_devices.unknown(config.image)
    if unknown:
        raise ConfigError(f'config.data.resident: devices cannot augment by {", ".join(unknown)}; set '
                          + ' '.join(f'--config.image.augment.{name}=0' for name in unknown))
    needed, there = size(source, mesh, config), memory(mesh)
    if there is not None and needed > ROOM * there:
        raise ConfigError(f'config.data.resident: {source.name} takes {needed / 1e9:,.1f} GB on each of '
                          f'{mesh.size} devices; {ROOM:.0%} of the {there / 1e9:,.1f} GB of one are for data')


def size(source: JoinedPacked | JoinedRagged, mesh: Mesh, config: ConfigDict) -> int:
    """The bytes that each device of the mesh holds."""
    if isinstance(source, JoinedRagged):
        return ragged_size(source, config)
    row = sum(array.nbytes for name, array in source.arrays(np.zeros(1, np.int64)).items() if name in PARTS)
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


def make_store(source: Joined, mesh: Mesh, config: ConfigDict) -> 'Store | RaggedStore':
    """The sets on the devices; `check` refuses any that cannot be there."""
    return (RaggedStore if isinstance(source, JoinedRagged) else Store)(source, mesh, config)


class Store:
    """All rows of packed sets of one canvas, an equal share on each device."""

    def __init__(self, source: Joined, mesh: Mesh, config: ConfigDict):
        assert isinstance(source, JoinedPacked)
        self._mesh, self._config = mesh, config
        rows, layout = rounded(mesh, len(source)), batch_sharding(mesh)
        placed: dict[str, list[jax.Array]] = {name: [] for name in PARTS}
        for device, cuts in layout.addressable_devices_indices_map((rows,)).items():
            start, stop, _ = (cuts or (slice(None),))[0].indices(rows)
            # The rows that fill up the last share are never used.
            share = source.arrays(np.minimum(np.arange(start, stop), len(source) - 1))
            for name in PARTS:
                placed[name].append(jax.device_put(share[name], device))
        self.arrays: Arrays = {
            name: jax.make_array_from_single_device_arrays((rows, *shares[0].shape[1:]), layout, shares)
            for name, shares in placed.items()}

    def places(self, plan: Plan, step: int) -> dict[str, np.ndarray]:
        """What a step needs to gather its batch."""
        rows, epochs = plan.rows(step)
        return {'index': rows.astype(np.int32), 'epoch': epochs.astype(np.int32)}

    def gather(self, arrays: Arrays, places: Arrays, shape: Shape | None) -> Arrays:
        """The batch of these places over all devices, augmented; inside of jit."""
        batch = {name: array.at[places['index']].get(mode='clip') for name, array in arrays.items()}
        if shape is not None:
            batch['tokens'] = batch['tokens'][:, :shape.length]
        batch = jax.lax.with_sharding_constraint({**batch, **places}, batch_sharding(self._mesh))
        return augment_on_devices.change(batch, values.seed(self._config, 'augment'), self._config.image)


class Notes:
    """What packing left on the rows that are this process's."""

    def __init__(self, source: Joined, mesh: Mesh):
        assert isinstance(source, (JoinedPacked, JoinedRagged))
        self._source, self._places = source, functools.partial(local_rows, mesh)

    def of(self, rows: np.ndarray) -> tuple[int, list[tuple]]:
        """How many of a batch's rows are this process's, and the notes on them."""
        mine = rows[self._places(len(rows))]
        code = self._source.codes(mine)
        return len(mine), self._source.notes(mine, code) if code.any() else []
