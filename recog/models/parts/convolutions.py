"""Convolutions and max pooling, in the form that is fast on each platform.

`conv`, `depthwise` and `max_pool` each sit in a jit of their own, so that their names survive in the jaxpr. Padding is explicit.
"""

import math
from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from recog.models.parts import winograd

Pair = tuple[int, int]
SAME = ((1, 1), (1, 1))  # the padding that keeps the size under a kernel of 3 x 3

# From so many channels, and multiplications for a tap (of all images) on, fewer of them are worth a CPU's transforms.
LEAST_CHANNELS, LEAST_MULTIPLICATIONS = 128, 2**26
FEW = 4  # channels, as images have


@partial(jax.jit, static_argnames=('strides', 'padding'))
def conv(x: jax.Array, kernel: jax.Array, *, strides: Pair = (1, 1), padding: tuple[Pair, Pair]) -> jax.Array:
    """Convolution of [B, H, W, C] with [kernel height, kernel width, C, D] in the dtype of `x`."""
    kernel = kernel.astype(x.dtype)
    native = partial(native_conv, strides=strides, padding=padding)
    if kernel.shape[:2] == (3, 3) and strides == (1, 1) and padding == SAME and _gains(x, kernel):
        return learning_conv(x, kernel)
    if strides == (2, 2) and x.shape[-1] <= FEW and kernel.shape[0] > 3 and _known(x):
        return image_conv(x, kernel, padding)
    if kernel.shape[:2] != (1, 1):
        return native(x, kernel)
    product = partial(_product, strides=strides)  # twice as fast as the convolution on CPU
    # XLA for GPUs ends the process where a product reads a slice with strides (jax 0.10.2, 0.11.2).
    return product(x, kernel) if strides == (1, 1) else lax.platform_dependent(x, kernel, cpu=product, default=native)


def native_conv(
    x: jax.Array, kernel: jax.Array, *, strides: Pair = (1, 1), padding: Sequence[Pair] = SAME, apart: Pair = (1, 1)
) -> jax.Array:
    """XLA's own; the kernel's taps lie so far `apart`."""
    form = 'NHWC', 'HWIO', 'NHWC'
    return lax.conv_general_dilated(x, kernel, strides, padding, rhs_dilation=apart, dimension_numbers=form)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def image_conv(x: jax.Array, kernel: jax.Array, padding: tuple[Pair, Pair]) -> jax.Array:
    """A convolution of strides 2 of few channels, as images have."""
    return lax.platform_dependent(x, kernel, cuda=partial(_blockwise, padding=padding),
                                  default=partial(native_conv, strides=(2, 2), padding=padding))


def _image_forward(x: Any, kernel: Any, padding: tuple[Pair, Pair]) -> tuple[jax.Array, tuple[Any, ...]]:
    # Images learn nothing; only where they do, their gradient is made.
    return image_conv(x.value, kernel.value, padding), (x.value, kernel.value, () if x.perturbed else None)


def _image_backward(padding: tuple[Pair, Pair], kept: tuple[Any, ...], gradient: jax.Array) -> tuple[jax.Array | None, jax.Array]:
    x, kernel, learning = kept
    native, blockwise = partial(native_conv, strides=(2, 2), padding=padding), partial(_blockwise, padding=padding)

    def by_blocks(gradient: jax.Array, x: jax.Array) -> jax.Array:
        return jax.linear_transpose(lambda kernel: blockwise(x, kernel), kernel)(gradient)[0]

    def plainly(gradient: jax.Array, x: jax.Array) -> jax.Array:
        # Images and channels change places. Within a choice by platform XLA does so on no CPU, and takes a hundred times as long.
        ends = [(before, taps + 2 * count - 2 - size - before) for size, taps, count, (before, _) in zip(
            x.shape[1:3], kernel.shape[:2], gradient.shape[1:3], padding, strict=True)]
        x, gradient = x.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3)
        return native_conv(x, gradient, padding=ends, apart=(2, 2)).transpose(1, 2, 0, 3)

    to_kernel = lax.platform_dependent(gradient, x, cuda=by_blocks, default=plainly)
    return None if learning is None else jax.linear_transpose(lambda x: native(x, kernel), x)(gradient)[0], to_kernel


image_conv.defvjp(_image_forward, _image_backward, symbolic_zeros=True)


def _blockwise(x: jax.Array, kernel: jax.Array, *, padding: tuple[Pair, Pair]) -> jax.Array:
    """A convolution of strides 2 as one without over blocks of 2 x 2 pixels, of four times the channels: of an image's few, cuDNN
    would fill up most."""
    (rows, columns, channels, features), ends = kernel.shape, []
    for size, taps, (before, after) in zip(x.shape[1:3], kernel.shape[:2], padding, strict=True):
        blocks = (size + before + after - taps) // 2 + (taps + 1) // 2  # of all that the windows see
        ends.append((before, 2 * blocks - before - size))
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((*end, 0) for end in ends), (0, 0, 0)))
    kernel = jnp.pad(kernel, ((0, rows % 2), (0, columns % 2), (0, 0), (0, 0)))
    x = x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    kernel = kernel.reshape(kernel.shape[0] // 2, 2, kernel.shape[1] // 2, 2, channels, features).transpose(0, 2, 1, 3, 4, 5)
    return native_conv(x.reshape(*x.shape[:3], -1), kernel.reshape(*kernel.shape[:2], -1, features), padding=((0, 0), (0, 0)))


def _gains(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether a CPU gains by `winograd`."""
    if not _known(x):
        return False
    enough = math.prod(x.shape) * kernel.shape[3] >= LEAST_MULTIPLICATIONS and min(kernel.shape[2:]) >= LEAST_CHANNELS
    return enough and x.dtype == jnp.float32


def _known(x: jax.Array) -> bool:
    """Whether the sizes of images are numbers; those of an export need not be."""
    return all(isinstance(size, int) for size in x.shape)


@jax.custom_vjp
def learning_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution of 3 x 3 that keeps the size; on a CPU by Winograd's algorithm, which takes two thirds of the time.

    So does the gradient of the input; that of the kernel would gain nothing.
    """
    return lax.platform_dependent(x, kernel, cpu=winograd.conv, default=native_conv)


def _conv_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return learning_conv(x, kernel), (x, kernel)


def _conv_backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept

    def input_gradient(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.linear_transpose(lambda x: native_conv(x, kernel), x)(gradient)[0]

    to_x = lax.platform_dependent(gradient, kernel, cpu=winograd.input_gradient, default=input_gradient)
    # Within a choice by platform, XLA would make the kernel's gradient a loop that takes a hundred times as long.
    return to_x, jax.linear_transpose(lambda kernel: native_conv(x, kernel), kernel)(gradient)[0]


learning_conv.defvjp(_conv_forward, _conv_backward)


def _product(x: jax.Array, kernel: jax.Array, *, strides: Pair) -> jax.Array:
    return jnp.einsum('bhwc,cd->bhwd', x[:, :: strides[0], :: strides[1]], kernel[0, 0])


@partial(jax.jit, static_argnames=('strides',))
def depthwise(x: jax.Array, kernel: jax.Array, *, strides: Pair = (1, 1)) -> jax.Array:
    """Convolution of each channel of [B, H, W, C] with its own of [kernel height, kernel width, 1, C]."""
    shifted, native = partial(shifted_depthwise, strides=strides), partial(native_depthwise, strides=strides)
    # Kept for the gradient, the windows would be copies of `x` in float32.
    return lax.platform_dependent(x, kernel, cpu=lambda *given: learning_depthwise(*given, strides), cuda=jax.checkpoint(shifted),
                                  default=native)


def shifted_depthwise(x: jax.Array, kernel: jax.Array, *, strides: Pair) -> jax.Array:
    """`depthwise` as a sum of shifted products, in float32: XLA fuses them, where its own form is twenty times slower on CPU, and
    cuDNN's gradient takes most of a training step."""
    (height, width), padded = _size(x, strides), _padded(x, kernel)
    total = jnp.zeros((), jnp.float32)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            window = padded[:, _every(i, height, strides[0]), _every(j, width, strides[1])]
            total = total + window.astype(jnp.float32) * kernel[i, j, 0]
    return total.astype(x.dtype)


def _size(x: jax.Array, strides: Pair) -> Pair:
    """Height and width of a depthwise convolution's output."""
    return (x.shape[1] - 1) // strides[0] + 1, (x.shape[2] - 1) // strides[1] + 1


def _padded(x: jax.Array, kernel: jax.Array) -> jax.Array:
    edges = [(size // 2, size // 2) for size in kernel.shape[:2]]
    return jnp.pad(x, ((0, 0), *edges, (0, 0)))


def _every(first: int, count: int, stride: int) -> slice:
    return slice(first, first + (count - 1) * stride + 1, stride)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def learning_depthwise(x: jax.Array, kernel: jax.Array, strides: Pair) -> jax.Array:
    """`shifted_depthwise` with a gradient of the kernel that takes a CPU a fifth of the time."""
    return shifted_depthwise(x, kernel, strides=strides)


def _learning_forward(x: jax.Array, kernel: jax.Array, strides: Pair) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return shifted_depthwise(x, kernel, strides=strides), (x, kernel)


def _learning_backward(strides: Pair, kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    if jax.device_count() > 1:  # a loop over rows would bring all devices' rows to each
        return jax.vjp(partial(shifted_depthwise, strides=strides), x, kernel)[1](gradient)
    if strides == (1, 1):  # the same convolution with the kernel turned round
        to_x = shifted_depthwise(gradient, kernel[::-1, ::-1], strides=strides)
    else:
        to_x, = jax.vjp(lambda x: shifted_depthwise(x, kernel, strides=strides), x)[1](gradient)
    return to_x, depthwise_gradient(x, kernel, gradient, strides)


def depthwise_gradient(x: jax.Array, kernel: jax.Array, gradient: jax.Array, strides: Pair) -> jax.Array:
    """The gradient of a depthwise kernel, row by row of all images, each of which a core's cache holds."""
    (height, width), (rows, columns), channels = _size(x, strides), kernel.shape[:2], x.shape[3]
    padded = _padded(x, kernel)
    seen = jnp.stack([padded[:, _every(i, height, strides[0])] for i in range(rows)], 2)  # [B, H, rows, W, C]

    def add(total: list[jax.Array], now: tuple[jax.Array, jax.Array]) -> tuple[list[jax.Array], None]:
        seen, gradient = (each.astype(jnp.float32) for each in now)
        taps = [seen[i, _every(j, width, strides[1])] for i in range(rows) for j in range(columns)]
        return [before + (tap * gradient).sum(0) for before, tap in zip(total, taps, strict=True)], None

    each_row = seen.reshape(-1, *seen.shape[2:]), gradient.reshape(-1, width, channels)
    total = lax.scan(add, [jnp.zeros(channels)] * (rows * columns), each_row)[0]
    return jnp.stack(total).reshape(kernel.shape)


learning_depthwise.defvjp(_learning_forward, _learning_backward)


def native_depthwise(x: jax.Array, kernel: jax.Array, *, strides: Pair) -> jax.Array:
    """`depthwise` as the grouped convolution that accelerators have."""
    padding = [(size // 2, size // 2) for size in kernel.shape[:2]]
    kernel, axes = kernel.astype(x.dtype), ('NHWC', 'HWIO', 'NHWC')
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=axes, feature_group_count=x.shape[-1])


@partial(jax.jit, static_argnames=('window', 'strides', 'padding'))
def max_pool(x: jax.Array, window: Pair, *, strides: Pair | None = None, padding: int = 0) -> jax.Array:
    """Largest value of each window [B, H, W, C], the strides being the window's size unless given.

    As maxima of shifted slices, by rows, then by columns: the gradient of XLA's own pooling takes 15 to 80 times as long on CPU.
    """
    (height, width), strides = window, strides or window
    edges = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    x = jnp.pad(x, edges, constant_values=-jnp.inf) if padding else x
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1  # where a window may begin
    x = reduce(jnp.maximum, [x[:, i : i + rows : strides[0]] for i in range(height)])
    return reduce(jnp.maximum, [x[:, :, j : j + columns : strides[1]] for j in range(width)])
