"""oneDNN gives what XLA gives, within rounding; where it is not used, it is said why."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from narrow_models import make_workdir

from recog import onednn
from recog.devices.kept import parted
from recog.models.parts import convolutions, layers, recurrence
from recog.onednn import build

# Largest errors of sums in each type that this processor gains by, as shares of the largest value.
ROUNDING = {dtype: most for dtype, most in (('float32', 1e-5), ('bfloat16', 0.02)) if build.found(dtype)[0]}
needed = pytest.mark.skipif(not ROUNDING, reason=f'float32 by {build.found("float32")[1]}')
of_each_type = pytest.mark.parametrize('dtype', [
    pytest.param(dtype, marks=pytest.mark.skipif(dtype not in ROUNDING, reason=build.found(dtype)[1]))
    for dtype in build.INSTRUCTIONS])


def random(key, *shape, dtype='float32'):
    return jax.random.normal(jax.random.key(key), shape).astype(dtype)


def lstm_kernels(width, hidden):
    return [random(number, 2, rows, 4 * hidden) * 0.2 for number, rows in ((1, width), (2, hidden))]


def off(found, expected):
    """The largest difference, relative to the largest value."""
    found, expected = (np.asarray(each, np.float32) for each in (found, expected))
    assert found.shape == expected.shape and abs(expected).max() > 0
    return abs(found - expected).max() / abs(expected).max()


def with_gradients(function, gradient, *given):
    value, back = jax.vjp(function, *given)
    return value, *back(gradient.astype(value.dtype))


@of_each_type
@pytest.mark.parametrize('channels, features, groups, taps, strides, padding', [
    (128, 96, 1, (3, 3), (1, 1), ((1, 1), (1, 1))),
    (1, 32, 1, (3, 3), (2, 2), ((1, 1), (1, 1))),
    (3, 20, 1, (7, 7), (2, 2), ((3, 3), (3, 3))),
    (33, 17, 1, (2, 2), (1, 1), ((0, 0), (0, 1))),
    (48, 95, 1, (1, 1), (2, 1), ((0, 0), (0, 0))),
    (40, 40, 40, (5, 5), (2, 1), ((2, 2), (2, 2))),
    (48, 48, 3, (5, 5), (1, 1), ((2, 2), (2, 2))),
])
def test_a_convolution_and_its_gradients_are_those_of_xla(
        dtype, channels, features, groups, taps, strides, padding):
    x, kernel = random(0, 3, 12, 21, channels, dtype=dtype), random(1, *taps, channels // groups, features)

    def ours(x, kernel):
        return convolutions.conv_by_onednn(x, kernel, strides, padding)

    def exact(x, kernel):
        numbers = 'NHWC', 'HWIO', 'NHWC'
        return lax.conv_general_dilated(x.astype('float32'), kernel, strides, padding,
                                        dimension_numbers=numbers, feature_group_count=groups)

    gradient = random(2, *jax.eval_shape(exact, x, kernel).shape, dtype=dtype)
    assert 'recog_convolution' in jax.jit(ours).lower(x, kernel).as_text()
    found = jax.jit(lambda *given: with_gradients(ours, gradient, *given))(x, kernel)
    expected = with_gradients(exact, gradient, x, kernel)
    assert [each.dtype for each in found] == [dtype, dtype, 'float32']
    assert max(map(off, found, expected)) < ROUNDING[dtype]


@of_each_type
@pytest.mark.parametrize('rows, steps, width, hidden', [(5, 7, 24, 16), (66, 3, 33, 20), (1, 2, 8, 8)])
def test_a_bidirectional_lstm_and_its_gradients_are_those_of_xla(dtype, rows, steps, width, hidden):
    x, kernels = random(0, steps, rows, width, dtype=dtype), lstm_kernels(width, hidden)
    bias, gradient = random(3, 2, 4 * hidden), random(4, steps, rows, 2 * hidden, dtype=dtype)

    def exact(x, *weights):
        x = x.astype('float32').swapaxes(0, 1)
        return recurrence.lstm(x, *weights, jnp.zeros_like(bias)).swapaxes(0, 1)

    assert 'recog_lstm_forward' in jax.jit(recurrence.lstm_by_onednn).lower(x, *kernels, bias).as_text()
    found = jax.jit(lambda *given: with_gradients(recurrence.lstm_by_onednn, gradient, *given))(
        x, *kernels, bias)
    expected = with_gradients(exact, gradient, x, *kernels, bias)
    assert [each.dtype for each in found] == [dtype, dtype, 'float32', 'float32', 'float32']
    assert max(map(off, found, expected)) < 2 * ROUNDING[dtype]


@of_each_type
@pytest.mark.parametrize('name, result', [('matmul', None), ('product', 'float32')])
def test_a_product_of_many_rows_and_its_gradients_are_those_of_xla(dtype, name, result, monkeypatch):
    x, kernel = random(0, 3, 200, 96, dtype=dtype), random(1, 96, 160)
    monkeypatch.setattr(onednn, 'usable', lambda x: True)
    by_onednn = getattr(layers, name)
    assert ('recog_' in jax.jit(by_onednn).lower(x, kernel).as_text()) == (dtype == 'bfloat16')
    gradient = random(2, 3, 200, 160)
    found = jax.jit(lambda *given: with_gradients(by_onednn, gradient, *given))(x, kernel)
    expected = with_gradients(lambda x, kernel: jnp.matmul(
        x.astype('float32'), kernel.astype(dtype).astype('float32')), gradient.astype(dtype), x, kernel)
    assert [each.dtype for each in found] == [result or dtype, dtype, 'float32']
    assert max(map(off, found, expected)) < ROUNDING[dtype]
    assert found[0].dtype == dtype or off(found[0], expected[0]) < 1e-5  # not rounded


@of_each_type
@pytest.mark.parametrize('channels, features, groups, strides', [
    (64, 48, 1, (1, 1)), (1, 32, 1, (2, 2)), (40, 40, 40, (2, 1)), (48, 48, 3, (1, 1))])
def test_a_convolution_with_a_packed_kernel_is_that_with_the_kernel(
        dtype, channels, features, groups, strides):
    x, kernel = random(0, 1, 8, 21, channels, dtype=dtype), random(1, 3, 3, channels // groups, features)

    def by_onednn(x, kernel):
        return convolutions.by_onednn(x, kernel, strides, convolutions.SAME)

    expected = jax.jit(by_onednn)(x, kernel)
    with onednn.PACKED(True):
        first, rest = parted(lambda kernel, x: by_onednn(x, kernel), kernel, x)
    packed, = jax.jit(first)(kernel)
    assert packed.dtype == 'uint8' and packed.nbytes >= kernel.size * expected.dtype.itemsize
    found = jax.jit(rest)([packed], x)
    if dtype == 'float32' and strides == (1, 1) and groups == 1:  # by Winograd's, in other tiles
        assert off(found, expected) < ROUNDING[dtype]
    else:
        np.testing.assert_array_equal(*(np.asarray(each, np.float32) for each in (found, expected)))


@of_each_type
def test_a_bidirectional_lstm_with_packed_kernels_is_that_with_the_kernels(dtype):
    x, kernels, bias = random(0, 7, 1, 24, dtype=dtype), lstm_kernels(24, 16), random(3, 2, 64)
    expected = jax.jit(recurrence.lstm_by_onednn)(x, *kernels, bias)
    first, rest = parted(lambda kernels, x: onednn.packed_lstm(x, *kernels, bias), kernels, x)
    packed = jax.jit(first)(kernels)
    assert [each.dtype for each in packed] == ['uint8', 'uint8']
    assert off(jax.jit(rest)(packed, x), expected) < ROUNDING[dtype]


@of_each_type
def test_a_second_call_gives_the_same_bits(dtype):
    x, kernel = random(0, 4, 8, 16, 64, dtype=dtype), random(1, 3, 3, 64, 64)
    call = jax.jit(lambda x, kernel: with_gradients(
        lambda *given: convolutions.conv_by_onednn(*given, (1, 1), convolutions.SAME), x, x, kernel))
    for first, second in zip(call(x, kernel), call(x, kernel), strict=True):
        np.testing.assert_array_equal(np.asarray(first, np.float32), np.asarray(second, np.float32))


@needed
def test_programs_for_other_platforms_are_xlas_alone():
    x, kernel = random(0, 2, 8, 16, 8), random(1, 3, 3, 8, 8)

    def step(x, kernel):
        maps = convolutions.conv_by_onednn(x, kernel, (1, 1), convolutions.SAME)
        return recurrence.lstm_by_onednn(maps[:, 0], *lstm_kernels(8, 4), jnp.zeros((2, 16))).sum()

    exported = jax.export.export(jax.jit(jax.grad(step, (0, 1))), platforms=['cuda'])(x, kernel)
    assert 'recog_' not in exported.mlir_module()


def printed(program, **settings):
    return subprocess.run([sys.executable, '-c', f'import jax, jax.numpy as jnp; {program}'],
                          capture_output=True, text=True, check=True, env=os.environ | settings).stdout


@needed
@pytest.mark.parametrize('devices, used', [(1, True), (2, False)])
def test_it_computes_large_convolutions_of_known_sizes_on_one_device(devices, used):
    program = ('from recog.models.parts.convolutions import SAME, conv\n'
               'def uses(*shape): return "recog_" in jax.jit(lambda x, k: conv(x, k, padding=SAME)).lower('
               'jnp.ones(shape), jnp.ones((3, 3, shape[-1], 16))).as_text()\n'
               'print(uses(2, 16, 32, 64), uses(2, 16, 4, 64))')
    flags = {'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}'}
    assert printed(program, **flags) == f'{used} False\n'


@needed
def test_a_model_reads_single_images_as_before_once_its_weights_are_packed(tmp_path):
    run = tmp_path / 'run'
    make_workdir(run, 'crnn')
    program = ('import numpy as np, recog\n'
               'from recog.models.parts import convolutions\n'
               'from recog.reading import recognizer\n'
               'convolutions.MANY_PIXELS = convolutions.MANY_PRODUCTS = convolutions.FEWER_PIXELS = 1\n'
               'image = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8)\n'
               'answers, packed = [], []\n'
               f'for read in recog.load({str(run)!r}), recognizer.load({str(run)!r}, lasting=True):\n'
               '    for _ in range(3):\n'
               '        answers += [read(image)]\n'
               '        packed += [len(read._engine._packed)]\n'
               'sure = [each.confidence for each in answers]\n'
               'print(len({each.text for each in answers}), np.ptp(sure) < 1e-5, packed)')
    flags = {'XLA_FLAGS': '--xla_force_host_platform_device_count=1'}
    assert printed(program, **flags) == '1 True [0, 1, 1, 1, 1, 1]\n'


@pytest.mark.parametrize('settings, reason', [
    ({'RECOG_ONEDNN': '0'}, 'RECOG_ONEDNN=0'),
    ({'CXX': 'no-such-compiler'}, 'there is no C++ compiler'),
    ({'CXX': 'false'}, 'oneDNN cannot be compiled with'),
])
def test_why_it_is_not_used_is_said(settings, reason, tmp_path):
    program = ('from recog import onednn; from recog.onednn import build; '
               'build.INSTRUCTIONS = {"bfloat16": ("fpu",)}; '
               'print(onednn.products(jax.devices()[0], "bfloat16"))')
    assert printed(program, RECOG_CACHE=str(tmp_path), **settings).startswith(
        f'bfloat16 by XLA, since {reason}')


def test_a_processor_without_the_instructions_is_said():
    program = ('from recog import onednn; from recog.onednn import build; '
               'build.INSTRUCTIONS = {"bfloat16": ("this", "that"), "float32": ("this",)}; '
               'print([onednn.products(jax.devices()[0], each) for each in ("bfloat16", "float32")])')
    assert printed(program) == "['bfloat16 by XLA, since the processor has not this or that', '']\n"
