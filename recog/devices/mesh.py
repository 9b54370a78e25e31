"""The mesh of devices, and how batches and states lie on it."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from recog.errors import ConfigError

ROWS = PartitionSpec(('data', 'fsdp'))
# XLA's options for programs on such devices, beyond its defaults.
OPTIONS: dict[str, dict[str, Any]] = {
    # Products by YNNPACK, as is the default, but not convolutions: Eigen's of few channels take half as long.
    'cpu': {'xla_cpu_experimental_ynn_fusion_type': 'LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT'},
    # Products by cuBLAS alone: trying its own kernels takes XLA longer than all the rest of compiling.
    'gpu': {'xla_gpu_enable_triton_gemm': False},
}
SMALLEST = 2 ** 14  # elements; smaller tensors are not worth cutting


def choose_devices(names: str) -> list[jax.Device]:
    """The devices with these numbers ('0,1'), or all."""
    devices = jax.devices()
    if not names:
        return devices
    numbers = [int(name) for name in names.split(',')]
    wrong = [number for number in numbers if not 0 <= number < len(devices)]
    if wrong or len(set(numbers)) != len(numbers):
        raise ConfigError(f'--devices {names}: there are {len(devices)} {devices[0].platform} devices, '
                          f'0 to {len(devices) - 1}')
    return [devices[number] for number in numbers]


def make_mesh(rule: ConfigDict, devices: Sequence[jax.Device]) -> Mesh:
    """The mesh with axes data and fsdp over these devices, all of them."""
    sizes = [rule.data, rule.fsdp]
    fixed = int(np.prod([size for size in sizes if size > 0]))
    if min(sizes) < -1 or 0 in sizes or sizes == [-1, -1]:
        raise ConfigError(f'config.mesh={rule.to_dict()} must be above 0, '
                          'or -1 on one axis to take what is left')
    shape = [size if size > 0 else len(devices) // fixed for size in sizes]
    if int(np.prod(shape)) != len(devices):
        raise ConfigError(f'config.mesh={rule.to_dict()} does not fit the {len(devices)} '
                          f'{devices[0].platform} devices; data times fsdp must be their number')
    return jax.make_mesh(tuple(shape), ('data', 'fsdp'), axis_types=(AxisType.Auto,) * 2, devices=devices)


def data_mesh(devices: Sequence[jax.Device]) -> Mesh:
    """The mesh with all of these devices along data."""
    return make_mesh(ConfigDict({'data': -1, 'fsdp': 1}), devices)


def one_device(device: jax.Device | None = None) -> Mesh:
    """The mesh of one device, the first of this process if none is named."""
    devices = [device or jax.local_devices()[0]]
    return jax.make_mesh((1, 1), ('data', 'fsdp'), axis_types=(AxisType.Auto,) * 2, devices=devices)


def check_batch(mesh: Mesh, config: ConfigDict) -> None:
    """Refuse a (micro-)batch that the mesh cannot cut evenly."""
    micro = config.train.batch // config.train.accumulate
    if micro % mesh.size:
        raise ConfigError(f'config.train.batch={config.train.batch} in {config.train.accumulate} '
                          f'micro-batches of {micro} must be a multiple of the {mesh.size} devices')


def row_multiple(mesh: Mesh, config: ConfigDict) -> int:
    """What the rows of a training batch are a multiple of: each device has rows of each micro-batch, which
    consists of whole groups of batch norm."""
    return math.lcm(mesh.size, config.train.norm_group or 1) * config.train.accumulate


def compiler_options(mesh: Mesh) -> dict[str, Any]:
    """XLA's options for programs on these devices, which only a program's outermost `jit` takes."""
    return _known_options(mesh.devices.flat[0].platform)


@functools.cache
def _known_options(platform: str) -> dict[str, Any]:
    """The options for such devices, if this XLA has them: they are experimental."""
    options = OPTIONS.get(platform, {})
    try:
        jax.jit(jax.numpy.negative, compiler_options=options).lower(0).compile()
    except (ValueError, jax.errors.JaxRuntimeError):
        return {}
    return options


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """How a batch lies: its rows over all devices."""
    return NamedSharding(mesh, ROWS)


def micro_batch_sharding(mesh: Mesh) -> NamedSharding:
    """How the micro-batches of a batch lie: each over all devices."""
    return NamedSharding(mesh, PartitionSpec(None, *ROWS))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def state_layout(mesh: Mesh, tree: Any) -> Any:
    """How each tensor of a state lies: cut along its longest axis that fsdp divides, else replicated."""
    parts = mesh.shape['fsdp']

    def layout(leaf: Any) -> NamedSharding:
        if parts > 1 and leaf.size >= SMALLEST:
            for axis in sorted(range(leaf.ndim), key=lambda axis: -leaf.shape[axis]):
                if leaf.shape[axis] % parts == 0:
                    return NamedSharding(mesh, PartitionSpec(*(None,) * axis, 'fsdp'))
        return replicated(mesh)

    return jax.tree.map(layout, tree)


def unsharded(mesh: Mesh, tree: Any) -> Any:
    """Tensors of a state, whole on every device; inside of jit."""
    if mesh.shape['fsdp'] == 1:
        return tree
    return jax.lax.with_sharding_constraint(tree, replicated(mesh))


def cut(mesh: Mesh, tree: Any) -> Any:
    """Tensors laid out as those of a state; inside of jit."""
    if mesh.shape['fsdp'] == 1:
        return tree
    return jax.lax.with_sharding_constraint(tree, state_layout(mesh, tree))


def local_rows(mesh: Mesh, rows: int) -> np.ndarray:
    """The rows of a batch that this process has to read: those of its own devices."""
    numbers = np.arange(rows)
    cuts = batch_sharding(mesh).addressable_devices_indices_map((rows,))
    return np.unique(np.concatenate([numbers[cut] for cut in cuts.values()]))


def rounded(mesh: Mesh, rows: int) -> int:
    """The number of rows, rounded up to one that the mesh cuts evenly."""
    return -(-rows // mesh.size) * mesh.size
