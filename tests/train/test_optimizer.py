"""Optimizers and schedules against what their names promise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recog import models
from recog.errors import ConfigError
from recog.train import optimizer


def rates(narrow, *overrides, total=100, epoch=10):
    schedule = optimizer.schedule(narrow('optimizer.rate=1.0', *overrides), total, epoch)
    return np.array([float(schedule(step)) for step in range(total + 1)])


def test_a_constant_rate_rises_through_its_warm_up_and_stays(narrow):
    values = rates(narrow, 'schedule.name=constant', 'schedule.warmup=1 epochs')
    np.testing.assert_allclose(values[:11], np.arange(11) / 10, atol=1e-6)
    assert (values[10:] == 1).all()


def test_a_cosine_falls_from_the_end_of_the_warm_up_to_its_final_share(narrow):
    values = rates(narrow, 'schedule.name=cosine', 'schedule.warmup=20 steps', 'schedule.final=0.1')
    assert values[0] == 0 and values[20] == 1 and (np.diff(values[20:]) < 0).all()
    np.testing.assert_allclose(values[60], 0.1 + 0.9 * 0.5, atol=1e-5)
    np.testing.assert_allclose(values[100], 0.1, atol=1e-6)


def test_one_cycle_rises_to_the_peak_and_falls(narrow):
    values = rates(narrow, 'schedule.name=one_cycle', 'schedule.warmup=25 %', 'schedule.final=0.0')
    assert values.argmax() == 25 and values[25] == 1 and values[0] < 0.05 and values[100] < 1e-6


def test_piecewise_boundaries_count_from_the_start_of_the_run(narrow):
    values = rates(narrow, 'schedule.name=piecewise', 'schedule.warmup=10 steps',
                   'schedule.boundaries=4 epochs,6 epochs', 'schedule.factors=0.1,0.5')
    np.testing.assert_allclose(values[[10, 39, 41, 59, 61, 99]], [1, 1, 0.1, 0.1, 0.05, 0.05], atol=1e-6)


def test_a_length_in_images_is_counted_by_the_images_that_batches_hold_in_the_mean(narrow):
    config = narrow('train.batch=64', 'schedule.name=constant', 'schedule.warmup=960 images')
    for average, steps in ((None, 15), (48.0, 20)):
        rate = optimizer.schedule(config, 100, 10, average)
        assert float(rate(steps)) == pytest.approx(config.optimizer.rate)
        assert float(rate(steps - 1)) < 0.99 * config.optimizer.rate


def test_a_warm_up_as_long_as_the_run_is_refused(narrow):
    with pytest.raises(ConfigError, match='must be below the 100'):
        rates(narrow, 'schedule.name=cosine', 'schedule.warmup=10 epochs')


PLAIN = ('optimizer.decay=0.0', 'optimizer.clip_norm=0.0', 'optimizer.decay_vectors=True')


def update(narrow, gradient, value, *overrides):
    tx = optimizer.optimizer(narrow(*PLAIN, *overrides), optax.constant_schedule(1.0))
    params = {name: jnp.asarray(number, jnp.float32) for name, number in value.items()}
    gradient = {name: jnp.asarray(number, jnp.float32) for name, number in gradient.items()}
    updates, _ = tx.update(gradient, tx.init(params), params)
    return {name: np.asarray(number) for name, number in updates.items()}


MOMENTUM = ('optimizer.name=momentum', 'optimizer.momentum=0.0')


def test_coupled_decay_is_added_after_clipping(narrow):
    out = update(narrow, {'a': [3.0, 4.0]}, {'a': [10.0, 0.0]}, *MOMENTUM, 'optimizer.clip_norm=1.0',
                 'optimizer.decay=0.1', 'optimizer.decay_kind=coupled')
    np.testing.assert_allclose(out['a'], [-1.6, -0.8], atol=1e-6)


def test_coupled_decay_goes_through_adam_and_decoupled_decay_does_not(narrow):
    gradient, value = {'a': [[1.0]]}, {'a': [[100.0]]}
    for kind, expected in (('coupled', -1.0), ('decoupled', -11.0)):
        out = update(narrow, gradient, value, 'optimizer.name=adamw', 'optimizer.decay=0.1',
                     f'optimizer.decay_kind={kind}')
        np.testing.assert_allclose(out['a'], [[expected]], rtol=1e-5)


def test_vectors_can_be_left_without_decay(narrow):
    out = update(narrow, {'a': [0.0], 'b': [[0.0]]}, {'a': [1.0], 'b': [[1.0]]}, *MOMENTUM,
                 'optimizer.decay=0.5', 'optimizer.decay_kind=coupled', 'optimizer.decay_vectors=False')
    assert out['a'] == 0 and out['b'] == -0.5


def test_clipping_each_tensor_leaves_small_ones_alone(narrow):
    out = update(narrow, {'a': [30.0, 40.0], 'b': [0.3, 0.4]}, {'a': [0, 0], 'b': [0, 0]}, *MOMENTUM,
                 'optimizer.clip_tensor=10.0')
    np.testing.assert_allclose(out['a'], [-6, -8], rtol=1e-6)
    np.testing.assert_allclose(out['b'], [-0.3, -0.4], rtol=1e-6)


def test_clipping_the_global_norm_keeps_directions(narrow):
    out = update(narrow, {'a': [3.0], 'b': [4.0]}, {'a': [0], 'b': [0]}, *MOMENTUM, 'optimizer.clip_norm=1.0')
    np.testing.assert_allclose([out['a'][0], out['b'][0]], [-0.6, -0.8], rtol=1e-5)


def test_the_norm_and_its_clipping_are_optaxs_for_small_and_large_tensors_together():
    rng = np.random.default_rng(0)
    tree = {'large': rng.normal(size=(256, 80)), 'small': rng.normal(size=(3, 5)), 'one': np.float32(2.5)}
    tree = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)
    assert tree['large'].size >= optimizer.SMALLEST
    np.testing.assert_allclose(optimizer.norm(tree), optax.tree.norm(tree), rtol=1e-6)
    for limit in (10.0, 1e4):
        clips = optimizer.clip_all(limit), optax.clip_by_global_norm(limit)
        ours, theirs = (tx.update(tree, tx.init(tree))[0] for tx in clips)
        jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-6), ours, theirs)


TREE = {'transform': {'conv': {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)}},
        'head': {'kernel': jnp.ones((2, 2))}}


def grouped(narrow, groups, *overrides):
    """The updates of `TREE` for gradients of 1, by path."""
    config = narrow(*PLAIN, f'optimizer.groups={groups}', *overrides)
    tx = optimizer.optimizer(config, optax.constant_schedule(1.0))
    updates = tx.update(TREE, tx.init(TREE), TREE)[0]
    return {path: float(leaf.ravel()[0]) for path, leaf in models.flatten(updates).items()}


def test_a_group_has_its_own_multiple_of_the_rate_and_the_last_that_fits_counts(narrow):
    out = grouped(narrow, 'transform/*=0.1,transform/conv/bias=1', 'optimizer.name=adam')
    assert out == pytest.approx({('transform', 'conv', 'kernel'): -0.1, ('transform', 'conv', 'bias'): -1,
                                 ('head', 'kernel'): -1}, rel=1e-4)


@pytest.mark.parametrize('kind', ['coupled', 'decoupled'])
def test_a_multiplier_of_0_freezes_and_stops_decay_too(narrow, kind):
    out = grouped(narrow, 'head/*=0', 'optimizer.name=adamw', 'optimizer.decay=0.5',
                  f'optimizer.decay_kind={kind}')
    assert out['head', 'kernel'] == 0 and out['transform', 'conv', 'kernel'] < -0.9


def test_groups_multiply_the_rate_of_a_schedule(narrow):
    config = narrow(*PLAIN, *MOMENTUM, 'optimizer.groups=head/*=0.5')
    tx = optimizer.optimizer(config, lambda step: 1.0 + step)
    state = tx.init(TREE)
    for rate in (1, 2, 3):
        updates, state = tx.update(TREE, state, TREE)
        assert updates['head']['kernel'][0, 0] == -0.5 * rate
        assert updates['transform']['conv']['bias'][0] == -rate


def test_a_group_that_fits_no_parameter_is_refused_with_what_there_is(narrow):
    tx = optimizer.optimizer(narrow('optimizer.groups=transfrom/*=0.1'), optax.constant_schedule(1.0))
    with pytest.raises(ConfigError) as error:
        jax.eval_shape(tx.init, TREE)
    assert str(error.value) == ("config.optimizer.groups: 'transfrom/*' fits no parameter "
                                "(did you mean 'transform/*'?); there are: head/*, transform/*")


@pytest.mark.parametrize('group', ['head/*', 'head/*=', '=0.1', 'head/*=-1', 'head/*=x', 'head/*=nan',
                                   'head/*=inf'])
def test_a_group_that_is_no_pattern_and_multiplier_is_refused(narrow, group):
    with pytest.raises(ConfigError, match='config.optimizer.groups'):
        narrow(f'optimizer.groups={group}')


@pytest.mark.parametrize('name', ['adam', 'adamw', 'momentum', 'adadelta'])
def test_every_optimizer_lowers_a_parabola(narrow, name):
    config = narrow(f'optimizer.name={name}', 'optimizer.eps=1e-6')
    tx = optimizer.optimizer(config, optax.constant_schedule(0.05))
    value = jnp.ones(3)
    state = tx.init(value)
    for _ in range(50):
        updates, state = tx.update(2 * value, state, value)
        value = optax.apply_updates(value, updates)
    assert float(jnp.abs(value).max()) < 0.99
