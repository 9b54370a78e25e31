"""Packed sets of images of any size on the devices: all pixels in one array, whole on each of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog.config import values
from recog.data.joined import Joined, JoinedRagged
from recog.data.plan import Plan, Shape
from recog.devices.mesh import batch_sharding, replicated
from recog.images import augment_many, moved_on_devices
from recog.images.fit import channels, fit_batch
from recog.images.moved_on_devices import LANE

Arrays = dict[str, jax.Array]


def _lines(source: JoinedRagged, config: ConfigDict) -> np.ndarray:
    """How many lines of the array of all pixels each image takes.  -> [N]"""
    return -(-source.measured().sizes.prod(1) * channels(config.image) // LANE)


def ragged_size(source: JoinedRagged, config: ConfigDict) -> int:
    """The bytes that each device holds of it."""
    return int(_lines(source, config).sum()) * LANE + len(source) * 4 * (config.text.max_length + 5)


class RaggedStore:
    """All rows of packed sets of images of any size; images are augmented as the host draws it.

    The devices move pixels; ink that was packed with them is not drawn anew.
    """

    def __init__(self, source: Joined, mesh: Mesh, config: ConfigDict):
        assert isinstance(source, JoinedRagged)
        self._mesh, self._config = mesh, config
        self._sizes, self._seed = source.measured().sizes, values.seed(config, 'augment')
        ends = np.cumsum(_lines(source, config))
        starts = np.concatenate([[0], ends[:-1]])
        pixels = np.zeros((ends[-1], LANE), np.uint8)
        for row, start in enumerate(starts):
            image = source.image(row)
            if image.size:
                fitted, _ = fit_batch([image], config.image, *image.shape[:2])
                pixels[start:].reshape(-1)[:fitted.size] = fitted.ravel()
        rows = source.labelled(np.arange(len(source)))
        given = rows.pop('size') * (rows['weight'] > 0)[:, None].astype(np.int32)  # others have no pixels
        arrays = {'pixels': pixels, 'start': starts.astype(np.int32), 'given': given, **rows}
        self.arrays: Arrays = {
            name: jax.make_array_from_callback(array.shape, replicated(mesh), array.__getitem__)
            for name, array in arrays.items()}

    def places(self, plan: Plan, step: int) -> dict[str, np.ndarray]:
        """What a step needs to gather its batch: rows, and how their images are changed."""
        (rows, epochs), shape = plan.rows(step), plan.shape(step)
        assert shape is not None  # images of any size have several
        drawn = augment_many.draw(self._sizes[rows], self._seed, int(epochs[0]), rows,
                                  self._config.image.augment, (shape.height, shape.width))
        strengths = np.zeros((len(rows), len(drawn.strengths)))
        for place, amounts in enumerate(drawn.strengths.values()):
            strengths[:, place] = amounts
        fields = {'size': drawn.sizes, 'back': drawn.back, 'bend': drawn.bend, 'ripple': drawn.ripple,
                  'waves': drawn.waves, 'strengths': strengths}
        return {'index': rows.astype(np.int32), 'epoch': epochs.astype(np.int32), **{
            name: array.astype(np.int32 if name == 'size' else np.float32) for name, array in fields.items()}}

    def gather(self, arrays: Arrays, places: Arrays, shape: Shape | None) -> Arrays:
        """The batch of these places over all devices, augmented; inside of jit."""
        assert shape is not None
        rows = {name: array.at[places['index']].get(mode='clip')
                for name, array in arrays.items() if name != 'pixels'}
        rows = jax.lax.with_sharding_constraint({**places, **rows}, batch_sharding(self._mesh))
        rows['size'] = jnp.where((rows['given'] > 0).all(1, keepdims=True), rows['size'], 0)
        rule = self._config.image
        image = moved_on_devices.change(arrays['pixels'], rows, (shape.height, shape.width), channels(rule),
                                        self._seed, rule)
        kept: dict[str, Any] = {name: rows[name] for name in ('size', 'length', 'weight', 'index')}
        return {**kept, 'image': image, 'tokens': rows['tokens'][:, :shape.length]}
