"""A Transformer decoder whose attention to the image is refined by its own coverage: texts at once, or a
token at a time with a cache.

Zhao and Gao (2022, arXiv 2207.04410), section 3. Several texts of an image, G of them, share its memory.
Arrays have the axes of `transformer_decoder`; R = B x G rows of texts, with those of an image side by side.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from recog.models.parts.layers import Context, Linear, einsum32
from recog.models.parts.refinement import Refinement, coverage_so_far
from recog.models.parts.sines import sines
from recog.models.parts.transformer import LayerNorm, Noise
from recog.models.parts.transformer_decoder import DecoderLayer, Table, sum_by_head

PAD = 0  # the class of inputs that are none
MASKED = -1e9


class Kinds(NamedTuple):
    """Whose coverage refines the attention: that of the layer before, and the layer's own."""

    before: bool
    own: bool

    @property
    def any(self) -> bool:
        """Whether there is a refinement."""
        return self.before or self.own

    def chosen(self, before: jax.Array, own: jax.Array) -> list[jax.Array]:
        """Those of the two arrays that count."""
        return [each for each, wanted in zip((before, own), self, strict=True) if wanted]


class Memory(NamedTuple):
    """The image as all layers see it: their keys and values, and the mask [B, h, w] of the cells inside."""

    projected: Sequence[Any]
    cells: jax.Array


class RefinedLayer(DecoderLayer):
    """A decoder layer whose scores of the cells are changed by `refine` before the weights count."""

    def look(
        self, x: jax.Array, projected: Any, cells: jax.Array, refine: Callable | None, tokens: Any,
        train: bool,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The output for texts x, `tokens` of them an image, that attend to the cells; the weights
        [B, N, G S, K] that count, and those before the refinement."""
        query = self.cross.project(x, 0, 1, tokens)[0]
        keys, values = projected
        scores = einsum32('rnsd,rndk->rnsk', query, keys) * self.cross.scale
        inside = cells.reshape(cells.shape[0], 1, 1, -1)
        weights = own = self._weights(scores, inside, train)
        if refine is not None:
            weights = self._weights(scores - refine(own), inside, train)
        return self.cross.merge_heads(sum_by_head(weights, values), x.shape), weights, own

    def _weights(self, scores: jax.Array, inside: jax.Array, train: bool) -> jax.Array:
        return self.cross.dropout(jax.nn.softmax(jnp.where(inside, scores, MASKED)), train)

    def read(
        self, x: jax.Array, memory: Any, cells: jax.Array, mask: jax.Array, refine: Callable | None,
        texts: int, train: bool,
    ) -> tuple[jax.Array, jax.Array]:
        """The output for all tokens [R, S, D] at once, and their weights [B, N, G S, K]."""
        attended, _ = self.own.attend(self.own.project(x, 0, 3, x.shape[1]), mask, train, x.shape)
        x = self.norm_1(x + self.dropout(attended, train))
        attended, weights, _ = self.look(x, memory, cells, refine, texts * x.shape[1], train)
        return self.feed_forward(x, attended, train), weights

    def advance(
        self, x: jax.Array, memory: Any, cells: jax.Array, cache: Any, number: jax.Array,
        refine: Callable | None, texts: int,
    ) -> tuple[jax.Array, Any, jax.Array, jax.Array]:
        """The output for the token of each text [R, D] at place `number`, the cache with it, and its weights
        [B, N, G, K], those that count and those before the refinement."""
        attended, cache = self.own.attend_cached(x, cache, number)
        x = self.norm_1(x + attended)
        attended, weights, own = self.look(x, memory, cells, refine, texts, False)
        return self.feed_forward(x, attended, False), cache, weights, own


class RefinedDecoder(nn.Module):
    """From a map [B, h, w, D] and the classes so far to logits of the next class."""

    count: int
    features: int
    heads: int
    hidden: int
    noise: Noise
    classes: int
    kinds: Kinds
    width: int  # of the refinement

    def setup(self) -> None:
        self.embedding, self.norm_embedding = Table((self.classes, self.features), 1.0), LayerNorm()
        self.norm = LayerNorm()
        self.layer = [
            RefinedLayer(self.features, self.heads, self.hidden, self.noise) for _ in range(self.count)]
        self.output = Linear(self.classes)
        if self.kinds.any:
            self.refinement = Refinement(self.heads, self.width)

    def __call__(
        self, maps: jax.Array, cells: jax.Array, classes: jax.Array, counted: jax.Array | None,
        context: Context,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Logits [B, G, S, classes] of the class that follows each of the classes [B, G, S], the outputs of
        the last layer [B, G, S, D], and its attention weights [B, G, N, S, h, w].

        The batch norm of the refinement sees the places that are `counted` [B, G, S]; None: all.
        """
        batch, texts, places = classes.shape
        given = classes.reshape(-1, places)
        x = self.embed(given, jnp.arange(places)).astype(maps.dtype)
        memory = self.look_at(maps, cells)
        mask = jnp.tri(places, dtype=bool) & (given != PAD)[:, None, None, :]
        weights, refine = jnp.zeros(()), None
        for layer, projected in zip(self.layer, memory.projected, strict=True):
            x, weights = layer.read(x, projected, cells, mask, refine, texts, context.train)
            if self.kinds.any:
                refine = self._refiner(weights, (texts, places), cells, counted, context)
        hidden = x.reshape(batch, texts, places, -1)
        weights = _by_text(weights, texts, places).reshape(batch, texts, self.heads, places, *cells.shape[1:])
        return self.output(hidden), hidden, weights

    def _refiner(
        self, before: jax.Array, shape: tuple[int, int], cells: jax.Array, counted: jax.Array | None,
        context: Context,
    ) -> Callable[[jax.Array], jax.Array]:
        """What the scores [B, N, G S, K] of a layer are lowered by, as a function of its own weights, after
        a layer with the weights `before`."""
        def refine(own: jax.Array) -> jax.Array:
            kinds = self.kinds.chosen(*(_by_text(each, *shape) for each in (before, own)))
            covered = coverage_so_far(kinds)
            maps = covered.reshape(*covered.shape[:3], *cells.shape[1:], -1)
            lowered = self.refinement(maps, cells, counted, context)
            return jnp.moveaxis(lowered.reshape(own.shape[0], own.shape[2], -1, self.heads), 3, 1)

        return refine

    def embed(self, classes: jax.Array, places: jax.Array) -> jax.Array:
        """The input [..., S, D] of classes [..., S] at these places."""
        return self.norm(self.norm_embedding(self.embedding(classes)) + sines(places, self.features))

    def look_at(self, maps: jax.Array, cells: jax.Array) -> Memory:
        """The memory of maps [B, h, w, D] with masks [B, h, w]."""
        flat = maps.reshape(maps.shape[0], -1, maps.shape[-1])
        return Memory([layer.project_memory(flat) for layer in self.layer], cells)

    def empty_state(self, memory: Memory, rows: Any, steps: int, dtype: Any) -> Any:
        """The state before the first token of so many texts: a cache of `steps` tokens for each layer, and
        the coverage [R, h, w, C] of each layer but the first."""
        depth, cells = self.features // self.heads, memory.cells.shape[1:]
        shapes = (rows, self.heads, depth, steps), (rows, self.heads, steps, depth)
        caches = [tuple(jnp.zeros(shape, dtype) for shape in shapes)] * self.count
        kinds = sum(self.kinds)
        covered = [jnp.zeros((rows, *cells, kinds * self.heads))] * (self.count - 1 if kinds else 0)
        return caches, covered

    def step(
        self, memory: Memory, state: Any, classes: jax.Array, number: jax.Array, texts: int
    ) -> tuple[jax.Array, jax.Array, Any, jax.Array]:
        """Logits [R, classes] of the class that follows the class [R] at place `number` of each text, the
        output [R, D] of the last layer, the new state, and the attention weights [R, h, w], the heads' mean;
        an image has so many texts."""
        caches, covered = state
        rows, cells = classes.shape[0], memory.cells
        x = self.embed(classes, number).astype(memory.projected[0][0].dtype)
        after: tuple[list[Any], list[Any]] = [], []
        before: Any = None
        for index, layer in enumerate(self.layer):
            refined = index > 0 and self.kinds.any
            refine = None
            if refined:
                lowered = self._lowered(covered[index - 1], cells, texts, x.dtype)
                refine = lambda _, lowered=lowered: lowered  # noqa: E731
            x, cache, weights, own = layer.advance(
                x, memory.projected[index], cells, caches[index], number, refine, texts)
            after[0].append(cache)
            if refined:
                new = jnp.concatenate(self.kinds.chosen(before, own), 1)
                after[1].append(covered[index - 1] + _by_row(new, rows, cells))
            before = weights
        mean = _by_row(before.mean(1, keepdims=True), rows, cells)[..., 0]
        return self.output(x), x, after, mean

    def _lowered(self, covered: jax.Array, cells: jax.Array, texts: int, dtype: Any) -> jax.Array:
        """What the scores [B, N, G, K] are lowered by for coverage [R, h, w, C]."""
        context = Context(False, None, 0, dtype)
        maps = covered.reshape(-1, texts, 1, *covered.shape[1:])
        lowered = self.refinement(maps, cells, None, context)
        return jnp.moveaxis(lowered.reshape(lowered.shape[0], texts, -1, self.heads), 3, 1)


def _by_text(weights: jax.Array, texts: int, places: int) -> jax.Array:
    """Weights [B, N, G S, K] as [B, G, N, S, K]."""
    batch, heads, _, count = weights.shape
    return weights.reshape(batch, heads, texts, places, count).swapaxes(1, 2)


def _by_row(weights: jax.Array, rows: Any, cells: jax.Array) -> jax.Array:
    """Weights [B, C, G, K] as maps [R, h, w, C]."""
    return jnp.moveaxis(weights, 1, 3).reshape(rows, *cells.shape[1:], -1)
