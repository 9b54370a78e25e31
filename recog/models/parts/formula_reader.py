"""An encoder and a decoder of formulas that are read in both directions: a DenseNet, positions of its cells,
and a refined Transformer decoder; what their models have in common.

Letters are those of `formula_labels`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from recog.models import About, Batch, Peer, Rows, Variables, flatten, refuse
from recog.models.backbones import densenet
from recog.models.backbones.densenet import BLOCKS, STRIDE, DenseNet, inside
from recog.models.decoding.both_ways import Ways
from recog.models.decoding.read_again import Judged, best_texts
from recog.models.decoding.search import Codes, search
from recog.models.parts.formula_labels import (
    ENDS,
    OFFSET,
    STARTS,
    counted_places,
    inputs,
    joined,
    targets,
    with_noise,
)
from recog.models.parts.layers import PRECISIONS, Context, Conv, uniform
from recog.models.parts.network import Network, network
from recog.models.parts.refined_decoder import PAD, Kinds, RefinedDecoder
from recog.models.parts.sines import map_sines
from recog.models.parts.transformer import LayerNorm, Noise
from recog.models.peers import renamed

NOISE = 1  # of the keys made of a step's key, that of the tokens' noise
COPIED = 'layer_0'  # of whose initial weights all decoder layers are copies, as in the reference


class FormulaReader(nn.Module):
    """Images [B, H, W, C] to the stages `backbone` [B, h, w, C] and `encoder` [B, h, w, D]; `read` adds the
    decoder's."""

    backbone: nn.Module
    width: int
    head: RefinedDecoder
    judge: nn.Module | None = None  # of what the decoder puts out, if there is one

    @nn.compact
    def __call__(
        self, image: jax.Array, size: jax.Array, context: Context, *, mask: bool
    ) -> dict[str, jax.Array]:
        maps = self.backbone(image.astype(context.dtype), size if mask else None, context)
        start = uniform(maps.shape[-1] ** -0.5)
        x = Conv(self.width, (1, 1), biased=True, start=start, name='project')(maps)
        x = x + map_sines(inside(size, maps, STRIDE)[..., 0], self.width).astype(x.dtype)
        return {'backbone': maps, 'encoder': LayerNorm(name='norm')(x)}

    def read(
        self, image: jax.Array, size: jax.Array, classes: jax.Array, counted: jax.Array | None,
        context: Context, *, mask: bool,
    ) -> dict[str, jax.Array]:
        """The stages, and for each of the classes [B, W, S] the logits `head` [B, W, S, K] of the one that
        follows, the decoder's output `decoder` [B, W, S, D] and the weights `attention` [B, W, N, S, h, w];
        with a judge also what it says, `judged`."""
        stages = self(image, size, context, mask=mask)
        cells = inside(size, stages['backbone'], STRIDE)[..., 0]
        head, hidden, weights = self.head(stages['encoder'], cells, classes, counted, context)
        stages |= {'head': head, 'decoder': hidden, 'attention': weights}
        if self.judge is not None:
            stages['judged'] = self.judge(hidden, classes != PAD, context.train)
        return stages


def reader(settings: Any, classes: int, judge: nn.Module | None = None) -> FormulaReader:
    """The network that the settings of a recipe describe."""
    backbone = DenseNet(
        settings.growth, settings.layers, settings.stem, settings.dropout, settings.blocks, pytorch=True)
    kinds = Kinds('before' in settings.coverage, 'own' in settings.coverage)
    head = RefinedDecoder(
        settings.decoder_layers, settings.width, settings.heads, settings.feed_forward,
        Noise(settings.decoder_dropout), classes, kinds, settings.coverage_width)
    return FormulaReader(backbone, settings.width, head, judge)


class Formulas(NamedTuple):
    """A reader with the settings of a recipe."""

    module: FormulaReader
    network: Network
    settings: Any
    size: int  # of the vocabulary

    def init(self, key: jax.Array, batch: Batch | None = None) -> Variables:
        """Initial variables; no parameter depends on the size of the images."""
        image, size = jnp.zeros((1, STRIDE, STRIDE, 1)), jnp.full((1, 2), STRIDE)
        classes = jnp.full((1, self.settings.directions, 1), STARTS[0])
        return copied(
            self.network.init(key, image, size, classes, None, mask=False, method=FormulaReader.read))

    def read(self, variables: Variables, batch: Batch, train: bool, key: Any) -> Any:
        """The stages by direction of a batch with labels, the targets, and the statistics."""
        count, mask = self.settings.directions, self.settings.masked
        wanted = targets(batch, count)
        seen = counted_places(batch, wanted.shape[2], count, mask, self.network.group)
        classes, noise = inputs(wanted, batch['length']), self.settings.get('token_noise', 0.0)
        if train and noise and key is not None:
            classes = with_noise(classes, self.size + OFFSET, noise, jax.random.fold_in(key, NOISE))
        stages, stats = self.network.apply(
            variables, batch, batch['size'], classes, seen, train=train, key=key, mask=mask,
            method=FormulaReader.read)
        return stages, wanted, stats

    def apply(
        self, variables: Variables, batch: Batch, *, key: Any = None, train: bool = False, step: Any = 0
    ) -> Any:
        """What a model's `apply` returns."""
        if 'tokens' not in batch:
            return self.network.apply(
                variables, batch, batch['size'], train=train, key=key, mask=self.settings.masked)
        stages, _, stats = self.read(variables, batch, train, key)
        return joined(stages), stats

    def decode(
        self, variables: Variables, image: Any, size: Any, max_length: Any, *, beam: int = 1,
        details: bool = False, judge: Callable[..., Judged] | None = None,
    ) -> dict[str, jax.Array]:
        """What a model's `decode` returns. It is always masked: each image is read as the reference reads it
        alone, at its own size. A search with a beam goes in all directions; else it is from left to right."""
        settings = self.settings
        stages, _ = self.network.apply(variables, {'image': image, 'size': size}, size, mask=True)
        cells = inside(size, stages['backbone'], STRIDE)[..., 0]
        empty, step = stepping(self.module, variables, stages['encoder'], cells, settings.capacity + 1)
        limits = {'rows': image.shape[0], 'capacity': settings.capacity, 'max_length': max_length,
                  'beam': beam, 'details': details}
        if beam > 1:
            ways = Ways(STARTS[: settings.directions], ENDS[: settings.directions], OFFSET)
            return best_texts(step, empty, ways, penalty=settings.length_penalty, judge=judge, **limits)
        codes = Codes(start=STARTS[0], end=ENDS[0], offset=OFFSET, size=self.size)
        result = search(only(step, 1), empty(1), codes, **limits)
        if details:
            result['attention'] = result.pop('maps')
        return result


def formulas(config: Any, vocab: Any, judge: nn.Module | None = None) -> Formulas:
    """The reader that a recipe describes, for the tokens of `vocab`."""
    settings = FrozenConfigDict(config.model)
    module = reader(settings, OFFSET + len(vocab), judge)
    return Formulas(module, network(module, config), settings, len(vocab))


def about(formulas: Formulas, still: tuple[str, ...] = ()) -> About:
    """The facts of a model with this reader; `still` are further parameters that are never trained."""
    settings = formulas.settings
    sized = {'head/embedding/table': Rows(0), 'head/output/kernel': Rows(1), 'head/output/bias': Rows(0)}
    still += ('head/refinement/norm/bias',) if settings.coverage else ()
    return About((STRIDE, STRIDE), settings.capacity, settings.masked, True, sized, still,
                 maps=('attention',), features=('backbone', 'encoder'))


def copied(variables: Any) -> Any:
    """Initial variables with the same weights in all decoder layers."""
    head = variables['params']['head']
    layers = {name: head[COPIED] if name.startswith('layer_') else part for name, part in head.items()}
    return variables | {'params': variables['params'] | {'head': layers}}


def stepping(
    module: FormulaReader, variables: Any, encoded: jax.Array, cells: jax.Array, steps: int
) -> Any:
    """Functions for the search: the state of so many texts of each image before the first step, and
    the step of so many texts: log-probabilities, state, the decoder's output and attention weights."""
    head = module.head
    # Cast once: XLA would cast them in each step.
    given = {'params': jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf.astype(encoded.dtype) if 'kernel' in path[-1].key else leaf,
        variables['params']['head']), 'batch_stats': variables['stats'].get('head', {})}
    memory: Any = head.apply(given, encoded, cells, method='look_at')

    def empty(texts: int) -> Any:
        return jnp.int32(0), head.empty_state(memory, encoded.shape[0] * texts, steps, encoded.dtype)

    def step(state: Any, classes: jax.Array, texts: int) -> tuple[jax.Array, Any, jax.Array, jax.Array]:
        number, rest = state
        after: Any = head.apply(given, memory, rest, classes, number, texts, method='step')
        logits, hidden, rest, weights = after
        return jax.nn.log_softmax(logits), (number + 1, rest), hidden, weights

    return empty, step


def only(step: Any, texts: int) -> Any:
    """The step of so many texts of each image from left to right, for `decoding.search`."""
    def one(state: Any, classes: jax.Array) -> tuple[jax.Array, Any, jax.Array]:
        chances, state, _, weights = step(state, classes, texts)
        special = (jnp.arange(chances.shape[-1]) < OFFSET) & (jnp.arange(chances.shape[-1]) != ENDS[0])
        return jnp.where(special, -jnp.inf, chances), state, weights

    return one


# Our names (regular expressions, by their path) and the reference's, below the prefix of all of them.
PEERS = {
    r'^project/': 'encoder/feature_proj/',
    r'^norm/': 'encoder/norm/',
    r'^head/embedding/table$': 'decoder/word_embed/0/weight',
    r'^head/norm_embedding/': 'decoder/word_embed/1/',
    r'^head/norm/': 'decoder/norm/',
    r'^head/output/': 'decoder/proj/',
    r'^head/refinement/norm/': 'decoder/model/arm/post_norm/bn/',
    r'^head/refinement/project/': 'decoder/model/arm/proj/',
    r'^head/refinement/': 'decoder/model/arm/',
    r'^head/layer_(\d+)/': r'decoder/model/layers/\1/',
    r'^judge/(f|b)': r'decoder/struct_sim/\1',
    r'struct_sim/forwards/': 'struct_sim/l2r_struct_sim/',
    r'struct_sim/backwards/': 'struct_sim/r2l_struct_sim/',
    r'_sim/(own|widen|narrow|norm_1|norm_2)/': r'_sim/trm/layers/0/\1/',
    r'_sim/query/': '_sim/to_q/', r'_sim/key/': '_sim/to_k/',
    r'/similarity_(kernel|bias)$': r'/to_sim/1/\1',
    r'/own/': '/self_attn/',
    r'/cross/': '/multihead_attn/',
    r'/(kernel|bias)_in$': r'/in_proj_\1',
    r'/(kernel|bias)_out$': r'/out_proj/\1',
    r'/widen/': '/linear1/',
    r'/narrow/': '/linear2/',
    r'/norm_(\d)/': r'/norm\1/',
    r'mean$': 'running_mean', r'variance$': 'running_var', r'(kernel|scale)$': 'weight',
}
TABLE = '.decoder.pos_enc.pe'  # the reference's positions, which are computed here


def peers(shapes: Any, prefix: str) -> dict[str, Peer]:
    """The reference's keys for every parameter and statistic."""
    found = {}
    for path in flatten(shapes):
        convolution = path[-1] == 'kernel' and len(path) > 2 and path[-2] in ('stem', 'conv', 'project')
        if path[1] == 'backbone':
            key = f'encoder.model.{densenet.peer_key(path[2:], pytorch=True)}'
        else:
            key = renamed(path[1:], PEERS)
        turn = 'conv' if convolution else 'transpose' if 'kernel' in path[-1] else 'same'
        found[f'{prefix}.{key}'] = Peer(path, turn)
    return found


def check(config: Any) -> None:
    """Refuse settings that such a reader does not support."""
    settings, image, name = config.model, config.image, config.model.name
    capacity, kinds, heads = settings.capacity, tuple(settings.coverage), settings.heads
    counts = ('growth', 'layers', 'stem', 'decoder_layers', 'feed_forward', 'coverage_width', 'capacity')
    refuse(config, {
        **{f'model.{field}': (settings[field] >= 1, 'at least 1') for field in (*counts, 'heads')},
        'model.blocks': (settings.blocks in (BLOCKS - 1, BLOCKS), f'{BLOCKS - 1} or {BLOCKS}'),
        **{f'model.{field}': (0 <= settings[field] < 1, 'at least 0 and below 1')
           for field in ('dropout', 'decoder_dropout')},
        'model.token_noise': (0 <= settings.get('token_noise', 0.0) < 1, 'at least 0 and below 1'),
        'model.width': (
            settings.width > 0 and settings.width % 4 == settings.width % heads == 0,
            f'a multiple of 4 and of model.heads={heads}'),
        'model.coverage': (
            set(kinds) <= {'before', 'own'} and len(set(kinds)) == len(kinds), "some of 'before' and 'own'"),
        'model.directions': (settings.directions in (1, 2), '1 or 2'),
        'model.length_penalty': (settings.length_penalty >= 0, 'at least 0'),
        'text.max_length': (config.text.max_length <= capacity, f'at most config.model.capacity={capacity}'),
        'image.channels': (image.channels == 'grey', f'grey for {name}'),
        'image.height': (image.height % STRIDE == 0, f'a multiple of {STRIDE} for {name}'),
        'image.width': (image.width % STRIDE == 0, f'a multiple of {STRIDE} for {name}'),
        'train.precision': (config.train.precision in PRECISIONS, f'one of {", ".join(PRECISIONS)}'),
    })


def adapt(state: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint of the reference without its table of positions, which is computed here."""
    return {name: array for name, array in state.items() if not name.endswith(TABLE)}
