"""TAMER: CoMER's network with a head that says where in a formula the parent of each token stands, and a
search that prefers formulas whose tree it believes.

Zhu et al., "TAMER: Tree-Aware Transformer for Handwritten Mathematical Expression Recognition" (2024, arXiv
2408.08578), section 3; sizes and training follow the authors' implementation.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from recog.models import Batch, Model, Variables, refuse
from recog.models.decoding.read_again import Judged
from recog.models.parts import formula_reader, tree_head
from recog.models.parts.formula_labels import OFFSET
from recog.models.parts.formula_trees import Signs, parents, signs, tree_targets
from recog.models.parts.refined_decoder import PAD
from recog.models.parts.transformer import Noise

PREFIX = 'tamer_model'  # of all names in the reference's checkpoints


def build(config: Any, vocab: Any) -> Model:
    """TAMER with the encoder, decoder, tree and precision of the recipe."""
    formula_reader.check(config)
    settings, shaping = config.model, signs(vocab.tokens)
    refuse(config, {'model.directions': (settings.directions == 2 or not settings.tree, '2 with model.tree')})
    sizes = settings.width, settings.heads, settings.feed_forward, Noise(settings.decoder_dropout)
    heads = tree_head.TreeHeads(*sizes) if settings.tree else None
    tamer = formula_reader.formulas(config, vocab, heads)
    head = tree_head.TreeHead(*sizes)

    def loss(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = True, step: Any = 0
    ) -> Any:
        stages, wanted, stats = tamer.read(variables, batch, train, key)
        losses = optax.softmax_cross_entropy_with_integer_labels(stages['head'], wanted)
        total, count = _row_sums(losses, wanted != PAD, batch['weight'])
        if settings.tree:
            parent, refused = parents(batch['tokens'], batch['length'], shaping)
            places = jnp.stack(tree_targets(parent, refused, batch['length']), 1)
            trees = optax.softmax_cross_entropy_with_integer_labels(stages['judged'], jnp.maximum(places, 0))
            tree = _row_sums(trees, places >= 0, batch['weight'])
            total = total + _rescaled(*tree, count, tamer.network.group)
        return (total.sum(), count.sum()), (stats, {})

    def decode(variables: Variables, *given: Any, **how: Any) -> dict[str, jax.Array]:
        judge = partial(judged, head, variables['params']['judge'], shaping) if settings.tree else None
        return tamer.decode(variables, *given, **how, judge=judge)

    peers = formula_reader.peers(jax.eval_shape(tamer.init, jax.random.key(0)), PREFIX)
    still = tuple(f'judge/{way}/similarity_bias' for way in tree_head.WAYS) if settings.tree else ()
    return Model(tamer.init, tamer.apply, loss, decode, peers, formula_reader.about(tamer, still),
                 adapt=formula_reader.adapt)


def _row_sums(losses: jax.Array, counts: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sums [B] of the losses [B, W, S] that count, and how many these are."""
    weights = counts * weight[:, None, None]
    return jnp.sum(jnp.where(weights > 0, losses * weights, 0), (1, 2)), weights.sum((1, 2))


def _rescaled(total: jax.Array, count: jax.Array, wanted: jax.Array, group: int) -> jax.Array:
    """Sums [B] of losses over `count` [B], so that their sum over `wanted` [B] is their mean: of the batch,
    or of each group of `group` rows."""
    def whole(values: jax.Array) -> jax.Array:
        return values.reshape(-1, group or values.shape[0]).sum(1, keepdims=True)

    share = whole(wanted) / jnp.maximum(whole(count), 1)
    return (total.reshape(share.shape[0], -1) * share).reshape(-1)


def judged(
    head: tree_head.TreeHead, parameters: Any, shaping: Signs, classes: jax.Array, length: jax.Array,
    forwards: jax.Array, backwards: jax.Array,
) -> Judged:
    """The mean log-probability of the places of the parents of texts [B, H, T], in both directions, for the
    decoder's outputs [B, H, T + 1, D]; ill-formed texts are refused.

    Unlike in the reference, where it is no number, that of an empty text is 0.
    """
    flat, shape = length.reshape(-1), length.shape
    parent, refused = parents(classes.reshape(-1, classes.shape[-1]) - OFFSET, flat, shaping)
    outputs = (each.reshape(-1, *each.shape[2:]) for each in (forwards, backwards))
    scores = [tree_head.mean_chance(head, parameters[way], x, flat, places) for way, x, places in zip(
        tree_head.WAYS, outputs, tree_targets(parent, refused, flat), strict=True)]
    return Judged((sum(scores[1:], scores[0]) / len(scores)).reshape(shape), refused.reshape(shape))
