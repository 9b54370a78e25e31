"""The engine of an export is the fastest one, measured once; what is asked for goes first."""

import json

import numpy as np
import pytest
from small import ROOT

import recog
from recog.devices.cache import cache
from recog.errors import ConfigError
from recog.reading import engines, fastest
from recog.reading.exported import open_folder

EXPORT = ROOT / 'tests' / 'fixtures' / 'recog-0.1.0-2bb25bb' / 'export-onnx'
IMAGE = EXPORT.parent / 'run' / 'samples' / '0.png'


def test_the_faster_engine_is_measured_once_and_remembered(monkeypatch):
    monkeypatch.setattr(engines, 'installed', lambda: ['onnxruntime', 'numpy'])  # whose versions are known
    asked = []

    def make(name):
        asked.append(name)
        return lambda image, size, longest: [np.sort(image.ravel()) for _ in range(name == 'onnxruntime')]

    assert [fastest.engine('digest', (32, 64, 3), make) for _ in range(2)] == ['numpy', 'numpy']
    assert asked == ['onnxruntime', 'numpy']
    assert fastest.engine('other', (8, 8, 1), make) == 'numpy' and len(asked) == 4
    kept = [*(cache() / 'engines').glob('*.json')]
    kept[0].write_text('{')  # what is damaged is measured again
    assert len(kept) == 2 and {json.loads(file.read_text())['engine'] for file in kept[1:]} == {'numpy'}
    fastest.engine('digest', (8, 8, 1), make), fastest.engine('other', (8, 8, 1), make)
    assert len(asked) == 6


def test_an_engine_that_fails_is_not_chosen(monkeypatch):
    monkeypatch.setattr(engines, 'installed', lambda: ['onnxruntime', 'numpy'])

    def make(name):
        if name == 'onnxruntime':
            raise ConfigError('cannot be loaded')
        return lambda *given: None

    assert fastest.engine('digest', (8, 8, 1), make) == 'numpy'


@pytest.mark.skipif('openvino' not in engines.installed(), reason='openvino is not installed')
def test_openvino_reads_as_onnxruntime_does():
    one, other = (recog.load(EXPORT, engine=name)(str(IMAGE)) for name in engines.ENGINES)
    assert one.text == other.text and abs(one.confidence - other.confidence) < 1e-4


def test_an_engine_that_is_none_or_not_for_this_folder_is_refused():
    for path, name, words in ((EXPORT, 'other', 'must be one of onnxruntime, openvino'),
                              (EXPORT.parent / 'run', 'onnxruntime', 'is a workdir, which JAX runs')):
        with pytest.raises(ConfigError, match=words):
            recog.load(path, engine=name)
    with pytest.raises(ConfigError, match='is an export to StableHLO'):
        open_folder(EXPORT.with_name('export-stablehlo'), engine='openvino').engine()
