"""The time of an ONNX file's convolutions, each run alone, which shows how much the rest of the file adds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from recog.reading.engines import session

INPUTS = ('image', 'size', 'max_length')


def alone(file: Path, given: tuple[np.ndarray, ...], measure: Callable[[Callable, tuple], float]) -> float:
    """Total seconds of the convolutions outside loops, each run on the
    input that it has when the file runs."""
    import onnx

    model = onnx.load(str(file))
    graph = model.graph
    kept = {value.name: value for value in graph.initializer}
    found = [node for node in graph.node if node.op_type == 'Conv']
    wanted = dict.fromkeys(name for node in found for name in node.input if name and name not in kept)
    there = {output.name for output in graph.output}
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name)
                        for name in wanted if name not in there)
    fed = dict(zip(INPUTS, given, strict=True))
    values = dict(zip(wanted, session(model.SerializeToString()).run(list(wanted), fed),
                      strict=True)) if found else {}
    total = 0.0
    for node in found:
        read = {name: values[name] for name in node.input if name in values}
        inputs = [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype),
                                                     value.shape)
                  for name, value in read.items()]
        weights = [kept[name] for name in node.input if name in kept]
        one = onnx.helper.make_graph([node], 'convolution', inputs,
                                     [onnx.helper.make_empty_tensor_value_info(node.output[0])], weights)
        made = onnx.helper.make_model(one, opset_imports=model.opset_import, ir_version=model.ir_version)
        total += measure(session(made.SerializeToString()).run, (None, read))
    return total
