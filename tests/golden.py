"""The reference implementations' own numbers, and what it takes to compare with them.

Weights are made from a parameter's name in the reference's checkpoint and its shape, as goldens/README.md says.
"""

import functools
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from recog import models

GOLDENS = Path(__file__).parent / 'models' / 'goldens'

# Endings of names whose weights are smaller or larger than the rule says, so that no part of a model drowns another.
FACTORS = {
    'loc_net.fc2.weight': 1 / 20,
    'counting_context_weight.weight': 1 / 50,
    'backbone.conv.conv.weight': 1 / 64,
    'F_-3_base_block_3.weight': 1 / 400,
    'pvam.emb.weight': 40,
    'pvam.fc1.weight': 20,
    'gsrm.fc0.weight': -1,
    'token_embedding.weight': 10,
    'pos_embedding': 5,
    'multihead_attn.out_proj.weight': 1 / 4,
}


def fill(key: str, shape: tuple[int, ...] | list[int]) -> np.ndarray:
    """The float32 value of the parameter or statistic that the reference calls `key`, in the reference's layout."""
    noise = np.random.RandomState(zlib.crc32(key.encode())).uniform(-1, 1, tuple(shape))
    value = _value(key, noise)
    for ending, factor in FACTORS.items():
        if key.endswith(ending):
            value = value * factor
    return value.astype(np.float32)


def _value(key: str, noise: np.ndarray) -> np.ndarray:
    name = key.split('.')[-1]
    if 'grid_generator.fc' in key:
        return np.zeros_like(noise)
    if key.endswith('loc_net.fc2.bias'):
        return _fiducials(noise.size // 2) + 0.05 * noise
    if name in ('_mean', 'running_mean'):
        return 0.1 * noise
    if name in ('_variance', 'running_var'):
        return 1 + 0.5 * noise
    if noise.ndim == 1:
        return 1 + 0.2 * noise if name == 'weight' else 0.1 * noise
    if noise.ndim == 4:
        return noise * np.sqrt(5 / np.prod(noise.shape[1:]))
    return noise * np.sqrt(12 / max(noise.shape))


def _fiducials(count: int) -> np.ndarray:
    """RARE's initial points, its Fig. 6(a): (x, y) of those on top, then of those below."""
    x = np.linspace(-1, 1, count // 2)
    y = np.linspace(0, -1, count // 2), np.linspace(1, 0, count // 2)
    return np.concatenate([np.stack([x, row], 1) for row in y]).ravel()


def golden(name: str) -> tuple[dict[str, np.ndarray], list[dict], dict[str, np.ndarray]]:
    """The arrays of a golden, the rows of its checkpoint, and a state dict filled by the rule."""
    with np.load(GOLDENS / f'{name}.npz') as file:
        arrays = dict(file)
    rows = json.loads((GOLDENS / f'{name}.keys.json').read_text())
    return arrays, rows, {row['key']: fill(row['seed_key'], row['shape']) for row in rows}


class Training(NamedTuple):
    """The losses of some steps, and gradients and statistics of the first, by the reference's keys and in its layout."""

    heads: list[np.ndarray]  # the logits of each step, in training mode
    losses: list[float]
    gradients: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]


def train(model: models.Model, variables: models.Variables, batch: dict[str, Any], tx: Any, steps: int = 3,
          options: dict[str, Any] | None = None) -> Training:
    """A few steps of the reference's optimizer on one batch, without dropout, compiled with these options."""

    @functools.partial(jax.jit, compiler_options=options)
    def step(params, stats, memory, batch):
        def loss(params):
            outputs, _ = model.apply({'params': params, 'stats': stats}, batch, train=True)
            (total, count), (after, _) = model.loss({'params': params, 'stats': stats}, batch)
            # count 0: a sum that is not divided
            return total / jax.numpy.where(count > 0, count, 1), (after, outputs['head'])

        (value, (stats, head)), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, memory = tx.update(gradients, memory, params)
        return optax.apply_updates(params, updates), stats, memory, value, gradients, head

    params, stats = variables['params'], variables['stats']
    memory, losses, firsts, heads = jax.jit(tx.init)(params), [], [], []
    for _ in range(steps):
        params, stats, memory, value, gradients, head = step(params, stats, memory, batch)
        losses.append(float(value))
        heads.append(np.asarray(head))
        firsts.append({'params': gradients, 'stats': stats})
    first = models.flatten(firsts[0])
    named = {key: turned_back(first[peer.path], peer.turn) for key, peer in model.peers.items() if peer.path in first}
    kinds = {kind: {k: v for k, v in named.items() if model.peers[k].path[0] == kind} for kind in ('params', 'stats')}
    return Training(heads, losses, kinds['params'], kinds['stats'])


def turned_back(array: Any, turn: str) -> np.ndarray:
    """Our array in the reference's layout."""
    axes = models.TURNS[turn]
    return np.asarray(array) if axes is None else np.asarray(array).transpose(np.argsort(axes))


def difference(got: Any, want: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    assert np.shape(got) == want.shape
    return float(np.abs(np.asarray(got) - want).max() / np.abs(want).max())
