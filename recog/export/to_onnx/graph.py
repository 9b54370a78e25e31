"""The ONNX graph while it is being written: nodes, constants, shapes with symbolic dimensions, and the node
of each value.

A value is a numpy array if it is known at export time, and otherwise the name of a tensor of the graph.
"""

import ast
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, ValueInfoProto, helper, numpy_helper

from recog.errors import ConfigError

Value = np.ndarray | str
Converter = Callable[..., Value | Sequence[Value]]  # (graph, equation, *inputs) to the results of a primitive
TYPES = ('bool', 'uint8', 'int32', 'int64', 'float32')  # what onnxruntime computes with on every CPU
OPERATIONS = {ast.Add: 'Add', ast.Sub: 'Sub', ast.Mult: 'Mul'}
# Operators whose results have bounds that follow from their inputs, and how many inputs those are.
FOLLOWED = {
    **dict.fromkeys(('Cast', 'Reshape', 'Unsqueeze', 'Squeeze', 'Transpose', 'Expand'), 1),
    **dict.fromkeys(('Add', 'Mul', 'Div', 'Mod'), 2),
}
REDUCTIONS = {
    'reduce_max': 'ReduceMax', 'reduce_min': 'ReduceMin', 'reduce_prod': 'ReduceProd',
    'reduce_sum': 'ReduceSum',
}
FUNCTIONS = {'floordiv': 'Div', 'mod': 'Mod', 'max': 'Max', 'min': 'Min'}  # of sizes, which are not negative


class Unconvertible(ConfigError):
    """Something that has no counterpart in ONNX, and the line of source that needs it."""

    def __init__(self, what: str, place: str = ''):
        super().__init__(f'{what} ({place})' if place else what)
        self.what, self.place = what, place

    def at(self, place: str) -> 'Unconvertible':
        """The same error with this place, unless it has one already."""
        return self if self.place else Unconvertible(self.what, place)


class Graph:
    """A graph or, with an `outer` graph, the body of a loop or branch, which can read the tensors of the
    outer one.

    With `lifts`, what does not change in a loop is computed before it: onnxruntime would compute it in every
    iteration.
    """

    def __init__(self, outer: 'Graph | None' = None, lifts: bool = False):
        self.outer = outer
        self.lifts = lifts and outer is not None
        self.own: set[str] = set()  # inputs of this graph and tensors computed in it
        self.counters: set[str] = set()  # those of `own` that count the iterations of this loop from 0
        # Those of `own` that may start empty and grow by one in each iteration, and the axis along which they
        # do.
        self.growing: dict[str, int | None] = {}
        self.unused: list[int] = []  # unused results of the equation that is being converted
        self.root: Graph = outer.root if outer else self
        self.nodes: list[NodeProto] = []
        self.made: dict[str, NodeProto] = {}  # tensor -> the node that computes it
        self.results: dict[tuple[bytes, int], list[str]] = {}  # a node without its outputs -> its outputs
        if outer is None:
            self._numbers = itertools.count()
            self.constants: dict[Any, tuple[str, np.ndarray]] = {}
            self.arrays: dict[str, np.ndarray] = {}  # those constants by name
            self.sizes: dict[str, str] = {}  # symbol or expression of symbols -> tensor [1] that holds it
            self.limits: dict[str, tuple[int, int]] = {}  # least and largest value of tensors of integers

    def fresh(self) -> str:
        """A new name, for a tensor of this graph."""
        name = f't{next(self.root._numbers)}'
        self.own.add(name)
        return name

    def name(self, value: Value) -> str:
        """The tensor that holds a value: a constant of the outermost graph if it is known."""
        if isinstance(value, str):
            return value
        root, large = self.root, value.nbytes > 4096
        # Large arrays are equal if they are the same object, which `constants` keeps alive.
        key = (id(value),) if large else (value.dtype.str, value.shape, value.tobytes())
        if key not in root.constants and large and (value == value.flat[0]).all():
            one = value.flat[0].reshape([1] * value.ndim)
            root.constants[key] = (root.name(root.expand(one, value.shape)), value)
        elif key not in root.constants:
            root.constants[key] = (root.fresh(), value)
            root.arrays[root.constants[key][0]] = value
        return root.constants[key][0]

    def known(self, value: Value) -> np.ndarray | None:
        """The array of a value, if it is known."""
        return self.root.arrays.get(value) if isinstance(value, str) else value

    def maker(self, value: Value) -> NodeProto | None:
        """The node that computes a value; None for a constant or an input."""
        graph: Graph | None = self
        while graph is not None and isinstance(value, str):
            if value in graph.made:
                return graph.made[value]
            graph = graph.outer
        return None

    def bounds(self, value: Value) -> tuple[int, int] | None:
        """The least and the largest value of integers that are never negative, if known."""
        array, maker = self.known(value), self.maker(value)
        if array is not None:
            least = int(array.min()) if array.size and array.dtype.kind == 'i' else -1
            return (least, int(array.max())) if least >= 0 else None
        if isinstance(value, str) and value in self.root.limits:
            return self.root.limits[value]
        if maker is None or maker.op_type not in FOLLOWED:
            return None
        found = [self.bounds(part) for part in maker.input[:FOLLOWED[maker.op_type]]]
        if None in found:
            return None
        low, high = zip(*(each for each in found if each), strict=True)
        if maker.op_type == 'Div':
            return (low[0] // max(high[1], 1), high[0] // low[1]) if low[1] else None
        if maker.op_type == 'Mod':
            return (0, min(high[0], high[1] - 1)) if low[1] else None
        joined = math.prod if maker.op_type == 'Mul' else sum
        return joined(low), joined(high)

    def add(self, operator: str, *inputs: Value, outputs: int = 1, **attributes: Any) -> list[str]:
        """The results of a new node, or of an equal one that exists already."""
        node = helper.make_node(operator, [self.name(value) for value in inputs], [], **attributes)
        key = node.SerializeToString(deterministic=True), outputs
        equal = None if any(attribute.HasField('g') for attribute in node.attribute) else self._equal(key)
        if equal:
            return equal
        names = [self.fresh() for _ in range(outputs)]
        node.output.extend(names)
        self._place(node).results[key] = names
        return names

    def _equal(self, key: tuple[bytes, int]) -> list[str] | None:
        """The outputs of a node of this graph or one around it."""
        graph: Graph | None = self
        while graph is not None and key not in graph.results:
            graph = graph.outer
        return graph.results[key] if graph is not None else None

    def _place(self, node: NodeProto) -> 'Graph':
        """Append a node to this graph, or to the outermost one that has all its inputs; return that graph."""
        graph, needed = self, needs(node)
        while graph.lifts and graph.outer is not None and not needed & graph.own:
            graph.own.difference_update(node.output)
            graph = graph.outer
            graph.own.update(node.output)
        graph.nodes.append(node)
        graph.made.update(dict.fromkeys(node.output, node))
        return graph

    def op(self, operator: str, *inputs: Value, **attributes: Any) -> str:
        """The result of a new node with one output."""
        return self.add(operator, *inputs, **attributes)[0]

    def cast(self, value: Value, dtype: Any) -> Value:
        """A value as another type."""
        if isinstance(value, np.ndarray):
            return value.astype(dtype)
        return self.op('Cast', value, to=element(dtype))

    def transpose(self, value: Value, axes: Sequence[int]) -> Value:
        """A value with its axes in another order; consecutive transpositions become one, or none."""
        axes = [int(axis) for axis in axes]
        if isinstance(value, np.ndarray):
            return value.transpose(axes)
        before = self.maker(value)
        if before is not None and before.op_type == 'Transpose':
            turned = before.attribute[0].ints
            axes, value = [turned[axis] for axis in axes], before.input[0]
        return value if axes == sorted(axes) else self.op('Transpose', value, perm=axes)

    def reshape(self, value: Value, shape: Sequence[Any]) -> Value:
        """A value in another shape; consecutive reshapes become one.
        One symbolic dimension needs no computation."""
        before = self.maker(value)
        if before is not None and before.op_type == 'Reshape':
            value = before.input[0]
        symbols = [place for place, size in enumerate(shape) if not is_static(size)]
        if isinstance(value, np.ndarray) and not symbols:
            return value.reshape([int(size) for size in shape])
        if len(symbols) == 1:
            sizes = integers(-1 if place in symbols else size for place, size in enumerate(shape))
            return self.op('Reshape', value, sizes)
        return self.op('Reshape', value, self.shape(shape))

    def where(self, condition: Value, yes: Value, no: Value, dtype: Any) -> Value:
        """An elementwise choice; onnxruntime has none between booleans."""
        if np.dtype(dtype) == np.bool_:
            chosen = self.op('And', condition, yes)
            return self.op('Or', chosen, self.op('And', self.op('Not', condition), no))
        return self.op('Where', condition, yes, no)

    def numbers(self, size: Any, dtype: Any) -> Value:
        """The numbers from 0 to the size of a dimension, which is left out."""
        if is_static(size):
            return np.arange(size, dtype=dtype)
        end = self.op('Squeeze', self.size(size))
        return self.cast(self.op('Range', np.asarray(0, np.int64), end, np.asarray(1, np.int64)), dtype)

    def expand(self, value: Value, shape: Sequence[Any]) -> Value:
        """A value repeated along its axes of size 1."""
        return self.op('Expand', value, self.shape(shape))

    def shape(self, shape: Sequence[Any]) -> Value:
        """A shape as int64 [rank]."""
        if all(is_static(size) for size in shape):
            return integers(shape)
        return self.op('Concat', *(self.size(size) for size in shape), axis=0)

    def size(self, size: Any) -> Value:
        """A dimension as int64 [1]."""
        if is_static(size):
            return integers([size])
        text = str(size)
        if text not in self.root.sizes:
            tree = ast.parse(text.replace('^', '**'), mode='eval').body
            self.root.sizes[text] = self.root.name(self.root._compute(tree, text))
        return self.root.sizes[text]

    def _compute(self, tree: ast.AST, text: str) -> Value:
        if isinstance(tree, ast.Constant):
            return integers([tree.value])
        if isinstance(tree, ast.Name) and tree.id in self.sizes:
            return self.sizes[tree.id]
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            return self.op('Neg', self._compute(tree.operand, text))
        if isinstance(tree, ast.BinOp) and type(tree.op) in OPERATIONS:
            left, right = self._compute(tree.left, text), self._compute(tree.right, text)
            return self.op(OPERATIONS[type(tree.op)], left, right)
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id in FUNCTIONS:
            return self.op(FUNCTIONS[tree.func.id], *(self._compute(part, text) for part in tree.args))
        raise Unconvertible(
            f'dimension {text} cannot be computed in ONNX: only sums, products and floors of named sizes can')

    def given(self, symbol_or_multiple: Any, tensor: str, axis: int) -> None:
        """Register a symbol as the size of an input, where the size is the symbol or a multiple of it."""
        text = str(symbol_or_multiple)
        factor, _, symbol = text.rpartition('*')
        if symbol in self.sizes or not symbol.isidentifier() or (factor and not factor.isdigit()):
            return
        size = self.op('Shape', tensor, start=axis, end=axis + 1)
        self.sizes[symbol] = self.op('Div', size, integers([int(factor)])) if factor else size

    def body(self, inputs: Sequence[ValueInfoProto], outputs: Sequence[tuple[Value, Any]]) -> GraphProto:
        """This graph as the body of a node; each output is a tensor of its own, with its abstract value."""
        names: list[str] = []
        for value, _ in outputs:
            made = isinstance(value, str) and value in self.made and value not in names
            names.append(str(value) if made else self.fresh())
            if not made:
                self.nodes.append(helper.make_node('Identity', [self.name(value)], [names[-1]]))
        described = [info(name, aval) for name, (_, aval) in zip(names, outputs, strict=True)]
        return helper.make_graph(alive(self.nodes, names), self.fresh(), inputs, described)

    def finished(
        self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
    ) -> GraphProto:
        """The outermost graph, without unused nodes and constants."""
        nodes = alive(self.nodes, [output.name for output in outputs])
        used = set(itertools.chain.from_iterable(map(needs, nodes)))
        arrays = [numpy_helper.from_array(array, key) for key, array in self.arrays.items() if key in used]
        return helper.make_graph(nodes, name, inputs, outputs, arrays)


def is_static(size: Any) -> bool:
    """Whether a dimension is a number."""
    return isinstance(size, int | np.integer)


def integers(numbers: Iterable[Any]) -> np.ndarray:
    """Numbers as ONNX takes shapes, axes and indices."""
    return np.array([int(number) for number in numbers], np.int64)


def number(equation: Any, value: float) -> np.ndarray:
    """A constant in the type of an equation's first input."""
    return np.asarray(value, equation.invars[0].aval.dtype)


def element(dtype: Any) -> int:
    """ONNX's number of a type."""
    name = dtype.name if hasattr(dtype, 'name') else np.dtype(dtype).name
    if name not in TYPES:
        raise Unconvertible(
            f'values of type {name} have no place in an ONNX file for CPUs: {", ".join(TYPES)} have')
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def info(name: str, aval: Any, *, symbols: bool = False) -> ValueInfoProto:
    """ONNX's description of a tensor; symbolic dimensions have names
    only in inputs and outputs of the file."""
    shape = [int(size) if is_static(size) else (str(size) if symbols else None) for size in aval.shape]
    return helper.make_tensor_value_info(name, element(aval.dtype), shape)


def needs(node: NodeProto) -> set[str]:
    """The tensors that a node reads, those of its bodies included."""
    names = set(node.input)
    for attribute in node.attribute:
        if attribute.HasField('g'):
            for inner in attribute.g.node:
                names |= needs(inner)
    return names


def made_within(node: NodeProto) -> set[str]:
    """The tensors that the bodies of a node are given or compute."""
    names: set[str] = set()
    for attribute in node.attribute:
        if attribute.HasField('g'):
            names |= {value.name for value in attribute.g.input}
            for inner in attribute.g.node:
                names |= {*inner.output} | made_within(inner)
    return names


def rename(nodes: Iterable[NodeProto], names: Mapping[str, str]) -> None:
    """Let nodes, and those in their bodies, read other tensors in place of those that are named."""
    for node in nodes:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
        for attribute in node.attribute:
            if attribute.HasField('g'):
                rename(attribute.g.node, names)


def alive(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """The nodes that the outputs depend on."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= needs(node)
            kept.append(node)
    return kept[::-1]
