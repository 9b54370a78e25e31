"""Whether a recipe's network and its rival in Paddle are the same function, given the same weights."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import paddle
from ml_collections import ConfigDict

from recog import models
from recog.bench.paddle.texts import read
from recog.bench.rivals import equality, weights
from recog.bench.rivals.frameworks import PADDLE
from recog.errors import ConfigError


def load(rival: paddle.nn.Layer, model: models.Model, variables: models.Variables) -> None:
    """Fill the rival with our variables."""
    held = {name: tuple(each.shape) for name, each in rival.state_dict().items()}
    arrays = weights.arrays(PADDLE, held, {}, model, variables)
    for name, array in arrays.items():  # Paddle would only warn, and leave the array as it is
        if array.shape != held[name]:
            raise ConfigError(f'--paddle: the rival is another network: its {name} is {held[name]} '
                              f'instead of {array.shape}')
    rival.set_state_dict(arrays)


def check(model: models.Model, rival: Any, config: ConfigDict) -> float:
    """Raise an error unless numbers of parameters, logits and texts are equal; returns
    the largest difference of the logits."""
    rival, longest = copy.deepcopy(rival), config.text.max_length
    rival.eval()

    def computed(variables: models.Variables,
                 batch: dict[str, np.ndarray]) -> tuple[np.ndarray, list[list[int]]]:
        load(rival, model, variables)
        images = given(batch, config)
        with paddle.no_grad():
            logits = rival(*images).numpy()
        return logits, read(partial(rival.found, most=longest), images, longest)[0]

    trained = sum(each.size for each in rival.parameters() if not each.stop_gradient)
    return equality.check(PADDLE, model, config, trained, computed, sized=False, taught=False)


def given(batch: Mapping[str, np.ndarray], config: ConfigDict) -> tuple[paddle.Tensor]:
    """What a rival reads of a batch."""
    return (paddle.to_tensor(equality.pixels(batch, config)),)


def labels(batch: Mapping[str, np.ndarray]) -> tuple[paddle.Tensor, paddle.Tensor]:
    """The tokens and lengths of the texts of a batch."""
    tokens, length = (paddle.to_tensor(batch[name], dtype='int64') for name in ('tokens', 'length'))
    return tokens, length


def quiet(rival: Any) -> Any:
    """A copy without dropout."""
    rival = copy.deepcopy(rival)
    for layer in rival.sublayers():
        if isinstance(layer, paddle.nn.Dropout):
            layer.p = 0
    return rival


def check_loss(rival: Any, given: tuple[paddle.Tensor, ...], wanted: float) -> None:
    """Raise an error unless the rival has this loss in training, without dropout."""
    with paddle.no_grad():
        equality.check_loss(PADDLE, float(quiet(rival).loss(*given)), wanted)
