"""The attention refinement of CoMER: what is subtracted from the scores of cells that earlier tokens have
attended to.

Zhao and Gao, "CoMER: Modeling Coverage for Transformer-Based Handwritten Mathematical Expression Recognition"
(2022, arXiv 2207.04410), section 3.4. B rows, G texts of each, S tokens, N heads, C maps of coverage: one for
each head of the layer before, of this layer, or of both.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from recog.models.parts.layers import BatchNorm, Context, Conv, uniform

REACH = 5  # cells from which coverage is gathered, in both directions together


def coverage_so_far(weights: Sequence[jax.Array]) -> jax.Array:
    """The sums of attention weights [B, G, N, S, K] over the tokens before each, as [B, G, S, K, C]; the
    heads of the arrays one after another."""
    count = weights[0].shape[3]
    before = jnp.tri(count, count, -1)
    summed = [jnp.einsum('ts,bgnsk->bgtkn', before, each, precision=lax.Precision.HIGHEST)
              for each in weights]
    return jnp.concatenate(summed, -1)


class Refinement(nn.Module):
    """From coverage [B, G, S, h, w, C] to what is subtracted from the scores [B, G, S, h, w, N]; values
    outside the masks [B, h, w] mean nothing.

    In training its batch norm sees the cells inside the images at the places that are `counted` [B, G, S].
    """

    heads: int
    width: int

    @nn.compact
    def __call__(
        self, coverage: jax.Array, cells: jax.Array, counted: jax.Array | None, context: Context
    ) -> jax.Array:
        shape, cells = coverage.shape, cells[:, None, None, :, :, None]
        flat = coverage.astype(context.dtype).reshape(-1, *shape[3:])
        start = uniform((shape[-1] * REACH * REACH) ** -0.5)
        x = Conv(self.width, (REACH, REACH), biased=True, start=start, name='conv')(flat)
        x = jnp.where(cells, jax.nn.relu(x).reshape(*shape[:-1], -1), jnp.zeros((), x.dtype))
        project = Conv(self.heads, (1, 1), start=uniform(self.width**-0.5), name='project')
        x = project(x.reshape(-1, *x.shape[3:])).reshape(*shape[:-1], -1).astype(jnp.float32)
        if context.train:
            seen = cells if counted is None else cells & counted[..., None, None, None]
            context = context._replace(cells=jnp.broadcast_to(seen, (*shape[:-1], 1)))
        # The softmax of the scores cancels the bias.
        return BatchNorm(True, False, name='norm')(x, context)
