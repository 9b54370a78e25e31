"""Whether a recipe's network and its rival in PyTorch are the same function, given the same weights."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from ml_collections import ConfigDict

from recog import models
from recog.bench.pytorch.texts import read
from recog.bench.rivals import equality, weights
from recog.bench.rivals.frameworks import PYTORCH
from recog.errors import ConfigError


def load(rival: torch.nn.Module, model: models.Model, variables: models.Variables) -> None:
    """Fill the rival with our variables."""
    # Linear weights are [in, out] here and [out, in] in PyTorch.
    products = {f'{name}.weight': (1, 0) for name, module in rival.named_modules()
                if isinstance(module, torch.nn.Linear)}
    names = [name for name in rival.state_dict() if not name.endswith('num_batches_tracked')]
    arrays = weights.arrays(PYTORCH, names, products, model, variables)
    try:
        rival.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()}, strict=False)
    except RuntimeError as error:  # sizes that differ
        reason = ' '.join(str(error).split())
        raise ConfigError(f'--pytorch: the rival is another network: {reason}') from None


def check(model: models.Model, rival: Any, config: ConfigDict) -> float:
    """Raise an error unless numbers of parameters, logits and texts are equal; returns
    the largest difference of the logits."""
    rival, longest = copy.deepcopy(rival).eval(), config.text.max_length

    def computed(variables: models.Variables,
                 batch: dict[str, np.ndarray]) -> tuple[np.ndarray, list[list[int]]]:
        load(rival, model, variables)
        images = given(rival, batch, config)
        with torch.inference_mode():
            logits = rival(*images, *(labels(batch) if is_taught(rival) else ())).numpy()
        return logits, read(partial(rival.found, most=longest), images, longest)[0]

    trained = sum(each.numel() for each in rival.parameters() if each.requires_grad)
    return equality.check(PYTORCH, model, config, trained, computed,
                          sized=is_sized(rival), taught=is_taught(rival))


def is_sized(rival: torch.nn.Module) -> bool:
    """Whether the rival asks for the sizes of images, because it masks their padding."""
    return getattr(rival, 'sized', False)


def is_taught(rival: torch.nn.Module) -> bool:
    """Whether the rival computes logits only of given texts."""
    return getattr(rival, 'taught', False)


def given(rival: torch.nn.Module, batch: Mapping[str, np.ndarray], config: ConfigDict,
          layout: Any = torch.contiguous_format) -> tuple[torch.Tensor, ...]:
    """What the rival reads of a batch: the images and, if it asks for them, their sizes."""
    image = torch.tensor(equality.pixels(batch, config)).contiguous(memory_format=layout)
    return (image, torch.tensor(batch['size'], dtype=torch.long)) if is_sized(rival) else (image,)


def labels(batch: Mapping[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens and lengths of the texts of a batch."""
    tokens, length = (torch.tensor(batch[name], dtype=torch.long) for name in ('tokens', 'length'))
    return tokens, length


def check_loss(rival: torch.nn.Module, given: tuple[torch.Tensor, ...], wanted: float) -> None:
    """Raise an error unless the rival has this loss without dropout."""
    quiet = copy.deepcopy(rival)
    for module in quiet.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    with torch.no_grad():
        equality.check_loss(PYTORCH, quiet.loss(*given).item(), wanted)
