"""CAN: a DenseNet, symbol counters at several scales, and an attention decoder that reads the counts, for
formulas of any size.

Li et al., "When Counting Meets HMER: Counting-Aware Network for Handwritten Mathematical Expression
Recognition" (2022, arXiv 2207.11463), section 3; sizes and training follow the reference implementation. A
class is a vocabulary id + 2; class 0 is the end and class 1 the start.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import FrozenConfigDict

from recog.models import About, Batch, Model, Peer, Rows, Variables, flatten, refuse
from recog.models.backbones import densenet
from recog.models.backbones.densenet import BLOCKS, STRIDE, DenseNet, inside, masked
from recog.models.decoding.search import Codes, search
from recog.models.parts import coverage_attention
from recog.models.parts.coverage_weights import Memory
from recog.models.parts.layers import PRECISIONS, BatchNorm, Context, Conv
from recog.models.parts.network import network
from recog.models.parts.transformer import Dense
from recog.models.peers import PADDLE, renamed

END, START, OFFSET = 0, 1, 2
REDUCTION = 16  # of the channel attention
STRUCTURE = frozenset('{}^_')  # tokens that are no symbols in the image, and are not counted


class Counter(nn.Module):
    """Counts the symbols of each class at one scale: from features [B, h, w, D] to maps [B, h, w, K], zero
    outside the images, whose sums are the counts."""

    size: int
    width: int
    classes: int

    @nn.compact
    def __call__(self, features: jax.Array, cells: jax.Array, context: Context) -> jax.Array:
        x = Conv(self.width, (self.size, self.size), name='conv')(features)
        x = masked(BatchNorm(name='norm')(x, context), context)
        count: Any = x.shape[1] * x.shape[2]  # padding is included, unless it is masked
        if context.cells is not None:
            count = jnp.maximum(context.cells.sum((1, 2)), 1)
        mean = (jnp.sum(x, (1, 2), dtype=jnp.float32) / count).astype(x.dtype)
        mean = jax.nn.relu(Dense(self.width // REDUCTION, name='squeeze')(mean))
        x = x * jax.nn.sigmoid(Dense(self.width, name='excite')(mean))[:, None, None]
        maps = jax.nn.sigmoid(Conv(self.classes, (1, 1), name='classes')(x).astype(jnp.float32))
        return jnp.where(cells, maps, 0)


class CAN(nn.Module):
    """Images [B, H, W, C] to the stages `backbone` [B, h, w, D], for each scale `counts3`, ... [B, K], their
    mean `counts`, and `counting`, the mean of the maps [B, h, w, K]."""

    backbone: nn.Module
    scales: tuple[int, ...]
    counting_width: int
    classes: int
    head: nn.Module

    @nn.compact
    def __call__(
        self, image: jax.Array, size: jax.Array, mask: bool, context: Context
    ) -> dict[str, jax.Array]:
        features = self.backbone(image.astype(context.dtype), size if mask else None, context)
        cells = inside(size, features, STRIDE)
        self.head(features.shape[-1])  # only creates the decoder's parameters
        context = context._replace(cells=cells) if mask else context
        stages, maps = {'backbone': features}, []
        for scale in self.scales:
            counter = Counter(scale, self.counting_width, self.classes, name=f'counting{scale}')
            maps.append(counter(features, cells, context))
            stages[f'counts{scale}'] = maps[-1].sum((1, 2))
        if maps:
            stages['counting'] = sum(maps[1:], maps[0]) / len(maps)
            stages['counts'] = stages['counting'].sum((1, 2))
        return stages


def build(config: Any, vocab: Any) -> Model:
    """CAN with the encoder, counters, decoder, masks and precision of the recipe."""
    _check(config)
    settings = FrozenConfigDict(config.model)
    codes = Codes(start=START, end=END, offset=OFFSET, size=len(vocab))
    counted = jnp.array([False] * OFFSET + [token not in STRUCTURE for token in vocab.tokens])
    encoder = network(_module(settings, OFFSET + len(vocab)), config)

    def init(key: jax.Array, batch: Batch | None = None) -> Variables:
        # No parameter depends on the size.
        return encoder.init(key, jnp.zeros((1, STRIDE, STRIDE, 1)), jnp.full((1, 2), STRIDE), mask=False)

    def encode(variables: Variables, batch: Batch, mask: bool, train: bool = False, key: Any = None) -> Any:
        """The stages up to the decoder, the decoder's memory and first state, and the statistics."""
        stages, stats = encoder.apply(variables, batch, batch['size'], mask, train=train, key=key)
        cells = inside(batch['size'], stages['backbone'], STRIDE)[..., 0]
        counts, head = stages['counts'] if settings.counting else None, variables['params']['head']
        return stages, coverage_attention.make_memory(head, stages['backbone'], cells, counts), stats

    def apply(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = False, step: Any = 0
    ) -> Any:
        keys = jax.random.split(key) if train and key is not None else None
        stages, (memory, start), stats = encode(
            variables, batch, settings.masked, train, None if keys is None else keys[0])
        if 'tokens' not in batch:
            return stages, stats
        wanted = _wanted(batch)
        given = jnp.pad(wanted, ((0, 0), (1, 0)), constant_values=START)[:, :-1]
        noise = None if keys is None or not settings.word_dropout else (keys[1], settings.word_dropout)
        count, head = _steps(batch, settings.masked, encoder.group).max(), variables['params']['head']
        logits, weights = coverage_attention.unroll(head, memory, start, given, count, noise)
        return {**stages, 'head': logits, 'attention': weights}, stats

    def loss(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = True, step: Any = 0
    ) -> Any:
        outputs, stats = apply(variables, batch, key=key, train=train, step=step)
        wanted, weight = _wanted(batch), batch['weight']
        steps = _steps(batch, settings.masked, encoder.group)
        words = optax.softmax_cross_entropy_with_integer_labels(outputs['head'], wanted)
        losses = jnp.sum(jnp.where(jnp.arange(wanted.shape[1]) < steps[:, None], words, 0), 1)
        if settings.counting:
            truth = jnp.where(counted, jax.nn.one_hot(wanted, counted.size), 0).sum(1)
            losses += steps * _counting_loss(outputs, truth, settings.counting)
        total = jnp.sum(jnp.where(weight > 0, losses * weight, 0))
        return (total, jnp.sum(steps * weight)), (stats, {})

    def decode(
        variables: Variables, image: Any, size: Any, max_length: Any, *, beam: int = 1, details: bool = False
    ) -> dict[str, jax.Array]:
        # Always masked: each image is read as the reference reads it alone, at its own size.
        stages, (memory, start), _ = encode(variables, {'image': image, 'size': size}, True)
        state = start, jnp.zeros(memory.cells.shape)
        step = partial(_step, variables['params']['head'], memory, beam)
        result = search(
            step, state, codes, rows=image.shape[0], capacity=settings.capacity, max_length=max_length,
            beam=beam, penalty=settings.length_penalty, details=details)
        if details:
            result['attention'] = result.pop('maps')
            # By vocabulary id, without the classes for end and start.
            result |= {name: stages[name][..., OFFSET:] for name in ('counts', 'counting') if name in stages}
        return result

    return Model(init, apply, loss, decode, _peers(settings, init), _about(settings, init), adapt=adapt)


def _about(settings: Any, init: Any) -> About:
    sized = {'head/embedding': Rows(0), 'head/classes_kernel': Rows(1), 'head/classes_bias': Rows(0)}
    sized |= {'head/counts_kernel': Rows(0)} if settings.counting else {}
    sized |= {f'counting{scale}/classes/kernel': Rows(3) for scale in settings.counting}

    def never_learns(path: tuple[str, ...]) -> bool:
        bias = path[0] == 'backbone' and path[-2] != 'norm' and path[-1] == 'bias'  # batch norm cancels it
        return bias or path[-1] == 'energy_bias'

    shapes = jax.eval_shape(init, jax.random.key(0))['params']
    still = ['/'.join(path) for path in flatten(shapes) if never_learns(path)]
    counted = ('counts', 'counting') if settings.counting else ()
    return About((STRIDE, STRIDE), settings.capacity, settings.masked, True, sized, tuple(still),
                 maps=('attention', *counted), features=('backbone', *counted[1:]))


def _module(settings: Any, classes: int) -> CAN:
    backbone = DenseNet(settings.growth, settings.layers, settings.stem, settings.dropout, _blocks(settings))
    head = coverage_attention.CoverageDecoder(
        settings.hidden, settings.attention, settings.coverage, classes, bool(settings.counting))
    return CAN(backbone, tuple(settings.counting), settings.counting_width, classes, head)


def _blocks(settings: Any) -> int:
    return settings.get('blocks', BLOCKS)  # older recipes do not say it


def _check(config: Any) -> None:
    """Refuse settings that CAN does not support; what all recipes have in common has been checked."""
    settings, image = config.model, config.image
    scales, capacity = settings.counting, settings.capacity
    odd = [scale > 0 and scale % 2 == 1 for scale in (*scales, settings.coverage)]
    refuse(config, {
        'model.blocks': (_blocks(settings) in (BLOCKS - 1, BLOCKS), f'{BLOCKS - 1} or {BLOCKS}'),
        'model.growth': (settings.growth >= 1, 'at least 1'),
        'model.layers': (settings.layers >= 1, 'at least 1'),
        'model.stem': (settings.stem >= 1, 'at least 1'),
        'model.dropout': (0 <= settings.dropout < 1, 'at least 0 and below 1'),
        'model.counting': (all(odd[:-1]) and len(set(scales)) == len(scales), 'different odd numbers'),
        'model.counting_width': (settings.counting_width >= REDUCTION, f'at least {REDUCTION}'),
        'model.hidden': (settings.hidden >= 1, 'at least 1'),
        'model.attention': (settings.attention >= 2 and settings.attention % 2 == 0, 'even'),
        'model.coverage': (odd[-1], 'odd'),
        'model.word_dropout': (0 <= settings.word_dropout < 1, 'at least 0 and below 1'),
        'model.length_penalty': (settings.length_penalty >= 0, 'at least 0'),
        'text.max_length': (config.text.max_length <= capacity, f'at most config.model.capacity={capacity}'),
        'image.channels': (image.channels == 'grey', 'grey for can'),
        'image.height': (image.height % STRIDE == 0, f'a multiple of {STRIDE} for can'),
        'image.width': (image.width % STRIDE == 0, f'a multiple of {STRIDE} for can'),
        'train.precision': (config.train.precision in PRECISIONS, f'one of {", ".join(PRECISIONS)}'),
    })


def _wanted(batch: Batch) -> jax.Array:
    """The target class [B, L + 1] of each step: the label, then ends."""
    tokens, length = batch['tokens'], batch['length'][:, None]
    classes = jnp.where(jnp.arange(tokens.shape[1]) < length, tokens + OFFSET, END)
    return jnp.pad(classes, ((0, 0), (0, 1)), constant_values=END)


def _counting_loss(outputs: Mapping[str, jax.Array], truth: jax.Array, scales: tuple[int, ...]) -> Any:
    """The loss [B] of the counts of each scale and, if there are several, of their mean; truth [B, K]."""
    names = {f'counts{scale}' for scale in scales} | ({'counts'} if len(scales) > 1 else set())
    return sum(optax.huber_loss(outputs[name], truth).mean(1) for name in sorted(names))


def _steps(batch: Batch, mask: bool, group: int) -> jax.Array:
    """How many steps of each row [B] the loss counts. With `mask` these are its label and its end. Otherwise,
    as in the reference, they are those of the longest label of its batch, or of its group of `group` rows,
    because shorter labels are filled up with ends."""
    length = jnp.where(batch['weight'] > 0, batch['length'], 0)
    if not mask:
        rows = length.reshape(-1, group or length.shape[0])
        length = jnp.broadcast_to(rows.max(1, keepdims=True), rows.shape).reshape(-1)
    return length + 1


def _step(
    parameters: Any, memory: Memory, beam: int, state: Any, classes: jax.Array
) -> Any:
    """The step function for `search`: log-probabilities [R, K], the new state and coverage,
    and the attention weights."""
    def split(leaf: jax.Array) -> jax.Array:
        return leaf.reshape(memory.cells.shape[0], beam, *leaf.shape[1:])

    def joined(leaf: jax.Array) -> jax.Array:
        return leaf.reshape(-1, *leaf.shape[2:])

    hidden, coverage = map(split, state)
    logits, hidden, weights = coverage_attention.advance(parameters, memory, hidden, coverage, split(classes))
    frame = jax.nn.log_softmax(logits).at[..., START].set(-jnp.inf)
    return joined(frame), (joined(hidden), joined(coverage + weights)), joined(weights)


# The parts of a counter: our names (regular expressions) and the reference's.
COUNTER: Mapping[str, str] = {
    '/conv/': '/trans_layer/0/',
    '/norm/': '/trans_layer/1/',
    '/squeeze/': '/channel_att/fc/0/',
    '/excite/': '/channel_att/fc/2/',
    '/classes/': '/pred_layer/0/',
    **PADDLE,
}


def _peers(settings: Any, init: Any) -> dict[str, Peer]:
    """The reference's keys for every parameter and statistic."""
    counters = {f'^counting{scale}/': f'head/counting_decoder{number}/'
                for number, scale in enumerate(settings.counting, 1)}
    peers = {}
    for path in flatten(jax.eval_shape(init, jax.random.key(0))):
        turn = 'conv' if path[-1] == 'kernel' and path[-2] not in ('squeeze', 'excite') else 'same'
        if path[1] == 'backbone':
            peers[f'backbone.{densenet.peer_key(path[2:])}'] = Peer(path, turn)
        elif path[1] == 'head':
            key, turn = coverage_attention.peer(path[2])
            peers[f'head.decoder.{key}'] = Peer(path, turn)
        else:
            peers[renamed(path[1:], {**counters, **COUNTER})] = Peer(path, turn)
    return peers


# The authors' names of the parts and PaddleOCR's, and the endings that differ.
PARTS = {
    'encoder': 'backbone', 'counting_decoder1': 'head.counting_decoder1',
    'counting_decoder2': 'head.counting_decoder2', 'decoder': 'head.decoder',
}
ENDINGS = {'running_mean': '_mean', 'running_var': '_variance'}


def adapt(state: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint of CAN's authors with PaddleOCR's names and layout; other checkpoints are returned as they
    are.

    The authors' dense blocks have no biases, which the batch norms after them would cancel: zeros are put in.
    """
    if 'encoder.conv1.weight' not in state:
        return dict(state)
    found: dict[str, Any] = {}
    for name, array in state.items():
        part, _, rest = name.partition('.')
        if part not in PARTS:
            found[name] = array
            continue
        stem, _, ending = rest.rpartition('.')
        key = f'{PARTS[part]}.{stem}.{ENDINGS[ending] if ending in ENDINGS else ending}'
        # PyTorch's matrices are [outputs, inputs], and are transposed; an embedding is not.
        matrix = ending == 'weight' and np.ndim(array) == 2 and stem != 'embedding'
        found[key] = np.transpose(array) if matrix else array
        if part == 'encoder' and stem.startswith('dense') and stem.endswith(('conv1', 'conv2')):
            found.setdefault(f'{PARTS[part]}.{stem}.bias', np.zeros(np.shape(array)[0], np.float32))
    return found
