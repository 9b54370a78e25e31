"""ONNX from a jaxpr: every equation becomes the operators that compute it, loops become Scan and Loop.

What depends on constants alone is computed at export time; our own named operations have converters of their
own (`named_operations`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export
from jax.extend import core
from onnx import ModelProto, checker, helper

from recog.devices.kept import held
from recog.export.to_onnx import channels_first, loops, named_operations, primitives
from recog.export.to_onnx.graph import Graph, Unconvertible, Value, alive, element, info, is_static

OPSET, IR = 21, 10
LARGE = 2**24  # bytes from which a constant, such as an iota, is computed at run time


def to_onnx(
    function: Callable[..., Mapping[str, Any]],
    constants: Any,
    inputs: Mapping[str, tuple[str, Any]],
    *,
    name: str = 'recog',
) -> ModelProto:
    """The ONNX model of `function(constants, *inputs)`, whose outputs have the names in the dict that it
    returns.

    Inputs are given as shape and type: {'image': ('b, 32, 4*w, 3', 'uint8'), 'max_length': ('', 'int32')}. A
    letter in a shape stands for any size at run time.
    """
    scope = export.SymbolicScope()
    shapes = {key: export.symbolic_shape(shape, scope=scope) if shape else ()
              for key, (shape, _) in inputs.items()}
    given = [jax.ShapeDtypeStruct(shapes[key], np.dtype(dtype)) for key, (_, dtype) in inputs.items()]
    closed, results = jax.make_jaxpr(function, return_shape=True)(constants, *given)
    wrong = [key for key, value in results.items() if not hasattr(value, 'shape')]
    if wrong:
        raise Unconvertible(f'output {wrong[0]} is no array: a model gives a dict of arrays')
    graph = Graph()
    graph.limits = {key: (0, 255) for key, aval in zip(inputs, given, strict=True) if aval.dtype == np.uint8}
    for key, aval in zip(inputs, given, strict=True):
        for axis, size in enumerate(aval.shape):
            if not is_static(size):
                graph.given(size, key, axis)
    weights = [np.asarray(leaf) for leaf in jax.tree.leaves(constants)]
    values = convert(graph, closed, [*weights, *inputs])
    # The leaves of a dict come in the order of its keys.
    outputs = dict(zip(sorted(results), values, strict=True))
    for key, value in outputs.items():
        graph.nodes.append(helper.make_node('Identity', [graph.name(value)], [key]))
    border = ([info(key, aval, symbols=True) for key, aval in zip(inputs, given, strict=True)],
              [info(key, results[key], symbols=True) for key in outputs])
    graph.nodes = channels_first.moved(graph, border[0], outputs, alive(graph.nodes, outputs))
    made = helper.make_model(
        graph.finished(name, *border), opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR,
        producer_name='recog')
    checker.check_model(made)
    return made


def convert(graph: Graph, jaxpr: Any, inputs: Sequence[Value]) -> list[Value]:
    """The values of a jaxpr, closed or open, for these inputs."""
    known: dict[Any, Value] = {}
    if isinstance(jaxpr, core.ClosedJaxpr):
        pairs = zip(jaxpr.jaxpr.constvars, jaxpr.consts, strict=True)
        known |= {var: np.asarray(value) for var, value in pairs}
        jaxpr = jaxpr.jaxpr
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(var: Any) -> Value:
        if isinstance(var, core.Literal):
            return np.asarray(var.val, getattr(var.aval, 'dtype', None))
        return known[var]

    reads = jaxpr.outvars, *(equation.invars for equation in jaxpr.eqns)
    needed = {var for each in reads for var in each if isinstance(var, core.Var)}
    for equation in jaxpr.eqns:
        graph.unused = [place for place, var in enumerate(equation.outvars) if var not in needed]
        results = _equation(graph, equation, [read(var) for var in equation.invars])
        known |= dict(zip(equation.outvars, results, strict=True))
    return [read(var) for var in jaxpr.outvars]


def _equation(graph: Graph, equation: Any, inputs: list[Value]) -> Sequence[Value]:
    """The results of one equation; an error names the line of source of the innermost equation."""
    try:
        return _results(graph, equation, inputs)
    except Unconvertible as error:
        raise error.at(_place(equation)) from None


def _results(graph: Graph, equation: Any, inputs: list[Value]) -> Sequence[Value]:
    name, params = equation.primitive.name, equation.params
    if name == 'jit' and params['name'] in named_operations.OPERATIONS:
        special = named_operations.OPERATIONS[params['name']](graph, equation, inputs, convert)
        if special is not None:
            return special
    if name in loops.OPERATIONS:
        return loops.OPERATIONS[name](graph, equation, inputs, convert)
    if (inner := held(equation)) is not None:
        return convert(graph, inner, inputs)
    if _foldable(equation, inputs):
        return _folded(equation, inputs)
    if name not in primitives.OPERATIONS:
        raise Unconvertible(f'primitive {name} has no counterpart in ONNX')
    for var in (*equation.invars, *equation.outvars):
        element(var.aval.dtype)
    results = primitives.OPERATIONS[name](graph, equation, *inputs)
    return [results] if isinstance(results, str | np.ndarray) else results


def _foldable(equation: Any, inputs: list[Value]) -> bool:
    """Whether an equation depends on constants alone, and its results are not much larger than they are."""
    made = [var.aval for var in equation.outvars]
    static = all(is_static(size) for aval in made for size in aval.shape)
    if equation.primitive.name == 'dim_as_value' or not static:
        return False
    arrays = [value for value in inputs if isinstance(value, np.ndarray)]
    size = sum(math.prod(aval.shape) * aval.dtype.itemsize for aval in made)
    return len(arrays) == len(inputs) and size <= max(LARGE, sum(array.nbytes for array in arrays))


def _folded(equation: Any, inputs: list[Value]) -> list[Value]:
    results = equation.primitive.bind(*inputs, **equation.params)
    return [np.asarray(result) for result in (results if equation.primitive.multiple_results else [results])]


def _place(equation: Any) -> str:
    """The line of source that an equation comes from: the innermost one outside of JAX and Flax."""
    trace = equation.source_info.traceback
    for frame in trace.frames if trace else ():
        path = Path(frame.file_name)
        if not {'jax', 'flax', 'jaxlib'} & set(path.parts):
            return f'{path.name} line {frame.line_num} in {frame.function_name}'
    return ''
