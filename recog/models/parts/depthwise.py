"""Convolutions of each channel by itself, in the form that is fast on each platform.

`depthwise` is jitted separately, so that its name appears in the jaxpr.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from recog.models.parts.convolutions import Pair, by_onednn, is_onednns, keeping, native_conv


@partial(jax.jit, static_argnames=('strides',))
def depthwise(x: jax.Array, kernel: jax.Array, *, strides: Pair = (1, 1)) -> jax.Array:
    """Convolution of each channel of [B, H, W, C] with its own part of the
    kernel [kernel height, kernel width, 1, C]."""
    if is_onednns(x, kernel, strides):
        return by_onednn(x, kernel, strides, keeping(kernel))
    shifted, native = partial(shifted_depthwise, strides=strides), partial(native_depthwise, strides=strides)
    return lax.platform_dependent(
        x, kernel, cpu=lambda *given: depthwise_for_cpu(*given, strides),
        cuda=jax.checkpoint(shifted),  # otherwise copies of `x` in float32 are kept for the gradient
        default=native)


def shifted_depthwise(x: jax.Array, kernel: jax.Array, *, strides: Pair) -> jax.Array:
    """`depthwise` as a sum of shifted products in float32, which XLA fuses.

    XLA's own form is twenty times slower on CPUs, and on GPUs cuDNN's gradient takes most of a training step.
    """
    (height, width), padded = _size(x, strides), _padded(x, kernel)
    total = jnp.zeros((), jnp.float32)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            window = padded[:, _strided(i, height, strides[0]), _strided(j, width, strides[1])]
            total = total + window.astype(jnp.float32) * kernel[i, j, 0]
    return total.astype(x.dtype)


def _size(x: jax.Array, strides: Pair) -> Pair:
    """Height and width of a depthwise convolution's output."""
    return (x.shape[1] - 1) // strides[0] + 1, (x.shape[2] - 1) // strides[1] + 1


def _padded(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jnp.pad(x, ((0, 0), *keeping(kernel), (0, 0)))


def _strided(first: int, count: int, stride: int) -> slice:
    return slice(first, first + (count - 1) * stride + 1, stride)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_for_cpu(x: jax.Array, kernel: jax.Array, strides: Pair) -> jax.Array:
    """`shifted_depthwise` with a gradient of the kernel that takes a CPU a fifth of the time."""
    return shifted_depthwise(x, kernel, strides=strides)


def _depthwise_forward(x: jax.Array, kernel: jax.Array, strides: Pair) -> tuple[jax.Array, Any]:
    return shifted_depthwise(x, kernel, strides=strides), (x, kernel)


def _depthwise_backward(strides: Pair, kept: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    if jax.device_count() > 1:  # a loop over rows would gather the rows of all devices
        return jax.vjp(partial(shifted_depthwise, strides=strides), x, kernel)[1](gradient)
    if strides == (1, 1):  # the same convolution with the kernel flipped
        to_x = shifted_depthwise(gradient, kernel[::-1, ::-1], strides=strides)
    else:
        to_x, = jax.vjp(lambda x: shifted_depthwise(x, kernel, strides=strides), x)[1](gradient)
    return to_x, depthwise_gradient(x, kernel, gradient, strides)


def depthwise_gradient(x: jax.Array, kernel: jax.Array, gradient: jax.Array, strides: Pair) -> jax.Array:
    """The gradient of a depthwise kernel, summed one image row at a time,
    because a row fits into a core's cache."""
    (height, width), (rows, columns), channels = _size(x, strides), kernel.shape[:2], x.shape[3]
    padded = _padded(x, kernel)
    # [B, H, rows, W, C]
    windows = jnp.stack([padded[:, _strided(i, height, strides[0])] for i in range(rows)], 2)

    def add(total: list[jax.Array], now: tuple[jax.Array, jax.Array]) -> tuple[list[jax.Array], None]:
        windows, gradient = (each.astype(jnp.float32) for each in now)
        taps = [windows[i, _strided(j, width, strides[1])] for i in range(rows) for j in range(columns)]
        return [before + (tap * gradient).sum(0) for before, tap in zip(total, taps, strict=True)], None

    each_row = windows.reshape(-1, *windows.shape[2:]), gradient.reshape(-1, width, channels)
    total = lax.scan(add, [jnp.zeros(channels)] * (rows * columns), each_row)[0]
    return jnp.stack(total).reshape(kernel.shape)


depthwise_for_cpu.defvjp(_depthwise_forward, _depthwise_backward)


def native_depthwise(x: jax.Array, kernel: jax.Array, *, strides: Pair) -> jax.Array:
    """`depthwise` as the grouped convolution that accelerators have."""
    return native_conv(x, kernel.astype(x.dtype), strides=strides, padding=keeping(kernel))
