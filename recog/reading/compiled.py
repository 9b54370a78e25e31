"""The engine of workdirs: a decoder compiled by JAX, with its variables on the devices."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from recog import models
from recog.data.pipeline import to_devices
from recog.devices import processes
from recog.devices.mesh import batch_sharding, compiler_options, local_rows, replicated
from recog.errors import ConfigError
from recog.reading.read import FED, HostBatch, chosen


def decoder(model: models.Model, mesh: Mesh, beam: int = 1, details: bool = False, best: int = 1) -> Callable:
    """The compiled function (variables, batch, max_length) -> each row's best texts, on every process."""
    if beam > 1 and not model.about.beam:
        raise ConfigError(f'--beam {beam}: this model has no beam search')

    def decode(variables, batch, max_length):
        out = model.decode(variables, batch['image'], batch['size'], max_length, beam=beam, details=details)
        return chosen(out, batch, best, details)
    return jax.jit(decode, out_shardings=replicated(mesh), compiler_options=compiler_options(mesh))


class Compiled:
    """The engine of workdirs: a `decoder` with its variables on the devices of a mesh."""

    def __init__(self, decode: Callable, variables: models.Variables, mesh: Mesh):
        self.decode, self.variables, self.mesh = decode, variables, mesh
        self.multiple, self.processes = mesh.size, jax.process_count()

    def places(self, rows: int) -> np.ndarray:
        """The rows of a batch that this process reads."""
        return local_rows(self.mesh, rows)

    def answers(self, batches: Iterable[HostBatch],
                longest: int) -> Iterator[tuple[dict[str, Any], list[tuple]]]:
        """What stands in each batch, and the notes of all processes on it."""
        for arrays, notes in to_devices(batches, batch_sharding(self.mesh)):
            every = [note for part in processes.gather(notes) for note in part]
            wanted = {key: arrays[key] for key in FED}
            yield jax.device_get(self.decode(self.variables, wanted, np.int32(longest))), every
