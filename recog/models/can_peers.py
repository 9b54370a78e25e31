"""The names of CAN's parameters in checkpoints: PaddleOCR's, and those of the authors' own PyTorch code."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from recog.models import Peer, coverage, densenet, flatten

COUNTING = {'conv': 'trans_layer.0', 'norm': 'trans_layer.1', 'squeeze': 'channel_att.fc.0', 'excite': 'channel_att.fc.2',
            'classes': 'pred_layer.0'}
LEAVES = {'kernel': 'weight', 'bias': 'bias', 'scale': 'weight', 'mean': '_mean', 'variance': '_variance'}


def peers(settings: Any, init: Any) -> dict[str, Peer]:
    """The reference's keys for every parameter and statistic."""
    found, counters = {}, {f'counting{scale}': number for number, scale in enumerate(settings.counting, 1)}
    for path in flatten(jax.eval_shape(init, jax.random.key(0))):
        part, turn = path[1], 'conv' if path[-1] == 'kernel' and path[-2] not in ('squeeze', 'excite') else 'same'
        if part == 'backbone':
            key = 'backbone.' + densenet.peer_key(path[2:])
        elif part == 'head':
            name, turn = coverage.peer(path[2])
            key = f'head.decoder.{name}'
        else:
            key = f'head.counting_decoder{counters[part]}.{COUNTING[path[2]]}.{LEAVES[path[3]]}'
        found[key] = Peer(path, turn)
    return found


# The authors' parts and PaddleOCR's, and the endings that differ.
PARTS = {'encoder': 'backbone', 'counting_decoder1': 'head.counting_decoder1', 'counting_decoder2': 'head.counting_decoder2',
         'decoder': 'head.decoder'}
ENDINGS = {'running_mean': '_mean', 'running_var': '_variance'}


def adapt(state: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint of the authors by PaddleOCR's names and in its layout; others as they are.

    The authors' dense blocks have no biases, which a norm behind them would take away: zeros stand in.
    """
    if 'encoder.conv1.weight' not in state:
        return dict(state)
    found: dict[str, Any] = {}
    for name, array in state.items():
        part, _, rest = name.partition('.')
        if part not in PARTS:
            found[name] = array
            continue
        stem, _, ending = rest.rpartition('.')
        key = f'{PARTS[part]}.{stem}.{ENDINGS[ending] if ending in ENDINGS else ending}'
        # PyTorch's matrices are what goes out x what comes in; an embedding is none.
        matrix = ending == 'weight' and np.ndim(array) == 2 and stem != 'embedding'
        found[key] = np.transpose(array) if matrix else array
        if part == 'encoder' and stem.startswith('dense') and stem.endswith(('conv1', 'conv2')):
            found.setdefault(f'{PARTS[part]}.{stem}.bias', np.zeros(np.shape(array)[0], np.float32))
    return found
