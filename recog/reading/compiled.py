"""The engine of workdirs: a decoder compiled by JAX, with its variables on the devices."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog import models, onednn
from recog.data.pipeline import to_devices
from recog.data.rows import Source
from recog.devices import processes
from recog.devices.kept import Parted, parted
from recog.devices.mesh import batch_sharding, compiler_options, local_rows, replicated
from recog.errors import ConfigError
from recog.images.fit import channels
from recog.reading.read import FED, HostBatch, chosen, planned
from recog.text.lexicon import Lexicon

if TYPE_CHECKING:
    from recog.workdir.opened import Opened


def decoder(model: models.Model, mesh: Mesh, beam: int = 1, details: bool = False, best: int = 1) -> Any:
    """The compiled function (variables, batch, max_length) -> each row's best texts, on every process."""
    if beam > 1 and not model.about.beam:
        raise ConfigError(f'--beam {beam}: this model has no beam search')

    def decode(variables, batch, max_length):
        # What is no image has no text: decoding would go on until that of a blank image has ended.
        longest = jnp.where(batch['weight'] > 0, max_length, 0)
        out = model.decode(variables, batch['image'], batch['size'], longest, beam=beam, details=details)
        return chosen(out, batch, best, details)
    return jax.jit(decode, out_shardings=replicated(mesh), compiler_options=compiler_options(mesh))


def packs(rows: int) -> bool:
    """Whether batches of so many images, where they come again, are read with packed weights."""
    return rows == 1 and onednn.packs()


def packed(decode: Callable, variables: Any, *given: Any) -> Parted:
    """A function of variables and what is given, in parts of which the first packs the weights for oneDNN."""
    with onednn.PACKED(True):
        return parted(decode, variables, *given)


def with_packed(decode: Callable, variables: Any, mesh: Mesh, *given: Any) -> Callable:
    """A function of what is given, for these shapes, compiled, with the weights of these variables packed."""
    parts = packed(decode, variables, *given)
    rest = jax.jit(parts.rest, compiler_options=compiler_options(mesh))
    return partial(rest, jax.jit(parts.first)(variables))


def searching(opened: 'Opened', mesh: Mesh, beam: int) -> tuple[Any, Lexicon | None]:
    """The decoder of a trained model with this beam, and the lexicon that chooses among its texts, if the
    model has one and the beam is above 1."""
    lexicon = opened.lexicon if beam > 1 else None
    return decoder(opened.model, mesh, beam, best=beam if lexicon else 1), lexicon


class Compiled:
    """The engine of workdirs: a `decoder` with its variables on the devices of a mesh.

    On a CPU, when single images of one size come again, weights are packed for them, once; one image alone is
    read sooner without. `lasting` are engines that will read many: they pack for the first.
    """

    def __init__(self, decode: Any, variables: models.Variables, mesh: Mesh, lasting: bool = False):
        self.decode, self.variables, self.mesh, self.lasting = decode, variables, mesh, lasting
        self.multiple, self.processes = mesh.size, jax.process_count()
        self._seen: set[tuple[int, ...]] = set()  # shapes of batches that were read
        self._packed: dict[tuple[int, ...], Callable] = {}  # what reads those that came again

    def places(self, rows: int) -> np.ndarray:
        """The rows of a batch that this process reads."""
        return local_rows(self.mesh, rows)

    def answers(self, batches: Iterable[HostBatch],
                longest: int) -> Iterator[tuple[dict[str, Any], list[tuple]]]:
        """What stands in each batch, and the notes of all processes on it."""
        for arrays, notes in to_devices(batches, batch_sharding(self.mesh)):
            every = [note for part in processes.gather(notes) for note in part]
            wanted = {key: arrays[key] for key in FED}
            yield jax.device_get(self._decoded(wanted, np.int32(longest))), every

    def _decoded(self, batch: dict[str, Any], longest: np.int32) -> Any:
        shape = batch['image'].shape
        if shape in self._packed:
            return self._packed[shape](batch, longest)
        first = shape not in self._seen and not self.lasting
        if first or not packs(shape[0]):
            self._seen.add(shape)
            return self.decode(self.variables, batch, longest)
        self._packed[shape] = with_packed(self.decode.__wrapped__, self.variables, self.mesh, batch, longest)
        return self._packed[shape](batch, longest)

    def drafts(self, source: Source, config: ConfigDict, limit: int = 0) -> dict[tuple, Callable]:
        """For each shape of the batches in which a set is evaluated, what lowers the decoder for it.

        Once that is compiled, `answers` uses it. Batches as wide as their widest image have no known shape.
        """
        if config.image.width_rule == 'widest':
            return {}
        shapes = planned(self, source, config, batch=config.eval.batch, limit=limit).shapes()
        sizes = [(shape.rows, shape.height, shape.width, channels(config.image)) for shape in shapes]
        return {size: partial(self._lower, size, config.text.max_length) for size in sizes}

    def _lower(self, size: tuple[int, int, int, int], longest: int) -> Any:
        kinds = {'image': (np.uint8, size), 'size': (np.int32, (size[0], 2)), 'index': (np.int32, size[:1]),
                 'weight': (np.float32, size[:1])}
        batch = {name: jax.ShapeDtypeStruct(shape, kind, sharding=batch_sharding(self.mesh))
                 for name, (kind, shape) in kinds.items()}
        return self.decode.lower(self.variables, batch, np.int32(longest))
