"""LaTeX-OCR: the first layers of a ResNet34, two-dimensional positions, an LSTM along each row, and a
Transformer decoder that writes LaTeX.

Sizes and training follow GuoJiashu's LaTex_Equation_Generator; for the parts, see He et al. (2015), Table 1,
and Vaswani et al. (2017), sections 3.1 and 3.5. A class is a vocabulary id + 3; class 0 is padding, 1 the
start, 2 the end.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from recog.models import About, Batch, Model, Peer, Rows, Variables, flatten, refuse
from recog.models.backbones import resnet34
from recog.models.backbones.resnet34 import STRIDE, ResNet34
from recog.models.decoding.search import Codes, search
from recog.models.parts.layers import PRECISIONS, Context, Conv, uniform
from recog.models.parts.network import network
from recog.models.parts.recurrence import BiLSTM
from recog.models.parts.transformer import Noise
from recog.models.parts.transformer_decoder import TransformerDecoder
from recog.models.peers import renamed

START, END, OFFSET = 1, 2, 3
TEMPERATURE = 10_000.0


@jax.jit
def sine_positions(x: jax.Array) -> jax.Array:
    """Maps [B, h, w, D] plus sinusoidal positions: half of the channels encodes the column, half the row."""
    depth = x.shape[-1] // 2
    rates = TEMPERATURE ** (-(jnp.arange(depth) // 2 * 2) / depth)

    def waves(count: Any) -> jax.Array:
        angles = jnp.arange(count)[:, None] * rates
        return jnp.where(jnp.arange(depth) % 2 == 0, jnp.sin(angles), jnp.cos(angles))

    shape = (*x.shape[1:3], depth)
    columns, rows = waves(x.shape[2])[None], waves(x.shape[1])[:, None]
    table = jnp.concatenate([jnp.broadcast_to(part, shape) for part in (columns, rows)], -1)
    return x + table.astype(x.dtype)


class LatexOcr(nn.Module):
    """Images [B, H, W, 3] to the stages `backbone` [B, h, w, C] and
    `encoder` [B, h, w, D]; `read` adds the head."""

    backbone: nn.Module
    width: int
    row_lstm: bool
    head: TransformerDecoder

    @nn.compact
    def __call__(self, image: jax.Array, context: Context) -> dict[str, jax.Array]:
        image = jnp.broadcast_to(image, (*image.shape[:3], 3))  # a grey image has three equal channels
        maps = self.backbone(image.astype(context.dtype), context)
        start = uniform(maps.shape[-1] ** -0.5)
        encoded = sine_positions(Conv(self.width, (1, 1), biased=True, start=start, name='project')(maps))
        if self.row_lstm:
            batch, height, columns, width = encoded.shape
            rows = BiLSTM(width // 2, name='rows')(encoded.reshape(batch * height, columns, width))
            encoded = rows.reshape(encoded.shape)
        return {'backbone': maps, 'encoder': encoded}

    def read(self, image: jax.Array, classes: jax.Array, context: Context) -> dict[str, jax.Array]:
        """The stages, the logits `head` [B, S, K] of the class that follows each of the classes [B, S], and
        the weights `attention` [B, S, h, w]."""
        stages = self(image, context)
        head, weights = self.head(_cells(stages['encoder']), classes, context.train)
        attention = weights.reshape(*weights.shape[:2], *stages['encoder'].shape[1:3])
        return stages | {'head': head, 'attention': attention}


def build(config: Any, vocab: Any) -> Model:
    """LaTeX-OCR with the encoder, decoder and precision of the recipe."""
    _check(config)
    settings = FrozenConfigDict(config.model)
    codes = Codes(start=START, end=END, offset=OFFSET, size=len(vocab))
    module = _module(settings, OFFSET + len(vocab))
    latex_ocr = network(module, config)

    def init(key: jax.Array, batch: Batch | None = None) -> Variables:
        blank, classes = jnp.zeros((1, STRIDE, STRIDE, 3)), jnp.zeros((1, 1), jnp.int32)
        return latex_ocr.init(key, blank, classes, method=LatexOcr.read)

    def apply(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = False, step: Any = 0
    ) -> Any:
        if 'tokens' not in batch:
            return latex_ocr.apply(variables, batch, train=train, key=key)
        return latex_ocr.apply(variables, batch, _given(batch), train=train, key=key, method=LatexOcr.read)

    def loss(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = True, step: Any = 0
    ) -> Any:
        outputs, stats = apply(variables, batch, key=key, train=train, step=step)
        losses = smoothed(outputs['head'], _wanted(batch), settings.smoothing)
        counts = (jnp.arange(losses.shape[1]) <= batch['length'][:, None]) * batch['weight'][:, None]
        return (jnp.sum(jnp.where(counts > 0, losses * counts, 0)), counts.sum()), (stats, {})

    def decode(
        variables: Variables, image: Any, size: Any, max_length: Any, *, beam: int = 1, details: bool = False
    ) -> dict[str, jax.Array]:
        outputs, _ = latex_ocr.apply(variables, {'image': image, 'size': size})
        head, capacity = variables['params']['head'], settings.capacity
        step, start = _stepping(module.head, head, outputs['encoder'], beam, capacity)
        result = search(
            step, start, codes, rows=image.shape[0], capacity=capacity, max_length=max_length, beam=beam,
            penalty=settings.length_penalty, details=details)
        if details:
            result['attention'] = result.pop('maps')
        return result

    shapes = jax.eval_shape(init, jax.random.key(0))
    given = partial(resnet34.pretrained, settings.pretrained, shapes) if settings.pretrained else dict
    sized = {'head/embedding/table': Rows(0), 'head/output/kernel': Rows(1), 'head/output/bias': Rows(0)}
    about = About((STRIDE, STRIDE), settings.capacity, False, True, sized, (), maps=('attention',),
                  features=('backbone', 'encoder'), operations=('sine_positions',),
                  middle=(0.5 / STRIDE, 0.5 / STRIDE))
    return Model(init, apply, loss, decode, _peers(shapes), about, given, _adapt)


def smoothed(logits: jax.Array, wanted: jax.Array, share: float) -> jax.Array:
    """Cross-entropy [B, S] of logits [B, S, K] and classes [B, S] with label smoothing: `share` of the
    probability is spread over all K classes."""
    chances = jax.nn.log_softmax(logits)
    right = jnp.take_along_axis(chances, wanted[..., None], -1)[..., 0]
    return -(1 - share) * right - share * chances.mean(-1)


def _module(settings: Any, classes: int) -> LatexOcr:
    backbone = ResNet34(settings.depths, settings.widths)
    head = TransformerDecoder(
        settings.layers, settings.width, settings.heads, settings.feed_forward, Noise(settings.dropout),
        settings.positions, classes)
    return LatexOcr(backbone, settings.width, settings.row_lstm, head)


def _check(config: Any) -> None:
    """Refuse settings that LaTeX-OCR does not support; what all recipes have in common has been checked."""
    settings, image = config.model, config.image
    pairs = {name: len(settings[name]) == 2 and min(settings[name]) >= 1 for name in ('depths', 'widths')}
    multiple, capacity, positions = 4 * settings.heads, settings.capacity, settings.positions
    refuse(config, {
        **{f'model.{name}': (right, 'two numbers of at least 1') for name, right in pairs.items()},
        'model.heads': (settings.heads >= 1, 'at least 1'),
        'model.width': (
            settings.width > 0 == settings.width % multiple,
            f'a multiple of 4 x model.heads={settings.heads}'),
        'model.layers': (settings.layers >= 1, 'at least 1'),
        'model.feed_forward': (settings.feed_forward >= 1, 'at least 1'),
        'model.dropout': (0 <= settings.dropout < 1, 'at least 0 and below 1'),
        'model.smoothing': (0 <= settings.smoothing < 1, 'at least 0 and below 1'),
        'model.capacity': (0 < capacity <= positions, f'1 to config.model.positions={positions}'),
        'model.length_penalty': (settings.length_penalty >= 0, 'at least 0'),
        'text.max_length': (
            config.text.max_length < min(positions, capacity + 1),
            f'at most config.model.capacity={capacity} and below .positions={positions}'),
        'image.height': (image.height % STRIDE == 0, f'a multiple of {STRIDE} for latex_ocr'),
        'image.width': (image.width % STRIDE == 0, f'a multiple of {STRIDE} for latex_ocr'),
        'train.precision': (config.train.precision in PRECISIONS, f'one of {", ".join(PRECISIONS)}'),
    })


def _cells(maps: jax.Array) -> jax.Array:
    """Maps [B, h, w, D] as a memory [B, h w, D]."""
    return maps.reshape(maps.shape[0], -1, maps.shape[-1])


def _wanted(batch: Batch) -> jax.Array:
    """The target class [B, L + 1] of each step: the label, then ends, of which the loss counts one."""
    tokens, length = batch['tokens'], batch['length'][:, None]
    classes = jnp.where(jnp.arange(tokens.shape[1]) < length, tokens + OFFSET, END)
    return jnp.pad(classes, ((0, 0), (0, 1)), constant_values=END)


def _given(batch: Batch) -> jax.Array:
    """The input class [B, L + 1] of each step: the start and the label;
    the loss does not count what follows."""
    return jnp.pad(_wanted(batch)[:, :-1], ((0, 0), (1, 0)), constant_values=START)


def _stepping(
    head: TransformerDecoder, parameters: Any, encoded: jax.Array, beam: int, steps: int
) -> tuple[Any, Any]:
    """The step function for `search`, and its initial state:
    the position of the token, and an empty cache."""
    # Cast once: XLA would cast them in each step.
    parameters = {'params': jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf.astype(encoded.dtype) if 'kernel' in path[-1].key else leaf, parameters)}
    projected = head.apply(parameters, _cells(encoded), method='project_memory')

    def step(state: Any, classes: jax.Array) -> tuple[jax.Array, Any, jax.Array]:
        number, cache = state
        after: Any = head.apply(parameters, projected, cache, classes, number, beam, method='step')
        logits, cache, weights = after
        special = (jnp.arange(logits.shape[-1]) < OFFSET) & (jnp.arange(logits.shape[-1]) != END)
        frame = jnp.where(special, -jnp.inf, jax.nn.log_softmax(logits))
        return frame, (number + 1, cache), weights.reshape(-1, *encoded.shape[1:3])

    return step, (jnp.int32(0), head.empty_cache(encoded.shape[0], steps, encoded.dtype))


# Our names (regular expressions, by their path) and the reference's.
PEERS: Mapping[str, str] = {
    r'^project/': 'encoder/project/',
    r'^rows/': 'encoder/row_encoder/',
    r'forward_(kernel|bias)_(\w+)$': r'\1_\2_l0',
    r'backward_(kernel|bias)_(\w+)$': r'\1_\2_l0_reverse',
    r'^head/positions/table$': 'decoder/pos_embedding',
    r'^head/embedding/table$': 'decoder/token_embedding/weight',
    r'^head/output/': 'decoder/output_layer/',
    r'^head/layers/layer_(\d+)/': r'decoder/transformer_decoder/layers/\1/',
    r'/own/': '/self_attn/',
    r'/cross/': '/multihead_attn/',
    r'/(kernel|bias)_in$': r'/in_proj_\1',
    r'/(kernel|bias)_out$': r'/out_proj/\1',
    r'/widen/': '/linear1/',
    r'/narrow/': '/linear2/',
    r'/norm_(\d)/': r'/norm\1/',
    r'(kernel|scale)(?=_\wh_l0|_\wh_l0_reverse|$)': 'weight',
}
TABLE = 'encoder.pe.pe'  # its positions, computed in the first forward pass for the size of that image
# torchvision's parts, and their indices in the reference's sequence.
STAGES = {'conv1': '0', 'bn1': '1', 'layer1': '4', 'layer2': '5'}


def _peers(shapes: Any) -> dict[str, Peer]:
    """The reference's keys for every parameter and statistic."""
    peers = {}
    for path in flatten(shapes):
        if path[1] == 'backbone':
            first, _, rest = resnet34.peer_key(path[2:]).partition('.')
            turn = 'conv' if path[-1] == 'kernel' else 'same'
            peers[f'encoder.backbone.{STAGES[first]}.{rest}'] = Peer(path, turn)
        elif path[1] == 'project' and path[-1] == 'kernel':
            peers[renamed(path[1:], PEERS)] = Peer(path, 'conv')
        else:
            peers[renamed(path[1:], PEERS)] = Peer(path, 'transpose' if 'kernel' in path[-1] else 'same')
    return peers


def _adapt(state: Mapping[str, Any]) -> dict[str, Any]:
    """The reference's checkpoint without its table of positions;
    torchvision's ResNet34 with the reference's names."""
    found = {}
    for name, array in state.items():
        first, _, rest = name.partition('.')
        if name != TABLE:
            found[f'encoder.backbone.{STAGES[first]}.{rest}' if first in STAGES else name] = array
    return found
