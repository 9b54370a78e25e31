"""The precision of products: as devices make them by default, or in full float32 everywhere."""

import functools
from collections.abc import Callable

import jax

HIGHEST = 'highest'  # one of train.precision; in float32, GPUs round to TF32 and TPUs to bfloat16


def in_precision(function: Callable, precision: str) -> Callable:
    """The function, in which all products are in full float32 if the precision is `highest`.

    A function that takes gradients must be made so itself: those of the parts whose gradient is written by
    hand are traced when the function that is differentiated has returned.
    """
    if precision != HIGHEST:
        return function

    @functools.wraps(function)
    def exact(*arguments, **named):
        with jax.default_matmul_precision('highest'):
            return function(*arguments, **named)

    return exact
