"""Applies a model's network to batches with the recipe's settings: normalisation of pixels, precision,
batch norm's group and dropout's key."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from recog.images.fit import normalise
from recog.models import Batch, Variables
from recog.models.parts.layers import PRECISIONS, Context


class Network(NamedTuple):
    """A Linen module that takes pixels, further inputs and a `Context`, with the recipe's settings for it."""

    module: nn.Module
    image: FrozenConfigDict
    dtype: Any
    group: int

    def init(self, key: jax.Array, *inputs: Any, **settings: Any) -> Variables:
        """Initial variables for inputs of these shapes; the first input is the pixels."""
        context = Context(False, None, 0, jnp.float32)
        start = jax.jit(partial(self.module.init, context=context, **settings))(key, *inputs)
        return {'params': start['params'], 'stats': start['batch_stats']}

    def apply(
        self, variables: Variables, batch: Batch, *inputs: Any, train: bool = False, key: Any = None,
        **settings: Any,
    ) -> tuple[Any, Any]:
        """The module's outputs for the images of a batch and further inputs, and the updated batch
        statistics; dropout is on only in training and with a key."""
        context = Context(train, batch['weight'] if train else None, self.group, self.dtype)
        state = {'params': variables['params'], 'batch_stats': variables['stats']}
        pixels = normalise(batch['image'], batch['size'], self.image)
        rngs = {'dropout': key} if train and key is not None else {}
        outputs, after = self.module.apply(
            state, pixels, *inputs, context, mutable=['batch_stats'], rngs=rngs, **settings)
        return outputs, after['batch_stats']


def network(module: nn.Module, config: Any) -> Network:
    """The module with the settings of a recipe."""
    precision, group = PRECISIONS[config.train.precision], config.train.norm_group
    return Network(module, FrozenConfigDict(config.image), precision, group)
