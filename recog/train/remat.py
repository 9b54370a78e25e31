"""Rematerialisation: what the forward pass keeps for the gradient; the rest is computed once more."""

from collections.abc import Callable
from typing import Any

import jax

from recog.models.parts.network import BLOCK, BLOCKS

PRODUCTS = ('dot_general', 'conv_general_dilated')


def _products(primitive: Any, *_: Any, **__: Any) -> bool:
    """Whether an operation is a matrix product or a convolution."""
    return primitive.name in PRODUCTS


POLICIES = {
    'products': _products,
    BLOCKS: jax.checkpoint_policies.save_only_these_names(BLOCK),
}


def rematerialised(function: Callable, policy: str) -> Callable:
    """The function, whose gradient keeps what the policy of this name says; with '' it keeps all."""
    return jax.checkpoint(function, policy=POLICIES[policy]) if policy else function
