"""oneDNN gives what XLA gives, within the rounding of bfloat16; where it is not used, it is said why."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recog import onednn
from recog.models.parts import convolutions, recurrence
from recog.onednn import build

ROUNDING = 0.02  # of bfloat16, which has 8 bits, in sums
needed = pytest.mark.skipif(build.found()[0] is None, reason=f'bfloat16 by {onednn.said()}')


def random(key, *shape):
    return jax.random.normal(jax.random.key(key), shape).astype(jnp.bfloat16)


def weights(key, *shape):
    return random(key, *shape).astype(jnp.float32)


def lstm_kernels(width, hidden):
    return [weights(number, 2, rows, 4 * hidden) * 0.2 for number, rows in ((1, width), (2, hidden))]


def off(found, expected):
    """The largest difference, relative to the largest value."""
    found, expected = (np.asarray(each, np.float32) for each in (found, expected))
    assert found.shape == expected.shape and abs(expected).max() > 0
    return abs(found - expected).max() / abs(expected).max()


def with_gradients(function, gradient, *given):
    value, back = jax.vjp(function, *given)
    return value, *back(gradient.astype(value.dtype))


@needed
@pytest.mark.parametrize('channels, features, taps, strides, padding', [
    (128, 96, (3, 3), (1, 1), ((1, 1), (1, 1))),
    (1, 32, (3, 3), (2, 2), ((1, 1), (1, 1))),
    (3, 20, (7, 7), (2, 2), ((3, 3), (3, 3))),
    (33, 17, (2, 2), (1, 1), ((0, 0), (0, 1))),
    (48, 95, (1, 1), (2, 1), ((0, 0), (0, 0))),
])
def test_a_convolution_and_its_gradients_are_those_of_xla(channels, features, taps, strides, padding):
    x, kernel = random(0, 3, 12, 21, channels), weights(1, *taps, channels, features)

    def ours(x, kernel):
        return convolutions.conv_in_bfloat16(x, kernel, strides, padding)

    def exact(x, kernel):
        return convolutions.native_conv(x.astype(jnp.float32), kernel, strides=strides, padding=padding)

    gradient = random(2, *jax.eval_shape(exact, x, kernel).shape)
    assert 'recog_convolution' in jax.jit(ours).lower(x, kernel).as_text()
    found = jax.jit(lambda *given: with_gradients(ours, gradient, *given))(x, kernel)
    expected = with_gradients(exact, gradient, x, kernel)
    assert [each.dtype for each in found] == [jnp.bfloat16, jnp.bfloat16, jnp.float32]
    assert max(map(off, found, expected)) < ROUNDING


@needed
@pytest.mark.parametrize('rows, steps, width, hidden', [(5, 7, 24, 16), (66, 3, 33, 20), (1, 2, 8, 8)])
def test_a_bidirectional_lstm_and_its_gradients_are_those_of_xla(rows, steps, width, hidden):
    x, kernels = random(0, steps, rows, width), lstm_kernels(width, hidden)
    bias = weights(3, 2, 4 * hidden)
    gradient = random(4, steps, rows, 2 * hidden)

    def exact(x, *weights):
        x = x.astype(jnp.float32).swapaxes(0, 1)
        return recurrence.lstm(x, *weights, jnp.zeros_like(bias)).swapaxes(0, 1)

    assert 'recog_lstm_forward' in jax.jit(recurrence.lstm_in_bfloat16).lower(x, *kernels, bias).as_text()
    found = jax.jit(lambda *given: with_gradients(recurrence.lstm_in_bfloat16, gradient, *given))(
        x, *kernels, bias)
    expected = with_gradients(exact, gradient, x, *kernels, bias)
    assert [each.dtype for each in found] == [jnp.bfloat16] * 2 + [jnp.float32] * 3
    assert max(map(off, found, expected)) < 2 * ROUNDING


@needed
def test_a_second_call_gives_the_same_bits():
    x, kernel = random(0, 4, 8, 16, 64), weights(1, 3, 3, 64, 64)
    call = jax.jit(lambda x, kernel: with_gradients(
        lambda *given: convolutions.conv_in_bfloat16(*given, (1, 1), convolutions.SAME), x, x, kernel))
    for first, second in zip(call(x, kernel), call(x, kernel), strict=True):
        np.testing.assert_array_equal(np.asarray(first, np.float32), np.asarray(second, np.float32))


@needed
def test_programs_for_other_platforms_are_xlas_alone():
    x, kernel = random(0, 2, 8, 16, 8), weights(1, 3, 3, 8, 8)

    def step(x, kernel):
        maps = convolutions.conv_in_bfloat16(x, kernel, (1, 1), convolutions.SAME)
        states = recurrence.lstm_in_bfloat16(maps[:, 0], *lstm_kernels(8, 4), jnp.zeros((2, 16)))
        return states.astype(jnp.float32).sum()

    exported = jax.export.export(jax.jit(jax.grad(step, (0, 1))), platforms=['cuda'])(x, kernel)
    assert 'recog_' not in exported.mlir_module()


@needed
def test_it_computes_in_bfloat16_on_one_device_alone():
    program = ('import jax.numpy as jnp; from recog import onednn; '
               'print([onednn.usable(jnp.zeros((1, 2), dtype)) for dtype in ("bfloat16", "float32")], '
               'onednn.said())')

    def printed(devices):
        flags = {'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}'}
        return subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True,
                              env=os.environ | flags).stdout

    assert printed(1).startswith('[True, False] oneDNN ')
    assert printed(2) == '[False, False] XLA, since there is more than one device\n'


@pytest.mark.parametrize('settings, reason', [
    ({'RECOG_ONEDNN': '0'}, 'RECOG_ONEDNN=0'),
    ({'CXX': 'no-such-compiler'}, 'there is no C++ compiler'),
    ({'CXX': 'false'}, 'oneDNN cannot be compiled with'),
])
def test_why_it_is_not_used_is_said(settings, reason, monkeypatch, tmp_path):
    monkeypatch.setenv('RECOG_CACHE', str(tmp_path))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    program = ('import sys; from recog import onednn; from recog.onednn import build; '
               'build.INSTRUCTIONS = ("fpu",) ; print(onednn.said())')
    ended = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith(f'XLA, since {reason}'), ended.stdout
