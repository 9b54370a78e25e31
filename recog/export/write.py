"""`recog export`: writes a trained model as a folder that works by itself,
after comparing it with its workdir."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export
from ml_collections import ConfigDict

from recog import __version__, models
from recog.config.values import SEVERAL
from recog.data.shapes import canvases
from recog.errors import ConfigError
from recog.export import parity
from recog.images import fit
from recog.reading.exported import MANIFEST, Folder, described, digest
from recog.reading.read import set_length
from recog.workdir import lexicon, provenance
from recog.workdir.files import SAMPLES
from recog.workdir.folder import drafted, is_remote
from recog.workdir.opened import Opened

PLATFORMS = ('cpu', 'cuda', 'tpu')


def write_export(opened: Opened, place: Path, form: str, source: str, *, beam: int = 0,
                 max_length: int = 0) -> parity.Parity:
    """Write the folder `place`, or nothing if it fails; returns how it compares with the workdir `source`.

    Without a beam, it is the model's own, or 1.
    """
    beam = beam or opened.beam()
    opened = _float32(opened)
    if max_length:
        set_length(opened.config, opened.model.about.capacity, max_length)
    if beam > 1 and not opened.model.about.beam:
        raise ConfigError(f'--beam {beam}: this model has no beam search')
    return _write(opened, place, form, beam, source)


def _write(opened: Opened, place: Path, form: str, beam: int, source: str) -> parity.Parity:
    """Write the folder under a temporary name, compare it, and only then rename it."""
    with drafted(place) as draft:
        form_facts = (_onnx if form == 'onnx' else _stablehlo)(opened, draft, beam)
        if opened.lexicon and beam > 1:
            lexicon.copy(opened.workdir, draft)
        manifest = _manifest(opened, form, beam, source) | form_facts
        manifest['files'] = {file.name: described(file) for file in sorted(draft.iterdir())}
        found = parity.check(Folder(draft, manifest), opened.model, opened.variables,
                             Path(source) / SAMPLES)
        manifest['parity'] = {'images': found.images, 'worst_score_difference': found.worst}
        manifest['digest'] = digest(manifest)
        # A path may be no UTF-8; what is escaped is JSON still.
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + '\n',
                                      encoding='utf-8', errors='backslashreplace')
    return found


def _float32(opened: Opened) -> Opened:
    """The model with float32 arithmetic, which every runtime supports."""
    config = opened.config.copy_and_resolve_references()
    config.train.precision = 'float32'
    return opened._replace(config=config, model=models.build(config, opened.vocab))


def _manifest(opened: Opened, form: str, beam: int, source: str) -> dict[str, Any]:
    """The part of the manifest that is known before the files are written."""
    config = opened.config
    rule, vocab = config.image, opened.vocab
    where = source if is_remote(source) else str(Path(source).resolve())
    image = {name: rule[name] for name in ('height', 'width', 'channels', 'fit', 'resample', 'ink',
                                           'symbol', 'width_rule')}
    sizes = [list(canvas) for canvas in canvases(config)] if rule.fit in SEVERAL else []
    return {
        'format': form, 'recog': __version__, 'model': config.model.name, 'beam': beam,
        'max_length': config.text.max_length,
        'capacity': opened.model.about.capacity, 'middle': list(opened.model.about.middle),
        'protocol': config.eval.protocol, 'inputs': {},
        'outputs': {}, 'image': image, 'buckets': sizes,
        'multiple': list(opened.model.about.stride),
        'vocabulary': {'tokens': list(vocab.tokens), 'separator': vocab.separator, 'case': vocab.case,
                       'unknown': vocab.unknown},
        'files': {}, 'recipe': provenance.recipe(config), 'step': opened.step, 'source': where,
        'imported': opened.imported, 'versions': {}, 'parity': {}, 'config': config.to_dict(),
        **({'calibration': dict(opened.calibration)} if opened.calibration else {}),
    }


def shapes(config: ConfigDict, model: models.Model) -> dict[str, tuple[str, str]]:
    """Shape and type of each input; a letter stands for any size at run time."""
    rule, (down, right) = config.image, model.about.stride
    height, width = str(rule.height), str(rule.width)
    if rule.fit in SEVERAL:
        height, width = f'{down}*h', f'{right}*w'
    elif rule.width_rule == 'widest':
        raise ConfigError('config.image.width_rule=widest cannot be exported: only fixed can')
    return {'image': (f'b, {height}, {width}, {fit.channels(rule)}', 'uint8'), 'size': ('b, 2', 'int32'),
            'max_length': ('', 'int32')}


def _functions(opened: Opened, beam: int) -> dict[str, Callable]:
    """What each file computes."""
    return {name: partial(opened.model.decode, beam=beam, details=name == 'explain')
            for name in ('model', 'explain')}


def _onnx(opened: Opened, draft: Path, beam: int) -> dict[str, Any]:
    """Write both files, the second with the weights of the first; returns their part of the manifest."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"--format onnx needs {error.name}: pip install 'recog[onnx]'") from None
    from recog.export.to_onnx import jaxpr, shared_weights

    given, variables = shapes(opened.config, opened.model), jax.device_get(opened.variables)
    made = {name: jaxpr.to_onnx(function, variables, given, name=opened.config.model.name)
            for name, function in _functions(opened, beam).items()}
    whole = made['model'].SerializeToString()
    (draft / 'model.onnx').write_bytes(whole)
    shared_weights.share(made['explain'], made['model'], whole, 'model.onnx')
    (draft / 'explain.onnx').write_bytes(made['explain'].SerializeToString())
    interface = {side: {value.name: _tensor(value) for value in getattr(made['model'].graph, side[:-1])}
                 for side in ('inputs', 'outputs')}
    return interface | {'versions': {'jax': jax.__version__, 'onnx': onnx.__version__,
                                     'onnxruntime': onnxruntime.__version__, 'opset': jaxpr.OPSET}}


def _tensor(value: Any) -> dict[str, Any]:
    """Shape and type of an input or output of an ONNX graph."""
    from onnx import helper

    kind = value.type.tensor_type
    return {'shape': [size.dim_param or size.dim_value for size in kind.shape.dim],
            'type': helper.tensor_dtype_to_np_dtype(kind.elem_type).name}


def _stablehlo(opened: Opened, draft: Path, beam: int) -> dict[str, Any]:
    """Write both files for all platforms, and their weights; returns their part of the manifest."""
    scope = export.SymbolicScope()
    given = {name: jax.ShapeDtypeStruct(export.symbolic_shape(shape, scope=scope) if shape else (),
                                        np.dtype(kind))
             for name, (shape, kind) in shapes(opened.config, opened.model).items()}
    variables = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), opened.variables)
    interface: dict[str, Any] = {}
    for name, function in _functions(opened, beam).items():
        made = export.export(jax.jit(function), platforms=PLATFORMS)(variables, *given.values())
        (draft / f'{name}.stablehlo').write_bytes(made.serialize())
        if name == 'model':
            outputs = jax.tree.unflatten(made.out_tree, made.out_avals)
            interface = {'inputs': _interface(given), 'outputs': _interface(outputs)}
    arrays = {'/'.join(path): np.asarray(leaf)
              for path, leaf in models.flatten(jax.device_get(opened.variables)).items()}
    np.savez(draft / 'weights.npz', **arrays)  # type: ignore[arg-type]
    return interface | {'versions': {'jax': jax.__version__,
                                     'calling_convention': made.calling_convention_version,
                                     'platforms': list(PLATFORMS)}}


def _interface(avals: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {'shape': [size if isinstance(size, int) else str(size) for size in aval.shape],
                   'type': aval.dtype.name}
            for name, aval in avals.items()}
