"""RARE: rectification by a thin-plate spline, convolutions, bidirectional LSTMs, and an attention decoder.

Shi et al., "Robust Scene Text Recognition with Automatic Rectification" (2016); the backbones, sizes and
training follow the reference implementation. A class is a vocabulary id + 1; class 0 is the start, the last
one the end.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import FrozenConfigDict

from recog.images.fit import channels
from recog.models import ZERO, About, Batch, Model, Peer, Rows, Variables, flatten, refuse
from recog.models.backbones import text_lines
from recog.models.decoding.search import Codes, search
from recog.models.parts import gru_attention, rectification, recurrence
from recog.models.parts.layers import PRECISIONS, Context
from recog.models.parts.network import network

HEIGHT = 32
STRIDE = (HEIGHT, 4)
TEACHING = ('own', 'labels', 'scheduled')
NONE = 'none'  # no rectification


class RARE(nn.Module):
    """Images [B, 32, W, C] to the stages `fiducials`, `grid`, `rectified`,
    `backbone` [B, 1, T, D] and `neck` [B, T, D]."""

    transform: nn.Module | None
    backbone: nn.Module
    layers: int
    hidden: int
    head: nn.Module

    @nn.compact
    def __call__(self, image: jax.Array, context: Context) -> dict[str, jax.Array]:
        stages = {} if self.transform is None else self.transform(image, context)
        image = stages['rectified'] if stages else image
        maps = self.backbone(image.astype(context.dtype), context)
        neck = recurrence.encoder(self.layers, self.hidden, maps[:, 0])
        self.head(neck.shape[-1])  # only creates the decoder's parameters
        return {**stages, 'backbone': maps, 'neck': neck}


def build(config: Any, vocab: Any) -> Model:
    """RARE with the rectification, backbone, recurrence, teaching and precision of the recipe."""
    _check(config)
    settings, shape = FrozenConfigDict(config.model), (HEIGHT, config.image.width)
    codes = Codes(start=0, end=len(vocab) + 1, offset=1, size=len(vocab))
    encoder = network(_module(settings, shape, codes.end + 1), config)

    def init(key: jax.Array, batch: Batch | None = None) -> Variables:
        return encoder.init(key, jnp.zeros((1, *shape, channels(encoder.image))))

    def apply(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = False, step: Any = 0
    ) -> Any:
        outputs, stats = encoder.apply(variables, batch, train=train)
        given, own = _given(batch, codes, settings, key if train else None, step)
        head, weights = gru_attention.unroll(variables['params']['head'], outputs['neck'], given, own)
        return {**outputs, 'head': head, 'attention': weights}, stats

    def loss(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = True, step: Any = 0
    ) -> Any:
        outputs, stats = apply(variables, batch, key=key, train=train, step=step)
        wanted, counts = _wanted(batch, codes, settings)
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs['head'], wanted)
        counts = counts * batch['weight'][:, None]
        total = jnp.sum(jnp.where(counts > 0, losses * counts, 0))
        # The reference does not divide the sum.
        return (total, counts.sum() if settings.shifted else jnp.zeros(())), (stats, {})

    def decode(
        variables: Variables, image: Any, size: Any, max_length: Any, *, beam: int = 1, details: bool = False
    ) -> dict[str, jax.Array]:
        outputs, _ = encoder.apply(variables, {'image': image, 'size': size})
        step, start = _stepping(variables['params']['head'], outputs['neck'], beam, codes, settings)
        result = search(
            step, start, codes, rows=image.shape[0], capacity=settings.capacity, max_length=max_length,
            beam=beam, penalty=settings.length_penalty, stop=not settings.skip_ends, details=details)
        if details:
            result['attention'] = result.pop('maps')[..., None, :]
            result |= {name: outputs[name] for name in ('rectified', 'fiducials') if name in outputs}
        return result

    # Behind the tokens is the end; the kernel of the inputs has the rows of the features before them.
    axes = {'head/classes_bias': 0, 'head/classes_kernel': 1, 'head/kernel_ih': 0}
    sized = {name: Rows(axis, behind=1) for name, axis in axes.items()}
    straightened = ('rectified', 'fiducials') if settings.rectify != NONE else ()
    about = About(STRIDE, settings.capacity, False, True, sized, (), maps=('attention', *straightened),
                  operations=('sample',))
    return Model(init, apply, loss, decode, _peers(settings, init), about)


def _module(settings: Any, shape: tuple[int, int], classes: int) -> RARE:
    transform = None
    if settings.rectify != NONE:
        size = rectification.SIZES[settings.rectify]
        transform = rectification.Rectifier(size, settings.fiducials, settings.start, settings.border, shape)
    backbone = text_lines.backbone(settings.backbone, settings.mobilenet_scale)
    decoder = gru_attention.GRUDecoder(settings.attention, classes)
    return RARE(transform, backbone, settings.lstm_layers, settings.lstm_hidden, decoder)


def _check(config: Any) -> None:
    """Refuse settings that RARE does not support; what all recipes have in common has been checked."""
    settings, image, train = config.model, config.image, config.train
    # Letters that a label can have: the start and the end take two of the reference's steps.
    most = settings.capacity - (0 if settings.shifted else 2)
    backbones, rectifiers = text_lines.BACKBONES, (*rectification.SIZES, NONE)
    starts, borders = rectification.STARTS, rectification.BORDERS
    refuse(config, {
        'model.backbone': (settings.backbone in backbones, f'one of {", ".join(backbones)}'),
        'model.rectify': (settings.rectify in rectifiers, f'one of {", ".join(rectifiers)}'),
        'model.fiducials': (settings.fiducials >= 4 and settings.fiducials % 2 == 0, 'even and at least 4'),
        'model.start': (settings.start in starts, f'one of {", ".join(starts)}'),
        'model.border': (settings.border in borders, f'one of {", ".join(borders)}'),
        'model.lstm_layers': (settings.lstm_layers >= 0, 'at least 0'),
        'model.lstm_hidden': (settings.lstm_hidden >= 1, 'at least 1'),
        'model.attention': (settings.attention >= 1, 'at least 1'),
        'model.mobilenet_scale': (settings.mobilenet_scale > 0, 'above 0'),
        'model.teaching': (
            settings.teaching in TEACHING and (settings.shifted or settings.teaching == 'own'),
            f'one of {", ".join(TEACHING)}, and own unless config.model.shifted'),
        'model.own_share': (0 <= settings.own_share <= 1, 'between 0 and 1'),
        'model.own_steps': (settings.own_steps >= 1, 'at least 1'),
        'model.length_penalty': (settings.length_penalty >= 0, 'at least 0'),
        'text.max_length': (
            config.text.max_length <= most,
            f'at most {most} with config.model.capacity={settings.capacity} and .shifted={settings.shifted}'),
        'image.height': (image.height == HEIGHT, f'{HEIGHT} for rare'),
        'image.width': (
            image.width > 0 and image.width % STRIDE[1] == 0, f'a multiple of {STRIDE[1]} for rare'),
        # The rectified image has the recipe's width: in a wider batch it would squeeze the narrow words.
        'image.width_rule': (
            image.width_rule == 'fixed' or settings.rectify == NONE, 'fixed with rectification'),
        'train.precision': (train.precision in PRECISIONS, f'one of {", ".join(PRECISIONS)}'),
    })


def _classes(batch: Batch, codes: Codes, count: int) -> jax.Array:
    """The start, the label and the end as classes [B, count], then zeros."""
    tokens, length = batch['tokens'], batch['length'][:, None]
    room = max(count - 1 - tokens.shape[1], 0)
    letters = jnp.pad(tokens, ((0, 0), (1, room)))[:, :count]
    places = jnp.arange(count)
    inside = (places > 0) & (places <= length)
    return jnp.where(inside, letters + codes.offset, jnp.where(places == length + 1, codes.end, codes.start))


def _wanted(batch: Batch, codes: Codes, settings: Any) -> tuple[jax.Array, jax.Array]:
    """The target class of each step, and whether the loss counts it, both [B, S]."""
    if settings.shifted:
        steps = batch['tokens'].shape[1] + 1
        counts = 1.0 * (jnp.arange(steps) <= batch['length'][:, None])
        return _classes(batch, codes, steps + 1)[:, 1:], counts
    # Unlike in the paper, the target of the reference's first step is the start, and all steps count,
    # including those after the end.
    wanted = _classes(batch, codes, settings.capacity)
    return wanted, jnp.ones(wanted.shape)


def _given(
    batch: Batch, codes: Codes, settings: Any, key: Any, step: Any
) -> tuple[jax.Array, jax.Array | None]:
    """The input classes [B, S] of the steps, and the mask [B, S] of the steps whose input is the model's
    own last prediction instead, or None."""
    steps = batch['tokens'].shape[1] + 1 if settings.shifted and 'tokens' in batch else settings.capacity
    shape = (batch['image'].shape[0], steps)
    if settings.teaching == 'own' or 'tokens' not in batch:
        return jnp.full(shape, codes.start), jnp.broadcast_to(jnp.arange(steps) > 0, shape)
    given = _classes(batch, codes, steps)
    if settings.teaching == 'labels' or key is None:
        return given, None
    # Scheduled sampling (Bengio et al. 2015), here with the most likely class: the share of own predictions
    # grows linearly.
    share = settings.own_share * jnp.minimum(step / settings.own_steps, 1)
    return given, jax.random.bernoulli(key, share, shape) & (jnp.arange(steps) > 0)


def _stepping(
    parameters: Any, features: jax.Array, beam: int, codes: Codes, settings: Any
) -> tuple[Any, jax.Array]:
    """The step function for `search`, and its initial state."""
    memory, rows = gru_attention.make_memory(parameters, features), features.shape[0]

    def step(hidden: jax.Array, classes: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        hidden = hidden.reshape(rows, beam, -1)
        embedded = gru_attention.embed(parameters, classes.reshape(rows, beam))
        hidden, weights = gru_attention.advance(parameters, memory, hidden, embedded)
        frame = jax.nn.log_softmax(gru_attention.classify(parameters, hidden, features.dtype))
        if settings.shifted:  # otherwise the first step predicts the start, which is left out of the text
            frame = frame.at[..., codes.start].set(-jnp.inf)
        flat = [leaf.reshape(-1, leaf.shape[-1]) for leaf in (frame, hidden, weights)]
        return flat[0], flat[1], flat[2]

    return step, jnp.zeros((rows, settings.attention))


def _peers(settings: Any, init: Any) -> dict[str, Peer]:
    """The reference's keys for every parameter and statistic;
    none if the reference does not have the backbone."""
    if settings.backbone not in text_lines.PEERS:
        return {}
    peers = {}
    for path in flatten(jax.eval_shape(init, jax.random.key(0))):
        turn = 'conv' if path[-1] == 'kernel' else 'same'
        if path[1] == 'transform':
            turn = 'same' if path[2] in ('hidden', 'points') else turn
            peers[rectification.peer_key(path[2:])] = Peer(path, turn)
        elif path[1] == 'backbone':
            peers['backbone.' + text_lines.peer_key(settings.backbone, path[2:])] = Peer(path, turn)
    zeros = {} if settings.rectify == NONE else dict.fromkeys(rectification.ZEROS, ZERO)
    return peers | zeros | recurrence.encoder_peers(settings.lstm_layers) | gru_attention.peers()
