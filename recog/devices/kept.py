"""A function in two parts: what depends on the weights alone, to be computed once, and the rest."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core

# Primitives that only hold a jaxpr: that of a jit, of a function with its own derivative, or of a checkpoint.
CALLS = (
    'jit', 'pjit', 'closed_call', 'custom_jvp_call', 'custom_vjp_call', 'custom_vjp_call_jaxpr', 'checkpoint',
    'remat2',
)


class Parted(NamedTuple):
    """`rest(first(weights), *given)` is what the function gives for (weights, *given)."""

    first: Callable[[Any], list[Any]]
    rest: Callable[..., Any]


def parted(function: Callable[..., Any], weights: Any, *given: Any) -> Parted:
    """The two parts of `function(weights, *given)`, for arrays of the shapes and types of these."""
    closed, result = jax.make_jaxpr(function, return_shape=True)(weights, *given)
    count, tree = len(jax.tree.leaves(weights)), jax.tree.structure(result)
    inputs = [*map(Kept, range(count)), *[GIVEN] * len(jax.tree.leaves(given))]
    sketch = _Pass(count)
    needed = [value.place for value in sketch.outputs(closed, inputs) if isinstance(value, Kept)]
    places = list(dict.fromkeys([*sketch.read, *needed]))

    def first(weights: Any) -> list[Any]:
        computing = _First(count, dict(enumerate(jax.tree.leaves(weights))))
        computing.outputs(closed, inputs)
        return [computing.kept[place] for place in places]

    def rest(kept: Sequence[Any], *given: Any) -> Any:
        computing = _Rest(count, dict(zip(places, kept, strict=True)))
        found = computing.outputs(closed, [*inputs[:count], *jax.tree.leaves(given)])
        return jax.tree.unflatten(tree, [computing.array(value) for value in found])

    return Parted(first, rest)


def held(equation: Any) -> Any:
    """The jaxpr of an equation that only holds one, else None."""
    if equation.primitive.name not in CALLS:
        return None
    params = equation.params
    return next(params[key] for key in ('jaxpr', 'call_jaxpr', 'fun_jaxpr') if key in params)


class Kept(NamedTuple):
    """A value that depends on the weights, and on nothing else that is given, by its place among these."""

    place: int


class Constant(NamedTuple):
    """A value that depends on nothing."""

    value: Any


GIVEN = object()  # stands for what depends on what is given, where that is not there


class _Pass:
    """One way through a jaxpr, which finds out which values are kept, and which of them the others read."""

    def __init__(self, count: int, kept: dict[int, Any] | None = None):
        self.count, self.kept, self.read = count, kept or {}, list[int]()

    def outputs(self, jaxpr: Any, inputs: Sequence[Any]) -> list[Any]:
        """The values of a jaxpr, closed or open, for these inputs."""
        known: dict[Any, Any] = {}
        if isinstance(jaxpr, core.ClosedJaxpr):
            known |= zip(jaxpr.jaxpr.constvars, map(Constant, jaxpr.consts), strict=True)
            jaxpr = jaxpr.jaxpr
        known |= zip(jaxpr.invars, inputs, strict=True)

        def value(var: Any) -> Any:
            if isinstance(var, core.Literal):
                return Constant(np.asarray(var.val, getattr(var.aval, 'dtype', None)))
            return known[var]

        for equation in jaxpr.eqns:
            known |= zip(equation.outvars, self._results(equation, list(map(value, equation.invars))),
                         strict=True)
        return [value(var) for var in jaxpr.outvars]

    def _results(self, equation: Any, inputs: list[Any]) -> list[Any]:
        if (inner := held(equation)) is not None:
            return self.outputs(inner, inputs)
        if all(isinstance(value, Constant) for value in inputs):
            return list(map(Constant, self.constants(equation, inputs)))
        if not all(isinstance(value, Constant | Kept) for value in inputs):
            return self.given(equation, inputs)
        places = range(self.count, self.count + len(equation.outvars))
        self.count += len(equation.outvars)
        self.keep(equation, inputs, places)
        return list(map(Kept, places))

    def array(self, value: Any) -> Any:
        """The array that a value stands for."""
        return (value.value if isinstance(value, Constant)
                else self.kept[value.place] if isinstance(value, Kept) else value)

    def computed(self, equation: Any, inputs: list[Any]) -> Sequence[Any]:
        """The results of an equation."""
        params = equation.primitive.get_bind_params(equation.params)
        found = equation.primitive.bind(*map(self.array, inputs), **params)
        return found if equation.primitive.multiple_results else [found]

    def constants(self, equation: Any, inputs: list[Any]) -> Sequence[Any]:
        """What depends on nothing."""
        del inputs
        return [None] * len(equation.outvars)

    def keep(self, equation: Any, inputs: list[Any], places: Sequence[int]) -> None:
        """Do what is to be done with what depends on the weights alone."""

    def given(self, equation: Any, inputs: list[Any]) -> list[Any]:
        """What depends on what is given."""
        self.read += [value.place for value in inputs if isinstance(value, Kept)]
        return [GIVEN] * len(equation.outvars)


class _First(_Pass):
    """Computes what depends on the weights alone."""

    constants = _Pass.computed

    def keep(self, equation: Any, inputs: list[Any], places: Sequence[int]) -> None:
        self.kept |= zip(places, self.computed(equation, inputs), strict=True)


class _Rest(_Pass):
    """Computes all else."""

    constants = _Pass.computed

    def given(self, equation: Any, inputs: list[Any]) -> list[Any]:
        return list(self.computed(equation, inputs))
