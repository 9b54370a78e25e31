"""Batch norm, matrix products with float32 results, and Linen modules with the parameters of these and of
convolutions.

`batch_norm` is jitted separately, so that its name appears in the jaxpr. Conventions and initial values are
Paddle's, or PyTorch's on request: a running statistic becomes 0.9 old + 0.1 new, and the running variance is
biased by default.
"""

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from recog.models.parts.convolutions import Pair, conv, rows_by_onednn
from recog.models.parts.depthwise import depthwise
from recog.models.precision import HIGHEST

MOMENTUM = 0.9
EPSILON = 1e-5
PARTS = 8  # the most parts of the pixels that a CPU adds up at a time
MANY_ROWS = 8  # rows from which that is faster
PRECISIONS = {'float32': jnp.float32, HIGHEST: jnp.float32, 'bfloat16': jnp.bfloat16}


class Context(NamedTuple):
    """What blocks need besides their input: the training flag, the weight of each row, batch norm's group,
    the compute dtype and, where padding is masked, the mask [B, H, W, 1] of the input's cells inside the
    image."""

    train: bool
    weight: jax.Array | None
    group: int
    dtype: Any
    cells: jax.Array | None = None


@partial(jax.jit, static_argnames=('train', 'group', 'unbiased'))
def batch_norm(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    weight: jax.Array | None = None,
    cells: jax.Array | None = None,
    *,
    train: bool,
    group: int = 0,
    unbiased: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Batch norm of [B, ..., C] and the running statistics after it.

    In training, the statistics are those of the whole batch or, with `group`, of every `group` consecutive
    rows. Rows of weight 0 are left out, and so are positions outside the mask `cells` [B, ..., 1], if it is
    given. With `unbiased`, as in PyTorch, the running variance is unbiased; the variance that normalises the
    values is always biased.
    """
    if not train:
        factor = scale * lax.rsqrt(variance + EPSILON)
        return ((x - mean) * factor + bias).astype(x.dtype), mean, variance
    if group and x.shape[0] % group:
        raise ValueError(f'batch norm: {x.shape[0]} rows are not a multiple of the group of {group}')
    # With groups, axis 0 is the group; without, the statistics are taken over axis 0 too.
    values = x.reshape(-1, group, *x.shape[1:]) if group else x
    axes = tuple(range(bool(group), values.ndim - 1))
    weight = jnp.ones(x.shape[0]) if weight is None else weight
    weight = weight.reshape(*values.shape[: 1 + bool(group)], *[1] * (len(axes)))
    rows = weight.sum(axes, keepdims=True)
    if cells is None:
        total = jnp.where(rows > 0, rows, 1.0) * (x.size // x.shape[0] // x.shape[-1])
        shares = weight / total
    else:
        counted = weight * cells.reshape(*values.shape[:-1], 1)
        total = counted.sum(axes, keepdims=True)
        shares = counted / jnp.where(total > 0, total, 1.0)
    output, center, spread = normalised(values, shares, scale, bias, axes)
    if unbiased:
        spread = spread * (total / jnp.maximum(total - 1, 1))
    statistics = _running(mean, center, rows), _running(variance, spread, rows)
    return output.reshape(x.shape), *statistics


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def normalised(
    values: jax.Array, shares: jax.Array, scale: jax.Array, bias: jax.Array, axes: tuple[int, ...]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Values normalised over `axes`, where `shares` are the weights of the mean,
    and the mean and variance in float32."""
    return _normalised_forward(values, shares, scale, bias, axes)[0]


def _normalised_forward(
    values: jax.Array, shares: jax.Array, scale: jax.Array, bias: jax.Array, axes: tuple[int, ...]
) -> tuple[Any, Any]:
    exact = _in_float32(values)
    center = _summed(exact * shares, axes)
    if exact.dtype == values.dtype:
        spread = _summed(jnp.square(exact - center) * shares, axes)
    else:  # one pass over the values gives both; it loses less than the rounding of the values
        spread = jnp.maximum(_summed(jnp.square(exact) * shares, axes) - jnp.square(center), 0)
    # A group of filler rows alone has no statistics, but must not overflow.
    present = shares.sum(axes, keepdims=True) > 0
    inverse = lax.rsqrt(jnp.where(present, spread, 1.0) + EPSILON)
    output = ((exact - center) * (inverse * scale) + bias).astype(values.dtype)
    return (output, center, spread), (values, shares, scale, center, inverse)


def _normalised_backward(axes: tuple[int, ...], kept: Any, cotangents: Any) -> tuple[jax.Array, ...]:
    # Written by hand, this compiles in half the time. Running statistics have no gradient.
    values, shares, scale, center, inverse = kept
    gradient = _in_float32(cotangents[0])
    standard = (_in_float32(values) - center) * inverse
    to_bias, to_scale = _summed(gradient, axes), _summed(gradient * standard, axes)
    to_values = (gradient - shares * (to_bias + standard * to_scale)) * (inverse * scale)
    flat = to_bias.reshape(-1, scale.size).sum(0), to_scale.reshape(-1, scale.size).sum(0)
    return to_values.astype(values.dtype), jnp.zeros_like(shares), flat[1], flat[0]


normalised.defvjp(_normalised_forward, _normalised_backward)


def _in_float32(values: jax.Array) -> jax.Array:
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def _summed(values: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """The sum over all rows and pixels, whose axes are kept with size 1."""
    whole = partial(jnp.sum, axis=axes, keepdims=True)
    if values.shape[axes[0]] < MANY_ROWS:
        return whole(values)
    return lax.platform_dependent(values, cpu=partial(_folded_sum, axes=axes), default=whole)


def _folded_sum(values: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """`_summed` of [..., B, H, W, C]: repeatedly splits the pixels into parts and adds the parts.

    It is as exact as XLA's own sum over all but the last axis, which takes a CPU up to ten times as long.
    """
    groups, rows, channels = values.shape[: axes[0]], values.shape[axes[0]], values.shape[-1]
    pixels = math.prod(values.shape[axes[0] + 1 : -1])
    folded = values.reshape(*groups, rows, pixels, channels)
    while (parts := max(number for number in range(1, PARTS + 1) if pixels % number == 0)) > 1:
        # Without the barrier, XLA would fuse everything into one sum, which runs on one core.
        folded = lax.optimization_barrier(reduce(jnp.add, jnp.split(folded, parts, -2)))
        pixels //= parts
    return folded.sum((-3, -2)).reshape(*groups, *(1 for _ in axes), channels)


def _running(old: jax.Array, new: jax.Array, rows: jax.Array) -> jax.Array:
    """The running statistic [C] updated by those of the groups [G, ..., C],
    weighted by the groups' real rows [G, ..., 1]."""
    total = rows.sum()
    average = jnp.sum(new * rows, tuple(range(new.ndim - 1))) / jnp.where(total > 0, total, 1.0)
    return jnp.where(total > 0, MOMENTUM * old + (1 - MOMENTUM) * average, old)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def einsum32(form: str, left: jax.Array, right: jax.Array) -> jax.Array:
    """An einsum of operands in their own dtype whose result is float32.

    The incoming gradient is float32. It is rounded to the operands' dtype first: otherwise the backward
    products of bfloat16 operands would run in float32, at half the speed on GPUs.
    """
    return jnp.einsum(form, left, right, preferred_element_type=jnp.float32)


def _einsum32_forward(form: str, left: jax.Array, right: jax.Array) -> tuple[jax.Array, Any]:
    return einsum32(form, left, right), (left, right)


def _einsum32_backward(form: str, kept: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    left, right = kept
    gradient = gradient.astype(left.dtype)
    to_left, = jax.linear_transpose(lambda left: jnp.einsum(form, left, right), left)(gradient)
    to_right, = jax.linear_transpose(lambda right: jnp.einsum(form, left, right), right)(gradient)
    return to_left, to_right


einsum32.defvjp(_einsum32_forward, _einsum32_backward)


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Product of [..., D] and [D, E] in the dtype of `x`; the result is float32."""
    found = rows_by_onednn(x, kernel, jnp.float32)
    return einsum32('...d,de->...e', x, kernel.astype(x.dtype)) if found is None else found


def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Product of [..., D] and [D, E] in the dtype of `x`, which the result has, too."""
    found = rows_by_onednn(x, kernel, x.dtype)
    return jnp.matmul(x, kernel.astype(x.dtype)) if found is None else found


def uniform(bound: float) -> Callable[..., jax.Array]:
    """Initial values between -bound and bound."""
    return lambda key, shape: jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def normal(deviation: float) -> Callable[..., jax.Array]:
    """Initial values of a normal distribution around 0."""
    return lambda key, shape: deviation * jax.random.normal(key, shape, jnp.float32)


class Conv(nn.Module):
    """A convolution; unless `padding` is given, it keeps the size at stride 1."""

    features: int
    size: Pair = (3, 3)
    strides: Pair = (1, 1)
    padding: tuple[Pair, Pair] | None = None
    biased: bool = False
    start: Callable[..., jax.Array] | None = None  # initial values of the kernel and the bias

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        (rows, columns), channels = self.size, x.shape[-1]
        start = self.start or normal((2 / (channels * rows * columns)) ** 0.5)
        kernel = self.param('kernel', start, (rows, columns, channels, self.features))
        padding = self.padding or ((rows // 2, rows // 2), (columns // 2, columns // 2))
        x = conv(x, kernel, strides=self.strides, padding=padding)
        if self.biased:
            x = x + self.param('bias', self.start or nn.initializers.zeros, (self.features,)).astype(x.dtype)
        return x


class Depthwise(nn.Module):
    """A depthwise convolution: each channel has its own kernel."""

    size: Pair
    strides: Pair = (1, 1)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        # As in Paddle, the fan-in counts all channels, although each output reads one.
        start = normal((2 / (channels * self.size[0] * self.size[1])) ** 0.5)
        return depthwise(x, self.param('kernel', start, (*self.size, 1, channels)), strides=self.strides)


class BatchNorm(nn.Module):
    """Batch norm, with its running statistics in the collection `batch_stats`."""

    unbiased: bool = False  # the running variance, as in PyTorch
    learned_bias: bool = True  # not where what follows cancels it: its gradient would be rounding errors

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        shape = x.shape[-1:]
        scale = self.param('scale', nn.initializers.ones, shape)
        bias = self.param('bias', nn.initializers.zeros, shape)
        bias = bias if self.learned_bias else lax.stop_gradient(bias)
        mean = self.variable('batch_stats', 'mean', jnp.zeros, shape)
        variance = self.variable('batch_stats', 'variance', jnp.ones, shape)
        weight, cells = (context.weight, context.cells) if context.train else (None, None)
        output, *after = batch_norm(
            x, scale, bias, mean.value, variance.value, weight, cells,
            train=context.train, group=context.group, unbiased=self.unbiased)
        if context.train:
            mean.value, variance.value = after
        return output


class ConvNorm(nn.Module):
    """A convolution, batch norm and an activation; `features` None makes the convolution depthwise."""

    features: int | None
    size: Pair = (3, 3)
    strides: Pair = (1, 1)
    activation: Callable[[jax.Array], jax.Array] | None = jax.nn.relu

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        if self.features is None:
            x = Depthwise(self.size, self.strides, name='conv')(x)
        else:
            x = Conv(self.features, self.size, self.strides, name='conv')(x)
        x = BatchNorm(name='norm')(x, context)
        return x if self.activation is None else self.activation(x)


class Linear(nn.Module):
    """A linear layer whose kernel and bias start uniform between +-1/sqrt(input width);
    the result is float32."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        start = uniform(x.shape[-1] ** -0.5)
        kernel = self.param('kernel', start, (x.shape[-1], self.features))
        bias = self.param('bias', start, (self.features,))
        return product(x, kernel) + bias
