"""Where a run begins: at its newest sound checkpoint, or with fresh weights."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import optax

from recog.config import values
from recog.devices.mesh import state_layout
from recog.errors import ConfigError
from recog.train.patience import Patience, restored
from recog.train.run import Run
from recog.train.step import State, make_state, parts
from recog.workdir.checkpoints import Checkpoints
from recog.workdir.opened import restore_variables

OTHER_BATCHES = ('this run was begun by an earlier version, which put other images into batches of several '
                 'canvases or lengths; from here on its batches and epochs are those of this one')


class Beginning(NamedTuple):
    """The state that a run goes on from, how each tensor of it lies on the mesh, and what was done before."""

    state: State
    layout: Any
    position: int  # steps done
    rows: dict[str, int]  # rows read and rejected so far, by reason
    patience: Patience = Patience()


def begin(run: Run, tx: optax.GradientTransformation, checkpoints: Checkpoints) -> Beginning:
    """The newest checkpoint, laid out on this run's mesh; without one, a fresh state."""
    ema = values.averages(run.config)
    key = jax.random.key(values.seed(run.config, 'init'))
    make = functools.partial(make_state, run.model, tx, ema)
    abstract = jax.eval_shape(make, key)
    layout = state_layout(run.mesh, abstract)
    target = jax.tree.map(lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
                          abstract, layout)

    def read(step: int) -> Beginning:
        trees = parts(target)
        variables, newer = restore_variables(checkpoints, step, trees['variables'])
        rest, record = checkpoints.restore(step, 'optimizer', trees['optimizer']), checkpoints.run(step)
        _check_sets(run, record)
        if newer and jax.process_index() == 0:
            print(f'checkpoint {step} has no averages of batch-norm statistics: they start from its last '
                  'statistics', flush=True)
        if record.get('plan', 1) < run.plan.since and jax.process_index() == 0:
            print(OTHER_BATCHES, flush=True)
        state = State(rest['step'], variables['params'], variables['stats'], rest['opt'],
                      variables['ema'] if ema else {})
        return Beginning(state, layout, record['position'], record['rows'], restored(record))

    found = checkpoints.newest_sound(read, set_aside=True)
    if found:
        return found
    initial = run.initial()
    if jax.process_index() == 0 and initial.lines:
        print('\n'.join(initial.lines), flush=True)
    return Beginning(jax.jit(make, out_shardings=layout)(key, initial.variables, initial.kept),
                     layout, 0, {})


def _check_sets(run: Run, record: Mapping[str, Any]) -> None:
    """Refuse to go on with a set that is not what it was when the checkpoint was written."""
    before = record.get('fingerprints', {})
    changed = [name for name, found in run.fingerprints.items() if before.get(name, found) != found]
    sizes = {source.name: len(source) for source in run.source.sources}
    changed += [name for name, size in sizes.items()
                if name not in before and record.get('sets', {}).get(name, size) != size]
    if changed and not run.change:
        raise ConfigError(f'{", ".join(changed)}: changed since the run was stopped (other examples, labels '
                          'or images); --change goes on with them')
