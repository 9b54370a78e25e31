"""CRNN: convolutions, bidirectional LSTMs over the columns, and CTC.

Shi, Bai, Yao, "An End-to-End Trainable Neural Network for Image-based Sequence Recognition and Its
Application to Scene Text Recognition" (2015), Table 1 for its own backbone; ResNet34_vd and MobileNetV3
follow the reference implementation. A CTC class is a vocabulary id + 1; class 0 is the blank.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from recog.images.fit import channels
from recog.models import About, Batch, Model, Peer, Rows, Variables, flatten, refuse
from recog.models.backbones import text_lines
from recog.models.decoding import ctc
from recog.models.parts.layers import PRECISIONS, Context, Linear
from recog.models.parts.network import network
from recog.models.parts.recurrence import encoder, encoder_peers

HEIGHT = 32
STRIDE = (HEIGHT, 4)


class CRNN(nn.Module):
    """Images [B, 32, W, C] to the stages `backbone` [B, 1, T, D], `neck` [B, T, D] and `head`,
    the logits [B, T, 1 + V]."""

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
    settings, capacity = config.model, config.image.width // STRIDE[1]
    backbone = text_lines.backbone(settings.backbone, settings.mobilenet_scale)
    crnn = network(CRNN(backbone, settings.lstm_layers, settings.lstm_hidden, len(vocab) + 1), config)

    def init(key: jax.Array, batch: Batch | None = None) -> Variables:
        # No parameter depends on the width.
        return crnn.init(key, jnp.zeros((1, HEIGHT, STRIDE[1], channels(crnn.image))))

    def apply(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = False, step: Any = 0
    ) -> Any:
        return crnn.apply(variables, batch, train=train)

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

    peers = _peers(settings, init)
    sized = {'head/bias': Rows(0), 'head/kernel': Rows(1)}
    about = About(STRIDE, capacity, False, True, sized, (), maps=('frames',))
    return Model(init, apply, loss, decode, peers, about)


def _check(config: Any) -> None:
    """Refuse settings that CRNN does not support; what all recipes have in common has been checked."""
    settings, image, train = config.model, config.image, config.train
    backbones, step = ', '.join(text_lines.BACKBONES), STRIDE[1]
    refuse(config, {
        'model.backbone': (settings.backbone in text_lines.BACKBONES, f'one of {backbones}'),
        'model.lstm_layers': (settings.lstm_layers >= 0, 'at least 0'),
        'model.lstm_hidden': (settings.lstm_hidden >= 1, 'at least 1'),
        'model.mobilenet_scale': (settings.mobilenet_scale > 0, 'above 0'),
        'image.height': (image.height == HEIGHT, f'{HEIGHT} for crnn'),
        'image.width': (image.width > 0 and image.width % step == 0, f'a multiple of {step} for crnn'),
        'train.precision': (train.precision in PRECISIONS, f'one of {", ".join(PRECISIONS)}'),
    })


def _peers(settings: Any, init: Any) -> dict[str, Peer]:
    """The reference's keys for every parameter and statistic;
    none if the reference does not have the backbone."""
    if settings.backbone not in text_lines.PEERS:
        return {}
    peers = {'head.fc.weight': Peer(('params', 'head', 'kernel'), 'same')}
    peers['head.fc.bias'] = Peer(('params', 'head', 'bias'), 'same')
    for path in flatten(jax.eval_shape(init, jax.random.key(0))):
        if path[1] == 'backbone':
            key = 'backbone.' + text_lines.peer_key(settings.backbone, path[2:])
            peers[key] = Peer(path, 'conv' if path[-1] == 'kernel' else 'same')
    return peers | encoder_peers(settings.lstm_layers)
