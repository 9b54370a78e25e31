"""Images keep their channels first between convolutions.

The converters put each convolution between two Transposes, because our arrays have their channels last. Here
the second Transpose moves down the finished graph, past all that can be computed with channels first too,
until it meets the first one of the next convolution, and both are gone.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, helper

from recog.export.to_onnx.graph import Graph, integers, needs

FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)  # channels first and last
SMALL = 4096  # bytes, up to which a constant may be a shape
POINTWISE = frozenset((
    'Abs', 'Add', 'And', 'Cast', 'Ceil', 'Clip', 'Div', 'Equal', 'Erf', 'Exp', 'Floor', 'Gelu', 'Greater',
    'GreaterOrEqual', 'HardSigmoid', 'HardSwish', 'Identity', 'Less', 'LessOrEqual', 'Log', 'Max', 'Min',
    'Mul', 'Neg', 'Not', 'Or', 'Pow', 'Reciprocal', 'Relu', 'Sigmoid', 'Softplus', 'Sqrt', 'Sub', 'Tanh',
    'Where',
))
REDUCTIONS = frozenset(('ReduceMax', 'ReduceMean', 'ReduceMin', 'ReduceSum'))

Shape = tuple[int | str | None, ...]


def moved(graph: Graph, inputs: Sequence[Any], outputs: Iterable[str],
          nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """The nodes of a finished graph with as few Transposes of images as possible."""
    known = shapes(graph, inputs, nodes)
    with_first = _Moved(graph, known, outputs)
    for node in means(graph, known, nodes):
        with_first.take(node)
    return with_first.nodes


def means(graph: Graph, known: dict[str, Shape], nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """The nodes, with sums that are divided by the number of their summands as means."""
    sums = {node.output[0]: node for node in nodes if node.op_type == 'ReduceSum' and len(node.input) == 2}
    found = []
    for node in nodes:
        total = sums.get(node.input[0]) if node.op_type == 'Div' else None
        axes = graph.arrays.get(total.input[1]) if total is not None else None
        count = graph.arrays.get(node.input[1]) if total is not None else None
        if total is not None and axes is not None and count is not None and count.size == 1:
            shape = known.get(total.input[0])
            sizes = [shape[axis] for axis in axes] if shape else []
            known_sizes = [size for size in sizes if isinstance(size, int)]
            if sizes and known_sizes == sizes and math.prod(known_sizes) == count.item():
                node = helper.make_node('ReduceMean', total.input, node.output, keepdims=total.attribute[0].i)
        found.append(node)
    return found


def shapes(graph: Graph, inputs: Sequence[Any], nodes: Sequence[NodeProto]) -> dict[str, Shape]:
    """The shape of each tensor of a graph, where ONNX can tell it."""
    used = {name for node in nodes for name in needs(node)}
    small, large = [], list(inputs)
    for name, array in graph.arrays.items():
        if name in used and array.nbytes <= SMALL:
            small.append(onnx.numpy_helper.from_array(array, name))
        elif name in used:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            large.append(helper.make_tensor_value_info(name, kind, array.shape))
    body: GraphProto = helper.make_graph(nodes, 'shapes', large, [], small)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid('', 21)], ir_version=10)
    found = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    known: dict[str, Shape] = {name: array.shape for name, array in graph.arrays.items()}
    for value in (*found.input, *found.value_info):
        if value.type.tensor_type.HasField('shape'):
            known[value.name] = tuple(
                size.dim_value if size.HasField('dim_value') else size.dim_param or None
                for size in value.type.tensor_type.shape.dim)
    return known


class _Moved:
    """The new nodes, and for tensors with channels last the tensors with channels first that they are made
    of. Such a Transpose is written only where something needs it."""

    def __init__(self, graph: Graph, known: dict[str, Shape], outputs: Iterable[str]):
        self.graph, self.shapes, self.outputs = graph, known, {*outputs}
        self.nodes: list[NodeProto] = []
        self.first: dict[str, str] = {}  # tensor with channels last -> the same with channels first
        self.same: dict[str, str] = {}  # tensor -> another one that is equal
        self.written: set[str] = set()  # those of both that exist nevertheless
        self.turned: dict[str, str] = {}  # tensor with channels last that is needed first -> that one

    def take(self, node: NodeProto) -> None:
        """Write a node, with channels first if it can be."""
        rule = self._rule(node)
        if rule is None or not rule(node):
            plain = NodeProto()
            plain.CopyFrom(node)
            plain.input[:] = [self.same.get(name, name) for name in node.input]
            for name in needs(plain):
                self._write(name)
            self.nodes.append(plain)

    def _rule(self, node: NodeProto) -> Callable[[NodeProto], bool] | None:
        if node.op_type == 'Transpose':
            return self._transpose
        if node.op_type == 'Reshape' and not self.outputs & {*node.output}:
            return self._reshape
        if self.outputs & {*node.output} or not any(name in self.first for name in node.input):
            return None
        rules = {'Concat': self._concatenation, 'Slice': self._slice, 'Pad': self._pad}
        if node.op_type in POINTWISE:
            return self._pointwise
        return self._reduction if node.op_type in REDUCTIONS else rules.get(node.op_type)

    def _write(self, name: str) -> None:
        """Let a tensor exist under its name."""
        if name in self.written:
            return
        if name in self.first:
            self.nodes.append(helper.make_node('Transpose', [self.first[name]], [name], perm=LAST))
        elif name in self.same:
            self.nodes.append(helper.make_node('Identity', [self.same[name]], [name]))
        else:
            return
        self.written.add(name)

    def _transpose(self, node: NodeProto) -> bool:
        """A Transpose that waits, or that ends one which has waited."""
        given, turned = node.input[0], tuple(node.attribute[0].ints)
        if turned == LAST:
            given = self.same.get(given, given)
            self._write(given)
            self.first[node.output[0]] = given
            return True
        if turned == FIRST and given in self.first:
            self.same[node.output[0]] = self.first[given]
            return True
        if turned == FIRST:
            self.turned.setdefault(given, node.output[0])
        return False

    def _reshape(self, node: NodeProto) -> bool:
        """A Reshape to the shape that is there already."""
        given, asked = self.shapes.get(node.input[0]), self.graph.arrays.get(node.input[1])
        if given is None or asked is None or len(given) != len(asked):
            return False
        if any(size not in (-1, there) for size, there in zip(asked.tolist(), given, strict=True)):
            return False
        found = self.first if node.input[0] in self.first else self.same
        found[node.output[0]] = found.get(node.input[0], node.input[0])
        return True

    def _written(self, node: NodeProto, inputs: Sequence[str], **settings: Any) -> bool:
        """Write a node whose result has its channels first."""
        result = self.graph.fresh()
        kept = {each.name: helper.get_attribute_value(each) for each in node.attribute} | settings
        self.nodes.append(helper.make_node(node.op_type, inputs, [result], **kept))
        self.first[node.output[0]] = result
        return True

    def _inputs(self, names: Sequence[str]) -> list[str] | None:
        """These inputs with channels first; None if that would cost more Transposes than it saves."""
        last = [name for name in names if name not in self.first and self._is_image(name)]
        if len(last) > sum(name in self.first for name in names):
            return None
        found = [self._one_first(name) for name in names]
        return None if None in found else [name for name in found if name is not None]

    def _is_image(self, name: str) -> bool:
        """Whether a tensor has several channels and is not known."""
        shape = self.shapes.get(name, ())
        return name not in self.graph.arrays and len(shape) == 4 and shape[3] != 1

    def _one_first(self, name: str) -> str | None:
        if name in self.first:
            return self.first[name]
        shape, array = self.shapes.get(name), self.graph.arrays.get(name)
        if shape is None or len(shape) > 4:
            return None
        if all(size == 1 for size in shape):  # a number
            return name
        if array is not None:
            return self.graph.name(self._constant(array))
        if len(shape) < 4:
            return None
        if name not in self.turned:
            self._write(name)
            self.turned[name] = self.graph.fresh()
            self.nodes.append(helper.make_node('Transpose', [name], [self.turned[name]], perm=FIRST))
        return self.same.get(self.turned[name], self.turned[name])

    def _constant(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(FIRST))

    def _pointwise(self, node: NodeProto) -> bool:
        inputs = self._inputs(node.input)
        return inputs is not None and self._written(node, inputs)

    def _concatenation(self, node: NodeProto) -> bool:
        inputs = self._inputs(node.input)
        axis = node.attribute[0].i % 4
        return inputs is not None and self._written(node, inputs, axis=LAST[axis])

    def _slice(self, node: NodeProto) -> bool:
        axes = self.graph.arrays.get(node.input[3]) if len(node.input) > 3 else None
        if axes is None or node.input[0] not in self.first:
            return False
        inputs = [*node.input]
        inputs[0], inputs[3] = self.first[inputs[0]], self.graph.name(integers(LAST[axis] for axis in axes))
        return self._written(node, inputs)

    def _pad(self, node: NodeProto) -> bool:
        edges = self.graph.arrays.get(node.input[1])
        if edges is None or len(node.input) > 3 or node.input[0] not in self.first:
            return False
        turned = edges.reshape(2, 4)[:, list(FIRST)].ravel()
        return self._written(node, [self.first[node.input[0]], self.graph.name(turned), *node.input[2:]])

    def _reduction(self, node: NodeProto) -> bool:
        axes = self.graph.arrays.get(node.input[1]) if len(node.input) > 1 else None
        if axes is None or node.input[0] not in self.first:
            return False
        given, turned = self.first[node.input[0]], sorted(LAST[axis] for axis in axes)
        keeps = next((each.i for each in node.attribute if each.name == 'keepdims'), 1)
        if keeps and node.op_type == 'ReduceMean' and turned == [2, 3]:
            self.first[node.output[0]] = self.graph.fresh()
            self.nodes.append(helper.make_node('GlobalAveragePool', [given], [self.first[node.output[0]]]))
            return True
        inputs = [given, self.graph.name(integers(turned))]
        if keeps:
            return self._written(node, inputs)
        left = [LAST[axis] for axis in range(4) if LAST[axis] not in turned]
        if left != sorted(left):
            return False
        self.nodes.append(helper.make_node(node.op_type, inputs, node.output, keepdims=0))
        return True
