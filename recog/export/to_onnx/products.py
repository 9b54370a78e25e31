"""Converters of the primitives that sum over axes or windows of arrays: products, convolutions, pooling."""

import math
from typing import Any

import numpy as np

from recog.export.to_onnx import fusions
from recog.export.to_onnx.graph import Converter, Graph, Unconvertible, Value, number


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
    'conv_general_dilated': conv_general_dilated,
    'dot_general': dot_general,
    'reduce_window_max': window('MaxPool'),
    'reduce_window_sum': window('AveragePool'),
}
