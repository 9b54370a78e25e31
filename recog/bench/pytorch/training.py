"""The training steps of a rival, in each memory layout."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from ml_collections import ConfigDict

from recog import models
from recog.bench.pytorch import equality
from recog.bench.pytorch.forms import LAYOUTS
from recog.bench.rivals import weights
from recog.bench.rivals.listed import BFLOAT16


def steps(rival: torch.nn.Module, model: models.Model, config: ConfigDict,
          batch: Mapping[str, np.ndarray], wanted: float) -> dict[str, Callable[[], None]]:
    """The calls of forward, loss, backward and optimizer by their form; each must have this loss."""
    calls: dict[str, Callable[[], None]] = {}
    for kind, layout in LAYOUTS.items():
        network = copy.deepcopy(rival).to(memory_format=layout).train()
        given = *equality.given(rival, batch, config, layout), *equality.labels(batch)
        equality.check_loss(network, given, wanted)
        calls[kind] = partial(_step, network, _optimizer(network, model, config), config, given)
    return calls


def _optimizer(network: torch.nn.Module, model: models.Model, config: ConfigDict) -> torch.optim.Optimizer:
    """The recipe's optimizer, fused."""
    rule = config.optimizer
    groups = [{'params': parameters, 'lr': rule.rate * multiplier} for multiplier, parameters
              in weights.by_rate(network.named_parameters(), model, config).items()]
    if rule.name == 'momentum':
        return torch.optim.SGD(groups, momentum=rule.momentum, nesterov=rule.nesterov,
                               weight_decay=rule.decay, fused=True)
    return torch.optim.Adam(groups, betas=(rule.b1, rule.b2), eps=rule.eps, weight_decay=rule.decay,
                            fused=True)


def _step(network: Any, optimizer: torch.optim.Optimizer, config: ConfigDict, given: tuple[Any, ...]) -> None:
    rule = config.optimizer
    optimizer.zero_grad()
    with torch.autocast('cpu', torch.bfloat16, enabled=config.train.precision == BFLOAT16):
        loss = network.loss(*given)
    loss.backward()
    for parameter in network.parameters() if rule.clip_tensor else ():
        torch.nn.utils.clip_grad_norm_(parameter, rule.clip_tensor)
    if rule.clip_norm:
        torch.nn.utils.clip_grad_norm_(network.parameters(), rule.clip_norm)
    optimizer.step()
