"""What the tests of ONNX files share: shapes of inputs, a session, and the comparison of a file with JAX."""

from typing import Any

import jax
import numpy as np
import onnxruntime
from jax import export
from small import QUICKLY

from recog.export.to_onnx.jaxpr import to_onnx
from recog.export.to_onnx.named_operations import equations

ROW, MAP = ('b, 5', 'float32'), ('b, 5, 7, 3', 'float32')
INTS, FLAGS, SCALAR = ('b, 5', 'int32'), ('b, 5', 'bool'), ('', 'int32')


def session(made: Any) -> onnxruntime.InferenceSession:
    """A session that runs a model on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(made.SerializeToString(), options, providers=['CPUExecutionProvider'])


def operators(graph: Any) -> list[str]:
    """The operators of a graph; those of graphs inside its nodes come last."""
    names = [node.op_type for node in graph.node]
    for node in graph.node:
        for attribute in node.attribute:
            names += operators(attribute.g) if attribute.HasField('g') else []
    return names


def random(shape: str, dtype: str, rows: int, seed: int) -> np.ndarray:
    """Random values of a shape such as 'b, 5', where b is the number of rows."""
    generator = np.random.default_rng(seed)
    sizes = [rows if size == 'b' else int(size) for size in shape.split(', ') if size]
    if dtype == 'bool':
        return generator.random(sizes) < 0.5
    if dtype == 'float32':
        return generator.normal(size=sizes).astype(np.float32)
    return generator.integers(0 if dtype == 'uint8' else -3, 9, sizes).astype(dtype)


def same(
    function: Any, *given: tuple[str, str], tolerance: float = 2e-6, batches: tuple[int, ...] = (1, 3)
) -> list[str]:
    """Compare a function of arrays with its ONNX file; returns the operators of the file."""
    return operators(compared(function, *given, tolerance=tolerance, batches=batches).graph)


def inside(function: Any, *given: tuple[str, str]) -> list[str]:
    """Compare a function of arrays with its ONNX file;
    returns the operators of the first loop of the file."""
    graph = compared(function, *given).graph
    loop = next(node for node in graph.node if node.op_type in ('Loop', 'Scan'))
    return operators(next(attribute.g for attribute in loop.attribute if attribute.HasField('g')))


def compared(
    function: Any, *given: tuple[str, str], tolerance: float = 2e-6, batches: tuple[int, ...] = (1, 3)
) -> Any:
    """The ONNX model of a function of arrays, once it was found to give what JAX gives."""
    shapes = {f'x{number}': each for number, each in enumerate(given)}

    def named(_: Any, *arrays: Any) -> dict[str, Any]:
        return {f'y{number}': leaf for number, leaf in enumerate(jax.tree.leaves(function(*arrays)))}

    made = to_onnx(named, (), shapes)
    ready, compiled = session(made), jax.jit(named, compiler_options=QUICKLY)
    for rows in batches:
        arrays = [random(*each, rows, seed) for seed, each in enumerate(given)]
        wanted = jax.device_get(compiled((), *arrays))
        got = ready.run(None, dict(zip(shapes, arrays, strict=True)))
        for name, value in zip(wanted, got, strict=True):
            assert value.dtype == wanted[name].dtype and value.shape == wanted[name].shape
            np.testing.assert_allclose(value, wanted[name], rtol=tolerance, atol=tolerance)
    return made


def primitives(function: Any, *given: tuple[str, str]) -> set[str]:
    """The primitives that a function uses on inputs of these shapes and types."""
    scope = export.SymbolicScope()
    shapes = [export.symbolic_shape(shape, scope=scope) if shape else () for shape, _ in given]
    avals = [jax.ShapeDtypeStruct(shape, dtype) for shape, (_, dtype) in zip(shapes, given, strict=True)]
    return {equation.primitive.name for equation in equations(jax.make_jaxpr(function)(*avals))}
