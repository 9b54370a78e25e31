"""A toy: two convolutions, the mean of each column, and CTC."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from recog.images.fit import channels, normalise
from recog.models import About, Batch, Model, Peer, Rows, Variables, refuse
from recog.models.decoding.ctc import best_path, ctc_loss, finish, prefix_beam
from recog.models.parts.layers import PRECISIONS, Context, ConvNorm, Linear

STRIDE = (4, 4)
TURNED = {'kernel': 'weight', 'scale': 'weight', 'bias': 'bias', 'mean': '_mean', 'variance': '_variance'}


class Toy(nn.Module):
    """Images [B, H, W, C] to `backbone` [B, H / 4, T, D] and `head`,
    logits [B, T, 1 + V]; class 0 is the blank."""

    width: int
    classes: int

    @nn.compact
    def __call__(self, image: jax.Array, context: Context) -> dict[str, jax.Array]:
        x = image.astype(context.dtype)
        for number in range(2):
            x = ConvNorm(self.width, strides=(2, 2), name=f'conv_{number}')(x, context)
        return {'backbone': x, 'head': Linear(self.classes, name='head')(x.mean(1))}


def build(config: Any, vocab: Any) -> Model:
    """The toy with the width of the recipe."""
    rule, train = FrozenConfigDict(config.image), config.train
    refuse(config, {'model.width': (config.model.width >= 1, 'at least 1')})
    network, colours = Toy(config.model.width, len(vocab) + 1), channels(rule)
    dtype, group = PRECISIONS[train.precision], train.norm_group

    def init(key: jax.Array, batch: Batch | None = None) -> Variables:
        start = network.init(key, jnp.zeros((1, *STRIDE, colours)), Context(False, None, 0, jnp.float32))
        return {'params': start['params'], 'stats': start['batch_stats']}

    def apply(variables: Variables, batch: Batch, *, key: Any = None, train: bool = False,
              step: Any = 0) -> Any:
        context = Context(train, batch['weight'] if train else None, group, dtype)
        state = {'params': variables['params'], 'batch_stats': variables['stats']}
        pixels = normalise(batch['image'], batch['size'], rule)
        outputs, after = network.apply(state, pixels, context, mutable=['batch_stats'])
        return outputs, after['batch_stats']

    def loss(variables: Variables, batch: Batch, *, key: Any = None, train: bool = True,
             step: Any = 0) -> Any:
        outputs, stats = apply(variables, batch, train=train)
        losses, _ = ctc_loss(outputs['head'], batch['tokens'], batch['length'])
        weight = batch['weight']
        return (jnp.sum(jnp.where(weight > 0, losses * weight, 0)), weight.sum()), (stats, {})

    def decode(variables: Variables, image: Any, size: Any, max_length: Any, *, beam: int = 1,
               details: bool = False) -> dict[str, jax.Array]:
        frames = jax.nn.log_softmax(apply(variables, {'image': image, 'size': size})[0]['head'])
        found = best_path(frames) if beam == 1 else prefix_beam(frames, beam)
        return finish(found, frames, max_length, details)

    peers = {f'head.{end}': Peer(('params', 'head', path), 'same')
             for path, end in (('kernel', 'weight'), ('bias', 'bias'))}
    for number in range(2):
        peers[f'conv{number}.weight'] = Peer(('params', f'conv_{number}', 'conv', 'kernel'), 'conv')
        for name in ('scale', 'bias', 'mean', 'variance'):
            kind = 'params' if name in ('scale', 'bias') else 'stats'
            peers[f'norm{number}.{TURNED[name]}'] = Peer((kind, f'conv_{number}', 'norm', name), 'same')
    sized = {'head/bias': Rows(0), 'head/kernel': Rows(1)}
    about = About(STRIDE, rule.width // STRIDE[1], False, True, sized, (), maps=('frames',))
    return Model(init, apply, loss, decode, peers, about)
