"""Converters of the models' named operations, which are jitted functions, to one ONNX operator each: Conv,
MaxPool, LSTM, GridSample; batch norm becomes part of the convolution before it.

A converter returns None where the operator does not fit, for example with weights that are not constant: then
the equations of the function are converted instead.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from onnx import helper

from recog.export.to_onnx.channels_first import FIRST, LAST
from recog.export.to_onnx.graph import Graph, Value, is_static
from recog.export.to_onnx.loops import Convert
from recog.models.parts.coverage_weights import MASKED_SCORE
from recog.models.parts.layers import EPSILON

Inputs = Sequence[Value]
Outputs = Sequence[Value] | None
KERNEL = (3, 2, 0, 1)  # of [height, width, C, D] to [D, C, height, width]
GATES = (0, 3, 1, 2)  # from our order, i f g o, to ONNX's, i o f c


def equations(jaxpr: Any) -> Iterator[Any]:
    """The equations of a jaxpr and of all within it."""
    for equation in getattr(jaxpr, 'jaxpr', jaxpr).eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if hasattr(getattr(inner, 'jaxpr', inner), 'eqns'):
                    yield from equations(inner)


def within(equation: Any, primitive: str) -> list[Any]:
    """The equations of this primitive inside a named operation."""
    return [each for each in equations(equation.params['jaxpr']) if each.primitive.name == primitive]


def convolution(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """Conv, grouped for a grouped or a depthwise one; the settings are read from a convolution inside."""
    x, kernel = inputs
    if not isinstance(kernel, np.ndarray):
        return None
    found = within(equation, 'conv_general_dilated')
    settings: dict[str, Any] = {}
    if found:
        params = found[0].params
        numbers = params['dimension_numbers']
        layout = tuple(numbers.lhs_spec), tuple(numbers.rhs_spec)
        if layout != (FIRST, KERNEL) or {*params['rhs_dilation']} != {1}:
            return None
        begins, ends = zip(*params['padding'], strict=True)
        settings = {
            'strides': [int(size) for size in params['window_strides']],
            'pads': [int(size) for size in (*begins, *ends)],
            'group': equation.invars[0].aval.shape[3] // kernel.shape[2],
        }
    elif kernel.shape[:2] != (1, 1):
        return None
    result = graph.op('Conv', graph.transpose(x, FIRST), graph.transpose(kernel, KERNEL), **settings)
    return [graph.transpose(result, LAST)]


def batch_norm(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """Batch norm with running statistics: a factor and a summand,
    which become part of a convolution before it."""
    inner = equation.params['jaxpr'].jaxpr
    statistics = [inner.invars.index(var) if var in inner.invars else None for var in inner.outvars]
    known = all(isinstance(value, np.ndarray) for value in inputs[1:])
    if len(inputs) != 5 or not known or statistics[1:] != [3, 4]:
        return None
    x = inputs[0]
    scale, bias, mean, variance = (np.asarray(value, np.float64) for value in inputs[1:])
    factor = scale / np.sqrt(variance + EPSILON)
    summand = bias - mean * factor
    turned = graph.maker(x)
    added = graph.known(turned.input[1]) if turned is not None and turned.op_type == 'Add' else None
    if turned is not None and added is not None and added.shape[-1:] == (added.size,) == factor.shape:
        summand, x = summand + factor * added.reshape(-1), turned.input[0]
        turned = graph.maker(x)
    before = graph.maker(turned.input[0]) if turned is not None and turned.op_type == 'Transpose' else None
    kernel = graph.known(before.input[1]) if before is not None and before.op_type == 'Conv' else None
    if before is None or kernel is None or tuple(turned.attribute[0].ints) != LAST:  # type: ignore[union-attr]
        scaled = graph.op('Mul', x, factor.astype(np.float32))
        return [graph.op('Add', scaled, summand.astype(np.float32)), *inputs[3:5]]
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in before.attribute}
    # The convolution without batch norm is left out of the file when nothing else uses it.
    weights = (kernel * factor[:, None, None, None]).astype(np.float32)
    folded = graph.op('Conv', before.input[0], weights, summand.astype(np.float32), **settings)
    return [graph.transpose(folded, LAST), *inputs[3:5]]


def max_pool(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """MaxPool; window and strides are read from the slices inside, or from symbolic sizes."""
    scratch = Graph(graph)  # nothing of it is used
    convert(scratch, equation.params['jaxpr'], inputs)
    pads = within(equation, 'pad')
    padding = pads[0].params['padding_config'] if pads else ((0, 0, 0),) * 4
    window, strides = {1: 1, 2: 1}, {1: 1, 2: 1}
    for node in scratch.nodes:
        if node.op_type == 'Slice':
            starts, _, axes, steps = (scratch.root.arrays[name].tolist() for name in node.input[1:])
            for axis, start, step in zip(axes, starts, steps, strict=True):
                if axis in window:
                    window[axis], strides[axis] = max(window[axis], start + 1), max(strides[axis], step)
    maxima = len(within(equation, 'max'))
    before, after = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    if not all(map(is_static, before[1:])):  # then there are no slices, but windows side by side
        window = strides = {
            axis: next((size for size in range(1, 9) if str(after[axis] * size) == str(before[axis])), 0)
            for axis in (1, 2)
        }
    if maxima + 2 != window[1] + window[2]:  # of rows, then of columns
        return None
    edges = [int(padding[axis][side]) for side in (0, 1) for axis in (1, 2)]
    result = graph.op('MaxPool', graph.transpose(inputs[0], FIRST), kernel_shape=list(window.values()),
                      strides=list(strides.values()), pads=edges)
    return [graph.transpose(result, LAST)]


def average_pool(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """AveragePool over windows of 2 x 2, divided by the share of cells that count."""
    x, *cells = inputs
    edges = [each.params['padding_config'] for each in within(equation, 'pad')]
    if any(str(size) != '0' for sides in edges for side in sides for size in side):
        return None

    def pooled(value: Value) -> Value:
        pooled = graph.op('AveragePool', graph.transpose(value, FIRST), kernel_shape=[2, 2], strides=[2, 2])
        return graph.transpose(pooled, LAST)

    if not cells:
        return [pooled(x)]
    one = np.asarray(0.25, np.float32)  # of four cells
    share = graph.op('Max', pooled(graph.cast(cells[0], np.float32)), one)
    return [graph.op('Div', pooled(x), share)]


def division(operator: str) -> Callable[..., Outputs]:
    """Div or Mod of integers that are known not to be negative,
    so that the equations for signs are left out."""

    def convert(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
        bounds = [graph.bounds(value) for value in inputs]
        integer = all(var.aval.dtype == np.int32 for var in (*equation.invars, *equation.outvars))
        sound = integer and all(bounds) and bounds[1] is not None and bounds[1][0] > 0
        return [graph.op(operator, *inputs)] if sound else None

    return convert


def log_softmax(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """LogSoftmax over the last axis."""
    aval = equation.invars[0].aval
    axes = {each.params['axes'] for each in within(equation, 'reduce_max')}
    plain = len(inputs) == 1 and aval.dtype == np.float32 and axes == {(len(aval.shape) - 1,)}
    return [graph.op('LogSoftmax', inputs[0], axis=-1)] if plain else None


def relu(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """Relu, which onnxruntime fuses into the convolution before it."""
    return [graph.op('Relu', *inputs)] if _is_float32(equation) else None


def gelu(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """Gelu by the error function."""
    return [graph.op('Gelu', *inputs)] if _is_float32(equation) else None


def hard_sigmoid(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """HardSigmoid, a part of a hard swish."""
    return [graph.op('HardSigmoid', *inputs, alpha=1 / 6, beta=0.5)] if _is_float32(equation) else None


def _is_float32(equation: Any) -> bool:
    return equation.invars[0].aval.dtype == np.float32


def lstm(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """LSTM in both directions, [B, T, D] -> [B, T, 2 hidden]."""
    x, *weights = inputs
    if not all(isinstance(value, np.ndarray) for value in weights) or not _is_float32(equation):
        return None
    kernel_ih, kernel_hh, bias_ih, bias_hh = (np.asarray(value) for value in weights)
    hidden = kernel_hh.shape[1]

    def ordered(array: np.ndarray) -> np.ndarray:
        """Weights [2, ..., 4 hidden] with the gates in ONNX's order, and their axis before the others."""
        parts = np.split(array, 4, -1)
        return np.ascontiguousarray(np.moveaxis(np.concatenate([parts[gate] for gate in GATES], -1), -1, 1))

    biases = np.concatenate([ordered(bias_ih), ordered(bias_hh)], 1)
    result = graph.op('LSTM', graph.transpose(x, (1, 0, 2)), ordered(kernel_ih), ordered(kernel_hh), biases,
                      hidden_size=hidden, direction='bidirectional')
    return [graph.reshape(graph.transpose(result, (2, 0, 1, 3)), equation.outvars[0].aval.shape)]


def sample(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """GridSample; if the function pads by a constant, the image is surrounded by zeros,
    otherwise its outer pixels repeat."""
    zeros = bool(within(equation, 'pad'))
    image, grid = inputs
    result = graph.op('GridSample', graph.transpose(image, FIRST), grid, align_corners=1, mode='linear',
                      padding_mode='zeros' if zeros else 'border')
    return [graph.transpose(result, LAST)]


def attend_cached(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """Attention to the tokens so far; the cache grows by one token in
    each iteration where the loop allows it."""
    query, key, value, keys, values, number = inputs
    bounds, room = graph.bounds(number), equation.invars[3].aval.shape[3]
    fits = number in graph.counters and bounds is not None and bounds[1] < room
    if not fits or not {keys, values} <= graph.growing.keys() or not _is_float32(equation):
        return None
    graph.growing |= {str(keys): 3, str(values): 2}
    keys, values = graph.op('Concat', keys, key, axis=3), graph.op('Concat', values, value, axis=2)
    # No Softmax: OpenVINO (2026.4) fuses it with both products into a kernel that is wrong for 16 tokens.
    weights = graph.op('Exp', graph.op('LogSoftmax', _scores(graph, equation, query, keys), axis=-1))
    return [graph.op('MatMul', weights, values), keys, values]


def weights_by_head(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """Softmax of scaled products without a mask."""
    if len(inputs) > 2 or not _is_float32(equation):
        return None
    return [graph.op('Softmax', _scores(graph, equation, *inputs), axis=-1)]


def _scores(graph: Graph, equation: Any, query: Value, keys: Value) -> Value:
    """Scaled products, with a factor for each column.

    onnxruntime would fuse a single factor with the product, which then takes twice as long.
    """
    scale = within(equation, 'mul')[0].invars[1].val
    factors = np.full(equation.invars[0].aval.shape[-1], scale, np.float32)
    return graph.op('MatMul', graph.op('Mul', query, factors), keys)


def coverage_weights(graph: Graph, equation: Any, inputs: Inputs, convert: Convert) -> Outputs:
    """Attention with coverage: a Conv over the coverage, channels first up to the scores, and one Softmax."""
    _, keys, cells, _, kernel, energy, query, coverage = inputs
    if not isinstance(kernel, np.ndarray) or not isinstance(energy, np.ndarray) or kernel.dtype != np.float32:
        return None
    rows, beams, height, width = equation.outvars[0].aval.shape
    (taps, depth), count = kernel.shape, height * width
    reach = math.isqrt(taps)
    maps = graph.reshape(coverage, [rows * beams, 1, height, width])
    covered = graph.op('Conv', maps, kernel.T.reshape(depth, 1, reach, reach), pads=[reach // 2] * 4)
    keys = graph.transpose(graph.reshape(keys, [rows, 1, count, depth]), (0, 1, 3, 2))
    inner = graph.op('Add', graph.reshape(covered, [rows, beams, depth, count]), keys)
    inner = graph.op('Tanh', graph.op('Add', inner, graph.reshape(query, [rows, beams, depth, 1])))
    image = graph.reshape(cells, [rows, 1, 1, count])
    masked = np.asarray(MASKED_SCORE, np.float32)
    scores = graph.op('Where', image, graph.op('MatMul', energy.T, inner), masked)
    weights = graph.op('Where', image, graph.op('Softmax', scores, axis=-1), np.asarray(0, np.float32))
    return [graph.reshape(weights, equation.outvars[0].aval.shape)]


OPERATIONS: dict[str, Callable[[Graph, Any, Inputs, Convert], Outputs]] = {
    'attend_cached': attend_cached,
    'average_pool': average_pool,
    'batch_norm': batch_norm,
    'conv': convolution,
    'coverage_weights': coverage_weights,
    'depthwise': convolution,
    'floor_divide': division('Div'),
    'gelu': gelu,
    'grouped': convolution,
    'hard_sigmoid': hard_sigmoid,
    'log_softmax': log_softmax,
    'lstm': lstm,
    'max_pool': max_pool,
    'relu': relu,
    'remainder': division('Mod'),
    'sample': sample,
    'weights_by_head': weights_by_head,
}
