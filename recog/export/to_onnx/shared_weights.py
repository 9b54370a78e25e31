"""Weights that two ONNX files share: the second file reads them from the first."""

from typing import Any

from onnx import ModelProto, TensorProto

SMALL = 4096  # bytes, below which a constant is written twice


def share(other: ModelProto, first: ModelProto, whole: bytes, name: str) -> None:
    """Let the large constants of `other` be read from the file `name`,
    whose content `whole` is the model `first`."""
    places: dict[bytes, int] = {}
    place = 0
    for tensor in first.graph.initializer:
        if len(tensor.raw_data) >= SMALL:
            place = whole.index(tensor.raw_data, place)  # they are written in their order
            places[tensor.raw_data] = place
    for tensor in other.graph.initializer:
        if tensor.raw_data in places:
            _refer(tensor, name, places[tensor.raw_data])


def _refer(tensor: Any, name: str, place: int) -> None:
    facts = {'location': name, 'offset': str(place), 'length': str(len(tensor.raw_data))}
    tensor.ClearField('raw_data')
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in facts.items():
        tensor.external_data.add(key=key, value=value)
