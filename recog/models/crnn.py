"""CRNN: convolutions, bidirectional LSTMs over the columns, and CTC.

Shi, Bai, Yao, "An End-to-End Trainable Neural Network for Image-based Sequence Recognition and Its Application to Scene
Text Recognition" (2015), Table 1 for its own backbone; ResNet34_vd and MobileNetV3 follow the reference implementation.
A CTC class is a vocabulary id + 1; class 0 is the blank.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from ml_collections import FrozenConfigDict

from recog.models import About, Batch, Model, Peer, Variables, backbones, flatten, refuse
from recog.models.layers import PRECISIONS, Context, Linear, ctc_loss
from recog.models.recurrence import encoder, encoder_peers

HEIGHT = 32
STRIDE = (HEIGHT, 4)


class CRNN(nn.Module):
    """Images [B, 32, W, C] to the stages `backbone` [B, 1, T, D], `neck` [B, T, D] and `head`, logits [B, T, 1 + V]."""

    backbone: nn.Module
    layers: int
    hidden: int
    classes: int

    @nn.compact
    def __call__(self, image: jax.Array, context: Context) -> dict[str, jax.Array]:
        maps = self.backbone(image.astype(context.dtype), context)
        neck = encoder(self.layers, self.hidden, maps[:, 0])
        return {'backbone': maps, 'neck': neck, 'head': Linear(self.classes, name='head')(neck)}


def build(config: Any, vocab: Any) -> Model:
    """CRNN with the backbone, recurrence and precision of the recipe."""
    _check(config)
    settings, image = config.model, FrozenConfigDict(config.image)
    channels, capacity = 1 if image.channels == 'grey' else 3, image.width // STRIDE[1]
    dtype, group = PRECISIONS[config.train.precision], config.train.norm_group
    backbone = backbones.backbone(settings.backbone, settings.mobilenet_scale)
    network = CRNN(backbone, settings.lstm_layers, settings.lstm_hidden, len(vocab) + 1)

    def init(key: jax.Array, batch: Batch | None = None) -> Variables:
        blank = jnp.zeros((1, HEIGHT, STRIDE[1], channels))  # no parameter depends on the width
        start = jax.jit(partial(network.init, context=Context(False, None, 0, jnp.float32)))(key, blank)
        return {'params': start['params'], 'stats': start['batch_stats']}

    def apply(variables: Variables, batch: Batch, *, key: Any = None, train: bool = False, step: Any = 0) -> Any:
        from recog.images.fit import normalise

        context = Context(train, batch['weight'] if train else None, group, dtype)
        state = {'params': variables['params'], 'batch_stats': variables['stats']}
        pixels = normalise(batch['image'], batch['size'], image)
        outputs, after = network.apply(state, pixels, context, mutable=['batch_stats'])
        return outputs, after['batch_stats']

    def loss(variables: Variables, batch: Batch, *, key: Any = None, train: bool = True, step: Any = 0) -> Any:
        outputs, stats = apply(variables, batch, key=key, train=train, step=step)
        losses, possible = ctc_loss(outputs['head'], batch['tokens'], batch['length'])
        weight = batch['weight']
        total = jnp.sum(jnp.where(weight > 0, losses * weight, 0))
        return (total, weight.sum()), (stats, {'impossible': jnp.sum(jnp.where(possible, 0, weight))})

    def decode(
        variables: Variables, image: Any, size: Any, max_length: Any, *, beam: int = 1, details: bool = False
    ) -> dict[str, jax.Array]:
        outputs, _ = apply(variables, {'image': image, 'size': size})
        frames = jax.nn.log_softmax(outputs['head'])
        result = best_path(frames) if beam == 1 else prefix_beam(frames, beam)
        return finish(result, frames, max_length, details)

    peers = _peers(settings, init)
    about = About(STRIDE, capacity, False, True, ('head/bias', 'head/kernel'), ())
    return Model(init, apply, loss, decode, peers, about)


def _check(config: Any) -> None:
    """Refuse what CRNN cannot be; what holds of every recipe has been checked."""
    settings, image, train = config.model, config.image, config.train
    refuse(config, {
        'model.backbone': (settings.backbone in backbones.BACKBONES, f'one of {", ".join(backbones.BACKBONES)}'),
        'model.lstm_layers': (settings.lstm_layers >= 0, 'at least 0'),
        'model.lstm_hidden': (settings.lstm_hidden >= 1, 'at least 1'),
        'model.mobilenet_scale': (settings.mobilenet_scale > 0, 'above 0'),
        'image.height': (image.height == HEIGHT, f'{HEIGHT} for crnn'),
        'image.width': (image.width > 0 and image.width % STRIDE[1] == 0, f'a multiple of {STRIDE[1]} for crnn'),
        'train.precision': (train.precision in PRECISIONS, f'one of {", ".join(PRECISIONS)}'),
    })


class Paths(NamedTuple):
    """Texts as classes [B, N, L], 0 after the end, their tokens' probabilities, and log-probabilities [B, N]."""

    classes: jax.Array
    token_confidence: jax.Array
    score: jax.Array


def best_path(frames: jax.Array) -> Paths:
    """Greedy decoding of log-probabilities [B, T, 1 + V]: the best class of each frame, without repeats and blanks.

    The score is that of this one alignment; a token's probability is that of its first frame, as in the reference.
    """
    best, value = jnp.argmax(frames, -1), jnp.max(frames, -1)
    before = jnp.pad(best, ((0, 0), (1, 0)))[:, :-1]
    kept = (best != 0) & (best != before)
    places = jnp.arange(frames.shape[1])
    # A sum over a mask moves the kept frames to the front; unlike a scatter it exports everywhere.
    moved = kept[:, :, None] & ((jnp.cumsum(kept, 1) - 1)[:, :, None] == places)
    classes = jnp.sum(jnp.where(moved, best[:, :, None], 0), 1)
    confidence = jnp.sum(jnp.where(moved, jnp.exp(value)[:, :, None], 0), 1)
    return Paths(classes[:, None], confidence[:, None], value.sum(1)[:, None])


class Beams(NamedTuple):
    """Prefixes [N, T], 0 after `length` [N], and the log-probability [N] that each ends in a blank or in its token."""

    prefix: jax.Array
    confidence: jax.Array
    length: jax.Array
    blank: jax.Array
    token: jax.Array


def prefix_beam(frames: jax.Array, beam: int) -> Paths:
    """The `beam` best texts of log-probabilities [B, T, 1 + V], each summed over the alignments that were kept."""
    return jax.vmap(partial(_prefix_beam, beam=beam))(frames)


def _prefix_beam(frames: jax.Array, beam: int) -> Paths:
    count = frames.shape[0]
    start = Beams(
        prefix=jnp.zeros((beam, count), jnp.int32),
        confidence=jnp.zeros((beam, count)),
        length=jnp.zeros(beam, jnp.int32),
        blank=jnp.full(beam, -jnp.inf).at[0].set(0.0),  # all but the empty prefix are dead
        token=jnp.full(beam, -jnp.inf),
    )
    beams, _ = lax.scan(lambda beams, frame: (_advance(beams, frame), None), start, frames)
    return Paths(beams.prefix, beams.confidence, jnp.logaddexp(beams.blank, beams.token))


def _advance(beams: Beams, frame: jax.Array) -> Beams:
    """The best beams after one more frame [1 + V]."""
    number, places = beams.length.shape[0], jnp.arange(beams.prefix.shape[1])
    last = jnp.sum(jnp.where(places == beams.length[:, None] - 1, beams.prefix, 0), 1)  # 0 for the empty prefix
    total = jnp.logaddexp(beams.blank, beams.token)
    stay_token = jnp.where(beams.length > 0, beams.token + frame[last], -jnp.inf)
    # Extensions [N, V]: a repeated token needs a blank before it.
    classes = jnp.arange(1, frame.shape[0])
    grown = jnp.where(classes == last[:, None], beams.blank[:, None], total[:, None]) + frame[1:]

    # A prefix j that is prefix i and one token takes over that extension of i. Only living prefixes are all different.
    parent = jnp.where(places < beams.length[:, None] - 1, beams.prefix, 0)
    same = (parent[:, None] == beams.prefix[None]).all(-1) & (beams.length[:, None] == beams.length[None] + 1)
    same = same & (total > -jnp.inf)[:, None] & (total > -jnp.inf)[None]  # [j, i]
    joined = jnp.max(jnp.where(same, grown[:, last - 1].T, -jnp.inf), 1)
    taken = (same[:, :, None] & (classes == last[:, None, None])).any(0)
    grown = jnp.where(taken, -jnp.inf, grown)

    blank, token = total + frame[0], jnp.logaddexp(stay_token, joined)
    # Where the way through the shorter prefix is the likelier one, the token counts from this frame on.
    newer = (joined > jnp.logaddexp(blank, stay_token))[:, None] & (places == beams.length[:, None] - 1)
    confidence = jnp.where(newer, jnp.exp(frame)[last][:, None], beams.confidence)

    scores = jnp.concatenate([jnp.logaddexp(blank, token)[:, None], grown], 1)  # [N, 1 + V], staying first
    best, chosen = lax.top_k(scores.reshape(-1), number)
    origin, added = chosen // frame.shape[0], chosen % frame.shape[0]
    stays, end = added == 0, beams.length[origin]
    here = ~stays[:, None] & (places == end[:, None])
    return Beams(
        prefix=jnp.where(here, added[:, None], beams.prefix[origin]),
        confidence=jnp.where(here, jnp.exp(frame)[added][:, None], confidence[origin]),
        length=end + ~stays,
        blank=jnp.where(stays, blank[origin], -jnp.inf),
        token=jnp.where(stays, token[origin], best),
    )


def finish(paths: Paths, frames: jax.Array, max_length: Any, details: bool) -> dict[str, jax.Array]:
    """What `decode` gives: texts cut at `max_length`, as vocabulary ids."""
    inside = (paths.classes > 0) & (jnp.arange(paths.classes.shape[-1]) < max_length)
    length = inside.sum(-1, dtype=jnp.int32)
    token_confidence = jnp.where(inside, paths.token_confidence, 0)
    result = {
        'tokens': jnp.where(inside, paths.classes - 1, -1).astype(jnp.int32),
        'length': length,
        'score': paths.score,
        'confidence': token_confidence.sum(-1) / jnp.maximum(length, 1),
    }
    return result | {'token_confidence': token_confidence, 'frames': jnp.exp(frames)} if details else result


def _peers(settings: Any, init: Any) -> dict[str, Peer]:
    """The reference's keys for every parameter and statistic; none for a backbone that it lacks."""
    if settings.backbone not in backbones.PEERS:
        return {}
    peers = {'head.fc.weight': Peer(('params', 'head', 'kernel'), 'same')}
    peers['head.fc.bias'] = Peer(('params', 'head', 'bias'), 'same')
    for path in flatten(jax.eval_shape(init, jax.random.key(0))):
        if path[1] == 'backbone':
            key = 'backbone.' + backbones.peer_key(settings.backbone, path[2:])
            peers[key] = Peer(path, 'conv' if path[-1] == 'kernel' else 'same')
    return peers | encoder_peers(settings.lstm_layers)
