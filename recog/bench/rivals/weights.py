"""Our arrays under the names that a rival has for them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from recog import models
from recog.bench.rivals.frameworks import Framework
from recog.config import values
from recog.errors import ConfigError
from recog.train import patterns

# Parts of names: in rivals, and in the published checkpoints, which `Model.peers` knows.
NAMES = {'features.backbone': 'backbone', 'features.lstm': 'neck.encoder.lstm', 'running_mean': '_mean',
         'running_var': '_variance'}


def published(name: str, peers: Mapping[str, models.Peer]) -> str:
    """The name in published checkpoints, those of the peers, of an array of a rival."""
    if name in peers:
        return name
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name


def arrays(framework: Framework, names: Iterable[str], products: Mapping[str, tuple[int, ...]],
           model: models.Model, variables: models.Variables) -> dict[str, np.ndarray]:
    """Our variables by the names of a rival. `products` are the axes of weights that stand in
    the framework otherwise than here, whatever published checkpoints have."""
    leaves, found = models.flatten(variables), {}
    for name in names:
        peer = model.peers.get(published(name, model.peers))
        if peer is None:
            raise ConfigError(f'{framework.option}: the rival has {name}, which is none of the names of '
                              'the checkpoint')
        turn = models.TURNS[peer.turn]
        axes = products.get(name, None if turn is None else np.argsort(turn))
        array = np.asarray(leaves[peer.path])
        found[name] = np.ascontiguousarray(array if axes is None else array.transpose(axes))
    return found


def by_rate(parameters: Iterable[tuple[str, Any]], model: models.Model,
            config: ConfigDict) -> dict[float, list[Any]]:
    """A rival's named parameters by what `config.optimizer.groups` multiplies their learning rate with."""
    rules = [values.parse_group(group) for group in config.optimizer.groups]
    found: dict[float, list[Any]] = {}
    for name, parameter in parameters:
        path = '/'.join(model.peers[published(name, model.peers)].path[1:])
        multiplier = patterns.multiplier(path, rules)
        found.setdefault(1.0 if multiplier is None else multiplier, []).append(parameter)
    return found
