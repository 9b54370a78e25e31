"""Convolutions, bidirectional LSTMs and, in bfloat16, products by oneDNN, as calls of XLA on CPUs.

XLA's own take a CPU up to five times as long in float32, and ten times in bfloat16, for which Intel's AMX has
instructions. oneDNN is used by itself on one CPU device where it and a C++ compiler are installed (Debian:
libdnnl-dev and g++), and not with RECOG_ONEDNN=0.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recog.onednn import build

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
Shape = tuple[int, ...]

# What a convolution computes, as in library.cc.
OUTPUT, INPUT_GRADIENT, KERNEL_GRADIENT = range(3)
# While it is true, functions are traced in a form for weights that never change: what oneDNN does to them
# first, which is to bring them into its own layouts, is an operation apart.
PACKED = jax.make_user_context(False)


def products(device: jax.Device, precision: str) -> str:
    """What computes convolutions and LSTMs in one of train.precision's values on this device, in a few words,
    if it is worth saying: on a CPU, oneDNN, or why XLA does, which is slow in bfloat16."""
    dtype = 'bfloat16' if precision == 'bfloat16' else 'float32'
    if device.platform != 'cpu':
        return ''
    library, line = build.found(dtype)
    if library and jax.device_count() > 1:
        library, line = None, 'XLA, since there is more than one device'
    return f'{dtype} by {line}' if library or dtype == 'bfloat16' else ''


def usable(x: jax.Array) -> bool:
    """Whether an operation with this input can be oneDNN's: of sizes that are known, on one CPU device that
    gains by it."""
    return (all(isinstance(size, int) and size for size in x.shape) and x.dtype.name in build.INSTRUCTIONS
            and jax.default_backend() == 'cpu' and jax.device_count() == 1
            and build.found(x.dtype.name)[0] is not None)


def packs() -> bool:
    """Whether oneDNN can pack weights here."""
    return (jax.default_backend() == 'cpu' and jax.device_count() == 1
            and build.found('float32')[0] is not None)


def conv(x: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding, dtype: Any) -> jax.Array:
    """Convolution of [B, H, W, C] with a float32 kernel [height, width, C / groups, D], in `dtype`."""
    shape = _output_shape(x, kernel, strides, padding)
    return _convolution(OUTPUT, x, kernel, shape, dtype, strides, padding)


def _output_shape(x: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding) -> Shape:
    sizes = [(size + sum(ends) - taps) // stride + 1 for size, taps, stride, ends in zip(
        x.shape[1:3], kernel.shape[:2], strides, padding, strict=True)]
    return x.shape[0], *sizes, kernel.shape[3]


def input_gradient(gradient: jax.Array, kernel: jax.Array, shape: Shape, strides: Pair,
                   padding: Padding) -> jax.Array:
    """The gradient of `conv`'s input, which has this shape."""
    return _convolution(INPUT_GRADIENT, gradient, kernel, shape, gradient.dtype, strides, padding)


def kernel_gradient(x: jax.Array, gradient: jax.Array, shape: Shape, strides: Pair,
                    padding: Padding) -> jax.Array:
    """The gradient of `conv`'s kernel, which has this shape, in float32."""
    return _convolution(KERNEL_GRADIENT, x, gradient, shape, jnp.float32, strides, padding)


def _convolution(kind: int, first: jax.Array, second: jax.Array, shape: Shape, dtype: Any, strides: Pair,
                 padding: Padding) -> jax.Array:
    before, after = zip(*padding, strict=True)
    call = jax.ffi.ffi_call('recog_convolution', jax.ShapeDtypeStruct(shape, dtype), vmap_method='sequential')
    return call(first, second, kind=np.int64(kind), strides=np.array(strides, np.int64),
                before=np.array(before, np.int64), after=np.array(after, np.int64))


def packed_conv(x: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding, dtype: Any) -> jax.Array:
    """`conv`, with the kernel packed by an operation apart."""
    shape = _output_shape(x, kernel, strides, padding)
    before, after = zip(*padding, strict=True)
    sizes = np.array([*x.shape, *kernel.shape, *shape, *strides, *before, *after], np.int64)
    is_rounded = x.dtype == jnp.bfloat16
    library, _ = build.found(x.dtype.name)
    size = library.recog_packed_kernel_bytes(sizes.ctypes.data_as(build.SIZES), is_rounded) if library else 0
    fields = {'strides': np.array(strides, np.int64), 'before': np.array(before, np.int64),
              'after': np.array(after, np.int64)}
    packing = jax.ffi.ffi_call('recog_pack_kernel', jax.ShapeDtypeStruct((size,), jnp.uint8))
    packed = packing(kernel, x=np.array(x.shape, np.int64), y=np.array(shape, np.int64),
                     rounded=np.bool_(is_rounded), **fields)
    call = jax.ffi.ffi_call('recog_packed_convolution', jax.ShapeDtypeStruct(shape, dtype))
    return call(x, packed, kernel=np.array(kernel.shape, np.int64), **fields)


def packed_lstm(x: jax.Array, kernel_ih: jax.Array, kernel_hh: jax.Array, bias: jax.Array) -> jax.Array:
    """The output of `lstm`, with both kernels packed by an operation apart."""
    hidden, is_rounded, sizes = kernel_hh.shape[1], x.dtype == jnp.bfloat16, np.zeros(2, np.int64)
    library, _ = build.found(x.dtype.name)
    if library:
        library.recog_packed_lstm_bytes(*x.shape, hidden, is_rounded, sizes.ctypes.data_as(build.SIZES))
    shapes = [jax.ShapeDtypeStruct((int(size),), jnp.uint8) for size in sizes]
    packing = jax.ffi.ffi_call('recog_pack_lstm', shapes)
    packed = packing(kernel_ih, kernel_hh, x=np.array(x.shape, np.int64), rounded=np.bool_(is_rounded))
    output = jax.ShapeDtypeStruct((*x.shape[:2], 2 * hidden), x.dtype)
    return jax.ffi.ffi_call('recog_packed_lstm', output)(x, *packed, bias)


def workspace(shape: Shape, hidden: int, dtype: jnp.dtype) -> int:
    """Bytes that `lstm` over [T, B, D] keeps for its gradient; 0 if oneDNN has none of these sizes."""
    library, _ = build.found(dtype.name)
    return library.recog_lstm_workspace(*shape, hidden, dtype == jnp.bfloat16) if library else 0


def lstm(x: jax.Array, kernel_ih: jax.Array, kernel_hh: jax.Array, bias: jax.Array) -> tuple[jax.Array, ...]:
    """Bidirectional LSTM, [T, B, D] -> [T, B, 2 hidden], and its workspace; gates i, f, g, o.

    The weights are float32 and stacked, forward first: kernels [2, D, 4 hidden] and [2, hidden, 4 hidden],
    bias [2, 4 hidden].
    """
    hidden = kernel_hh.shape[1]
    shapes = (jax.ShapeDtypeStruct((*x.shape[:2], 2 * hidden), x.dtype),
              jax.ShapeDtypeStruct((workspace(x.shape, hidden, x.dtype),), jnp.uint8))
    call = jax.ffi.ffi_call('recog_lstm_forward', shapes, vmap_method='sequential')
    return tuple(call(x, kernel_ih, kernel_hh, bias))


def lstm_gradients(x: jax.Array, kernel_ih: jax.Array, kernel_hh: jax.Array, bias: jax.Array,
                   output: jax.Array, kept: jax.Array, gradient: jax.Array) -> tuple[jax.Array, ...]:
    """The gradients of the four arguments of `lstm`, in float32; `kept` is its workspace."""
    given = x, kernel_ih, kernel_hh, bias
    shapes = tuple(jax.ShapeDtypeStruct(each.shape, jnp.float32) for each in given)
    call = jax.ffi.ffi_call('recog_lstm_backward', shapes, vmap_method='sequential')
    return tuple(call(*given, output, kept, gradient.astype(jnp.float32)))
