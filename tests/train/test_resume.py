"""Where a run begins: what is said of a checkpoint that an earlier version wrote."""

import jax
import pytest
from runs import prepared

from recog.data import plan
from recog.errors import ConfigError
from recog.train import optimizer, resume
from recog.train.step import make_state, parts


class Saved:
    """One checkpoint, in memory."""

    def __init__(self, state, record):
        self.state, self.record = state, record

    def newest_sound(self, read, set_aside):
        return read(3)

    def restore(self, step, part, tree):
        return parts(self.state)[part]

    def run(self, step):
        return self.record


@pytest.mark.parametrize(('buckets', 'record', 'said'), [
    ((), {}, False), (('32x48x4',), {}, False), (('32x48x4', '32x48x9'), {}, True),
    (('32x48x4', '32x48x9'), {'plan': plan.RULE}, False)])
def test_a_run_says_once_that_an_earlier_version_made_other_batches(narrow, capsys, buckets, record, said):
    run = prepared(narrow(f'data.buckets={buckets}', 'render.count=64'))
    tx = optimizer.optimizer(run.config, lambda step: 1.0)
    state = jax.eval_shape(lambda: make_state(run.model, tx, 0.0, jax.random.key(0)))
    begun = resume.begin(run, tx, Saved(state, {'position': 3, 'rows': {}, 'digests': {}, **record}))
    assert begun.position == 3 and (resume.OTHER_BATCHES in capsys.readouterr().out) == said


@pytest.mark.parametrize('record', [{'fingerprints': {'rendered:train': 'another'}},
                                    {'sets': {'rendered:train': 99}}])
def test_a_set_that_changed_since_the_checkpoint_is_refused_unless_it_is_asked_for(narrow, record):
    run = prepared(narrow('render.count=64'))
    tx = optimizer.optimizer(run.config, lambda step: 1.0)
    state = jax.eval_shape(lambda: make_state(run.model, tx, 0.0, jax.random.key(0)))
    saved = Saved(state, {'position': 3, 'rows': {}, 'digests': {}, **record})
    with pytest.raises(ConfigError, match='rendered:train: changed since the run was stopped .*--change'):
        resume.begin(run, tx, saved)
    assert resume.begin(run._replace(change=True), tx, saved).position == 3
