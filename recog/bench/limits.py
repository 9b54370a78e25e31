"""The peak arithmetic and memory bandwidth of the devices, measured here,
and which of the two limits a program."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recog import onednn
from recog.bench import hlo
from recog.bench.hlo import Operation, Program
from recog.models.parts.convolutions import conv
from recog.models.parts.layers import PRECISIONS
from recog.models.precision import in_precision

REPEATS, CALLS = 12, 4  # measurements, of which the best counts, and calls in each of them
# Results and operands of these cost nothing, or are counted with the operations inside them.
FREE = hlo.IDLE | {'while', 'conditional', 'call', 'async-start'}


def peak(dtype: str, devices: Sequence[jax.Device]) -> float:
    """FLOP/s of a large matrix product in one of train.precision's values, on all devices together."""
    return _peak(dtype, tuple(devices))


def bandwidth(devices: Sequence[jax.Device]) -> float:
    """Bytes/s that all devices together read and write, measured with an array larger than any cache."""
    return _bandwidth(tuple(devices))


@functools.cache
def _peak(dtype: str, devices: tuple[jax.Device, ...]) -> float:
    side = 1024 if devices[0].platform == 'cpu' else 4096
    values = np.random.default_rng(0).normal(size=(side, side)) / side ** 0.5  # powers of it stay small
    matrix = jnp.asarray(values, PRECISIONS[dtype])
    product = _as_convolution if onednn.usable(matrix) else in_precision(jnp.matmul, dtype)
    return 2 * side ** 3 * len(devices) / _seconds(jax.jit(product), [
        (jax.device_put(matrix, device), jax.device_put(matrix, device)) for device in devices])


def _as_convolution(left: jax.Array, right: jax.Array) -> jax.Array:
    """The product of two matrices as a convolution, which is what oneDNN computes."""
    return conv(left[None, None], right[None, None], padding=((0, 0), (0, 0)))[0, 0]


@functools.cache
def _bandwidth(devices: tuple[jax.Device, ...]) -> float:
    count = 2 ** (26 if devices[0].platform == 'cpu' else 28)  # 256 MiB, 1 GiB
    # In place: a fresh array would measure how fast the system hands out memory.
    scale = jax.jit(lambda values: values * 0.999 + 0.001, donate_argnums=0)
    return 8 * count * len(devices) / _seconds(scale, [
        (jax.device_put(jnp.zeros(count, jnp.float32), device),) for device in devices])


def _seconds(call: Callable, arguments: list[tuple[jax.Array, ...]]) -> float:
    """The least seconds of a call on every device; the result of a call is the first argument of the next."""
    times = []
    for _ in range(REPEATS + 1):
        begun = time.perf_counter()
        for _ in range(CALLS):
            arguments = [(call(first, *others), *others) for first, *others in arguments]
        jax.block_until_ready(arguments)
        times.append((time.perf_counter() - begun) / CALLS)
    return min(times[1:])  # the first compiles


def shares(arithmetic: float, memory: float) -> dict[str, Any]:
    """A program's shares of the peak and of the bandwidth; the larger one says which of the two limits it.

    If both are small, neither does: the time goes into starting many small operations, or waiting for others.
    """
    return {'share_of_peak': arithmetic, 'share_of_bandwidth': memory,
            'bound_by': 'arithmetic' if arithmetic >= memory else 'memory'}


def moved(program: Program, computation: str = '') -> int:
    """Bytes that a compiled program, or one of its computations, reads and writes on each
    device: the inputs and outputs of its kernels.

    Values inside a fusion do not count, of a sliced array only the slice counts, and a loop counts once per
    step (XLA's own `cost_analysis()['bytes accessed']`, equal otherwise, counts a loop once). It is an upper
    bound: data that a cache still holds counts too, so small models may seem to exceed the memory bandwidth.
    """
    named = {name: {each.name: each for each in operations}
             for name, operations in program.computations.items()}
    return sum(times * _touched(operation, named[place], named)
               for operation, place, times in hlo.executed(program, computation)
               if operation.kind not in FREE and not operation.kind.endswith('-done'))


def _touched(operation: Operation, around: dict[str, Operation],
             named: dict[str, dict[str, Operation]]) -> int:
    operands = [around[name].bytes for name in operation.operands]
    if operation.kind in ('fusion', 'fusion-start'):  # the latter is asynchronous; its end is not counted
        fused = named[operation.computations('calls')[0]]
        parameters = {int(each.given): each for each in fused.values() if each.kind == 'parameter'}
        reads = sum(min(size, _read(parameters[place], fused)) for place, size in enumerate(operands))
        return reads + _written(next(each for each in fused.values() if each.root), fused)
    if operation.kind in ('dynamic-slice', 'slice', 'gather'):
        return 2 * operation.bytes
    if operation.kind == 'dynamic-update-slice':
        return 2 * operands[1]
    if operation.kind.endswith('-start'):  # its results repeat its operands
        return 2 * sum(operands)
    # cuBLAS and cuDNN: the first result, without scratch space.
    if operation.kind == 'custom-call' and 'custom_call_target="__cu' in operation.rest:
        return operation.results[0] + sum(operands)
    return operation.bytes + sum(operands)


def _read(source: Operation, fused: dict[str, Operation]) -> int:
    """Bytes that a fusion reads of an array: only the slices if it is
    sliced, none if it is updated in place."""
    total = 0
    for user in fused.values():
        if source.name not in user.operands:
            continue
        if user.kind == 'bitcast':
            total += _read(user, fused)
        elif user.kind in ('dynamic-slice', 'slice', 'gather') and user.operands[0] == source.name:
            total += user.bytes
        elif user.kind != 'dynamic-update-slice' or user.operands[0] != source.name:
            return source.bytes
    return total


def _written(root: Operation, inner: dict[str, Operation]) -> int:
    """Bytes that a fusion writes: only the update if an array is updated in place."""
    if root.kind == 'tuple':
        return sum(_written(inner[name], inner) for name in root.operands)
    if root.kind == 'bitcast':
        return _written(inner[root.operands[0]], inner)
    return inner[root.operands[1]].bytes if root.kind == 'dynamic-update-slice' else root.bytes
