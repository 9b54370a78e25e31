"""From scores to texts."""

from typing import Any

import jax.numpy as jnp


def by_row(max_length: Any, axes: int) -> Any:
    """The most tokens of a text, a scalar or one for each row, beside an array with so many axes."""
    return max_length.reshape(-1, *[1] * (axes - 1)) if jnp.ndim(max_length) else max_length
