"""Matches the arrays of a reference's checkpoint with our parameters, and translates their names."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recog.models import TURNS, ZERO, Model, Variables, flatten, variables

# The last part of a name in checkpoints of Paddle and of PyTorch, as tables for `renamed`.
PADDLE = {'(kernel|scale)$': 'weight', '(mean|variance)$': r'_\1'}
PYTORCH = {'(kernel|scale)$': 'weight', 'mean$': 'running_mean', 'variance$': 'running_var'}


def renamed(path: Sequence[str], table: Mapping[str, str]) -> str:
    """The reference's dotted name for our path: its parts are joined by slashes,
    and each regular expression of the table is replaced in turn."""
    name = '/'.join(path)
    for pattern, replacement in table.items():
        name = re.sub(pattern, replacement, name)
    return name.replace('/', '.')


def from_peer(model: Model, state: Mapping[str, Any]) -> Variables:
    """Variables filled from a published checkpoint, a mapping from names to arrays.

    Nothing may be missing or left over.
    """
    filled, problems = matched(model, state)
    if any(problems.values()):
        found = [listed(kind, names) for kind, names in problems.items() if names]
        raise ValueError(f'checkpoint: {"; ".join(found)}')
    return variables(filled)


def matched(
    model: Model, state: Mapping[str, Any]
) -> tuple[dict[tuple[str, ...], np.ndarray], dict[str, list[str]]]:
    """The variables that a published checkpoint fills, and the names that do not fit, by kind of problem."""
    import jax

    state = model.adapt(state)
    shapes = flatten(jax.eval_shape(model.init, jax.random.key(0)))
    filled: dict[tuple[str, ...], np.ndarray] = {}
    problems: dict[str, list[str]] = {'missing': [], 'surplus': sorted(set(state) - set(model.peers))}
    problems |= {'misshapen': [], 'contradictory': [], 'not zero, as the model has it,': []}
    for key, peer in model.peers.items():
        if key not in state:
            continue
        if peer == ZERO:
            problems['not zero, as the model has it,'] += [key] if np.any(state[key]) else []
            continue
        array, want = np.asarray(state[key], np.float32), shapes[peer.path].shape
        axes = TURNS[peer.turn]
        if axes is not None and len(axes) == array.ndim:
            array = array.transpose(axes)
        if array.shape != want:
            problems['misshapen'].append(f'{key} {np.shape(state[key])}')
            continue
        if peer.path in filled and not np.array_equal(filled[peer.path], array):
            problems['contradictory'].append(key)  # the reference keeps an LSTM's tensors under two names
        filled[peer.path] = array
    named = {peer.path: key for key, peer in model.peers.items()}
    bad = {name.partition(' ')[0] for name in problems['misshapen']}
    missing = [named[path] if path in named else '/'.join(path) for path in shapes if path not in filled]
    problems['missing'] = [key for key in missing if key not in bad]
    return filled, problems


def listed(kind: str, keys: list[str], most: int = 8) -> str:
    """A kind of problem and the first few keys that have it."""
    more = f' and {len(keys) - most} more' if len(keys) > most else ''
    return f'{kind} {", ".join(keys[:most])}{more}'
