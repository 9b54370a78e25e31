"""Converters of the primitives that arrange arrays: axes, shapes, repetition, concatenation."""

from collections.abc import Sequence
from typing import Any

from recog.export.to_onnx.graph import REDUCTIONS, Converter, Graph, Value, integers


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


OPERATIONS: dict[str, Converter] = {
    'broadcast_in_dim': broadcast_in_dim,
    'concatenate': concatenate,
    'dim_as_value': dim_as_value,
    'iota': iota,
    'reshape': reshape,
    'split': split,
    'squeeze': reshape,
    'stack': stack,
    'tile': tile,
    'transpose': transpose,
}
