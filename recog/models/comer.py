"""CoMER: a DenseNet and a Transformer decoder whose attention is refined by its coverage, trained and
searched in both directions of reading.

Zhao and Gao, "CoMER: Modeling Coverage for Transformer-Based Handwritten Mathematical Expression Recognition"
(2022, arXiv 2207.04410), section 3; sizes and training follow the authors' implementation.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from recog.models import Batch, Model, Variables
from recog.models.parts import formula_reader
from recog.models.parts.refined_decoder import PAD

PREFIX = 'comer_model'  # of all names in the reference's checkpoints


def build(config: Any, vocab: Any) -> Model:
    """CoMER with the encoder, decoder, directions and precision of the recipe."""
    formula_reader.check(config)
    comer = formula_reader.formulas(config, vocab)

    def loss(
        variables: Variables, batch: Batch, *, key: Any = None, train: bool = True, step: Any = 0
    ) -> Any:
        stages, wanted, stats = comer.read(variables, batch, train, key)
        losses = optax.softmax_cross_entropy_with_integer_labels(stages['head'], wanted)
        weight = (wanted != PAD) * batch['weight'][:, None, None]
        return (jnp.sum(jnp.where(weight > 0, losses * weight, 0)), weight.sum()), (stats, {})

    peers = formula_reader.peers(jax.eval_shape(comer.init, jax.random.key(0)), PREFIX)
    return Model(comer.init, comer.apply, loss, comer.decode, peers, formula_reader.about(comer),
                 adapt=formula_reader.adapt)
