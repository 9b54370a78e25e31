"""One small converter for each primitive of JAX: (graph, equation, *inputs) to values; the tests compare each
with JAX.

Those that read and write parts of arrays are in `indexing`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recog.export.to_onnx import fusions, indexing
from recog.export.to_onnx.graph import Graph, Unconvertible, Value, integers, is_static

Converter = Callable[..., Value | Sequence[Value]]

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
REDUCTIONS = {
    'reduce_max': 'ReduceMax', 'reduce_min': 'ReduceMin', 'reduce_prod': 'ReduceProd',
    'reduce_sum': 'ReduceSum',
}
NEUTRAL = {'And': True, 'Or': False, 'Max': -math.inf, 'Min': math.inf}


def unary(operator: str) -> Converter:
    """Converter of a function of one array."""
    return lambda graph, equation, value, *_: graph.op(operator, value)


def elementwise(graph: Graph, operator: str, equation: Any, inputs: Sequence[Value]) -> Value:
    """An operator of arrays of one shape; it broadcasts by itself, so one of them must have that shape."""
    shapes = [len(var.aval.shape) for var in equation.invars]
    makers = [graph.maker(value) for value in inputs]
    repeated = [maker is not None and maker.op_type == 'Expand' for maker in makers]
    rank = len(equation.outvars[0].aval.shape)
    full = [place for place in range(len(inputs)) if not repeated[place] and shapes[place] == rank]
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


def number(equation: Any, value: float) -> np.ndarray:
    """A constant in the type of an equation's first input."""
    return np.asarray(value, equation.invars[0].aval.dtype)


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
    return graph.op('Min', graph.op('Max', value, low), high)


def transpose(graph: Graph, equation: Any, value: Value) -> Value:
    """Transpose, or a Reshape where only axes of size 1 move."""
    shape, axes = equation.invars[0].aval.shape, equation.params['permutation']
    moved = [axis for axis in axes if str(shape[axis]) != '1']
    if moved == sorted(moved):
        return graph.reshape(value, equation.outvars[0].aval.shape)
    return graph.transpose(value, axes)


def reshape(graph: Graph, equation: Any, value: Value, *_: Value) -> Value:
    """Reshape, for all that only changes the shape."""
    return _kept(graph, value, equation.invars[0].aval.shape, equation.outvars[0].aval.shape)


def _kept(graph: Graph, value: Value, given: Sequence[Any], shape: Sequence[Any]) -> Value:
    """A value in another shape; if that only restores the axes of a reduction, the reduction keeps them."""
    maker = graph.maker(value)
    if maker is not None and maker.op_type in REDUCTIONS.values() and not maker.attribute[0].i:
        axes = graph.known(maker.input[1])
        rest = [str(size) for axis, size in enumerate(shape) if axes is not None and axis not in axes]
        same = rest == [str(size) for size in given]
        if axes is not None and len(shape) == len(given) + len(axes) and same:
            return graph.op(maker.op_type, maker.input[0], axes, keepdims=1)
    return graph.reshape(value, shape)


def broadcast_in_dim(graph: Graph, equation: Any, value: Value, *_: Value) -> Value:
    """A Reshape that gives new axes the size 1, and an Expand."""
    shape, places = equation.outvars[0].aval.shape, equation.params['broadcast_dimensions']
    given = equation.invars[0].aval.shape
    between: list[Any] = [1] * len(shape)
    for place, size in zip(places, given, strict=True):
        between[place] = size
    if tuple(between) != tuple(given):
        value = _kept(graph, value, given, between)
    return value if tuple(between) == tuple(shape) else graph.expand(value, shape)


def concatenate(graph: Graph, equation: Any, *values: Value) -> Value:
    """Concat."""
    return graph.op('Concat', *values, axis=int(equation.params['dimension']))


def stack(graph: Graph, equation: Any, *values: Value) -> Value:
    """Concat along a new axis."""
    axis = int(equation.params['axis'])
    parts = [graph.op('Unsqueeze', value, integers([axis])) for value in values]
    return graph.op('Concat', *parts, axis=axis)


def split(graph: Graph, equation: Any, value: Value) -> Sequence[Value]:
    """Split."""
    sizes, axis = equation.params['sizes'], int(equation.params['axis'])
    if len(sizes) == 1:
        return [value]
    return graph.add('Split', value, graph.shape(sizes), axis=axis, outputs=len(sizes))


def tile(graph: Graph, equation: Any, value: Value) -> Value:
    """Tile."""
    return graph.op('Tile', value, graph.shape(equation.params['reps']))


def iota(graph: Graph, equation: Any, *_: Value) -> Value:
    """The numbers along one axis."""
    aval, axis = equation.outvars[0].aval, equation.params['dimension']
    numbers = graph.numbers(aval.shape[axis], aval.dtype)
    if len(aval.shape) == 1:
        return numbers
    shape = [size if place == axis else 1 for place, size in enumerate(aval.shape)]
    return graph.expand(graph.reshape(numbers, shape), aval.shape)


def dim_as_value(graph: Graph, equation: Any, *_: Value) -> Value:
    """A dimension as a number."""
    return graph.cast(graph.op('Squeeze', graph.size(equation.params['dim'])), equation.outvars[0].aval.dtype)


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


def dot_general(graph: Graph, equation: Any, left: Value, right: Value) -> Value:
    """MatMul; where needed, arrays are reshaped to [rows, own, summed] and [rows, summed, own] first."""
    (left_sum, right_sum), (left_rows, right_rows) = equation.params['dimension_numbers']
    shapes = [var.aval.shape for var in equation.invars]
    last = tuple(left_sum) == (len(shapes[0]) - 1,)
    if len(shapes[1]) == 2 and not right_rows and tuple(right_sum) == (0,) and last:
        return fusions.gathered(graph, 'MatMul', left, right) or graph.op('MatMul', left, right)
    own = [[axis for axis in range(len(shape)) if axis not in used]
           for shape, used in zip(shapes, ({*left_rows, *left_sum}, {*right_rows, *right_sum}), strict=True)]
    rows = [shapes[0][axis] for axis in left_rows]
    summed = math.prod(shapes[0][axis] for axis in left_sum)
    first, second = (math.prod(shape[axis] for axis in axes) for shape, axes in zip(shapes, own, strict=True))
    left = graph.transpose(left, [*left_rows, *own[0], *left_sum])
    right = graph.transpose(right, [*right_rows, *right_sum, *own[1]])
    if len(left_sum) != 1 or len(own[0]) != 1:
        left = graph.reshape(left, [*rows, first, summed])
    if len(left_sum) != 1 or len(own[1]) != 1:
        right = graph.reshape(right, [*rows, summed, second])
    result = graph.op('MatMul', left, right)
    flat = len(own[0]) != 1 or len(own[1]) != 1
    return graph.reshape(result, equation.outvars[0].aval.shape) if flat else result


def conv_general_dilated(graph: Graph, equation: Any, x: Value, kernel: Value) -> Value:
    """Conv between Transposes."""
    params = equation.params
    if params['batch_group_count'] != 1 or set(params['lhs_dilation']) != {1}:
        raise Unconvertible(
            'conv_general_dilated with groups of rows or a dilated input has no counterpart in ONNX')
    numbers = params['dimension_numbers']
    turned = graph.transpose(kernel, numbers.rhs_spec)
    begins, ends = zip(*params['padding'], strict=True)
    sizes = {
        'strides': params['window_strides'], 'pads': (*begins, *ends), 'dilations': params['rhs_dilation']}
    settings = {name: [int(size) for size in each] for name, each in sizes.items()}
    result = graph.op('Conv', graph.transpose(x, numbers.lhs_spec), turned,
                      group=int(params['feature_group_count']), **settings)
    return graph.transpose(result, np.argsort(numbers.out_spec).tolist())


def window(operator: str) -> Converter:
    """Converter of a reduction of each window [1, height, width, 1] of an array [B, H, W, C]."""

    def convert(graph: Graph, equation: Any, value: Value) -> Value:
        params = equation.params
        names = 'window_dimensions', 'window_strides', 'padding'
        size, strides, padding = ([*params[name]] for name in names)
        dilated = {*params['base_dilation'], *params['window_dilation']} != {1}
        outer = [(size[axis], strides[axis], *padding[axis]) for axis in (0, -1)]
        if len(size) != 4 or dilated or outer != [(1, 1, 0, 0)] * 2:
            name = equation.primitive.name
            raise Unconvertible(
                f'{name} over {size} has no counterpart in ONNX: only over [1, height, width, 1] has')
        pads = [int(padding[axis][side]) for side in (0, 1) for axis in (1, 2)]
        settings: dict[str, Any] = {'kernel_shape': [int(part) for part in size[1:3]], 'pads': pads}
        settings['strides'] = [int(part) for part in strides[1:3]]
        if operator == 'AveragePool':
            settings['count_include_pad'] = 1
        result: Value = graph.op(operator, graph.transpose(value, (0, 3, 1, 2)), **settings)
        if operator == 'AveragePool':
            result = graph.op('Mul', result, number(equation, math.prod(size)))
        return graph.transpose(result, (0, 2, 3, 1))

    return convert


OPERATIONS: dict[str, Converter] = {
    **{name: unary(operator) for name, operator in UNARY.items()},
    **{name: binary(operator) for name, operator in BINARY.items()},
    **{name: logical(operators) for name, operators in LOGICAL.items()},
    **{name: reduction(operator) for name, operator in REDUCTIONS.items()},
    'argmax': extreme('ArgMax'),
    'argmin': extreme('ArgMin'),
    'broadcast_in_dim': broadcast_in_dim,
    'clamp': clamp,
    'concatenate': concatenate,
    'conv_general_dilated': conv_general_dilated,
    'convert_element_type': convert_element_type,
    'copy': identity,
    'cumsum': cumsum,
    'dim_as_value': dim_as_value,
    'dot_general': dot_general,
    'integer_pow': integer_pow,
    'iota': iota,
    'log1p': log1p,
    'ne': unequal,
    'reduce_and': of_booleans('ReduceMin'),
    'reduce_or': of_booleans('ReduceMax'),
    'reduce_window_max': window('MaxPool'),
    'reduce_window_sum': window('AveragePool'),
    'rem': rem,
    'reshape': reshape,
    'rsqrt': rsqrt,
    'select_n': select_n,
    'split': split,
    'square': square,
    'squeeze': reshape,
    'stack': stack,
    'stop_gradient': identity,
    'tile': tile,
    'top_k': top_k,
    'transpose': transpose,
    **indexing.OPERATIONS,
}
