"""The scan with one product for the gradient of its weights, compared with JAX's own scan; the LSTM and the
GRU, compared with their steps written one by one."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from recog.devices import cost
from recog.models.parts import recurrence

STEPS, ROWS, WIDTH = 7, 4, 5


def step(weights, given, carry, now):
    """Carries a state and a class chosen from it, which has no gradient."""
    hidden, choice = carry
    hidden = jnp.tanh(hidden @ weights['own'] + now + weights['bias'] + given * (choice == 0)[:, None])
    choice = jnp.argmax(hidden, -1)
    return (hidden, choice), (hidden @ weights['seen'], choice)


def plain(step, weights, given, start, inputs):
    return lax.scan(lambda carry, now: step(weights, given, carry, now), start, inputs)


@pytest.fixture(scope='module')
def arguments():
    keys = iter(jax.random.split(jax.random.key(0), 6))
    weights = {name: jax.random.normal(next(keys), shape)
               for name, shape in {'own': (WIDTH, WIDTH), 'bias': (WIDTH,), 'seen': (WIDTH, 3)}.items()}
    given, hidden = (jax.random.normal(next(keys), (ROWS, WIDTH)) for _ in range(2))
    return weights, given, hidden, jax.random.normal(next(keys), (STEPS, ROWS, WIDTH))


def results(scan, arguments):
    """Value and every gradient of a loss that reads the last state and all outputs."""
    def loss(weights, given, hidden, inputs):
        (last, _), (seen, choices) = scan(step, weights, given, (hidden, jnp.zeros(ROWS, jnp.int32)), inputs)
        return (last**2).sum() + (jnp.sin(seen) * (1 + choices[..., None])).sum()

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3)))(*arguments)


def test_the_scan_is_jaxs_and_so_are_its_gradients(arguments):
    ours, theirs = (jax.tree.leaves(results(scan, arguments)) for scan in (recurrence.scan, plain))
    for value, expected in zip(ours, theirs, strict=True):
        assert jnp.allclose(value, expected, rtol=1e-5, atol=1e-5)


def test_no_gradient_of_a_weight_is_carried_through_the_loop(arguments):
    def widest_carry(scan):
        def largest(jaxpr):
            scans = [equation for equation in jaxpr.eqns if equation.primitive.name == 'scan']
            carried = [value.aval.size for equation in scans
                       for value in equation.outvars[:equation.params['num_carry']]]
            inner = [largest(each) for equation in jaxpr.eqns for each in cost.inside(equation.params)]
            return max(carried + inner, default=0)

        return largest(jax.make_jaxpr(lambda *given: results(scan, given))(*arguments).jaxpr)

    assert widest_carry(recurrence.scan) == ROWS * WIDTH < widest_carry(plain) == WIDTH * WIDTH


@pytest.mark.parametrize(('dtype', 'error'), [(jnp.float32, 1e-6), (jnp.bfloat16, 0.02)])
def test_a_gru_over_known_inputs_and_its_gradients_are_those_of_its_steps(dtype, error):
    shapes = (STEPS, ROWS, 3 * WIDTH), (ROWS, WIDTH), (WIDTH, 3 * WIDTH), (3 * WIDTH,), (STEPS, ROWS, WIDTH)
    keys = jax.random.split(jax.random.key(2), 5)
    *given, weight = [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]

    def by_steps(gates, hidden, kernel, bias):
        outputs = []
        for now in gates:
            (r, z, c), (own_r, own_z, own_c) = jnp.split(now, 3, -1), jnp.split(hidden @ kernel + bias, 3, -1)
            z, candidate = jax.nn.sigmoid(z + own_z), jnp.tanh(c + jax.nn.sigmoid(r + own_r) * own_c)
            hidden = (1 - z) * candidate + z * hidden
            outputs.append(hidden)
        return jnp.stack(outputs)

    def learned(form, dtype):
        def loss(gates, start, kernel, bias):
            return (weight * form(gates, start, kernel.astype(dtype), bias)).sum()

        return jax.jit(jax.value_and_grad(loss, range(4)))(*given)

    got, want = learned(recurrence.gru_states, dtype), learned(by_steps, jnp.float32)
    for value, expected in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert jnp.linalg.norm(value - expected) <= error * jnp.linalg.norm(expected)


def one_by_one(x, kernel_ih, kernel_hh, bias_ih, bias_hh):
    """A bidirectional LSTM by its definition."""
    def run(x, way):
        hidden = cell = jnp.zeros((x.shape[0], kernel_hh.shape[1]))
        outputs = []
        for now in jnp.moveaxis(x, 1, 0):
            gates = now @ kernel_ih[way] + bias_ih[way] + hidden @ kernel_hh[way] + bias_hh[way]
            i, f, g, o = jnp.split(gates, 4, -1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            outputs.append(hidden)
        return jnp.stack(outputs, 1)

    return jnp.concatenate([run(x, 0), run(x[:, ::-1], 1)[:, ::-1]], -1)


@pytest.mark.parametrize(('rows', 'dtype', 'error'), [
    (3, jnp.float32, 1e-6), (recurrence.LARGE_BATCH + 2, jnp.float32, 1e-6), (3, jnp.bfloat16, 0.02)])
def test_the_lstm_and_its_gradients_are_those_of_its_steps(rows, dtype, error):
    shapes = (rows, STEPS, WIDTH), (2, WIDTH, 16), (2, 4, 16), (2, 16), (2, 16)
    keys = jax.random.split(jax.random.key(1), 5)
    given = [jax.random.normal(key, shape) / 2 for key, shape in zip(keys, shapes, strict=True)]

    def learned(lstm, dtype):
        def loss(x, *weights):
            return jnp.sin(3 * lstm(x.astype(dtype), *weights).astype(jnp.float32)).sum()

        return jax.jit(jax.value_and_grad(loss, range(5)))(*given)

    got, want = learned(recurrence.lstm, dtype), learned(one_by_one, jnp.float32)
    for value, expected in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert jnp.linalg.norm(value - expected) <= error * jnp.linalg.norm(expected)
