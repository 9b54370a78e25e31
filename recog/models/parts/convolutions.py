"""Convolutions, in the form that is fast on each platform.

`conv` and `grouped` are each jitted separately, so that their names appear in the jaxpr. Padding is explicit.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from recog import onednn
from recog.models.parts import winograd

Pair = tuple[int, int]
SAME = ((1, 1), (1, 1))  # the padding that keeps the size under a kernel of 3 x 3

# From this many channels, and multiplications per kernel tap over the batch, Winograd's algorithm is faster
# on a CPU.
LEAST_CHANNELS, LEAST_MULTIPLICATIONS = 128, 2**26
FEW = 4  # channels, as an image has
# From this many pixels, and multiplications, oneDNN is faster on a CPU.
MANY_PIXELS, MANY_PRODUCTS = 256, 2**22
FEWER_PIXELS = 16  # where the kernel is packed


@partial(jax.jit, static_argnames=('strides', 'padding'))
def conv(x: jax.Array, kernel: jax.Array, *, strides: Pair = (1, 1), padding: tuple[Pair, Pair]) -> jax.Array:
    """Convolution of [B, H, W, C] with [kernel height, kernel width, C, D] in the dtype of `x`."""
    if is_onednns(x, kernel, strides):
        return by_onednn(x, kernel, strides, padding)
    kernel = kernel.astype(x.dtype)
    native = partial(native_conv, strides=strides, padding=padding)
    if kernel.shape[:2] == (3, 3) and strides == (1, 1) and padding == SAME and _winograd_pays(x, kernel):
        return conv_3x3(x, kernel)
    if strides == (2, 2) and x.shape[-1] <= FEW and kernel.shape[0] > 3 and is_static(x):
        return image_conv(x, kernel, padding)
    if x.shape[-1] <= FEW and kernel.shape[:2] == (2 * strides[0], 2 * strides[1]) and is_static(x):
        return lax.platform_dependent(x, kernel, cpu=partial(_as_windows, padding=padding), default=native)
    if kernel.shape[:2] != (1, 1):
        return native(x, kernel)
    product = partial(_pointwise, strides=strides)  # twice as fast as the convolution on CPU
    if strides == (1, 1):
        return product(x, kernel)
    # XLA for GPUs crashes where a product reads a strided slice (jax 0.10.2, 0.11.2).
    return lax.platform_dependent(x, kernel, cpu=product, default=native)


def native_conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Pair = (1, 1),
    padding: Sequence[Pair] = SAME,
    dilation: Pair = (1, 1),
) -> jax.Array:
    """XLA's own convolution; a kernel that reads fewer channels than `x` has is one of groups of channels."""
    return lax.conv_general_dilated(
        x, kernel, strides, padding, rhs_dilation=dilation, dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=x.shape[-1] // kernel.shape[2])


def by_onednn(x: jax.Array, kernel: jax.Array, strides: Pair, padding: tuple[Pair, Pair],
              dtype: Any = None) -> jax.Array:
    """A convolution by oneDNN: with gradients, or in the form for weights that never change."""
    kernel = kernel.astype(jnp.float32)
    if onednn.PACKED.value:
        return onednn.packed_conv(x, kernel, strides, padding, dtype or x.dtype)
    return conv_by_onednn(x, kernel, strides, padding, dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def conv_by_onednn(x: jax.Array, kernel: jax.Array, strides: Pair, padding: tuple[Pair, Pair],
                   dtype: Any = None) -> jax.Array:
    """A convolution with a kernel in float32, and its gradients, on a CPU by oneDNN; `x` may be bfloat16. The
    result has the dtype of `x`, or `dtype`.

    A kernel that reads fewer channels than `x` has is one of groups of channels.
    """
    dtype = dtype or x.dtype

    def by_xla(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _rounded_conv(x, kernel, strides=strides, padding=padding).astype(dtype)

    on_cpu = partial(onednn.conv, strides=strides, padding=padding, dtype=dtype)
    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=by_xla)


def _rounded_conv(x: jax.Array, kernel: jax.Array, *, strides: Pair, padding: tuple[Pair, Pair]) -> jax.Array:
    return native_conv(x, kernel.astype(x.dtype), strides=strides, padding=padding)


def _by_onednn_forward(x: Any, kernel: Any, strides: Pair, padding: tuple[Pair, Pair], dtype: Any) -> Any:
    # The gradient of images is computed only where it is asked for.
    kept = x.value, kernel.value, () if x.perturbed else None
    return conv_by_onednn(x.value, kernel.value, strides, padding, dtype), kept


def _by_onednn_backward(strides: Pair, padding: tuple[Pair, Pair], dtype: Any, kept: Any,
                        gradient: jax.Array) -> Any:
    del dtype
    x, kernel, wanted = kept
    gradient = gradient.astype(x.dtype)
    native = partial(_rounded_conv, strides=strides, padding=padding)

    def to_input(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.linear_transpose(lambda x: native(x, kernel), x)(gradient)[0]

    def to_kernel(x: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.linear_transpose(lambda kernel: native(x, kernel), kernel)(gradient)[0]

    def on_cpu(call: Callable, like: jax.Array) -> Callable:
        return partial(call, shape=like.shape, strides=strides, padding=padding)

    of_kernel = lax.platform_dependent(
        x, gradient, cpu=on_cpu(onednn.kernel_gradient, kernel), default=to_kernel)
    return None if wanted is None else lax.platform_dependent(
        gradient, kernel, cpu=on_cpu(onednn.input_gradient, x), default=to_input), of_kernel


conv_by_onednn.defvjp(_by_onednn_forward, _by_onednn_backward, symbolic_zeros=True)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def image_conv(x: jax.Array, kernel: jax.Array, padding: tuple[Pair, Pair]) -> jax.Array:
    """A convolution with stride 2 of an input with few channels, such as an image."""
    return lax.platform_dependent(x, kernel, cuda=partial(_space_to_depth, padding=padding),
                                  default=partial(native_conv, strides=(2, 2), padding=padding))


def _image_forward(x: Any, kernel: Any, padding: tuple[Pair, Pair]) -> tuple[jax.Array, tuple[Any, ...]]:
    # The gradient of images is computed only where it is asked for.
    return image_conv(x.value, kernel.value, padding), (x.value, kernel.value, () if x.perturbed else None)


def _image_backward(
    padding: tuple[Pair, Pair], kept: tuple[Any, ...], gradient: jax.Array
) -> tuple[jax.Array | None, jax.Array]:
    x, kernel, wanted = kept
    native = partial(native_conv, strides=(2, 2), padding=padding)

    def by_blocks(gradient: jax.Array, x: jax.Array) -> jax.Array:
        blocks = partial(_space_to_depth, x, padding=padding)
        return jax.linear_transpose(blocks, kernel)(gradient)[0]

    def directly(gradient: jax.Array, x: jax.Array) -> jax.Array:
        # Batch and channels are swapped. Inside `platform_dependent`, XLA for CPUs does not do so by itself,
        # and takes a hundred times as long.
        ends = [(before, taps + 2 * count - 2 - size - before) for size, taps, count, (before, _) in zip(
            x.shape[1:3], kernel.shape[:2], gradient.shape[1:3], padding, strict=True)]
        x, gradient = x.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3)
        return native_conv(x, gradient, padding=ends, dilation=(2, 2)).transpose(1, 2, 0, 3)

    to_kernel = lax.platform_dependent(gradient, x, cuda=by_blocks, default=directly)
    to_x = None if wanted is None else jax.linear_transpose(lambda x: native(x, kernel), x)(gradient)[0]
    return to_x, to_kernel


image_conv.defvjp(_image_forward, _image_backward, symbolic_zeros=True)


def _space_to_depth(x: jax.Array, kernel: jax.Array, *, padding: tuple[Pair, Pair]) -> jax.Array:
    """A convolution with stride 2, computed with stride 1 over blocks of 2 x 2 pixels as four times the
    channels.

    Otherwise cuDNN would pad the few channels of an image to more.
    """
    rows, columns = kernel.shape[:2]
    ends = []
    for size, taps, (before, after) in zip(x.shape[1:3], kernel.shape[:2], padding, strict=True):
        blocks = (size + before + after - taps) // 2 + (taps + 1) // 2  # of all pixels in windows
        ends.append((before, 2 * blocks - before - size))
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((*end, 0) for end in ends), (0, 0, 0)))
    kernel = jnp.pad(kernel, ((0, rows % 2), (0, columns % 2), (0, 0), (0, 0)))
    return native_conv(_in_blocks(x, 1, (2, 2)), _in_blocks(kernel, 0, (2, 2)), padding=((0, 0), (0, 0)))


def _in_blocks(x: jax.Array, axis: int, block: Pair) -> jax.Array:
    """An array whose axes from `axis` on are height, width and channels: each block of pixels becomes one
    pixel with as many times the channels."""
    (high, wide), (height, width, channels) = block, x.shape[axis : axis + 3]
    down, across = height // high, width // wide
    parted = x.reshape(*x.shape[:axis], down, high, across, wide, channels, *x.shape[axis + 3 :])
    return parted.swapaxes(axis + 1, axis + 2).reshape(
        *x.shape[:axis], down, across, high * wide * channels, *x.shape[axis + 3 :])


def _as_windows(x: jax.Array, kernel: jax.Array, *, padding: tuple[Pair, Pair]) -> jax.Array:
    """A convolution whose kernel is two strides high and wide, as the product of its windows and the kernel;
    a window is put together from four blocks of a stride by a stride."""
    high, wide = block = kernel.shape[0] // 2, kernel.shape[1] // 2
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    down, across = x.shape[1] // high, x.shape[2] // wide
    x = _in_blocks(x[:, : down * high, : across * wide], 1, block)
    windows = [x[:, i : down - 1 + i, j : across - 1 + j] for i in range(2) for j in range(2)]
    kernel = _in_blocks(kernel, 0, block).reshape(-1, kernel.shape[3])
    return jnp.einsum('bhwc,cd->bhwd', jnp.concatenate(windows, -1), kernel)


def is_onednns(x: jax.Array, kernel: jax.Array, strides: Pair) -> bool:
    """Whether oneDNN computes it: on a CPU that has it, where many pixels share the kernel, which each call
    reorders, or which is packed before."""
    if not onednn.usable(x):
        return False
    pixels = math.prod(x.shape[:3]) // math.prod(strides)
    many_pixels = FEWER_PIXELS if onednn.PACKED.value else MANY_PIXELS
    return pixels >= many_pixels and pixels * math.prod(kernel.shape) >= MANY_PRODUCTS


def _winograd_pays(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether Winograd's algorithm is faster on a CPU."""
    if not is_static(x) or x.dtype != jnp.float32:
        return False
    multiplications = math.prod(x.shape) * kernel.shape[3]
    return multiplications >= LEAST_MULTIPLICATIONS and min(kernel.shape[2:]) >= LEAST_CHANNELS


def is_static(x: jax.Array) -> bool:
    """Whether all sizes are numbers; in an export, they may be symbolic."""
    return all(isinstance(size, int) for size in x.shape)


@jax.custom_vjp
def conv_3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 3 x 3 convolution that keeps the size; on a CPU by Winograd's algorithm, in two thirds of the time.

    The gradient of the input uses the algorithm too; the gradient of the kernel would gain nothing.
    """
    return lax.platform_dependent(x, kernel, cpu=winograd.conv, default=native_conv)


def _conv_3x3_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return conv_3x3(x, kernel), (x, kernel)


def _conv_3x3_backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept

    def input_gradient(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.linear_transpose(lambda x: native_conv(x, kernel), x)(gradient)[0]

    to_x = lax.platform_dependent(gradient, kernel, cpu=winograd.input_gradient, default=input_gradient)
    # Inside `platform_dependent`, XLA would turn the kernel's gradient into a loop that takes a hundred times
    # as long.
    return to_x, jax.linear_transpose(lambda kernel: native_conv(x, kernel), kernel)(gradient)[0]


conv_3x3.defvjp(_conv_3x3_forward, _conv_3x3_backward)


def _pointwise(x: jax.Array, kernel: jax.Array, *, strides: Pair) -> jax.Array:
    return jnp.einsum('bhwc,cd->bhwd', x[:, :: strides[0], :: strides[1]], kernel[0, 0])


def rows_by_onednn(x: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array | None:
    """Product of [..., D] and [D, E] in bfloat16 as a convolution of one row of pixels, or None where that is
    not faster.

    XLA does not use AMX, and takes a CPU four times as long.
    """
    if x.dtype != jnp.bfloat16 or not is_static(x):
        return None
    row, one = x.reshape(1, 1, -1, x.shape[-1]), kernel[None, None]
    if not is_onednns(row, one, (1, 1)):
        return None
    product = by_onednn(row, one, (1, 1), ((0, 0), (0, 0)), dtype)
    return product.reshape(*x.shape[:-1], kernel.shape[-1])


@jax.jit
def grouped(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution that keeps the size, of groups of channels by themselves: [B, H, W, C] with [height,
    width, C / groups, C].

    Group by group, a CPU takes a fifth of the time of XLA's own grouped form, and a twentieth for the
    gradient.
    """
    padding = keeping(kernel)
    if is_onednns(x, kernel, (1, 1)):
        return by_onednn(x, kernel, (1, 1), padding)
    kernel, groups = kernel.astype(x.dtype), x.shape[-1] // kernel.shape[2]
    parts = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
    return jnp.concatenate([native_conv(*part, padding=padding) for part in parts], -1)


def keeping(kernel: jax.Array) -> tuple[Pair, Pair]:
    """The padding that keeps the size at stride 1."""
    rows, columns = (size // 2 for size in kernel.shape[:2])
    return (rows, rows), (columns, columns)
