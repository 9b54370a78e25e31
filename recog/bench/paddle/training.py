"""The training step of a rival."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import paddle
from ml_collections import ConfigDict

from recog import models
from recog.bench.paddle import equality
from recog.bench.paddle.forms import EAGER
from recog.bench.rivals import weights


def steps(rival: paddle.nn.Layer, model: models.Model, config: ConfigDict,
          batch: Mapping[str, np.ndarray], wanted: float) -> dict[str, Callable[[], None]]:
    """The calls of forward, loss, backward and optimizer by their form; each must have this loss."""
    network = copy.deepcopy(rival)
    network.train()
    given = *equality.given(batch, config), *equality.labels(batch)
    equality.check_loss(network, given, wanted)
    return {EAGER: partial(_step, network, _optimizer(network, model, config), config.optimizer, given)}


def _optimizer(network: paddle.nn.Layer, model: models.Model, config: ConfigDict) -> Any:
    """The recipe's optimizer, which updates many arrays at once."""
    rule = config.optimizer
    trained = ((name, each) for name, each in network.named_parameters() if not each.stop_gradient)
    groups = [{'params': parameters, 'learning_rate': multiplier}
              for multiplier, parameters in weights.by_rate(trained, model, config).items()]
    if rule.name == 'momentum':
        return paddle.optimizer.Momentum(rule.rate, rule.momentum, groups, use_nesterov=rule.nesterov,
                                         weight_decay=rule.decay, use_multi_tensor=True)
    return paddle.optimizer.Adam(rule.rate, rule.b1, rule.b2, rule.eps, groups, weight_decay=rule.decay,
                                 use_multi_tensor=True)


def _step(network: Any, optimizer: Any, rule: ConfigDict, given: tuple[paddle.Tensor, ...]) -> None:
    network.loss(*given).backward()
    trained = [each for each in network.parameters() if not each.stop_gradient]
    for parameter in trained if rule.clip_tensor else ():
        paddle.nn.utils.clip_grad_norm_(parameter, rule.clip_tensor)
    if rule.clip_norm:
        paddle.nn.utils.clip_grad_norm_(trained, rule.clip_norm)
    optimizer.step()
    optimizer.clear_grad()
