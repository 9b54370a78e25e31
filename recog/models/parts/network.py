"""Applies a model's network to batches with the recipe's settings: normalisation of pixels, precision,
batch norm's group and dropout's key."""

import contextlib
import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from ml_collections import FrozenConfigDict

from recog.images.fit import normalise
from recog.models import Batch, Variables
from recog.models.parts.layers import PRECISIONS, Context

BLOCKS = 'blocks'  # one of train.remat
BLOCK = 'block'  # the name that the outputs of a network's blocks have for rematerialisation
DEPTH = 2  # a block is a module within a module of the network


class Network(NamedTuple):
    """A Linen module that takes pixels, further inputs and a `Context`, with the recipe's settings for it."""

    module: nn.Module
    image: FrozenConfigDict
    dtype: Any
    group: int
    names_blocks: bool = False  # in training, for rematerialisation

    def init(self, key: jax.Array, *inputs: Any, **settings: Any) -> Variables:
        """Initial variables for inputs of these shapes; the first input is the pixels."""
        start = _initial(self.module, tuple(settings.items()))(key, *inputs)
        return {'params': start['params'], 'stats': start.get('batch_stats', {})}

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
        naming = nn.intercept_methods(_name_blocks) if train and self.names_blocks else \
            contextlib.nullcontext()
        with naming:
            outputs, after = self.module.apply(
                state, pixels, *inputs, context, mutable=['batch_stats'], rngs=rngs, **settings)
        return outputs, after.get('batch_stats', {})


@functools.lru_cache(8)
def _initial(module: nn.Module, settings: tuple[tuple[str, Any], ...]) -> Callable:
    """What makes a module's initial variables, kept so that equal modules are traced once."""
    context = Context(False, None, 0, jnp.float32)
    return jax.jit(partial(module.init, context=context, **dict(settings)))


def _name_blocks(call: Callable, inputs: tuple, settings: dict, context: nn.module.InterceptorContext) -> Any:
    """The outputs of a module, named if it is a block."""
    outputs = call(*inputs, **settings)
    if context.method_name != '__call__' or len(context.module.path) != DEPTH:
        return outputs
    return jax.tree.map(lambda leaf: checkpoint_name(leaf, BLOCK), outputs)


def network(module: nn.Module, config: Any) -> Network:
    """The module with the settings of a recipe."""
    precision, group = PRECISIONS[config.train.precision], config.train.norm_group
    return Network(module, FrozenConfigDict(config.image), precision, group, config.train.remat == BLOCKS)
