"""A recipe made ready to train: data opened, batches planned, the model built, devices laid out as a mesh."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from recog import models, onednn
from recog.config import values
from recog.data.fingerprint import fingerprint
from recog.data.joined import Joined, joined
from recog.data.judged import check_usable
from recog.data.plan import Plan
from recog.data.planning import make_plan
from recog.data.rows import Source
from recog.data.sets import open_set
from recog.devices.mesh import check_batch, make_mesh, row_multiple
from recog.errors import ConfigError
from recog.text.vocabulary import Vocab
from recog.train import initial, origin, resident


class Run(NamedTuple):
    """A recipe with all that its training needs."""

    config: ConfigDict
    vocab: Vocab
    model: models.Model
    mesh: Mesh
    source: Joined
    validation: list[Source]
    plan: Plan
    total: int  # steps
    initial: Callable[[], initial.Initial]  # the weights that a fresh start takes from elsewhere
    fingerprints: Mapping[str, str]  # of its sets, by their names
    change: bool = False  # whether it may go on with other data

    def steps(self, length: str) -> int:
        """A length of the recipe in steps."""
        return values.steps(length, batch=self.plan.average, epoch=self.plan.epoch, total=self.total)

    def describe(self) -> str:
        """What will be done, in steps and in epochs."""
        config, epoch = self.config, self.plan.epoch

        def both(steps: int) -> str:
            return f'{steps:,} steps ({steps / epoch:.4g} epochs)'

        device = self.mesh.devices.flat[0]
        by = onednn.products(device, config.train.precision)
        return (f'{both(self.total)} of {self.plan.average:.4g} images, '
                f'on {self.mesh.size} x {device.device_kind}{by and f", {by}"}\n'
                f'{len(self.source):,} images in {self.source.name}\n'
                f'warm-up {both(self.steps(config.schedule.warmup))}, '
                f'evaluation every {both(self.steps(config.eval.every))}, '
                f'checkpoint every {both(self.steps(config.checkpoint.every))}')


def make_run(config: ConfigDict, vocab: Vocab, root: str | Path, devices: list[jax.Device]) -> Run:
    """Open the data and build the model; what does not fit is refused here, before anything is compiled."""
    origin.check(config)
    mesh = make_mesh(config.mesh, devices)
    check_batch(mesh, config)
    opened = [open_set(name, config, root) for name in config.data.train]
    source, plan = joined(opened), make_plan(config, vocab, opened, row_multiple(mesh, config))
    if config.data.resident:
        resident.check(config, source, mesh)
    for each in opened:
        check_usable(each, vocab, config)
    total = values.steps(config.train.length, batch=plan.average, epoch=plan.epoch)
    if total < 1:
        raise ConfigError(f'config.train.length={config.train.length!r} is less than one step')
    validation = [open_set(name, config, root) for name in config.eval.sets]
    model = models.build(config, vocab)
    fingerprints = {each.name: fingerprint(each, config, root) for each in (*opened, *validation)}
    return Run(config, vocab, model, mesh, source, validation, plan, total,
               functools.cache(functools.partial(initial.load, config, vocab, model)), fingerprints)
