"""One small converter for each primitive of JAX: (graph, equation, *inputs) to values; the tests compare each
with JAX.

Those that arrange arrays are in `shapes`, those that sum over axes in `products`, those that read and write
parts of arrays in `indexing`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recog.export.to_onnx import fusions, indexing, products, shapes
from recog.export.to_onnx.graph import (
    REDUCTIONS,
    Converter,
    Graph,
    Unconvertible,
    Value,
    integers,
    is_static,
    number,
)

# Operators that do exactly what the primitive does.
UNARY = {
    'abs': 'Abs', 'ceil': 'Ceil', 'cos': 'Cos', 'erf': 'Erf', 'exp': 'Exp', 'floor': 'Floor', 'log': 'Log',
    'logistic': 'Sigmoid', 'neg': 'Neg', 'sign': 'Sign', 'sin': 'Sin', 'sqrt': 'Sqrt', 'tanh': 'Tanh',
}
BINARY = {
    'div': 'Div', 'eq': 'Equal', 'ge': 'GreaterOrEqual', 'gt': 'Greater', 'le': 'LessOrEqual', 'lt': 'Less',
    'mul': 'Mul', 'pow': 'Pow', 'sub': 'Sub',
}
# For booleans, and for numbers.
LOGICAL = {
    'and': ('And', 'BitwiseAnd'), 'or': ('Or', 'BitwiseOr'), 'xor': ('Xor', 'BitwiseXor'),
    'not': ('Not', 'BitwiseNot'), 'add': ('Or', 'Add'), 'max': ('Or', 'Max'), 'min': ('And', 'Min'),
}
NEUTRAL = {'And': True, 'Or': False, 'Max': -math.inf, 'Min': math.inf}


def unary(operator: str) -> Converter:
    """Converter of a function of one array."""
    return lambda graph, equation, value, *_: graph.op(operator, value)


def elementwise(graph: Graph, operator: str, equation: Any, inputs: Sequence[Value]) -> Value:
    """An operator of arrays of one shape; it broadcasts by itself, so one of them must have that shape."""
    ranks = [len(var.aval.shape) for var in equation.invars]
    makers = [graph.maker(value) for value in inputs]
    repeated = [maker is not None and maker.op_type == 'Expand' for maker in makers]
    rank = len(equation.outvars[0].aval.shape)
    full = [place for place in range(len(inputs)) if not repeated[place] and ranks[place] == rank]
    if full:
        inputs = [maker.input[0] if small and maker is not None else value
                  for value, small, maker in zip(inputs, repeated, makers, strict=True)]
    together = fusions.simplified(graph, operator, inputs)
    return graph.op(operator, *inputs) if together is None else together


def binary(operator: str) -> Converter:
    """Converter of a function of two arrays."""
    return lambda graph, equation, *inputs: elementwise(graph, operator, equation, inputs)


def logical(operators: tuple[str, str]) -> Converter:
    """Converter of a function that has different operators for booleans and for numbers."""

    def convert(graph: Graph, equation: Any, *inputs: Value) -> Value:
        operator = operators[0 if equation.invars[0].aval.dtype == bool else 1]
        shape = [str(size) for size in equation.outvars[0].aval.shape]
        if operator in NEUTRAL:
            for one, other, var in zip(inputs, inputs[::-1], equation.invars[::-1], strict=True):
                neutral = isinstance(one, np.ndarray) and (one == NEUTRAL[operator]).all()
                if neutral and [str(size) for size in var.aval.shape] == shape:
                    return other
        return elementwise(graph, operator, equation, inputs)

    return convert


def reduction(operator: str) -> Converter:
    """Converter of a reduction over axes."""

    def convert(graph: Graph, equation: Any, value: Value) -> Value:
        axes = equation.params['axes']
        return graph.op(operator, value, integers(axes), keepdims=0) if axes else value

    return convert


def of_booleans(operator: str) -> Converter:
    """Converter of a reduction of booleans, which are converted to numbers."""

    def convert(graph: Graph, equation: Any, value: Value) -> Value:
        axes = integers(equation.params['axes'])
        return graph.cast(graph.op(operator, graph.cast(value, np.int32), axes, keepdims=0), bool)

    return convert


def unequal(graph: Graph, equation: Any, *inputs: Value) -> Value:
    """Not Equal."""
    return graph.op('Not', elementwise(graph, 'Equal', equation, inputs))


def identity(graph: Graph, equation: Any, value: Value, *_: Value) -> Value:
    """The value itself."""
    return value


def rsqrt(graph: Graph, equation: Any, value: Value) -> Value:
    """1 / sqrt(x)."""
    return graph.op('Reciprocal', graph.op('Sqrt', value))


def square(graph: Graph, equation: Any, value: Value) -> Value:
    """x * x."""
    return graph.op('Mul', value, value)


def integer_pow(graph: Graph, equation: Any, value: Value) -> Value:
    """A power whose exponent is a constant."""
    return graph.op('Pow', value, number(equation, equation.params['y']))


def log1p(graph: Graph, equation: Any, value: Value) -> Value:
    """log(1 + x), corrected by what rounding 1 + x loses of x, so that it is exact for small x.

    It is simpler for x = exp(-|y|), which is between 0 and 1.
    """
    power = graph.maker(value)
    sign = graph.maker(power.input[0]) if power is not None and power.op_type == 'Exp' else None
    size = graph.maker(sign.input[0]) if sign is not None and sign.op_type == 'Neg' else None
    if size is not None and size.op_type == 'Abs':  # exp(-|x|), as in logaddexp
        ratio = graph.op('Div', value, graph.op('Add', value, number(equation, 2)))
        return graph.op('Mul', graph.op('Atanh', ratio), number(equation, 2))
    total = graph.op('Add', value, number(equation, 1))
    rest = graph.op('Sub', total, number(equation, 1))
    exact = graph.op('Div', graph.op('Mul', graph.op('Log', total), value), rest)
    # Without a loss, or where the quotient is undefined (0 / 0, infinity / infinity), log(1 + x) itself.
    small = graph.op('Less', graph.op('Abs', value), number(equation, 0.5))
    lost = graph.op('And', small, graph.op('Not', graph.op('Equal', rest, number(equation, 0))))
    return graph.op('Where', lost, exact, graph.op('Where', small, value, graph.op('Log', total)))


def rem(graph: Graph, equation: Any, *inputs: Value) -> Value:
    """The remainder that has the sign of the dividend."""
    return graph.op('Mod', *inputs, fmod=1)


def convert_element_type(graph: Graph, equation: Any, value: Value) -> Value:
    """Cast, unless it has the type already."""
    before, after = equation.invars[0].aval.dtype, equation.params['new_dtype']
    return value if before == after else graph.cast(value, after)


def select_n(graph: Graph, equation: Any, which: Value, *cases: Value) -> Value:
    """A choice between two values by a boolean."""
    if equation.invars[0].aval.dtype != bool or len(cases) != 2:
        raise Unconvertible(
            f'select_n among {len(cases)} has no counterpart in ONNX: only one by a boolean has')
    asked = graph.maker(which)
    if asked is not None and asked.op_type == 'Less':  # of an index that never counts from the end
        bounds, than = graph.bounds(asked.input[0]), graph.known(asked.input[1])
        if bounds and than is not None and bounds[0] >= than.max():
            return cases[0]
    if equation.outvars[0].aval.dtype == bool:
        return graph.where(which, cases[1], cases[0], bool)
    mask = fusions.masked(graph, which, *cases)
    if mask is not None:
        return mask
    return elementwise(graph, 'Where', equation, [which, cases[1], cases[0]])


def clamp(graph: Graph, equation: Any, low: Value, value: Value, high: Value) -> Value:
    """Values not below one bound and not above the other."""
    inner = graph.op('Max', value, low)
    return fusions.simplified(graph, 'Min', (inner, high)) or graph.op('Min', inner, high)


def _learn(graph: Graph, places: str, size: Any) -> None:
    """Remember that indices are below the size of their axis."""
    if is_static(size):
        graph.root.limits[places] = (0, int(size) - 1)


def extreme(operator: str) -> Converter:
    """Converter of argmax or argmin; of several equal values, the first counts."""

    def convert(graph: Graph, equation: Any, value: Value) -> Value:
        (axis,) = equation.params['axes']
        place = graph.op(operator, value, axis=int(axis), keepdims=0)
        _learn(graph, place, equation.invars[0].aval.shape[axis])
        return graph.cast(place, equation.params['index_dtype'])

    return convert


def top_k(graph: Graph, equation: Any, value: Value) -> Sequence[Value]:
    """TopK along the last axis."""
    axis = equation.params['axis'] if 'axis' in equation.params else -1
    values, places = graph.add('TopK', value, integers([equation.params['k']]), axis=int(axis), outputs=2)
    _learn(graph, places, equation.invars[0].aval.shape[axis])
    return [values, graph.cast(places, np.int32)]


def cumsum(graph: Graph, equation: Any, value: Value) -> Value:
    """CumSum, from either end."""
    axis = np.asarray(equation.params['axis'], np.int64)
    return graph.op('CumSum', value, axis, reverse=int(equation.params['reverse']))


OPERATIONS: dict[str, Converter] = {
    **{name: unary(operator) for name, operator in UNARY.items()},
    **{name: binary(operator) for name, operator in BINARY.items()},
    **{name: logical(operators) for name, operators in LOGICAL.items()},
    **{name: reduction(operator) for name, operator in REDUCTIONS.items()},
    'argmax': extreme('ArgMax'),
    'argmin': extreme('ArgMin'),
    'clamp': clamp,
    'convert_element_type': convert_element_type,
    'copy': identity,
    'cumsum': cumsum,
    'integer_pow': integer_pow,
    'log1p': log1p,
    'ne': unequal,
    'reduce_and': of_booleans('ReduceMin'),
    'reduce_or': of_booleans('ReduceMax'),
    'rem': rem,
    'rsqrt': rsqrt,
    'select_n': select_n,
    'square': square,
    'stop_gradient': identity,
    'top_k': top_k,
    **shapes.OPERATIONS,
    **products.OPERATIONS,
    **indexing.OPERATIONS,
}
