"""The engines of exported files: onnxruntime or OpenVINO, or JAX alone."""

import importlib.util
import os
import sys
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recog.data.batches import unpack_notes
from recog.errors import ConfigError
from recog.reading.read import HostBatch, chosen


class Exported:
    """A function (image, size, max_length) -> what `decode` gives, in numpy, on one device of one process."""

    multiple = processes = 1

    def __init__(self, run: Callable[..., dict[str, np.ndarray]], best: int, details: bool):
        self.run, self.best, self.details = run, best, details

    def places(self, rows: int) -> np.ndarray:
        """All rows of a batch."""
        return np.arange(rows)

    def answers(self, batches: Iterable[HostBatch],
                longest: int) -> Iterator[tuple[dict[str, Any], list[tuple]]]:
        """What stands in each batch, and the notes on it."""
        for batch in batches:
            out = self.run(batch['image'], batch['size'], np.asarray(longest, np.int32))
            yield chosen(out, batch, self.best, self.details), unpack_notes(batch['notes'])


class Onnx(Exported):
    """A file for onnxruntime, on all CPUs that this process may use."""

    def __init__(self, file: Path, best: int = 1, details: bool = False):
        try:
            self.session = session(file)
        except ImportError:
            raise ConfigError(f'{file.parent} is an export to ONNX, which needs onnxruntime: '
                              "pip install 'recog[onnx]'") from None
        self.names = [output.name for output in self.session.get_outputs()]
        super().__init__(self._run, best, details)

    def _run(self, image: np.ndarray, size: np.ndarray, longest: np.ndarray) -> dict[str, np.ndarray]:
        values = self.session.run(self.names, {'image': image, 'size': size, 'max_length': longest})
        return dict(zip(self.names, values, strict=True))


def session(model: Path | bytes) -> Any:
    """A session of onnxruntime on all CPUs that this process may use."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.enable_mem_pattern = False  # plans memory for each shape of the input; loops gain nothing by it
    options.log_severity_level = 3  # errors: it would warn of all that it could not simplify
    return onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'])


class OpenVino(Exported):
    """A file for OpenVINO, on all CPUs that this process may use.

    By itself OpenVINO computes in bfloat16 where a processor can, which is up to a hundredth off; here it
    computes in float32, as onnxruntime does.
    """

    def __init__(self, file: Path, best: int = 1, details: bool = False):
        try:
            core = openvino_core()
        except ImportError:
            raise ConfigError("--engine openvino needs openvino: pip install 'recog[openvino]'") from None
        compiled = core.compile_model(str(file), 'CPU', openvino_settings())
        self.request, self.lock = compiled.create_infer_request(), threading.Lock()
        # A tensor that is an output may have further names.
        self.outputs = {name: place for place, output in enumerate(compiled.outputs) for name in output.names}
        super().__init__(self._run, best, details)

    def _run(self, image: np.ndarray, size: np.ndarray, longest: np.ndarray) -> dict[str, np.ndarray]:
        with self.lock:  # a request reads one batch at a time
            values = self.request.infer({'image': image, 'size': size, 'max_length': longest})
        return {name: values[place] for name, place in self.outputs.items()}


def openvino_core() -> Any:
    """OpenVINO's core, without its converter, which would tell its maker of each import, in a thread that
    stays."""
    converter = 'openvino.tools.ovc'
    if 'openvino' not in sys.modules:
        sys.modules[converter] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        if sys.modules.get(converter, converter) is None:
            del sys.modules[converter]
    return openvino.Core()


def openvino_settings() -> dict[str, Any]:
    """Settings for all CPUs that this process may use, and for float32."""
    return {'INFERENCE_NUM_THREADS': len(os.sched_getaffinity(0)), 'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_PRECISION_HINT': 'f32'}


ENGINES: dict[str, type[Onnx] | type[OpenVino]] = {'onnxruntime': Onnx, 'openvino': OpenVino}  # of ONNX files


def installed() -> list[str]:
    """Those that are here."""
    return [name for name in ENGINES if importlib.util.find_spec(name) is not None]


class StableHlo(Exported):
    """A file for JAX, on the first device or the one asked for."""

    def __init__(self, file: Path, weights: Path, best: int = 1, details: bool = False, devices: str = ''):
        import jax
        from jax import export

        from recog import models
        from recog.devices.mesh import choose_devices, compiler_options, one_device

        chosen = choose_devices(devices)
        if devices and len(chosen) > 1:
            raise ConfigError(f'--devices {devices}: {file.parent} runs on one device; name one of them')
        tree = {tuple(name.split('/')): array for name, array in _arrays(weights).items()}
        variables = jax.device_put(models.variables(tree), chosen[0])
        options = compiler_options(one_device(chosen[0]))
        call = jax.jit(export.deserialize(bytearray(file.read_bytes())).call, compiler_options=options)
        super().__init__(lambda *inputs: jax.device_get(call(variables, *inputs)), best, details)


def _arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an *.npz as `np.savez` writes it; a compressed one could be far larger than its file."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or \
            sum(entry.file_size for entry in entries) > file.stat().st_size:
        raise ValueError(f'{file.name} is not stored as it is')
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}
