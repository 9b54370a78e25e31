"""Converters of the primitives that read and write parts of arrays: slices, padding, gather and scatter."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.lax import GatherScatterMode

from recog.export.to_onnx.graph import Graph, Unconvertible, Value, integers, is_static


def slice_(graph: Graph, equation: Any, value: Value) -> Value:
    """Slice."""
    params = equation.params
    axes = range(len(params['start_indices']))
    strides = params['strides'] or [1] * len(axes)
    starts, ends = graph.shape(params['start_indices']), graph.shape(params['limit_indices'])
    return graph.op('Slice', value, starts, ends, integers(axes), integers(strides))


def rev(graph: Graph, equation: Any, value: Value) -> Value:
    """Slice with steps of -1."""
    axes = integers(equation.params['dimensions'])
    starts, ends, steps = (np.full(len(axes), number, np.int64) for number in (-1, -2**62, -1))
    return graph.op('Slice', value, starts, ends, axes, steps)


def pad(graph: Graph, equation: Any, value: Value, filler: Value) -> Value:
    """Pad with a constant; negative padding cuts off."""
    edges = equation.params['padding_config']
    if any(inner for _, _, inner in edges):
        raise Unconvertible('pad between elements has no counterpart in ONNX')
    if not any(low or high for low, high, _ in edges):
        return value
    sizes = integers([*(low for low, _, _ in edges), *(high for _, high, _ in edges)])
    if equation.outvars[0].aval.dtype.name == 'bool':
        value, filler = graph.cast(value, np.int32), graph.cast(filler, np.int32)
        return graph.cast(graph.op('Pad', value, sizes, filler), bool)
    return graph.op('Pad', value, sizes, filler)


def dynamic_slice(graph: Graph, equation: Any, value: Value, *starts: Value) -> Value:
    """A slice whose start is moved, as in JAX, so that it lies inside."""
    shape, sizes = equation.invars[0].aval.shape, equation.params['slice_sizes']
    axes = [axis for axis, size in enumerate(sizes) if str(size) != str(shape[axis])]
    for axis in axes:
        start = _inside(graph, _vector(graph, starts[axis]), graph.size(shape[axis]), graph.size(sizes[axis]))
        if sizes[axis] == 1:
            value = graph.op('Gather', value, start, axis=axis)
        else:
            end = graph.op('Add', start, graph.size(sizes[axis]))
            value = graph.op('Slice', value, start, end, integers([axis]))
    return value


def _vector(graph: Graph, value: Value) -> Value:
    """A scalar as int64 [1]."""
    return graph.reshape(graph.cast(value, np.int64), [1])


def _inside(graph: Graph, start: Value, size: Value, length: Value) -> Value:
    """A start [1] of `length` elements, moved so that they end before `size`."""
    bounds, end, count = graph.bounds(start), graph.known(size), graph.known(length)
    if bounds and end is not None and count is not None and bounds[1] + count[0] <= end[0]:
        return start
    return graph.op('Min', graph.op('Max', start, integers([0])), graph.op('Sub', size, length))


def dynamic_update_slice(graph: Graph, equation: Any, value: Value, update: Value, *starts: Value) -> Value:
    """An update along one axis: ScatterND for one row, Where for one element of other axes, else Concat."""
    shape, sizes = (var.aval.shape for var in equation.invars[:2])
    axes = [axis for axis, size in enumerate(sizes) if str(size) != str(shape[axis])]
    if not axes:
        return update
    if len(axes) > 1:
        raise Unconvertible(
            f'dynamic_update_slice along {len(axes)} axes has no counterpart in ONNX: only along one has')
    (axis,) = axes
    start = _inside(graph, _vector(graph, starts[axis]), graph.size(shape[axis]), graph.size(sizes[axis]))
    if sizes[axis] == 1 and axis == 0:
        return graph.op('ScatterND', value, graph.reshape(start, [1, 1]), update)
    if sizes[axis] == 1:
        places = [size if place == axis else 1 for place, size in enumerate(shape)]
        here = graph.op('Equal', graph.reshape(graph.numbers(shape[axis], np.int64), places), start)
        return graph.where(here, update, value, equation.outvars[0].aval.dtype)
    end = graph.op('Add', start, graph.size(sizes[axis]))
    before = graph.op('Slice', value, integers([0]), start, integers([axis]))
    after = graph.op('Slice', value, end, graph.size(shape[axis]), integers([axis]))
    return graph.op('Concat', before, update, after, axis=axis)


def gather(graph: Graph, equation: Any, value: Value, indices: Value) -> Value:
    """Elements or whole rows at indices [..., K], one for each of K axes; one window is a slice."""
    shape, places = (var.aval.shape for var in equation.invars)
    sizes, numbers = equation.params['slice_sizes'], equation.params['dimension_numbers']
    if isinstance(indices, np.ndarray):
        separate = _separate(graph, equation, value, indices)
        if separate is not None:
            return separate
    if len(places) == 1 and not numbers.operand_batching_dims:
        return graph.reshape(_window(graph, equation, value, indices), equation.outvars[0].aval.shape)
    rows, mapped = tuple(numbers.operand_batching_dims), tuple(numbers.start_index_map)
    single = {*rows, *mapped}
    if not all(str(size) == ('1' if axis in single else str(shape[axis])) for axis, size in enumerate(sizes)):
        raise Unconvertible(
            f'gather of windows {sizes} from {shape} has no counterpart in ONNX: only of whole rows has')
    limits = [shape[axis] for axis in mapped]
    picked, inside = _checked(graph, equation, indices, limits)
    order = [*numbers.start_indices_batching_dims]
    order += [axis for axis in range(len(places) - 1) if axis not in order]
    rest = [axis for axis in range(len(shape)) if axis not in single]
    if not rows and len(mapped) == 1:
        turned = graph.transpose(value, [mapped[0], *rest])
        result = graph.op('Gather', turned, graph.reshape(picked, places[:-1]), axis=0)
    else:
        turned, picked = graph.transpose(value, [*rows, *mapped, *rest]), graph.cast(picked, np.int64)
        picked = graph.transpose(picked, [*order, len(places) - 1])
        result = graph.op('GatherND', turned, picked, batch_dims=len(rows))
    return _arranged(graph, equation, result, order, inside)


def _separate(graph: Graph, equation: Any, value: Value, indices: np.ndarray) -> Value | None:
    """Slices and Gathers axis by axis, for constant indices that follow one axis each,
    as those of strided slices do."""
    aval, shape = equation.outvars[0].aval, equation.invars[0].aval.shape
    numbers = equation.params['dimension_numbers']
    if numbers.operand_batching_dims:
        return None
    runs: dict[int, int] = {}  # axis of the indices -> axis of the array that it runs along
    for number, axis in enumerate(numbers.start_index_map):
        places, whole, size = indices[..., number], shape[axis], equation.params['slice_sizes'][axis]
        varying = [each for each in range(places.ndim) if (places != places.take([0], each)).any()]
        static = is_static(whole) and is_static(size) and places.size > 0
        if len(varying) > 1 or not static or places.min() < 0 or places.max() > whole - size:
            return None
        if varying and (size != 1 or varying[0] in runs):
            return None
        runs |= dict.fromkeys(varying, axis)
        count = places.shape[varying[0]] if varying else 1
        line = np.moveaxis(places, varying, range(len(varying))).reshape(count, -1)[:, 0]
        value = _taken(graph, value, line.astype(np.int64), axis, size, whole)
    if any(size != 1 for each, size in enumerate(indices.shape[:-1]) if each not in runs):
        return None
    left = [axis for axis in range(len(shape)) if axis not in numbers.collapsed_slice_dims]
    index_places = [place for place in range(len(aval.shape)) if place not in numbers.offset_dims]
    pairs = zip(left, numbers.offset_dims, strict=True)
    spots = {axis: place for axis, place in pairs if axis not in runs.values()}
    spots |= {axis: index_places[each] for each, axis in runs.items()}
    # Axes without a place have size 1.
    gone = [axis for axis in range(len(shape)) if axis not in spots]
    return graph.reshape(graph.transpose(value, [*gone, *sorted(spots, key=spots.__getitem__)]), aval.shape)


def _taken(graph: Graph, value: Value, places: np.ndarray, axis: int, size: Any, whole: Any) -> Value:
    """Elements of one axis: `size` of them from one place on, or one at each place."""
    steps = set(np.diff(places).tolist()) or {1}
    if len(steps) > 1 or min(steps) < 1:
        return graph.op('Gather', value, places, axis=axis)
    (step,), start, end = steps, int(places[0]), int(places[-1]) + int(size)
    if (start, end, step) == (0, whole, 1):
        return value
    return graph.op('Slice', value, integers([start]), integers([end]), integers([axis]), integers([step]))


def _arranged(
    graph: Graph, equation: Any, result: Value, order: Sequence[int], inside: Value | None
) -> Value:
    """Gathered rows [index axes in `order`, row axes] in the axis order of the equation,
    filled where indices were outside."""
    aval, numbers = equation.outvars[0].aval, equation.params['dimension_numbers']
    gone = {*numbers.operand_batching_dims, *numbers.collapsed_slice_dims}
    left = [axis for axis in range(len(equation.invars[0].aval.shape)) if axis not in gone]
    # Axes of a row that were read one element at a time have size 1: the last reshape adds them.
    kept = [place for place, axis in zip(numbers.offset_dims, left, strict=True)
            if axis not in numbers.start_index_map]
    thin = [place for place in numbers.offset_dims if place not in kept]
    spots = [place for place in range(len(aval.shape)) if place not in thin]
    index_spots = [place for place in spots if place not in kept]
    source = {index_spots[axis]: position for position, axis in enumerate(order)}
    source |= {place: len(order) + position for position, place in enumerate(kept)}
    axes = [source[place] for place in spots]
    result = graph.transpose(result, axes)
    if thin:
        result = graph.reshape(result, aval.shape)
    if inside is None:
        return result
    shape = [1 if place in numbers.offset_dims else size for place, size in enumerate(aval.shape)]
    return graph.where(graph.reshape(inside, shape), result, _filler(equation), aval.dtype)


def _checked(
    graph: Graph, equation: Any, indices: Value, limits: Sequence[Any]
) -> tuple[Value, Value | None]:
    """Indices [..., K] within the limits, and, where elements outside are to be filled, which were inside."""
    bounds = graph.bounds(indices) if len(limits) == 1 and is_static(limits[0]) else None
    if bounds and 0 <= bounds[0] and bounds[1] < limits[0]:
        return indices, None
    indices = graph.cast(indices, np.int64)
    last = graph.op('Sub', graph.shape(limits), integers([1]))
    moved = graph.op('Min', graph.op('Max', indices, integers([0])), last)
    # Where JAX is promised that all indices are inside, they are clipped too: onnxruntime fails on others.
    if GatherScatterMode.from_any(equation.params['mode']) != GatherScatterMode.FILL_OR_DROP:
        return moved, None
    same = graph.cast(graph.op('Equal', moved, indices), np.int32)
    return moved, graph.cast(graph.op('ReduceMin', same, integers([-1]), keepdims=0), bool)


def _filler(equation: Any) -> np.ndarray:
    """The value of elements outside: JAX's default unless the equation has one."""
    dtype, value = equation.outvars[0].aval.dtype, equation.params['fill_value']
    if value is None and dtype.kind in 'iu':
        value = np.iinfo(dtype).min if dtype.kind == 'i' else np.iinfo(dtype).max
    elif value is None:
        value = True if dtype.kind == 'b' else np.nan
    return np.asarray(value, dtype)


def _window(graph: Graph, equation: Any, value: Value, indices: Value) -> Value:
    """The one window that starts at indices [K], its axes of size 1 kept."""
    shape, params = equation.invars[0].aval.shape, equation.params
    mapped, sizes = params['dimension_numbers'].start_index_map, params['slice_sizes']
    starts, inside = graph.cast(indices, np.int64), None
    lengths = graph.shape([sizes[axis] for axis in mapped])
    room = graph.op('Sub', graph.shape([shape[axis] for axis in mapped]), lengths)
    moved = graph.op('Min', graph.op('Max', starts, integers([0])), room)
    if GatherScatterMode.from_any(params['mode']) == GatherScatterMode.FILL_OR_DROP:
        same = graph.cast(graph.op('Equal', moved, starts), np.int32)
        inside = graph.cast(graph.op('ReduceMin', same, keepdims=0), bool)
    ends = graph.op('Add', moved, lengths)
    result = graph.op('Slice', value, moved, ends, integers(mapped))
    if inside is None:
        return result
    return graph.where(inside, result, _filler(equation), equation.outvars[0].aval.dtype)


def scatter(graph: Graph, equation: Any, value: Value, indices: Value, update: Value) -> Value:
    """A write at one place of one axis, over whole rows."""
    shape, places = (var.aval.shape for var in equation.invars[:2])
    numbers = equation.params['dimension_numbers']
    axes = tuple(numbers.scatter_dims_to_operand_dims)
    single = len(places) == 1 and len(axes) == 1 and not numbers.operand_batching_dims
    if not single or tuple(numbers.inserted_window_dims) != axes:
        raise Unconvertible(
            f'scatter at places {places} of {shape} has no counterpart in ONNX: only at one place of an axis '
            'has')
    (axis,) = axes
    row = [str(size) for place, size in enumerate(shape) if place != axis]
    if [str(size) for size in equation.invars[2].aval.shape] != row:
        raise Unconvertible('scatter of parts of rows has no counterpart in ONNX: only of whole ones has')
    line = [size if place == axis else 1 for place, size in enumerate(shape)]
    numbered = graph.reshape(graph.numbers(shape[axis], np.int64), line)
    here = graph.op('Equal', numbered, graph.cast(indices, np.int64))
    update = graph.op('Unsqueeze', update, integers([axis]))
    return graph.where(here, update, value, equation.outvars[0].aval.dtype)


OPERATIONS: dict[str, Callable[..., Value]] = {
    'slice': slice_,
    'rev': rev,
    'pad': pad,
    'dynamic_slice': dynamic_slice,
    'dynamic_update_slice': dynamic_update_slice,
    'gather': gather,
    'scatter': scatter,
}
