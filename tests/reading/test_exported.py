"""Exported folders whose digests were made right again: what cannot be is refused in one line."""

import json
import shutil

import numpy as np
import pytest
from small import ROOT

import recog
from recog.errors import ConfigError
from recog.reading.exported import described, digest

FIXTURE = ROOT / 'tests' / 'fixtures' / 'recog-0.1.0-2bb25bb'
DELETED = object()


def forged(place, changes=None, form='onnx', **files):
    """An export with other values in its manifest, by dotted names, and other bytes in its files."""
    folder = shutil.copytree(FIXTURE / f'export-{form}', place / 'export')
    manifest = json.loads((folder / 'manifest.json').read_text())
    for name, content in files.items():
        file = folder / name.replace('_', '.')
        file.write_bytes(content)
        manifest['files'][file.name] = described(file)
    for path, value in (changes or {}).items():
        *parents, key = path.split('.')
        parent = manifest
        for name in parents:
            parent = parent[name]
        if value is DELETED:
            del parent[key]
        else:
            parent[key] = value
    manifest['digest'] = digest(manifest)
    (folder / 'manifest.json').write_text(json.dumps(manifest))
    return folder


def refused(folder):
    """The one line with which an export is refused, on loading or on reading."""
    with pytest.raises(ConfigError) as found:
        recog.load(folder)(np.full((20, 40), 200, np.uint8))
    assert '\n' not in str(found.value) and str(found.value).startswith(str(folder))
    return str(found.value).removeprefix(str(folder))


def test_an_unchanged_folder_of_an_earlier_version_is_read(tmp_path):
    assert recog.load(forged(tmp_path))(np.full((20, 40), 200, np.uint8)).text


@pytest.mark.parametrize(('changes', 'words'), [
    ({'files': {}}, 'files must be explain.onnx, model.onnx'),
    ({'files': {'model.onnx': {}}}, 'files must be explain.onnx, model.onnx'),
    ({'files': {'model.onnx': {}, '../model.onnx': {}}}, 'files must be explain.onnx, model.onnx'),
    ({'files': {'explain.onnx': {}, 'model.onnx': {}}}, 'explain.onnx is damaged'),
    ({'files': 3}, 'is not as recog export writes it'), ({'files': DELETED}, "writes it ('files')"),
    ({'beam': 0}, 'beam=0 must be a number from 1'), ({'beam': '1'}, "beam='1' must be a number from 1"),
    ({'beam': 2}, 'model.onnx cannot be run (it gives something else than texts)'),
    ({'middle': [2, 0]}, 'middle must be two shares'), ({'middle': 1}, 'is not as recog export writes it'),
    ({'capacity': 10 ** 400}, 'must be a number from 1'), ({'step': None}, 'step and source must be'),
    ({'vocabulary.tokens': ['a']}, 'model.onnx cannot be run (it gives more than the 1 tokens of'),
    ({'vocabulary.tokens': []}, 'vocabulary and model must have names'),
    ({'vocabulary.tokens': [1]}, 'a vocabulary is a JSON object'),
    ({'vocabulary': DELETED}, "writes it ('vocabulary')"),
    ({'config': []}, 'is not as recog export writes it'), ({'config.image': 3}, "config.image cannot be '3'"),
    ({'config.image.width': '80'}, "config.image.width cannot be '80'"),
    ({'config.image.width': -1}, 'config.image.width=-1 must be at least'),
    ({'config.image.width': 1 << 63}, 'is none of its values'),
    ({'config.image.width': 1 << 31}, 'config.image has more than 64,000,000 pixels'),
    ({'config.image.fit': 'a\nb'}, "config.image.fit='a\\nb' is not one of"),
    ({'config.eval.protocol': 'x' * 10 ** 6}, 'config.eval.protocol='),
    ({'config.data.buckets': ['999x9']}, 'config.data.buckets: 999x9'),
    ({'config.image.symbol': float('nan')}, 'is damaged, or was not written by recog export'),
    ({'format': 'stablehlo'}, 'files must be explain.stablehlo, model.stablehlo, weights.npz'),
    ({'format': ['onnx']}, 'is damaged, or was not written'), ({'format': DELETED}, 'is damaged, or was')])
def test_a_manifest_that_cannot_be_is_refused_in_one_line(changes, words, tmp_path):
    said = refused(forged(tmp_path, changes))
    assert words in said and len(said) < 500 and said.endswith('; export the model again')


@pytest.mark.parametrize('content', [
    b'', b'[]', b'3', b'[' * 200_000, b'\xff', b'{"format": "onnx"}', bytes(1 << 25)])
def test_a_manifest_that_is_something_else_is_refused_in_one_line(content, tmp_path):
    folder = forged(tmp_path)
    (folder / 'manifest.json').write_bytes(content)
    assert 'manifest.json is damaged, or was not written by recog export' in refused(folder)


@pytest.mark.parametrize('content', [b'', b'text', bytes(10_000)])
def test_a_model_that_is_none_is_refused_in_one_line(content, tmp_path):
    assert refused(forged(tmp_path, model_onnx=content)).startswith('/model.onnx cannot be ')
    shutil.rmtree(tmp_path / 'export')
    assert refused(forged(tmp_path, form='stablehlo', model_stablehlo=content)).startswith(
        '/model.stablehlo cannot be loaded')


def test_weights_that_unfold_are_refused(tmp_path):
    np.savez_compressed(tmp_path / 'a.npz', a=np.zeros(1 << 24))
    assert 'weights.npz is not stored as it is' in refused(
        forged(tmp_path, form='stablehlo', weights_npz=(tmp_path / 'a.npz').read_bytes()))
