"""The reference implementations' own numbers, and helpers to compare with them.

Weights are made from a parameter's name in the reference's checkpoint and its shape; goldens/README.md has
the rule.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from recog import models
from recog.config import experiments
from recog.models.peers import from_peer
from recog.text import vocabulary

GOLDENS = Path(__file__).parent / 'models' / 'goldens'

# Endings of names whose weights are smaller or larger than by the rule, so that no part of a model dominates
# the others.
FIRST = {
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
# Those of goldens whose facts name them, so that attention prefers some places and norms see small values.
SCENE = {
    'mixer.qkv.weight': 2,
    'mixer.proj.weight': 1 / 10,
    'attn.qkv.weight': 2,
    'attn.proj.weight': 1 / 8,
    'mlp.fc2.weight': 1 / 4,
    'downsample.conv.weight': 1 / 50,
    'downsample.conv.bias': 1 / 50,
    'decoder.fc.weight': 1 / 3,
    'text_embed.embedding.weight': 1 / 10,
    'pos_queries': 1 / 2,
    'in_proj_weight': 3,
    'out_proj.weight': 1 / 16,
    'out_proj.bias': 1 / 10,
    'linear2.weight': 1 / 2,
    'linear2.bias': 1 / 10,
}
# So that attention prefers some cells and tokens, and neither is drowned by the mean of the others.
MATHS = {
    'in_proj_weight': 2,
    'multihead_attn.out_proj.weight': 0.15,
    'self_attn.out_proj.weight': 0.3,
    'linear2.weight': 1 / 4,
    'word_embed.1.weight': 3,
    'arm.conv.weight': 5,
    'decoder.proj.weight': 1.5,
}
FACTORS = {'first': FIRST, 'scene': SCENE, 'maths': MATHS}


def fill(key: str, shape: tuple[int, ...] | list[int], factors: str = 'first') -> np.ndarray:
    """The float32 value of the parameter or statistic that the reference calls `key`,
    in the reference's layout."""
    noise = np.random.RandomState(zlib.crc32(key.encode())).uniform(-1, 1, tuple(shape))
    value = _value(key, noise)
    for ending, factor in FACTORS[factors].items():
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
    factors = facts(name).get('factors', 'first') if name in names() else 'first'
    return arrays, rows, {row['key']: fill(row['seed_key'], row['shape'], factors) for row in rows}


def names() -> list[str]:
    """The goldens of models."""
    return sorted(path.name.partition('.')[0] for path in GOLDENS.glob('*.facts.json'))


def facts(name: str) -> dict[str, Any]:
    """The recipe of a golden, and the tolerance of each comparison."""
    return json.loads((GOLDENS / f'{name}.facts.json').read_text())


def data() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The references' results on images, labels, scores and steps: arrays, and texts."""
    with np.load(GOLDENS / 'data.npz') as file:
        return dict(file), json.loads((GOLDENS / 'data.json').read_text())


def recipe(name: str, *overrides: str) -> ConfigDict:
    """The recipe of a golden."""
    given = facts(name)
    changed = [f'--config.{each}' for each in (*given.get('overrides', ()), *overrides)]
    return experiments.load(str(GOLDENS.parents[2] / 'experiments' / given['recipe']), changed)


def build(name: str, *overrides: str) -> models.Model:
    """The model of that recipe."""
    config = recipe(name, *overrides)
    return models.build(config, vocabulary.from_config(config.text))


def variables(model: models.Model, state: dict[str, np.ndarray]) -> models.Variables:
    """A checkpoint of the reference as our variables."""
    return jax.tree.map(jnp.asarray, from_peer(model, state))


def batch(name: str, want: dict[str, np.ndarray]) -> dict[str, Any]:
    """The batch that a golden's arrays describe."""
    rule, rows = facts(name)['tokens'], len(want['image'])
    tokens = want['label'][:, rule['from'] : rule['to']] - rule['minus']
    letters = (tokens >= 0) & (tokens < len(vocabulary.from_config(recipe(name).text)))
    given = {name: jnp.asarray(want[array]) for name, array in facts(name).get('given', {}).items()}
    return images(want['image'], want.get('mask')) | given | {
        'tokens': jnp.asarray(np.where(letters, tokens, -1), jnp.int32),
        'length': jnp.asarray(letters.sum(1), jnp.int32), 'weight': jnp.ones(rows), 'index': jnp.arange(rows),
    }


def images(image: np.ndarray, mask: np.ndarray | None = None) -> dict[str, Any]:
    """Images [B, C, H, W] of a golden, and their sizes, as a batch has them."""
    there = (np.ones_like(image) if mask is None else mask)[:, 0] > 0
    size = np.stack([there.any(2).sum(1), there.any(1).sum(1)], 1)
    return {'image': jnp.asarray(image.transpose(0, 2, 3, 1)), 'size': jnp.asarray(size, jnp.int32)}


def turned_back(array: Any, turn: str) -> np.ndarray:
    """Our array in the reference's layout."""
    axes = models.TURNS[turn]
    return np.asarray(array) if axes is None else np.asarray(array).transpose(np.argsort(axes))


def difference(got: Any, want: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    assert np.shape(got) == want.shape
    return float(np.abs(np.asarray(got) - want).max() / np.abs(want).max())
