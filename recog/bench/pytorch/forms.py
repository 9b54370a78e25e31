"""The forms in which a rival reads images: eagerly in two memory layouts, traced and frozen, and through
OpenVINO. A trace is of one batch: loops are unrolled for as many steps as the texts of its images take."""

import copy
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from ml_collections import ConfigDict

from recog.bench.pytorch import equality
from recog.bench.pytorch.texts import Found, read
from recog.bench.rivals import texts
from recog.bench.rivals.texts import Call
from recog.reading.engines import openvino_core, openvino_settings

PLAIN, LAST = 'PyTorch', 'PyTorch, channels last'
TRACED, OPENVINO = 'PyTorch, traced and frozen', 'PyTorch through OpenVINO'
NAMES = PLAIN, LAST, TRACED, OPENVINO
LAYOUTS = {PLAIN: torch.contiguous_format, LAST: torch.channels_last}

Given = tuple[torch.Tensor, ...]


class Reader(torch.nn.Module):
    """A rival as a module that finds the tokens of images."""

    def __init__(self, network: torch.nn.Module, most: int):
        super().__init__()
        self.network, self.most = network, most

    def forward(self, *given: torch.Tensor) -> Found:
        found: Found = self.network.found(*given, self.most)
        return found


def forms(rival: torch.nn.Module, batch: Mapping[str, np.ndarray],
          config: ConfigDict) -> tuple[dict[str, Call], dict[str, str]]:
    """The calls that read a batch by their form, and why a form is missing, in a line."""
    most = config.text.max_length
    calls: dict[str, Call] = {}
    for kind, layout in LAYOUTS.items():
        reader = Reader(copy.deepcopy(rival).to(memory_format=layout), most).eval()
        given = equality.given(rival, batch, config, layout)
        calls[kind] = partial(read, reader, given, most)
    makes = {kind: partial(_call, make, reader, given) for kind, make in
             ((TRACED, traced), (OPENVINO, converted))}
    others, missing = texts.forms(makes, calls[PLAIN]())
    return calls | others, missing


def _call(make: Callable[[Reader, Given], Any], reader: Reader, given: Given) -> Call:
    return partial(read, make(reader, given), given, reader.most)


def traced(reader: Reader, given: Given) -> Any:
    """The reader for images of this batch, as TorchScript."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter('ignore')  # of what a trace takes for constant, as it is in each call
        return torch.jit.freeze(torch.jit.trace(reader, given, check_trace=False))


def converted(reader: Reader, given: Given) -> Callable[..., Found]:
    """What `traced` gives, compiled by OpenVINO."""
    core = openvino_core()
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    decoder = TorchScriptPythonDecoder(traced(reader, given), skip_freeze=True)
    frontend = FrontEndManager().load_by_framework('pytorch')
    model = frontend.convert(frontend.load(decoder))
    for place, tensor in zip(model.inputs, given, strict=True):
        place.get_node().set_element_type(openvino.Type(tensor.numpy().dtype))
        place.get_node().set_partial_shape(openvino.PartialShape(list(tensor.shape)))
    model.validate_nodes_and_infer_types()
    request = core.compile_model(model, 'CPU', openvino_settings()).create_infer_request()

    def run(*given: torch.Tensor) -> Found:
        found = request.infer([each.contiguous().numpy() for each in given], share_inputs=True)
        tokens, probability, kept = (torch.from_numpy(found[place]) for place in range(3))
        return tokens, probability, kept.bool()

    return run
