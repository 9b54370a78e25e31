"""PARSeq: a vision transformer, and one decoder layer that learns to predict letters in any order.

Bautista and Atienza, "Scene Text Recognition with Permuted Autoregressive Sequence Models" (2022, arXiv
2207.06966); sizes, initial values and training follow the authors' implementation. Class 0 is the end, a
vocabulary id + 1 a letter; the start V + 1 and padding V + 2 are only embedded. A text is read letter by
letter, or all at once, and then refined: each letter is predicted again from all the others.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import FrozenConfigDict

from recog.errors import ConfigError
from recog.images.fit import channels
from recog.models import About, Batch, Model, Peer, Rows, Variables, flatten, refuse
from recog.models.decoding import first_end
from recog.models.decoding.search import Codes, search
from recog.models.parts import orders
from recog.models.parts.layers import PRECISIONS, Context
from recog.models.parts.network import network
from recog.models.parts.query_decoder import QueryDecoder
from recog.models.parts.transformer import Dense, Dropout, Noise
from recog.models.parts.vision_transformer import SMALL, VisionTransformer
from recog.models.peers import renamed

DECODINGS = ('autoregressive', 'parallel')
END, OFFSET = 0, 1


class PARSeq(nn.Module):
    """Images [B, H, W, C] to the stages of the encoder and `backbone`, its tokens as a map [B, h, w, D];
    `read` adds the logits of the letters."""

    settings: FrozenConfigDict
    letters: int  # V
    length: int  # positions: the letters of the longest text, and the end

    def setup(self) -> None:
        rule = self.settings
        hidden, noise = rule.ratio * rule.width, Noise(rule.dropout)
        self.encoder = VisionTransformer(rule.layers, rule.width, rule.heads, hidden, rule.patch)
        self.embedding = self.param('embedding', SMALL, (self.letters + 3, rule.width))
        self.positions = self.param('positions', SMALL, (1, self.length, rule.width))
        self.decoder = QueryDecoder(rule.width, rule.decoder_heads, hidden, noise)
        self.head = Dense(self.letters + 1, dtype=jnp.float32, start=SMALL)
        self.dropout = Dropout(noise)

    def __call__(self, image: jax.Array, context: Context) -> dict[str, jax.Array]:
        stages = self.encoder(image.astype(context.dtype))
        high, wide = self.settings.patch
        shape = image.shape[0], image.shape[1] // high, image.shape[2] // wide, -1
        return stages | {'backbone': stages['memory'].reshape(shape)}

    def read(self, image: jax.Array, fed: jax.Array, seen: jax.Array, context: Context) -> dict[str, Any]:
        """The stages, and the logits `head` [B, K, S, 1 + V] of the positions under K masks; see `predict`.
        """
        stages = self(image, context)
        memory = self.project_memory(stages['memory'])
        return stages | {'head': self.predict(memory, fed, seen, context.train)[0]}

    def project_memory(self, memory: jax.Array) -> tuple[jax.Array, ...]:
        """The memory's keys and values, which are the same for all positions."""
        return self.decoder.project_memory(memory)

    def predict(self, memory: Any, fed: jax.Array, seen: jax.Array, train: bool) -> tuple[jax.Array, Any]:
        """The logits [B, K, S, 1 + V] of the first S positions, and their attention [B, K, S, cells].

        A position sees those of the classes `fed` [B, 1 or K, L] that `seen` [1 or B, 1 or K, S, L] says.
        """
        rows, (count, length, tokens) = fed.shape[0], (max(fed.shape[1], seen.shape[1]), *seen.shape[2:])

        def all_rows(x: jax.Array, *shape: int) -> jax.Array:
            return jnp.broadcast_to(x, (rows, count, *shape))

        dtype, width = memory[0].dtype, self.settings.width
        places = jnp.pad(self.positions[0, : tokens - 1], ((1, 0), (0, 0)))  # none for the start
        content = all_rows(self._embed(fed) + places, tokens, width).reshape(-1, tokens, width)
        queries = all_rows(self.positions[:, :length], length, width).reshape(-1, length, width)
        content, queries = (self.dropout(x.astype(dtype), train) for x in (content, queries))
        seen = all_rows(seen, length, tokens).reshape(-1, length, tokens)
        features, weights = self.decoder(queries, content, seen, memory, train, count)
        return (self.head(features).reshape(rows, count, length, -1),
                weights.mean(1).reshape(rows, count, length, -1))

    def step(self, memory: Any, cache: Any, classes: jax.Array, number: jax.Array,
             beam: int) -> tuple[jax.Array, Any, jax.Array]:
        """Logits [R, 1 + V] of the class that follows the class [R] at position `number` of each row and
        beam, the updated cache, and the attention [R, cells]."""
        dtype, table = memory[0].dtype, self.positions[0]
        place = jnp.where(number > 0, table[jnp.maximum(number - 1, 0)], 0)
        content = (self._embed(classes) + place).astype(dtype)
        query = jnp.broadcast_to(table[number].astype(dtype), content.shape)
        features, cache, weights = self.decoder.step(query, content, memory, cache, number, beam)
        return self.head(features), cache, weights.mean(1).reshape(-1, weights.shape[-1])

    def _embed(self, classes: jax.Array) -> jax.Array:
        return self.settings.width**0.5 * self.embedding.at[classes].get(mode='clip')


def build(config: Any, vocab: Any) -> Model:
    """PARSeq with the sizes, the orders and the decoding of the recipe, for images of its size and texts of
    at most `text.max_length`."""
    _check(config)
    settings, longest = FrozenConfigDict(config.model), config.text.max_length
    size, letters = (config.image.height, config.image.width), len(vocab)
    module = PARSeq(settings, letters, longest + 1)
    parseq = network(module, config)

    def init(key: jax.Array, batch: Batch | None = None) -> Variables:
        image, fed = jnp.zeros((1, *size, channels(parseq.image))), jnp.zeros((1, 1, 1), jnp.int32)
        return parseq.init(key, image, fed, jnp.ones((1, 1, 1, 1), bool), method=PARSeq.read)

    def check_size(image: jax.Array) -> None:
        if image.shape[1:3] != size:
            raise ConfigError(f'images of {image.shape[1]} x {image.shape[2]}: this model has positions for '
                              f'config.image.height={size[0]} and width={size[1]} alone')

    def apply(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = False, step: Any = 0
    ) -> Any:
        check_size(batch['image'])
        if 'tokens' not in batch:
            # All positions at once, which see the start alone.
            start = jnp.full((batch['image'].shape[0], 1, 1), letters + 1)
            seen = jnp.ones((1, 1, longest + 1, 1), bool)
            outputs, stats = parseq.apply(variables, batch, start, seen, train=train, method=PARSeq.read)
            return outputs | {'head': outputs['head'][:, 0]}, stats
        ordering, dropping = (None, None) if key is None else jax.random.split(key)
        ranks, _ = _orders(batch, ordering, settings.permutations, longest)
        return parseq.apply(variables, batch, _fed(batch['tokens'], letters)[:, None],
                            _seen(ranks, batch['length']), train=train, key=dropping, method=PARSeq.read)

    def loss(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = True, step: Any = 0
    ) -> Any:
        outputs, stats = apply(variables, batch, key=key, train=train, step=step)
        ordering = None if key is None else jax.random.split(key)[0]
        _, used = _orders(batch, ordering, settings.permutations, longest)
        wanted, counts = _wanted(batch, used)
        losses = optax.softmax_cross_entropy_with_integer_labels(
            outputs['head'], jnp.broadcast_to(wanted[:, None], outputs['head'].shape[:-1]))
        return (jnp.sum(jnp.where(counts > 0, losses * counts, 0)), counts.sum()), (stats, {})

    def decode(
        variables: Variables, image: Any, size: Any, max_length: Any, *, beam: int = 1, details: bool = False
    ) -> dict[str, jax.Array]:
        check_size(image)
        outputs, _ = parseq.apply(variables, {'image': image, 'size': size})
        result = Reader(module, variables['params'], outputs['memory']).texts(max_length, beam, details)
        if details:
            cells = outputs['backbone'].shape[1:3]
            return result | {'attention': result['attention'].reshape(*result['tokens'].shape, *cells)}
        return {name: result[name] for name in ('tokens', 'length', 'score', 'mean_token')}

    # In the embedding, the start and padding stand behind the letters.
    sized = {'embedding': Rows(0, behind=2), 'head/kernel': Rows(1), 'head/bias': Rows(0)}
    about = About(size, longest + 1, False, settings.decoding == 'autoregressive', sized, (),
                  maps=('attention',))
    return Model(init, apply, loss, decode, _peers(init), about, adapt=_adapt)


class Reader:
    """Reads the memory [B, cells, D] of images in the three ways of the paper's section 3.4."""

    def __init__(self, module: PARSeq, parameters: Any, memory: jax.Array):
        # Cast once: XLA would cast them in each step.
        cast = jax.tree_util.tree_map_with_path(
            lambda path, leaf: leaf.astype(memory.dtype) if 'kernel' in path[-1].key else leaf, parameters)
        self.call: Any = partial(module.apply, {'params': cast})
        self.module, self.rows, self.dtype = module, memory.shape[0], memory.dtype
        self.memory = self.call(memory, method='project_memory')

    def texts(self, max_length: Any, beam: int, details: bool) -> dict[str, jax.Array]:
        """The texts as the recipe decodes and refines them."""
        rule, longest = self.module.settings, self.module.length
        parallel = rule.decoding == 'parallel'
        if parallel:
            logits, maps = self.at_once()
        else:
            # What is refined is read to its end. Rows that are none have no text, and are not waited for.
            most = jnp.where(max_length > 0, longest, 0) if rule.refinements else max_length
            result = self.one_by_one(most, beam, rule.length_penalty, details)
            tokens = result['tokens']
        for number in range(rule.refinements):
            if number or parallel:
                tokens = first_end.finish(logits, longest, maps)['tokens']
            logits, maps = self.refined(tokens)
        if not (parallel or rule.refinements):
            return result
        result = first_end.finish(logits, max_length, maps)
        return first_end.ranked(result) if beam > 1 else result

    def one_by_one(self, max_length: Any, beam: int, penalty: float, details: bool) -> dict[str, jax.Array]:
        """The texts of a search, each letter predicted from those before it."""
        module = self.module
        codes = Codes(module.letters + 1, END, OFFSET, module.letters)
        result = search(
            partial(self.step, beam), self.start(), codes, rows=self.rows, capacity=module.length,
            max_length=max_length, beam=beam, penalty=penalty, details=details)
        return result | ({'attention': result.pop('maps')} if details else {})

    def start(self) -> Any:
        """The state before the first step: the position of the token, and empty keys and values."""
        rule, length = self.module.settings, self.module.length
        depth = rule.width // rule.decoder_heads
        shapes = (depth, length), (length, depth)
        return jnp.int32(0), tuple(jnp.zeros((self.rows, rule.decoder_heads, *shape), self.dtype)
                                   for shape in shapes)

    def step(self, beam: int, state: Any, classes: jax.Array) -> tuple[jax.Array, Any, jax.Array]:
        """One step of the search."""
        number, cache = state
        logits, cache, weights = self.call(self.memory, cache, classes, number, beam, method='step')
        return jax.nn.log_softmax(logits), (number + 1, cache), weights

    def at_once(self) -> tuple[jax.Array, jax.Array]:
        """Logits [B, 1, L, 1 + V] and attention of all positions, which see the start alone."""
        start = jnp.full((self.rows, 1, 1), self.module.letters + 1)
        seen = jnp.ones((1, 1, self.module.length, 1), bool)
        logits, maps = self.call(self.memory, start, seen, False, method='predict')
        return logits, maps

    def refined(self, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Logits and attention of the positions of texts [B, N, L]; each sees all tokens but its own."""
        fed, place = _fed(tokens[..., :-1], self.module.letters), jnp.arange(tokens.shape[-1])
        there = place <= (tokens >= 0).sum(-1, keepdims=True)
        seen = there[:, :, None] & (place != place[:, None] + 1)
        logits, maps = self.call(self.memory, fed, seen, False, method='predict')
        return logits, maps


def _fed(tokens: jax.Array, letters: int) -> jax.Array:
    """The start and the tokens [..., L] as classes [..., 1 + L], with padding after the text."""
    classes = jnp.where(tokens >= 0, tokens + OFFSET, letters + 2)
    return jnp.pad(classes, (*[(0, 0)] * (tokens.ndim - 1), (1, 0)), constant_values=letters + 1)


def _orders(batch: Batch, key: Any, count: int, longest: int) -> tuple[jax.Array, jax.Array]:
    """The ranks [K, L + 2] of the places in each order of a batch, and whether the order is used [K].

    A batch may bring its `orders` [K, L + 2], as lists of places. Without a key there are those that need no
    draw: forward and its reversal.
    """
    if 'orders' in batch:
        ranks = jnp.argsort(batch['orders'])
        return ranks, jnp.ones(len(ranks), bool)
    letters = jnp.where(batch['weight'] > 0, batch['length'], 0).max()
    if key is None:
        ranks = orders.plain(count, longest, letters)
        used = jnp.ones(len(ranks), bool)
    else:
        ranks, used = orders.orders(key, count, longest, letters)
    return ranks[:, : batch['tokens'].shape[1] + 2], used


def _seen(ranks: jax.Array, length: jax.Array) -> jax.Array:
    """Which places [L + 1] each position [L + 1] sees, [B, K, L + 1, L + 1]: those of lower rank, but neither
    the end nor padding."""
    before = ranks[:, None, :-1] < ranks[:, 1:, None]
    return before & (jnp.arange(before.shape[-1]) <= length[:, None])[:, None, None]


def _wanted(batch: Batch, used: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The class of each position [B, L + 1], and how much the loss counts it in each order [B, K, L + 1].

    After the first two orders, ends are left out.
    """
    place, length = jnp.arange(batch['tokens'].shape[1] + 1), batch['length'][:, None]
    tokens = jnp.pad(batch['tokens'], ((0, 0), (0, 1)))
    last = length[:, None] - (jnp.arange(len(used)) >= 2)[:, None]
    counts = (place <= last) * used[:, None] * batch['weight'][:, None, None]
    return jnp.where(place < length, tokens + OFFSET, END), counts


def _check(config: Any) -> None:
    """Refuse settings that PARSeq does not support; what all recipes have in common has been checked."""
    rule, image, train = config.model, config.image, config.train
    high, wide = rule.patch if len(rule.patch) == 2 and min(rule.patch) >= 1 else (0, 0)
    refuse(config, {
        'model.patch': (high > 0, 'height and width, at least 1'),
        'model.layers': (rule.layers >= 0, 'at least 0'),
        'model.heads': (rule.heads >= 1, 'at least 1'),
        'model.decoder_heads': (rule.decoder_heads >= 1, 'at least 1'),
        'model.width': (rule.width > 0 == rule.width % max(rule.heads, 1) + rule.width % max(
            rule.decoder_heads, 1), f'a multiple of model.heads={rule.heads} and decoder_heads='
            f'{rule.decoder_heads}'),
        'model.ratio': (rule.ratio >= 1, 'at least 1'),
        'model.dropout': (0 <= rule.dropout < 1, 'at least 0 and below 1'),
        'model.permutations': (rule.permutations == 1 or rule.permutations > 0 == rule.permutations % 2,
                               '1 or even: each order but the forward one has its mirror'),
        'model.decoding': (rule.decoding in DECODINGS, f'one of {", ".join(DECODINGS)}'),
        'model.refinements': (rule.refinements >= 0, 'at least 0'),
        'model.length_penalty': (rule.length_penalty >= 0, 'at least 0'),
        'image.height': (high > 0 == image.height % max(high, 1), f'a multiple of model.patch={rule.patch}'),
        'image.width': (wide > 0 == image.width % max(wide, 1), f'a multiple of model.patch={rule.patch}'),
        'image.width_rule': (
            image.width_rule == 'fixed', 'fixed for parseq, which has positions for one width alone'),
        'train.precision': (train.precision in PRECISIONS, f'one of {", ".join(PRECISIONS)}'),
    })


# Our names (regular expressions, by their path) and the reference's.
PEERS: Mapping[str, str] = {
    r'^positions$': 'pos_queries',
    r'^embedding$': 'text_embed/embedding/weight',
    r'^encoder/positions$': 'encoder/pos_embed',
    r'^encoder/patches/': 'encoder/patch_embed/proj/',
    r'^encoder/layer_(\d+)/': r'encoder/blocks/\1/',
    r'/norm_(\d)/': r'/norm\1/',
    r'/qkv/': '/attn/qkv/',
    r'/project/': '/attn/proj/',
    r'^(encoder/.*)/widen/': r'\1/mlp/fc1/',
    r'^(encoder/.*)/narrow/': r'\1/mlp/fc2/',
    r'^decoder/(?!norm/)': 'decoder/layers/0/',
    r'/norm_query/': '/norm_q/',
    r'/norm_content/': '/norm_c/',
    r'/own/': '/self_attn/',
    r'/cross/': '/cross_attn/',
    r'/(kernel|bias)_in$': r'/in_proj_\1',
    r'/(kernel|bias)_out$': r'/out_proj/\1',
    r'/widen/': '/linear1/',
    r'/narrow/': '/linear2/',
    r'(kernel|scale)$': 'weight',
}


def _peers(init: Any) -> dict[str, Peer]:
    """The reference's keys for every parameter."""
    peers = {}
    for path in flatten(jax.eval_shape(init, jax.random.key(0))):
        turn = 'same' if 'kernel' not in path[-1] else 'conv' if path[2] == 'patches' else 'transpose'
        peers[renamed(path[1:], PEERS)] = Peer(path, turn)
    return peers


def _adapt(state: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a checkpoint of training, whose names begin with `model.`, as those of a released one."""
    return {name.removeprefix('model.'): array for name, array in state.items()}
