"""SVTRv2: convolutions and attention over images of several shapes, a choice of heights for each column, and
CTC.

Du et al., "SVTRv2: CTC Beats Encoder-Decoder Models in Scene Text Recognition" (2024, arXiv 2411.15858), with
the head RCTC, in the form of the reference implementation, OpenOCR. A CTC class is a vocabulary id + 1; class
0 is the blank.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from recog.errors import ConfigError
from recog.images.fit import channels
from recog.models import About, Batch, Model, Peer, Rows, Variables, flatten, refuse
from recog.models.backbones import mixers
from recog.models.backbones.mixers import STAGES, STRIDE, FeedForward, Mixers, SelfAttention, linear
from recog.models.decoding import ctc
from recog.models.parts.layers import PRECISIONS, Context, Linear, einsum32, normal
from recog.models.parts.network import network
from recog.models.parts.transformer import Dropout, LayerNorm, Noise
from recog.models.peers import PYTORCH, renamed

POOLS = ('attend', 'mean')
MEAN_WIDTH, MEAN_DROPOUT = 256, 0.1  # of the columns where heights are averaged
PARALLEL = 'decoder.ctc_decoder.'  # before the names of a head that was trained beside another


class RowBlock(nn.Module):
    """A transformer block in which each place of a map [B, h, w, D] sees those of its own row."""

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = x.shape
        x = x.reshape(shape[0] * shape[1], *shape[2:])
        x = x + SelfAttention(self.heads, small=False, biased=False, name='attention')(
            LayerNorm(name='norm_1')(x))
        return (x + FeedForward(small=False, name='feed_forward')(LayerNorm(name='norm_2')(x))).reshape(shape)


class Heights(nn.Module):
    """One feature [B, w, D] for each column of a map [B, h, w, D]: the values of its places, weighted by how
    near their keys are to one learnt token, [B, h, w]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        width = x.shape[-1]
        keys, values = jnp.split(linear(2 * width, width, False, 'key_value')(x), 2, -1)
        token = self.param('token', normal(0.02), (1, 1, width))[0, 0].astype(x.dtype)
        weights = jax.nn.softmax(einsum32('bhwd,d->bwh', keys, token))  # not scaled
        columns = einsum32('bwh,bhwd->bwd', weights.astype(x.dtype), values)
        return columns.astype(x.dtype), weights.swapaxes(1, 2)


class SVTRv2(nn.Module):
    """Images [B, H, W, C] to the stages of `Mixers`, `rows` [B, h, w, D] and `heights` [B, h, w] where
    heights are chosen, `columns` [B, T, D], and `head`, the logits [B, T, 1 + V]."""

    settings: FrozenConfigDict
    classes: int

    @nn.compact
    def __call__(self, image: jax.Array, context: Context) -> dict[str, jax.Array]:
        rule = self.settings
        encoder = Mixers(rule.widths, rule.blocks, rule.local, rule.head_width, rule.stochastic_depth,
                         name='backbone')
        stages = encoder(image.astype(context.dtype), context)
        maps = stages['backbone']
        if rule.pool == 'mean':
            columns = linear(MEAN_WIDTH, maps.shape[-1], False, 'columns', biased=False)(maps.mean(1))
            dropout = Dropout(Noise(MEAN_DROPOUT), name='dropout')
            stages['columns'] = dropout(jax.nn.hard_swish(columns), context.train)
        else:
            stages['rows'] = RowBlock(maps.shape[-1] // rule.head_width, name='rows')(maps)
            stages['columns'], stages['heights'] = Heights(name='columns')(stages['rows'])
        return stages | {'head': Linear(self.classes, name='head')(stages['columns'])}


def build(config: Any, vocab: Any) -> Model:
    """SVTRv2 with the widths, blocks and head of the recipe."""
    _check(config)
    settings, capacity = FrozenConfigDict(config.model), config.image.width // STRIDE[1]
    svtr = network(SVTRv2(settings, len(vocab) + 1), config)

    def init(key: jax.Array, batch: Batch | None = None) -> Variables:
        # No parameter depends on the size.
        return svtr.init(key, jnp.zeros((1, *STRIDE, channels(svtr.image))))

    def apply(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = False, step: Any = 0
    ) -> Any:
        sides = batch['image'].shape[1:3]
        if any(side % stride for side, stride in zip(sides, STRIDE, strict=True)):
            raise ConfigError(f'images of {sides[0]} x {sides[1]}: height and width must be multiples of '
                              f'{STRIDE[0]} and {STRIDE[1]}')
        return svtr.apply(variables, batch, train=train, key=key)

    def loss(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = True, step: Any = 0
    ) -> Any:
        outputs, stats = apply(variables, batch, key=key, train=train, step=step)
        total, metrics = ctc.batch_loss(outputs['head'], batch)
        return total, (stats, metrics)

    def decode(
        variables: Variables, image: Any, size: Any, max_length: Any, *, beam: int = 1, details: bool = False
    ) -> dict[str, jax.Array]:
        outputs, _ = apply(variables, {'image': image, 'size': size})
        return ctc.texts(outputs['head'], max_length, beam, details)

    sized = {'head/bias': Rows(0), 'head/kernel': Rows(1)}
    about = About(STRIDE, capacity, False, True, sized, (), maps=('frames',),
                  features=('stage_0', 'stage_1', 'backbone'))
    return Model(init, apply, loss, decode, _peers(settings, init), about, adapt=adapt)


def adapt(state: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint whose head was trained beside another, as one of that head alone."""
    if not any(name.startswith(PARALLEL) for name in state):
        return dict(state)
    return {name.replace(PARALLEL, 'decoder.'): array for name, array in state.items()
            if name.startswith(PARALLEL) or not name.startswith('decoder.')}


def _check(config: Any) -> None:
    """Refuse settings that SVTRv2 does not support; what all recipes have in common has been checked."""
    settings, image, train = config.model, config.image, config.train
    stages = f'{STAGES} numbers of at least'
    refuse(config, {
        'model.head_width': (settings.head_width >= 1, 'at least 1'),
        'model.widths': (
            len(settings.widths) == STAGES and all(
                width > 0 == width % 2 == width % max(settings.head_width, 1) for width in settings.widths),
            f'{STAGES} even multiples of model.head_width={settings.head_width}'),
        'model.blocks': (len(settings.blocks) == STAGES and min(settings.blocks) >= 1, f'{stages} 1'),
        'model.local': (len(settings.local) == STAGES and min(settings.local) >= 0, f'{stages} 0'),
        'model.stochastic_depth': (0 <= settings.stochastic_depth < 1, 'at least 0 and below 1'),
        'model.pool': (settings.pool in POOLS, f'one of {", ".join(POOLS)}'),
        'image.fit': (image.fit not in ('none', 'thumbnail'), 'pad, stretch, steps or ratio for svtrv2'),
        'image.height': (image.height % STRIDE[0] == 0, f'a multiple of {STRIDE[0]} for svtrv2'),
        'image.width': (image.width % STRIDE[1] == 0, f'a multiple of {STRIDE[1]} for svtrv2'),
        'train.precision': (train.precision in PRECISIONS, f'one of {", ".join(PRECISIONS)}'),
    })


# Our names outside the backbone (regular expressions) and the reference's.
PEERS: Mapping[str, str] = {
    '^head/': 'fc/',
    '^columns/token$': 'char_token',
    '^columns/key_value/': 'fc_kv/',
    '^rows/norm_(.)/': r'w_atten_block/norm\1/',
    '^rows/attention/project/': 'w_atten_block/attn/proj/',
    '^rows/attention/': 'w_atten_block/attn/',
    '^rows/feed_forward/widen/': 'w_atten_block/mlp/fc1/',
    '^rows/feed_forward/narrow/': 'w_atten_block/mlp/fc2/',
    **PYTORCH,
}


def _peers(settings: Any, init: Any) -> dict[str, Peer]:
    """The reference's keys for every parameter and statistic; none for averaged heights."""
    if settings.pool != 'attend':
        return {}
    peers, shapes = {}, flatten(jax.eval_shape(init, jax.random.key(0)))
    for path, leaf in shapes.items():
        turn = 'same' if path[-1] != 'kernel' else 'conv' if leaf.ndim == 4 else 'transpose'
        if path[1] == 'backbone':
            key = f'encoder.{mixers.peer_key(path[2:], settings.blocks, settings.local)}'
        else:
            key = f'decoder.{renamed(path[1:], PEERS)}'
        peers[key] = Peer(path, turn)
    return peers
