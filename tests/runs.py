"""Runs made without the command, and what they left in their workdirs, for comparisons."""

import json

import jax
import numpy as np

from recog import models
from recog.devices.mesh import one_device, replicated
from recog.text import vocabulary
from recog.train import optimizer
from recog.train.loop import train_to_end
from recog.train.run import make_run
from recog.train.step import make_state, parts
from recog.workdir import description
from recog.workdir.checkpoints import Checkpoints
from recog.workdir.description import is_workdir, read_config


def prepared(config, devices=1, root='.'):
    return make_run(config, vocabulary.from_config(config.text), root, jax.devices()[:devices])


def trained(config, workdir, *, devices=1, stop=0, root='.'):
    """Train on a workdir, or go on where it stands, stopping after `stop` steps where given."""
    run = prepared(config, devices, root)
    if not is_workdir(workdir):
        description.write(workdir, config, run.vocab)
    train_to_end(run._replace(total=stop) if stop else run, workdir)
    return workdir


def restored(workdir, step, part):
    """Part of a checkpoint on one device."""
    config = read_config(workdir)
    model = models.build(config, vocabulary.from_config(config.text))
    tx = optimizer.optimizer(config, lambda step: 1.0)
    state = jax.eval_shape(lambda key: make_state(model, tx, config.train.ema, key), jax.random.key(0))
    here = replicated(one_device())
    target = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
                          parts(state)[part])
    saved = Checkpoints(workdir, writing=False)
    try:
        return saved.restore(step, part, target)
    finally:
        saved.close()


def leaves(workdir, step):
    """Every number of a checkpoint: variables and optimizer."""
    return [np.asarray(leaf) for part in ('variables', 'optimizer')
            for leaf in jax.tree.leaves(restored(workdir, step, part))]


def lines(workdir):
    timing = ('images_per_second', 'data_wait', 'flops_per_second', 'seconds')
    return [{name: value for name, value in json.loads(line).items() if name not in timing}
            for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def differences(one, other, step):
    """The differences of two workdirs, bit for bit: checkpoint, record of the run, metrics."""
    pairs = zip(leaves(one, step), leaves(other, step), strict=True)
    found = ['checkpoint'] if any(not np.array_equal(a, b) for a, b in pairs) else []
    found += ['metrics'] if lines(one) != lines(other) else []
    return found + (['rows'] if record(one, step) != record(other, step) else [])


def record(workdir, step):
    """What a checkpoint records about the run, besides digests and times."""
    saved = Checkpoints(workdir, writing=False)
    found = saved.run(step)
    saved.close()
    return {name: found[name] for name in ('position', 'rows', 'metrics', 'vocab_hash', 'digests')}
