"""Checkpoints with a changed, cut, missing or unreadable file, opened as a reader and as training opens them.

What is opened must be what was saved, and training may move a step to `damaged` only if its bytes changed.
"""

import contextlib
import errno
import os
import shutil
from pathlib import Path
from unittest import mock

import small
from mutations import mutated
from victim import TRACEBACK, Victim

TRIES = 250
STEPS = 1, 2, 3
PASSING = errno.EMFILE, errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOMEM


def make(folder):
    """A run with three checkpoints; all numbers of each are the number of its step."""
    import jax
    import numpy as np

    from recog import models
    from recog.config import experiments
    from recog.text import vocabulary
    from recog.workdir import description
    from recog.workdir.checkpoints import Checkpoints

    config = experiments.load(small.DEMO, small.NARROW)
    vocab = vocabulary.from_config(config.text)
    description.write(Path(folder), config, vocab)
    shapes = jax.eval_shape(models.build(config, vocab).init, jax.random.key(0))
    saved = Checkpoints(Path(folder), 1)
    for step in STEPS:
        variables = jax.tree.map(lambda leaf, step=step: np.full(leaf.shape, step, leaf.dtype), shapes)
        saved.save(step, {'variables': variables, 'optimizer': {'step': np.int32(step)}},
                   description.record(config, vocab, step, {}, {}), {'accuracy': 1 / step})
    saved.close()
    return 'made'


def opened(folder):
    """The step that a reader opens, whose numbers must all be its own."""
    import jax
    import numpy as np

    from recog.workdir.opened import open_workdir

    found = open_workdir(Path(folder))
    for leaf in jax.tree.leaves(found.variables):
        assert (np.asarray(leaf) == found.step).all(), found.step
    return found.step


def gone_on(folder):
    """The step that training goes on from."""
    import jax
    import numpy as np

    from recog.workdir.checkpoints import Checkpoints

    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    layout = {'step': jax.ShapeDtypeStruct((), np.int32, sharding=here)}

    def read(step):
        assert int(saved.restore(step, 'optimizer', layout)['step']) == saved.run(step)['position'] == step
        return step

    saved = Checkpoints(Path(folder))
    try:
        return saved.newest_sound(read, set_aside=True)
    finally:
        saved.close()


def faulty(folder, fault, part):
    """`gone_on` while the system answers so for the files of a part of the newest step."""
    import orbax.checkpoint as ocp

    from recog.errors import ConfigError
    from recog.workdir.faults import Unreadable

    open_file, restore = Path.open, ocp.CheckpointManager.restore
    place = Path(folder).resolve() / 'checkpoints' / str(STEPS[-1]) / part

    def fails(file, *given, **named):
        if place in file.parents:
            raise OSError(fault, os.strerror(fault), str(file))
        return open_file(file, *given, **named)

    def hides(manager, step, args):
        if step == STEPS[-1] and part in args.keys():
            raise ValueError('Individual parameter subdirectory not found')  # as Orbax does
        return restore(manager, step, args=args)

    with mock.patch.object(Path, 'open', fails), mock.patch.object(ocp.CheckpointManager, 'restore', hides):
        try:
            return gone_on(folder)
        except Unreadable as error:
            raise ConfigError(str(error)) from None


def moved(place):
    """The steps that were moved out of the way."""
    folder = place / 'damaged'
    return {int(step.name.partition('-')[0]) for step in folder.iterdir()} if folder.is_dir() else set()


def damage(place, step, dice):
    """Change or remove a file of a step; returns which."""
    inside = place / 'checkpoints' / str(step)
    file = dice.choice(sorted(each for each in inside.rglob('*') if each.is_file()))
    if dice.random() < 0.1:
        file.unlink()
    else:
        file.write_bytes(mutated(file.read_bytes(), dice))
    return file.relative_to(place)


def run(folder, dice, tries):
    """A damaged file or a fault for each try."""
    whole = folder / 'whole'
    with Victim('campaigns.checkpoints:make', space=1 << 36, patience=120) as maker:
        made = maker.attempt('make', str(whole))
        assert made.good, made
    with contextlib.ExitStack() as closing:
        victims = {name: closing.enter_context(
            Victim(f'campaigns.checkpoints:{name}', space=1 << 36, patience=60))
            for name in ('opened', 'gone_on', 'faulty')}
        for number in range(tries):
            place, name, changed = shutil.copytree(whole, folder / 'run'), dice.choice([*victims]), set()
            if name == 'faulty':
                more = fault, _ = dice.choice(PASSING), dice.choice(('run', 'optimizer'))
                what = errno.errorcode[fault]
            else:
                changed, more = {dice.choice(STEPS)}, ()
                what = damage(place, *changed, dice)
            outcome = victims[name].attempt(f'{number}: {name} {what}', str(place), *more)
            if wrong := moved(place) - changed:
                outcome = outcome._replace(kind=TRACEBACK, said=f'sound steps were moved: {wrong}')
            yield outcome
            shutil.rmtree(place)
