"""Fusions: several nodes that one operator of ONNX can replace, such as Softmax,
LayerNormalization or Gather."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from recog.export.to_onnx.graph import Graph, Value

MUCH = 1e30
SWISH = {'alpha': float(np.float32(1 / 6)), 'beta': 0.5}  # of the hard sigmoid in a hard swish
FINITE = ('Conv', 'Relu')  # operators whose results are finite where their inputs are


def simplified(graph: Graph, operator: str, inputs: Sequence[Value]) -> Value | None:
    """The result of one operator that replaces this node and those before it; None if there is none."""
    return PATTERNS[operator](graph, *inputs) if operator in PATTERNS and len(inputs) == 2 else None


def softmax(graph: Graph, powers: Value, total: Value) -> Value | None:
    """Softmax, written as exp(x - max x) / sum of these."""
    summed, power = _made(graph, total, 'ReduceSum'), _made(graph, powers, 'Exp')
    difference = _made(graph, power.input[0], 'Sub') if power else None
    largest = _made(graph, difference.input[1], 'ReduceMax') if difference else None
    if not (summed and difference and largest):
        return None
    x, axis = difference.input[0], _axis(graph, summed)
    if summed.input[0] != powers or largest.input[0] != x or axis is None or axis != _axis(graph, largest):
        return None
    return graph.op('Softmax', x, axis=axis)


def layer_norm(graph: Graph, scaled: Value, bias: Value) -> Value | None:
    """Layer norm over the last axis, written as
    (x - mean x) / sqrt(mean of its squares + a small number) * scale + bias."""
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
    if not (flat and start and squared) or small is None or small.size != 1:
        return None
    if list(squared.input) != [centred] * 2:
        return None
    if _mean(graph, start.input[1], scale) != start.input[0]:
        return None
    return graph.op('LayerNormalization', start.input[0], scale.reshape(-1), shift.reshape(-1), axis=-1,
                    epsilon=float(small.flat[0]))


def masked(graph: Graph, mask: Value, zero: Value, value: Value) -> Value | None:
    """Zeros outside a mask that all channels share, as a product, if the value is known to be finite.

    A product is three times as fast as Where.
    """
    repeated, filled = _made(graph, mask, 'Expand'), _made(graph, zero, 'Expand')
    nothing = graph.known(filled.input[0] if filled else zero)
    maker = graph.maker(value)
    inner = graph.maker(maker.input[0]) if maker is not None and maker.op_type == 'Transpose' else maker
    if repeated is None or nothing is None or nothing.any() or inner is None or inner.op_type not in FINITE:
        return None
    factor = graph.cast(repeated.input[0], np.float32)
    value = _bare(graph, value, str(factor))
    return _switched_off(graph, value, factor) or graph.op('Mul', value, factor)


def _switched_off(graph: Graph, value: Value, factor: Value) -> Value | None:
    """Relu(Conv(x)) that is 0 outside the mask without a product, so that the next Conv can read it without a
    Transpose.

    x gets one more channel, which is 1 outside the mask and has a weight that subtracts more than any value.
    The channel comes before all concatenated channels, so that each concatenation is computed once.
    """
    relu, conv = _made(graph, value, 'Relu'), _chain(graph, value, 'Relu', 'Transpose', 'Conv')
    given = _made(graph, conv.input[0], 'Transpose') if conv is not None else None
    kernel = graph.known(conv.input[1]) if conv is not None else None
    if relu is None or conv is None or kernel is None or given is None or not _by_place(graph, conv):
        return None
    turned, settings = graph.maker(relu.input[0]), _settings(conv)
    joined = _outside_first(graph, given.input[0], graph.op('Sub', np.asarray(1, np.float32), factor))
    more = np.concatenate([np.full_like(kernel[:, :1], -MUCH), kernel], 1)
    x = graph.transpose(joined, _settings(given)['perm'])
    result = graph.op('Conv', x, more, *conv.input[2:], **settings)
    return graph.op('Relu', graph.transpose(result, _settings(turned)['perm']))


def _outside_first(graph: Graph, value: Value, outside: Value) -> Value:
    """A value with the channel `outside` before its own."""
    maker = _made(graph, value, 'Concat')
    if maker is None:
        return graph.op('Concat', outside, value, axis=3)
    first = _outside_first(graph, maker.input[0], outside)
    return graph.op('Concat', first, *maker.input[1:], **_settings(maker))


def _settings(node: NodeProto | None) -> dict[str, Any]:
    attributes = node.attribute if node is not None else ()
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in attributes}


def _by_place(graph: Graph, conv: NodeProto) -> bool:
    """Whether a Conv is pointwise: each position of its result depends on
    the same position of its input alone."""
    kernel, settings = graph.known(conv.input[1]), _settings(conv)
    return kernel is not None and kernel.shape[2:] == (1, 1) and {*settings.get('strides', [1])} == {1} and \
        settings.get('group', 1) == 1 and not any(settings.get('pads', []))


def _bare(graph: Graph, value: Value, factor: str) -> Value:
    """A value that will be masked, without the same mask before it where
    only pointwise operators follow that one."""
    maker = graph.maker(value)
    if maker is None:
        return value
    if maker.op_type == 'Mul' and maker.input[1] == factor:
        return _bare(graph, maker.input[0], factor)
    settings = _settings(maker)
    if maker.op_type == 'Concat':
        return graph.op('Concat', *(_bare(graph, part, factor) for part in maker.input), **settings)
    if maker.op_type == 'Transpose':
        return graph.transpose(_bare(graph, maker.input[0], factor), settings['perm'])
    if maker.op_type == 'Relu' or maker.op_type == 'Conv' and _by_place(graph, maker):
        return graph.op(maker.op_type, _bare(graph, maker.input[0], factor), *maker.input[1:], **settings)
    return value


def gathered(graph: Graph, operator: str, rows: Value, other: Value) -> Value | None:
    """Rows of a constant table times constant weights, or plus a constant bias,
    as rows of another constant table."""
    maker, known = _made(graph, rows, 'Gather'), graph.known(other)
    table = graph.known(maker.input[0]) if maker is not None and maker.attribute[0].i == 0 else None
    if maker is None or table is None or known is None or table.ndim != 2 or table.dtype != np.float32:
        return None
    if operator == 'Add' and known.size == table.shape[1] == known.shape[-1]:
        return graph.op('Gather', table + known.reshape(-1), maker.input[1], axis=0)
    if operator == 'MatMul' and len(table) * known.shape[1] <= table.size + known.size:
        product = np.matmul(table, known, dtype=np.float64).astype(np.float32)
        return graph.op('Gather', product, maker.input[1], axis=0)
    return None


def hard_sigmoid(graph: Graph, one: Value, other: Value) -> Value | None:
    """HardSigmoid, written as a number times x plus another, not below 0 and not above 1."""
    most, inner = _number_and_rest(graph, one, other)
    largest = _made(graph, inner, 'Max')
    least, inner = _number_and_rest(graph, *largest.input) if largest else (None, '')
    total = _made(graph, inner, 'Add')
    summand, inner = _number_and_rest(graph, *total.input) if total else (None, '')
    product = _made(graph, inner, 'Mul')
    factor, x = _number_and_rest(graph, *product.input) if product else (None, '')
    if (least, most) != (0, 1) or factor is None or summand is None:
        return None
    return graph.op('HardSigmoid', x, alpha=factor, beta=summand)


def _number_and_rest(graph: Graph, *inputs: Value) -> tuple[float | None, Value]:
    """Of two inputs, the one that is a number, and the other one."""
    for one, other in zip(inputs, inputs[::-1], strict=True):
        known = graph.known(one)
        if known is not None and known.size == 1 and known.dtype == np.float32:
            return known.item(), other
    return None, ''


def hard_swish(graph: Graph, one: Value, other: Value) -> Value | None:
    """HardSwish, written as x times its hard sigmoid."""
    for x, factor in ((one, other), (other, one)):
        maker = _made(graph, factor, 'HardSigmoid')
        if maker is not None and maker.input[0] == x and _settings(maker) == SWISH:
            return graph.op('HardSwish', x)
    return None


def sum_(graph: Graph, one: Value, other: Value) -> Value | None:
    """A sum that ends a layer norm, or adds a bias to rows of a table."""
    return layer_norm(graph, one, other) or gathered(graph, 'Add', one, other)


def _made(graph: Graph, value: Value, operator: str) -> NodeProto | None:
    """The node that computes a value, if it is of this operator."""
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
    """The axis of a reduction over one axis that keeps it with size 1."""
    axes = graph.known(reduced.input[1])
    return int(axes[0]) if axes is not None and axes.size == 1 and reduced.attribute[0].i else None


def _mean(graph: Graph, value: Value, scale: np.ndarray) -> Value:
    """The value whose mean over the last axis (of the size of the scale) is this one;
    empty if there is none."""
    quotient = _made(graph, value, 'Div')
    total = _made(graph, quotient.input[0], 'ReduceSum') if quotient else None
    count = graph.known(quotient.input[1]) if quotient else None
    if total is None or count is None or _axis(graph, total) != scale.ndim - 1 or (count != scale.size).any():
        return ''
    return total.input[0]


PATTERNS = {'Add': sum_, 'Div': softmax, 'Min': hard_sigmoid, 'Mul': hard_swish}
