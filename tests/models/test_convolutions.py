"""Convolutions and max pooling in all their forms, compared with the general ones."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recog.devices import cost
from recog.models.backbones import resnet_fpn
from recog.models.parts import convolutions, depthwise, pooling, winograd

RNG = np.random.default_rng(0)


def test_a_dilated_convolution_is_one_product_on_a_cpu_and_equals_the_native_one_and_learns_alike():
    x, kernel = (RNG.normal(size=shape).astype(np.float32) for shape in ((2, 5, 6, 3), (2, 2, 3, 4)))
    native = functools.partial(convolutions.native_conv, dilation=(2, 2))
    (want, back), (got, learnt) = (jax.vjp(form, x, kernel) for form in (native, resnet_fpn.dilated_conv))
    np.testing.assert_allclose(got, want, atol=1e-5)
    gradient = RNG.normal(size=want.shape).astype(np.float32)
    for ours, theirs in zip(learnt(gradient), back(gradient), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for platform, product in (('cpu', True), ('cuda', False)):
        text = resnet_fpn.dilated_conv.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
        assert ('stablehlo.dot_general' in text, 'stablehlo.convolution' in text) == (product, not product)


@pytest.mark.parametrize('size', [3, 5])
@pytest.mark.parametrize('strides', [(1, 1), (2, 1), (2, 2)])
def test_the_shifted_depthwise_convolution_equals_the_native_one(size, strides):
    x = RNG.normal(size=(2, 8, 13, 6)).astype(np.float32)
    kernel = RNG.normal(size=(size, size, 1, 6)).astype(np.float32)
    forms = depthwise.native_depthwise, depthwise.shifted_depthwise, depthwise.depthwise
    want, *got = jax.jit(lambda *given: [form(*given, strides=strides) for form in forms])(x, kernel)
    for each in got:
        np.testing.assert_allclose(each, want, atol=1e-4)


@pytest.mark.parametrize('size', [3, 5])
@pytest.mark.parametrize('strides', [(1, 1), (2, 1), (2, 2)])
def test_a_depthwise_kernel_learns_row_by_row_what_it_learns_at_once(size, strides):
    x = RNG.normal(size=(2, 8, 13, 6)).astype(np.float32)
    kernel = RNG.normal(size=(size, size, 1, 6)).astype(np.float32)
    result, back = jax.vjp(functools.partial(depthwise.native_depthwise, strides=strides), x, kernel)
    gradient = RNG.normal(size=result.shape).astype(np.float32)
    got = depthwise.depthwise_gradient(x, kernel, gradient, strides)
    np.testing.assert_allclose(got, back(gradient)[1], atol=1e-4)


@pytest.mark.parametrize(('many', 'close'), [(2**40, 1e-5), (1, 3e-5)])
@pytest.mark.parametrize(('height', 'width'), [(4, 6), (5, 6), (4, 7), (1, 1), (8, 13)])
def test_a_convolution_with_fewer_multiplications_equals_the_general_one_and_learns_alike(
        monkeypatch, height, width, many, close):
    monkeypatch.setattr(winograd, 'MANY_MULTIPLICATIONS', many)
    x, kernel = (RNG.normal(size=shape).astype(np.float32) for shape in ((3, height, width, 5), (3, 3, 5, 7)))
    general = functools.partial(jax.lax.conv_general_dilated, window_strides=(1, 1), padding='SAME',
                                dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
    (want, back), (got, learnt) = (jax.vjp(form, x, kernel) for form in (general, convolutions.conv_3x3))
    np.testing.assert_allclose(got, want, atol=close)
    gradient = RNG.normal(size=want.shape).astype(np.float32)
    for ours, theirs in zip(learnt(gradient), back(gradient), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(('platform', 'dtype', 'channels', 'batch', 'fewer'), [
    ('cpu', 'float32', 128, 64, True), ('cpu', 'float32', 64, 256, False), ('cpu', 'float32', 128, 16, False),
    ('cpu', 'bfloat16', 128, 64, False), ('cuda', 'float32', 128, 64, False)])
def test_a_convolution_has_fewer_multiplications_on_a_cpu_where_they_are_many(
        platform, dtype, channels, batch, fewer):
    x, kernel = jnp.zeros((batch, 4, 25, channels), dtype), jnp.zeros((3, 3, channels, channels))
    conv = jax.jit(functools.partial(convolutions.conv, padding=((1, 1), (1, 1))))
    text = conv.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert ('stablehlo.dot_general' in text, 'stablehlo.convolution' in text) == (fewer, not fewer)


@pytest.mark.parametrize(('shape', 'products'), [
    ((1, 8, 32, 512, 512), 16), ((8, 8, 32, 512, 512), 36), ((64, 2, 25, 512, 512), 24),
    ((64, 6, 25, 512, 512), 24)])
def test_a_convolution_of_very_many_multiplications_has_yet_fewer_where_its_tiles_fill(shape, products):
    x, kernel = (jax.ShapeDtypeStruct(size, jnp.float32) for size in (shape[:4], (3, 3, *shape[3:])))
    assert jax.jit(winograd.conv).lower(x, kernel).as_text().count('stablehlo.dot_general') == products


@pytest.mark.parametrize('many', [1, 2**40])
def test_a_convolution_with_fewer_multiplications_is_rounded_as_finely_as_products_are(monkeypatch, many):
    monkeypatch.setattr(winograd, 'MANY_MULTIPLICATIONS', many)
    x, kernel = np.abs(RNG.normal(size=(2, 8, 8, 256))), RNG.normal(size=(3, 3, 256, 8))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    want = np.einsum('bhwcij,ijcd->bhwd', windows, kernel)
    got = winograd.conv(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32))
    assert abs(got - want).max() < 6e-6 * abs(want).max()


@pytest.mark.parametrize('channels', [64, 128])
def test_a_convolutions_step_counts_as_three_convolutions_in_whatever_form(channels):
    x, kernel = jnp.zeros((64, 4, 25, channels)), jnp.zeros((3, 3, channels, channels))
    conv = functools.partial(convolutions.conv, padding=((1, 1), (1, 1)))
    once = cost.flops(conv, x, kernel)
    assert once == 2 * 9 * x.size * channels
    assert cost.flops(lambda *given: jax.vjp(conv, *given)[1](x), x, kernel) == 3 * once


@pytest.mark.parametrize(('size', 'taps', 'edges', 'channels'), [
    ((16, 20), (7, 7), ((3, 3), (3, 3)), 3), ((17, 21), (7, 7), ((3, 3), (3, 3)), 1),
    ((15, 18), (5, 4), ((2, 2), (1, 1)), 2)])
def test_a_convolution_with_strides_over_blocks_equals_the_general_one_and_learns_alike(
        size, taps, edges, channels):
    shapes = (2, *size, channels), (*taps, channels, 5)
    x, kernel = (RNG.normal(size=shape).astype(np.float32) for shape in shapes)
    native = functools.partial(convolutions.native_conv, strides=(2, 2), padding=edges)
    blocks = functools.partial(convolutions._space_to_depth, padding=edges)
    conv = functools.partial(convolutions.conv, strides=(2, 2), padding=edges)
    want, back = jax.vjp(native, x, kernel)
    gradient = RNG.normal(size=want.shape).astype(np.float32)
    for form in (blocks, conv):
        got, learnt = jax.vjp(form, x, kernel)
        np.testing.assert_allclose(got, want, atol=2e-5)
        for ours, theirs in zip(learnt(gradient), back(gradient), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
    texts = [jax.jit(conv).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
             for platform in ('cpu', 'cuda')]
    assert ['stablehlo.reshape' in text for text in texts] == [False, True]
    once = cost.flops(conv, x, kernel)
    assert once == 2 * want.size * kernel[..., 0].size

    def kernel_gradient(kernel):
        return jax.vjp(lambda kernel: conv(x, kernel), kernel)[1](gradient)

    # The gradient of the images is computed only where it is asked for.
    assert cost.flops(kernel_gradient, kernel) == 2 * once


@pytest.mark.parametrize(('size', 'strides', 'edges'), [
    ((32, 48), (4, 4), ((2, 2), (2, 2))), ((19, 30), (4, 3), ((2, 1), (0, 2)))])
def test_a_convolution_of_kernels_of_two_strides_is_a_product_on_a_cpu_and_learns_alike(size, strides, edges):
    shapes = (2, *size, 2), (2 * strides[0], 2 * strides[1], 2, 5)
    x, kernel = (RNG.normal(size=shape).astype(np.float32) for shape in shapes)
    native, conv = (functools.partial(each, strides=strides, padding=edges)
                    for each in (convolutions.native_conv, convolutions.conv))
    want, back = jax.vjp(native, x, kernel)
    got, learnt = jax.vjp(conv, x, kernel)
    np.testing.assert_allclose(got, want, atol=2e-5)
    gradient = RNG.normal(size=want.shape).astype(np.float32)
    for ours, theirs in zip(learnt(gradient), back(gradient), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    texts = [jax.jit(conv).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
             for platform in ('cpu', 'cuda')]
    assert ['stablehlo.convolution' in text for text in texts] == [False, True]


@pytest.mark.parametrize('strides', [(1, 1), (2, 1), (2, 2)])
def test_a_1x1_convolution_equals_the_general_one(strides):
    x, kernel = (RNG.normal(size=shape).astype(np.float32) for shape in ((2, 3, 5, 4), (1, 1, 4, 7)))
    form, nothing = ('NHWC', 'HWIO', 'NHWC'), ((0, 0), (0, 0))
    want = jax.lax.conv_general_dilated(x, kernel, strides, 'VALID', dimension_numbers=form)
    got = convolutions.conv(x, kernel, strides=strides, padding=nothing)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_1x1_convolution_with_strides_reads_no_slice_on_gpus():
    """XLA for GPUs crashes where a product reads such a slice."""
    x, kernel = (np.zeros(shape, np.float32) for shape in ((2, 6, 9, 4), (1, 1, 4, 5)))
    conv = jax.jit(functools.partial(convolutions.conv, strides=(2, 2), padding=((0, 0), (0, 0))))
    text = conv.trace(x, kernel).lower(lowering_platforms=('cuda',)).as_text()
    assert 'stablehlo.convolution' in text and 'stablehlo.slice' not in text and 'dot_general' not in text


@pytest.mark.parametrize('shape, window, strides, padding', [
    ((2, 8, 10, 3), (2, 2), None, 0), ((2, 9, 7, 3), (2, 1), None, 0), ((1, 16, 25, 4), (3, 3), (2, 2), 1),
    ((1, 5, 5, 2), (2, 2), None, 0),
])
def test_max_pooling_and_its_gradient_equal_the_native_ones(shape, window, strides, padding):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def native(x):
        return nn.max_pool(x, window, strides or window, [(padding, padding)] * 2)

    def ours(x):
        return pooling.max_pool(x, window, strides=strides, padding=padding)

    def cubes(x, pool):
        pooled = pool(x)
        return (pooled**3).sum(), pooled

    slopes = jax.jit(lambda x: [jax.grad(cubes, has_aux=True)(x, pool) for pool in (ours, native)])
    (gradient, pooled), (want_gradient, want) = slopes(x)
    np.testing.assert_array_equal(pooled, want)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-6)


def test_of_equal_pixels_in_a_tile_the_first_has_the_whole_gradient():
    x = np.zeros((1, 2, 4, 1), np.float32)
    x[0, :, 2:, 0] = [[-1, 3], [3, 3]]
    gradient = jax.grad(lambda x: (pooling.max_pool(x, (2, 2)) * jnp.arange(1.0, 3)[:, None]).sum())(x)
    np.testing.assert_array_equal(gradient[0, ..., 0], [[1, 0, 0, 2], [0, 0, 0, 0]])
