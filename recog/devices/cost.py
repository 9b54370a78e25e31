"""What a function costs: arithmetic counted from its jaxpr, and parameters counted from its variables."""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core

# One operation per element of the result; all else (copies, comparisons, indexing) counts nothing.
ELEMENTWISE = frozenset(
    'add sub mul div neg max min abs exp exp2 log log1p expm1 tanh logistic sqrt rsqrt pow integer_pow '
    'square erf sin cos select_n clamp sign floor ceil round add_any'.split())
REDUCTIONS = frozenset(
    'reduce_sum reduce_max reduce_min argmax argmin cumsum cumlogsumexp cummax reduce_window_sum '
    'reduce_window_max reduce_prod'.split())


def flops(function: Callable, *args: Any) -> int:
    """Floating-point operations of one call: a multiply-add is two, a scan's body counts once a step."""
    return count(jax.make_jaxpr(function)(*args))


def count(closed: Any) -> int:
    """Floating-point operations of a jaxpr."""
    return _count(closed.jaxpr)


def _count(jaxpr: Any) -> int:
    return sum(_equation(equation) for equation in jaxpr.eqns)


def products(equation: Any) -> int:
    """Multiply-adds of the matrix products and convolutions of an equation, those inside it among them."""
    name, params = equation.primitive.name, equation.params
    out = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
    if name == 'dot_general':
        left, ((contracted, _), _) = equation.invars[0].aval, params['dimension_numbers']
        return out * math.prod(left.shape[axis] for axis in contracted)
    if name == 'conv_general_dilated':
        kernel, numbers = equation.invars[1].aval, params['dimension_numbers']
        return out * math.prod(kernel.shape) // kernel.shape[numbers.rhs_spec[0]]
    return _inner(equation, lambda jaxpr: sum(products(each) for each in jaxpr.eqns))


def _inner(equation: Any, count: Callable[[Any], int]) -> int:
    """The count over the jaxprs inside an equation: a loop's times its steps, of branches the largest."""
    name, params = equation.primitive.name, equation.params
    if name == 'cond' and params.get('branches_platforms'):
        # One branch for each platform: the last is the plain form, which the others compute in other ways.
        return count(params['branches'][-1].jaxpr)
    if name == 'cond':
        return max(count(branch.jaxpr) for branch in params['branches'])
    inner = sum(count(sub) for sub in inside(params))
    # A while loop's steps are not known; its body counts once.
    return inner * params['length'] if name == 'scan' else inner


def _equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    out = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
    if name in ('dot_general', 'conv_general_dilated'):
        return 2 * products(equation)
    inner = _inner(equation, _count)
    if inner or name == 'cond':
        return inner
    if name in REDUCTIONS:
        if 'window_dimensions' in params:
            return out * math.prod(params['window_dimensions'])
        return math.prod(equation.invars[0].aval.shape)
    return out if name in ELEMENTWISE else 0


def inside(params: dict[str, Any]) -> list[Any]:
    """The jaxprs that an equation runs."""
    found = []
    for value in params.values():
        if isinstance(value, core.ClosedJaxpr):
            found.append(value.jaxpr)
        elif isinstance(value, core.Jaxpr):
            found.append(value)
    return found


def parameters(tree: Any) -> int:
    """How many numbers the leaves hold."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
