"""SRN: a ResNet with a feature pyramid, attention for all characters in parallel, and semantic reasoning over
the characters.

Yu et al., "Towards Accurate Scene Text Recognition with Semantic Reasoning Networks" (2020, arXiv
2003.12294), section 3, in the form of the reference implementation. A class below V is a vocabulary id; V is
`sos`, which is never a label; V + 1 is the end, which fills all positions after a text; V + 2, which only the
embedding has, stands before a text.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import FrozenConfigDict

from recog.errors import ConfigError
from recog.images.fit import channels
from recog.models import About, Batch, Model, Peer, Rows, Variables, flatten, refuse
from recog.models.backbones import resnet_fpn
from recog.models.backbones.resnet_fpn import STAGES, STRIDE, ResNetFPN
from recog.models.decoding import parallel
from recog.models.parts.layers import PRECISIONS, Context, einsum32, normal
from recog.models.parts.network import network
from recog.models.parts.transformer import RULES, Dense, Encoder, Noise
from recog.models.peers import renamed

BRANCHES = {'both': ('forward', 'backward'), 'forward': ('forward',), 'backward': ('backward',)}
FUSIONS, POSITIONS = ('gate', 'add'), ('fixed', 'learned')
SCALES = ('model', 'head')
FROZEN = '*/positions/table=0'
# Fields that older runs do not record, with the values under which everything is as it was without them.
EARLIER = {'embed_first': False, 'attention_scale': 'model'}


@jax.jit
def additive_weights(features: jax.Array, order: jax.Array, score: jax.Array) -> jax.Array:
    """Softmax over T of tanh(order + features) . score, [B, T, D], [L, D], [D, 1] -> float32 [B, L, T]."""
    def scores(features: jax.Array, order: jax.Array, score: jax.Array) -> jax.Array:
        inside = jnp.tanh(order[None, :, None] + features[:, None])
        return jnp.sum(inside * score[:, 0], -1, dtype=jnp.float32)

    # The largest array of the model, [B, L, T, D], is recomputed for the gradient instead of saved.
    order, score = order.astype(features.dtype), score.astype(features.dtype)
    return jax.nn.softmax(jax.checkpoint(scores)(features, order, score))


class ParallelAttention(nn.Module):
    """Parallel visual attention (PVAM): from maps [B, h, w, D] to `encoder` [B, T, D], `attention`
    [B, L, h, w] and `pvam`, features [B, L, D]."""

    settings: FrozenConfigDict
    length: int

    @nn.compact
    def __call__(self, maps: jax.Array, train: bool) -> dict[str, jax.Array]:
        batch, height, columns, width = maps.shape
        start = nn.initializers.xavier_uniform()
        cells = maps.reshape(batch, height * columns, width) * (1.0 if learns(self.settings) else width**0.5)
        encoded = encoder(self.settings, width, self.settings.encoder_layers, 'encoder')(cells, train=train)
        features = Dense(width, name='features')(encoded)
        order = self.param('order', normal(1.0) if learns(self.settings) else start, (self.length, width))
        score = self.param('score', start, (width, 1))
        weights = additive_weights(features, order, score)
        visual = jnp.einsum('blt,btd->bld', weights.astype(features.dtype), features)
        attention = weights.reshape(batch, self.length, height, columns)
        return {'encoder': encoded, 'attention': attention, 'pvam': visual}


class SemanticReasoning(nn.Module):
    """Global semantic reasoning (GSRM): from ids [B, L] to features [B, L, D] of each position, predicted
    from the characters before and after it, and their logits [B, L, V + 3]."""

    settings: FrozenConfigDict
    width: int
    classes: int  # V + 2

    @nn.compact
    def __call__(self, ids: jax.Array, dtype: Any, train: bool) -> tuple[jax.Array, jax.Array]:
        order = jnp.arange(ids.shape[1])
        table = self.param('embedding', normal(self.width**-0.5), (self.classes + 1, self.width))
        total = jnp.zeros((), dtype)
        for name in BRANCHES[self.settings.branches]:
            seen, mask = ids, order[:, None] <= order
            if name == 'forward':
                seen, mask = jnp.pad(ids, ((0, 0), (1, 0)), constant_values=self.classes)[:, :-1], mask.T
            embedded = jnp.take(table, seen, axis=0) * self.width**0.5
            if not self.settings.embed_first:
                embedded = jnp.where(seen[..., None] > 0, embedded, 0)
            branch = encoder(self.settings, self.width, self.settings.reason_layers, name)
            found = branch(embedded.astype(dtype), mask, train=train)
            if name == 'backward':
                found = jnp.pad(found, ((0, 0), (0, 1), (0, 0)))[:, 1:]
            total = total + found
        return total, einsum32('bld,vd->blv', total, table.astype(dtype))


class Fusion(nn.Module):
    """Visual-semantic fusion (VSFD): logits [B, L, V + 2] of visual and semantic features [B, L, D],
    mixed by a gate or added."""

    classes: int
    gated: bool

    @nn.compact
    def __call__(self, visual: jax.Array, semantic: jax.Array) -> jax.Array:
        if self.gated:
            both = jnp.concatenate([visual, semantic], -1)
            gate = jax.nn.sigmoid(Dense(visual.shape[-1], name='gate')(both))
            fused = gate * visual + (1 - gate) * semantic
        else:
            fused = visual + semantic
        return Dense(self.classes, dtype=jnp.float32, name='output')(fused)


class Head(nn.Module):
    """From maps [B, h, w, D] to the stages of PVAM and the logits [B, L, classes] `word`,
    `gsrm` and `head`, the final ones."""

    settings: FrozenConfigDict
    length: int
    classes: int

    @nn.compact
    def __call__(self, maps: jax.Array, train: bool) -> dict[str, jax.Array]:
        stages = ParallelAttention(self.settings, self.length, name='pvam')(maps, train)
        stages['word'] = Dense(self.classes, dtype=jnp.float32, name='word')(stages['pvam'])
        if not self.settings.semantic:
            return stages | {'head': stages['word']}
        reason = SemanticReasoning(self.settings, maps.shape[-1], self.classes, name='gsrm')
        semantic, stages['gsrm'] = reason(jnp.argmax(stages['word'], -1), maps.dtype, train)
        fusion = Fusion(self.classes, self.settings.fusion == 'gate', name='vsfd')
        return stages | {'head': fusion(stages['pvam'], semantic)}


def learns(settings: Any) -> bool:
    """Whether positions are trained; then they start as large as the features, which are not scaled."""
    return settings.positions == 'learned'


def encoder(settings: Any, width: int, layers: int, name: str) -> Encoder:
    """An encoder with the recipe's settings; called inside a module's `compact`."""
    noise = Noise(settings.dropout, settings.dropout_rule)
    scale = (width if settings.attention_scale == 'model' else width // settings.heads) ** -0.5
    return Encoder(
        layers, settings.heads, settings.feed_forward, scale, noise, float(learns(settings)), name=name)


class SRN(nn.Module):
    """Images [B, H, W, C] to `backbone`, maps [B, H/8, W/8, D], and the stages of `Head`."""

    settings: FrozenConfigDict
    length: int
    classes: int

    @nn.compact
    def __call__(self, image: jax.Array, context: Context) -> dict[str, jax.Array]:
        settings = self.settings
        backbone = ResNetFPN(settings.depths, settings.widths, settings.width, name='backbone')
        maps = backbone(image.astype(context.dtype), context)
        head = Head(settings, self.length, self.classes, name='head')
        return {'backbone': maps} | head(maps, context.train)


def build(config: Any, vocab: Any) -> Model:
    """SRN with the parts of the recipe, for images of its size and texts of at most `text.max_length`."""
    _check(config)
    settings, length = FrozenConfigDict(config.model), config.text.max_length
    size = (config.image.height, config.image.width)
    srn = network(SRN(settings, length, len(vocab) + 2), config)

    def init(key: jax.Array, batch: Batch | None = None) -> Variables:
        return srn.init(key, jnp.zeros((1, *size, channels(srn.image))))

    def apply(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = False, step: Any = 0
    ) -> Any:
        if batch['image'].shape[1:3] != size:
            raise ConfigError(
                f'images of {batch["image"].shape[1]} x {batch["image"].shape[2]}: this model has positions '
                f'for config.image.height={size[0]} and width={size[1]} alone')
        return srn.apply(variables, batch, train=train, key=key)

    def loss(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = True, step: Any = 0
    ) -> Any:
        outputs, stats = apply(variables, batch, key=key, train=train, step=step)
        weight = batch['weight']
        targets = labels(batch['tokens'], batch['length'], length, len(vocab) + 1)

        def summed(logits: jax.Array) -> jax.Array:
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets).sum(1)
            return jnp.sum(jnp.where(weight > 0, losses * weight, 0))

        parts = {'word': summed(outputs['word'])}
        total = settings.word_weight * parts['word']
        if settings.semantic:
            parts |= {'gsrm': summed(outputs['gsrm']), 'vsfd': summed(outputs['head'])}
            total = total + settings.gsrm_weight * parts['gsrm'] + settings.vsfd_weight * parts['vsfd']
        # The reference sums over all characters of a batch and does not divide: the count is 0.
        count = weight.sum() * length if settings.average else jnp.zeros(())
        return (total, count), (stats, parts)

    def decode(
        variables: Variables, image: Any, size: Any, max_length: Any, *, beam: int = 1, details: bool = False
    ) -> dict[str, jax.Array]:
        outputs, _ = apply(variables, {'image': image, 'size': size})
        log_probs = parallel.log_probabilities(outputs['head'], settings.skip_ends)
        texts = parallel.best_texts(log_probs, beam)
        result = parallel.finish(texts, log_probs, max_length, settings.skip_ends, outputs['attention'])
        plain = 'tokens', 'length', 'score', 'mean_token'
        return result if details else {key: result[key] for key in plain}

    leaves = list(flatten(jax.eval_shape(init, jax.random.key(0))))
    constant = _never_learning(leaves, not learns(settings))
    about = About(size, length, False, not settings.skip_ends, _sized_by_vocabulary(leaves), constant,
                  maps=('attention',), middle=(0.5 / STRIDE, 0.5 / STRIDE))
    return Model(init, apply, loss, decode, _peers(leaves), about)


def labels(tokens: jax.Array, length: jax.Array, most: int, end: int) -> jax.Array:
    """The class of each of `most` positions: tokens [B, L] and, from `length` [B] on, the end."""
    if tokens.shape[1] > most:
        raise ValueError(f'labels of {tokens.shape[1]} places for a model of {most}')
    padded = jnp.pad(tokens, ((0, 0), (0, most - tokens.shape[1])))
    return jnp.where(jnp.arange(most) < length[:, None], padded, end)


def _check(config: Any) -> None:
    """Refuse settings that SRN does not support; what all recipes have in common has been checked."""
    settings, image, train = config.model, config.image, config.train
    stages = f'{STAGES} numbers of at least 1'
    refuse(config, {
        'model.depths': (len(settings.depths) == STAGES and min(settings.depths) >= 1, stages),
        'model.widths': (len(settings.widths) == STAGES and min(settings.widths) >= 1, stages),
        'model.heads': (settings.heads >= 1, 'at least 1'),
        'model.width': (
            settings.width > 0 == settings.width % settings.heads,
            f'a multiple of model.heads={settings.heads}'),
        'model.feed_forward': (settings.feed_forward >= 1, 'at least 1'),
        'model.encoder_layers': (settings.encoder_layers >= 0, 'at least 0'),
        'model.reason_layers': (settings.reason_layers >= 0, 'at least 0'),
        'model.positions': (settings.positions in POSITIONS, f'one of {", ".join(POSITIONS)}'),
        'optimizer.groups': (not learns(settings) or FROZEN not in config.optimizer.groups,
                             f"without {FROZEN!r}, as config.model.positions='learned'"),
        'model.attention_scale': (settings.attention_scale in SCALES, f'one of {", ".join(SCALES)}'),
        'model.branches': (settings.branches in BRANCHES, f'one of {", ".join(BRANCHES)}'),
        'model.fusion': (settings.fusion in FUSIONS, f'one of {", ".join(FUSIONS)}'),
        'model.dropout': (0 <= settings.dropout < 1, 'at least 0 and below 1'),
        'model.dropout_rule': (settings.dropout_rule in RULES, f'one of {", ".join(RULES)}'),
        'image.height': (image.height % STRIDE == 0, f'a multiple of {STRIDE} for srn'),
        'image.width': (image.width % STRIDE == 0, f'a multiple of {STRIDE} for srn'),
        'image.width_rule': (
            image.width_rule == 'fixed', 'fixed for srn, which has positions for one width alone'),
        'train.precision': (train.precision in PRECISIONS, f'one of {", ".join(PRECISIONS)}'),
    })


def _sized_by_vocabulary(leaves: list[tuple[str, ...]]) -> dict[str, Rows]:
    """The embedding, which has three special classes behind the tokens, and the layers of logits with two."""
    return {'/'.join(path[1:]): Rows(0, 3) if path[-1] == 'embedding' else Rows(int(path[-1] == 'kernel'), 2)
            for path in leaves if path[-1] == 'embedding' or path[-2] in ('word', 'output')}


def _never_learning(leaves: list[tuple[str, ...]], fixed: bool) -> tuple[str, ...]:
    """Biases that batch norm cancels, and tables of fixed positions."""
    names = ['/'.join(path[1:]) for path in leaves]
    biases = [f'backbone/{bias}' for bias in resnet_fpn.NO_GRADIENT]
    return tuple(name for name in names if name in biases or fixed and name.endswith('positions/table'))


# Our names below the head (regular expressions) and the reference's.
PEERS: Mapping[str, str] = {
    '^word/': 'gsrm/fc0/',
    '^pvam/features/': 'pvam/fc0/',
    '^pvam/order$': 'pvam/emb/weight',
    '^pvam/score$': 'pvam/fc1/weight',
    '^pvam/encoder/': 'pvam/wrap_encoder_for_feature/',
    '^vsfd/gate/': 'vsfd/fc0/',
    '^vsfd/output/': 'vsfd/fc1/',
    '^gsrm/forward/': 'gsrm/wrap_encoder0/',
    '^gsrm/backward/': 'gsrm/wrap_encoder1/',
    '(feature)/positions/table': r'\1/prepare_encoder/emb/weight',
    r'(\d)/positions/table': r'\1/prepare_decoder/emb1/weight',
    r'/layer_(\d+)/norm_(\d)/': r'/encoder/layer_\1/preprocesser\2/layer_norm_0/',
    r'/layer_(\d+)/attention/query/': r'/encoder/layer_\1/self_attn/q_fc/',
    r'/layer_(\d+)/attention/key/': r'/encoder/layer_\1/self_attn/k_fc/',
    r'/layer_(\d+)/attention/value/': r'/encoder/layer_\1/self_attn/v_fc/',
    r'/layer_(\d+)/attention/project/': r'/encoder/layer_\1/self_attn/proj_fc/',
    r'/layer_(\d+)/feed_forward/widen/': r'/encoder/layer_\1/ffn/fc1/',
    r'/layer_(\d+)/feed_forward/narrow/': r'/encoder/layer_\1/ffn/fc2/',
    '/norm/': '/encoder/processer/layer_norm_0/',
    '(kernel|scale)$': 'weight',
}


def _peers(leaves: list[tuple[str, ...]]) -> dict[str, Peer]:
    """The reference's keys for every parameter and statistic;
    both branches' names for the embedding that they share."""
    peers = {}
    for path in leaves:
        if path[1] == 'backbone':
            turn = 'conv' if path[-1] == 'kernel' else 'same'
            peers['backbone.' + resnet_fpn.peer_key(path[2:])] = Peer(path, turn)
            continue
        if path[-1] == 'embedding':
            used = {other[3] for other in leaves if other[2:3] == ('gsrm',)}
            for number, branch in enumerate(BRANCHES['both']):
                if branch in used:
                    peers[f'head.gsrm.wrap_encoder{number}.prepare_decoder.emb0.weight'] = Peer(path, 'same')
            continue
        peers[f'head.{renamed(path[2:], PEERS)}'] = Peer(path, 'same')
    return peers
