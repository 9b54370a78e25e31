"""The rival of a trained network, for the comparison with exports in `recog bench FOLDER`."""

import copy
import importlib
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from ml_collections import ConfigDict

from recog import models
from recog.bench.pytorch import equality
from recog.bench.pytorch.forms import LAYOUTS
from recog.bench.pytorch.texts import read
from recog.images.fit import normalise

Given = tuple[np.ndarray, np.ndarray, np.ndarray]
Reader = Callable[[Given], Callable[[], tuple[list[list[int]], Any]]]


def readers(config: ConfigDict, tokens: int, model: models.Model,
            variables: models.Variables) -> dict[str, Reader]:
    """For each memory layout, a function of images, sizes and `max_length` that returns a call;
    the call returns the tokens of each image.

    As in `race`, the images are normalised before the call. Our own programs normalise them inside it.
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rival = importlib.import_module(f'recog.bench.pytorch.{config.model.name}').build(config, tokens)
    equality.load(rival, model, variables)
    found: dict[str, Reader] = {}
    for kind, layout in LAYOUTS.items():
        network = copy.deepcopy(rival).to(memory_format=layout).eval()
        found[kind] = partial(_call, network, layout, config)
    return found


def _call(network: torch.nn.Module, layout: Any, config: ConfigDict, given: Given) -> Callable:
    """A call that reads these images."""
    image, size, longest = given
    values = torch.from_numpy(np.array(normalise(image, size, config.image)))
    images = [values.permute(0, 3, 1, 2).contiguous(memory_format=layout)]
    images += [torch.tensor(size, dtype=torch.long)] if equality.is_sized(network) else []
    return partial(read, partial(network.found, most=int(longest)), tuple(images), int(longest))
