"""Rectification: a localisation network finds fiducial points, a thin-plate spline turns them into a grid,
and the image is sampled there.

Shi et al., "Robust Scene Text Recognition with Automatic Rectification" (RARE, 2016), section 3.1 and Figure
6; sizes and initial values follow the reference implementation. Points and grids are (x, y), -1 to 1 over the
image.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from recog.models.parts.layers import Context, ConvNorm, uniform
from recog.models.parts.pooling import max_pool
from recog.models.parts.spline import spline, targets
from recog.models.peers import PADDLE, renamed


class Size(NamedTuple):
    """Widths of a localisation network: of its convolutions, and of the layer before the points."""

    features: tuple[int, ...]
    hidden: int


SIZES = {'large': Size((64, 128, 256, 512), 256), 'small': Size((16, 32, 64, 128), 64)}
STARTS = ('slanted', 'straight')
BORDERS = ('zeros', 'border')


def slanted_points(count: int) -> np.ndarray:
    """RARE's initial points, its Figure 6 (a), float64 [F, 2]:
    a band from the lower left to the upper right."""
    x, rise = np.linspace(-1, 1, count // 2), np.linspace(0, 1, count // 2)
    return np.concatenate([np.stack([x, -rise], 1), np.stack([x, 1 - rise], 1)])


@functools.partial(jax.jit, static_argnames=('height', 'width'))
def spline_grid(fiducials: jax.Array, *, height: int, width: int) -> jax.Array:
    """The grid [B, height, width, 2] of the spline through fiducial points [B, F, 2]."""
    factors = spline(fiducials.shape[1], height, width)
    products = factors.inverse.T[:, None, :, None] * fiducials.swapaxes(0, 1)[:, :, None]  # [F, B, 3 + F, 2]
    # Numbers up to 18 nearly cancel, and another order of the sum moves the grid by some 1e-5. Like the
    # reference, this rounds each product and adds one after another, so that both agree to the bit.
    weights, _ = lax.scan(lambda total, term: (total + term, None), jnp.zeros_like(products[0]), products)
    grid = jnp.einsum('pt,btx->bpx', factors.terms, weights, precision=lax.Precision.HIGHEST)
    return grid.reshape(-1, height, width, 2)


@functools.partial(jax.jit, static_argnames=('border',))
def sample(image: jax.Array, grid: jax.Array, *, border: str = 'zeros') -> jax.Array:
    """The image [B, H, W, C] sampled bilinearly at the places of a grid [B, h, w, 2]; -1 and 1 are the
    centres of the outer pixels.

    Beyond them, the image is zero (`zeros`), or the outer pixels repeat (`border`).
    """
    (rows, height, width, channels), places = image.shape, grid.shape[1:3]
    edges = ((0, 0), (1, 1), (1, 1), (0, 0))
    padded = jnp.pad(image, edges, mode='constant' if border == 'zeros' else 'edge')
    x, left = _split((grid[..., 0] + 1) / 2 * (width - 1), width, border)
    y, top = _split((grid[..., 1] + 1) / 2 * (height - 1), height, border)
    pixels, row = padded.reshape(rows, -1, channels), width + 2
    first = ((top + 1) * row + left + 1).reshape(rows, -1, 1)

    def corner(offset: int) -> jax.Array:
        taken = jnp.take_along_axis(pixels, first + offset, 1, mode='clip')
        return taken.reshape(rows, *places, channels)

    above = corner(0) * (1 - x) + corner(1) * x
    below = corner(row) * (1 - x) + corner(row + 1) * x
    return above * (1 - y) + below * y


def _split(place: jax.Array, size: int, border: str) -> tuple[jax.Array, jax.Array]:
    """How far [..., 1] each place is from the pixel before it, as a share of the way to the next,
    and the index of that pixel; -1 is padding."""
    low, high = (-1, size) if border == 'zeros' else (0, size - 1)
    # Not `clip`, which halves the gradient at the limits.
    place = jnp.where(place < low, low, jnp.where(place > high, high, place))
    before = jnp.minimum(jnp.floor(lax.stop_gradient(place)), size - 1)
    return (place - before)[..., None], before.astype(jnp.int32)


class Rectifier(nn.Module):
    """Images [B, H, W, C] to `fiducials` [B, F, 2], `grid` [B, h, w, 2] and
    `rectified` [B, h, w, C], all float32."""

    size: Size
    count: int
    start: str
    border: str
    shape: tuple[int, int]  # of the rectified image, whatever the size of the image

    @nn.compact
    def __call__(self, image: jax.Array, context: Context) -> dict[str, jax.Array]:
        x = image.astype(context.dtype)
        for number, features in enumerate(self.size.features):
            x = max_pool(x, (2, 2)) if number else x
            x = ConvNorm(features, name=f'conv_{number}')(x, context)
        # From here on in full float32 on every device: eight bits of precision would move a point by a fifth
        # of a pixel.
        pooled, exact = jnp.mean(x, (1, 2), dtype=jnp.float32), lax.Precision.HIGHEST
        fan = uniform(pooled.shape[-1] ** -0.5)
        hidden = nn.Dense(
            self.size.hidden, precision=exact,
            kernel_init=lambda *given: fan(*given[:2]), name='hidden')(pooled)
        # The initial points, which are the same for every image.
        start = (slanted_points if self.start == 'slanted' else targets)(self.count)
        start = start.astype(np.float32).ravel()
        points = nn.Dense(
            2 * self.count, precision=exact, kernel_init=nn.initializers.zeros,
            bias_init=lambda *_: jnp.asarray(start), name='points')(jax.nn.relu(hidden))
        fiducials = points.reshape(-1, self.count, 2)
        grid = spline_grid(fiducials, height=self.shape[0], width=self.shape[1])
        return {'fiducials': fiducials, 'grid': grid, 'rectified': sample(image, grid, border=self.border)}


# Our names (regular expressions, by their path below `transform`) and the reference's. The reference has one
# more layer, for the three rows below the points: it is zero, and never trained.
PEERS: Mapping[str, str] = {
    r'^conv_(\d)/': r'loc_conv\1/',
    '/norm/': '/bn/',
    '^hidden/': 'fc1/',
    '^points/': 'fc2/',
    **PADDLE,
}
ZEROS = ('transform.grid_generator.fc.weight', 'transform.grid_generator.fc.bias')


def peer_key(path: tuple[str, ...]) -> str:
    """The reference's key for the variable at `path` within the rectifier."""
    return f'transform.loc_net.{renamed(path, PEERS)}'
