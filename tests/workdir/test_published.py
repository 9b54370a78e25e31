"""The form of a published reader: what is written is read again, and what is not sound is refused."""

import json
import shutil
import sys

import jax
import numpy as np
import pytest
from readers import READ, RUN, SAMPLES, sealed
from safetensors.numpy import save

import recog
from recog import models
from recog.errors import ConfigError
from recog.workdir import published
from recog.workdir.opened import open_workdir


def leaves(variables):
    return models.flatten(jax.device_get(variables))


def refused(folder, said):
    with pytest.raises(ConfigError, match=said) as caught:
        open_workdir(folder)
    assert '\n' not in str(caught.value)


@pytest.fixture
def copy(reader, tmp_path):
    return shutil.copytree(reader, tmp_path / 'copy')


def test_a_reader_opens_without_orbax_as_its_workdir_does(reader, monkeypatch):
    trained = open_workdir(RUN)
    for name in ('orbax', 'orbax.checkpoint'):
        monkeypatch.setitem(sys.modules, name, None)
    opened = open_workdir(reader)
    assert (opened.step, opened.vocab, opened.metrics) == (trained.step, trained.vocab, trained.metrics)
    assert opened.config == trained.config
    before, after = leaves(trained.variables), leaves(opened.variables)
    assert before.keys() == after.keys()
    for path, leaf in after.items():
        assert leaf.dtype == np.float32
        np.testing.assert_array_equal(leaf, before[path].astype(np.float16).astype(np.float32))
    assert [answer.text for answer in recog.load(reader)(SAMPLES)] == READ


def test_a_reader_has_one_step(reader):
    assert open_workdir(reader, 1500).step == 1500
    with pytest.raises(ConfigError, match='--step 7: .* holds step 1500 alone'):
        open_workdir(reader, 7)


@pytest.mark.parametrize(('kind', 'size', 'error'), [('float16', 2, 2 ** -11), ('bfloat16', 2, 2 ** -8),
                                                     ('float32', 4, 0)])
def test_arrays_are_kept_in_the_type_asked_for(kind, size, error):
    given = {'params': {'a': {'kernel': np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)}},
             'stats': {'mean': np.float32(0.1)}}
    content, variables = published.encoded(given, kind)
    header = int.from_bytes(content[:8], 'little')
    assert len(content) == 8 + header + 13 * size
    found = published._arrays(content, 'weights')
    assert found.keys() == leaves(given).keys() == leaves(variables).keys()
    for path, leaf in leaves(given).items():
        np.testing.assert_array_equal(found[path], leaves(variables)[path])
        np.testing.assert_allclose(found[path], leaf, rtol=error)


@pytest.mark.parametrize(('value', 'said'), [
    (1e5, 'stats/variance holds 1e.05, which is no number of float16; --kind bfloat16 can hold it'),
    (np.nan, 'stats/variance holds nan, which is no number of float16$')])
def test_a_number_that_the_type_cannot_hold_is_named(value, said):
    with pytest.raises(ConfigError, match=said):
        published.encoded({'stats': {'variance': np.array([1, value], np.float32)}}, 'float16')


@pytest.mark.parametrize('name', published.MEASURED)
def test_a_changed_or_missing_file_is_named(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    refused(copy, f'{name} is damaged: it is not what was published')
    (copy / name).unlink()
    refused(copy, f'{name} is missing')


@pytest.mark.parametrize(('change', 'said'), [
    ({'form': 3}, 'a newer one than this'), ({'form': 'x'}, 'is damaged, or was not written'),
    ({'files': {'../../secret': {'sha256': 64 * 'a', 'bytes': 1}}}, 'is damaged, or was not written'),
    ({'recog': 1_000_000 * 'x'}, 'is damaged, or was not written'),
    ({'files': 7}, 'is damaged, or was not written'), ({'step': 3}, 'is damaged, or was not written')])
def test_a_manifest_that_is_not_sound_is_refused(copy, change, said):
    manifest = json.loads((copy / 'reader.json').read_text()) | change
    if 'step' not in change:
        manifest['digest'] = published.digest(manifest)
    (copy / 'reader.json').write_text(json.dumps(manifest))
    refused(copy, said)


MADE_UP = {
    'a pickle': ('weights.safetensors', b'\x80\x04pickle', 'is no file of weights in float16'),
    'integers': ('weights.safetensors', save({'params/x': np.zeros(3, np.int64)}),
                 'is no file of weights in float16'),
    'other arrays': ('weights.safetensors', save({'params/x': np.zeros(3, np.float16)}),
                     r'has the shape .*, the recipe asks for '),
    'a list': ('config.json', b'[]', 'its recipe or vocabulary cannot be read'),
    'a module': ('config.json', b'{"model": {"name": "os"}}', "config.model.name='os' is not one of "),
    'half a recipe': ('config.json', b'{"model": {"name": "latex_ocr"}}', 'its recipe makes no model'),
    'no tokens': ('vocab.json', b'{}', 'its recipe or vocabulary cannot be read')}


@pytest.mark.parametrize('kind', MADE_UP)
def test_a_file_that_somebody_made_up_is_refused(copy, kind):
    name, content, said = MADE_UP[kind]
    (copy / name).write_bytes(content)
    sealed(copy)
    refused(copy, said)
