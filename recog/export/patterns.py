"""What several nodes compute together and one operator of ONNX does alone: Softmax, LayerNormalization, Gather."""

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, helper

from recog.export.graph import Graph, Value

FINITE = ('Conv', 'Relu')  # operators whose results are, where their inputs are


def simplified(graph: Graph, operator: str, inputs: Sequence[Value]) -> Value | None:
    """The one operator for which this node would be the last of several, if so."""
    return PATTERNS[operator](graph, *inputs) if operator in PATTERNS and len(inputs) == 2 else None


def softmax(graph: Graph, powers: Value, total: Value) -> Value | None:
    """exp(x - max x) / sum of these."""
    summed, power = _made(graph, total, 'ReduceSum'), _made(graph, powers, 'Exp')
    difference = _made(graph, power.input[0], 'Sub') if power else None
    largest = _made(graph, difference.input[1], 'ReduceMax') if difference else None
    if not (summed and difference and largest) or summed.input[0] != powers or largest.input[0] != difference.input[0]:
        return None
    axis = _axis(graph, summed)
    return graph.op('Softmax', difference.input[0], axis=axis) if axis is not None and axis == _axis(graph, largest) else None


def layer_norm(graph: Graph, scaled: Value, bias: Value) -> Value | None:
    """(x - mean x) / sqrt(mean of its squares + a small number) * scale + bias, over the last axis."""
    product = _made(graph, scaled, 'Mul')
    scale, shift = graph.known(product.input[1]) if product else None, graph.known(bias)
    normal = _made(graph, product.input[0], 'Mul') if product else None
    root = _chain(graph, normal.input[1] if normal else '', 'Reciprocal', 'Sqrt', 'Add')
    if scale is None or shift is None or normal is None or root is None:
        return None
    centred = normal.input[0]
    start, square = _made(graph, centred, 'Sub'), _mean(graph, root.input[0], scale)
    squared, small = _made(graph, square, 'Mul'), graph.known(root.input[1])
    flat = scale.shape[-1:] == (scale.size,) == (shift.size,) == shift.shape[-1:]
    if not (flat and start and squared) or small is None or small.size != 1 or list(squared.input) != [centred] * 2:
        return None
    if _mean(graph, start.input[1], scale) != start.input[0]:
        return None
    return graph.op('LayerNormalization', start.input[0], scale.reshape(-1), shift.reshape(-1), axis=-1,
                    epsilon=float(small.flat[0]))


def masked(graph: Graph, mask: Value, zero: Value, value: Value) -> Value | None:
    """Zeros outside of a mask for all channels: a product, three times as fast as a choice, if the value is finite there."""
    repeated, filled = _made(graph, mask, 'Expand'), _made(graph, zero, 'Expand')
    nothing = graph.known(filled.input[0] if filled else zero)
    maker = graph.maker(value)
    inner = graph.maker(maker.input[0]) if maker is not None and maker.op_type == 'Transpose' else maker
    if repeated is None or nothing is None or nothing.any() or inner is None or inner.op_type not in FINITE:
        return None
    factor = graph.cast(repeated.input[0], np.float32)
    return graph.op('Mul', _bare(graph, value, str(factor)), factor)


def _bare(graph: Graph, value: Value, factor: str) -> Value:
    """A value that is to be masked, without this mask where it was put on before: what each place is made of is of that place."""
    maker = graph.maker(value)
    if maker is None:
        return value
    if maker.op_type == 'Mul' and maker.input[1] == factor:
        return _bare(graph, maker.input[0], factor)
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in maker.attribute}
    if maker.op_type == 'Concat':
        return graph.op('Concat', *(_bare(graph, part, factor) for part in maker.input), **settings)
    if maker.op_type == 'Transpose':
        return graph.transpose(_bare(graph, maker.input[0], factor), settings['perm'])
    kernel = graph.known(maker.input[1]) if maker.op_type == 'Conv' else None
    if maker.op_type == 'Relu' or kernel is not None and kernel.shape[2:] == (1, 1) and {*settings.get('strides', [1])} == {1}:
        return graph.op(maker.op_type, _bare(graph, maker.input[0], factor), *maker.input[1:], **settings)
    return value


def gathered(graph: Graph, operator: str, rows: Value, other: Value) -> Value | None:
    """The product of rows of a known table with known weights, or a bias for them: rows of a table that is known as well."""
    maker, known = _made(graph, rows, 'Gather'), graph.known(other)
    table = graph.known(maker.input[0]) if maker is not None and maker.attribute[0].i == 0 else None
    if maker is None or table is None or known is None or table.ndim != 2 or table.dtype != np.float32:
        return None
    if operator == 'Add' and known.size == table.shape[1] == known.shape[-1]:
        return graph.op('Gather', table + known.reshape(-1), maker.input[1], axis=0)
    if operator == 'MatMul' and len(table) * known.shape[1] <= table.size + known.size:
        return graph.op('Gather', np.float32(np.matmul(table, known, dtype=np.float64)), maker.input[1], axis=0)
    return None


def sum_(graph: Graph, one: Value, other: Value) -> Value | None:
    """What a sum may be the last node of."""
    return layer_norm(graph, one, other) or gathered(graph, 'Add', one, other)


def _made(graph: Graph, value: Value, operator: str) -> NodeProto | None:
    """The node of this operator that made a value, if one did."""
    maker = graph.maker(value)
    return maker if maker is not None and maker.op_type == operator else None


def _chain(graph: Graph, value: Value, *operators: str) -> NodeProto | None:
    """The last node, seen from the value, of a chain of these operators."""
    node = None
    for operator in operators:
        node = _made(graph, value, operator)
        if node is None:
            return None
        value = node.input[0]
    return node


def _axis(graph: Graph, reduced: NodeProto) -> int | None:
    """The one axis of a reduction that keeps it."""
    axes = graph.known(reduced.input[1])
    return int(axes[0]) if axes is not None and axes.size == 1 and reduced.attribute[0].i else None


def _mean(graph: Graph, value: Value, scale: np.ndarray) -> Value:
    """What this value is the mean of, over its last axis, to which the scale belongs."""
    quotient = _made(graph, value, 'Div')
    total = _made(graph, quotient.input[0], 'ReduceSum') if quotient else None
    count = graph.known(quotient.input[1]) if quotient else None
    if total is None or count is None or _axis(graph, total) != scale.ndim - 1 or (count != scale.size).any():
        return ''
    return total.input[0]


PATTERNS = {'Add': sum_, 'Div': softmax}
