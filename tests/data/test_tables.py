"""Sets of Hugging Face's library: Parquet and WebDataset shards, and the Hub."""

import io
import json
import os
import pickle
import subprocess
import sys
import tarfile

import cv2
import hub_server
import numpy as np
import pytest
from small import DEMO, ROOT

import datasets
from recog.config import test_sets
from recog.data.fingerprint import fingerprint
from recog.data.sets import open_set
from recog.errors import ConfigError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """The user's cache is neither read nor written."""
    monkeypatch.setenv('RECOG_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', tmp_path / 'hf')


def picture(number):
    return cv2.imencode('.png', np.full((8, 20, 3), 9 * number, np.uint8))[1].tobytes()


def parquet(numbers, **columns):
    """A Parquet file as the Hub has it: its schema says which column is an image."""
    features = datasets.Features({'image': datasets.Image(), 'text': datasets.Value('string'),
                                  **{name: datasets.Value('int64') for name in columns}})
    rows = {'image': [{'bytes': picture(number), 'path': None} for number in numbers],
            'text': [f'word{number}' for number in numbers], **columns}
    file = io.BytesIO()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(file)
    return file.getvalue()


def put(folder, **files):
    for name, content in files.items():
        file = folder / name.replace('__', '/')
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def shard(numbers):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as tar:
        for number in numbers:
            for kind, content in (('png', picture(number)), ('txt', f'wörd{number}'.encode())):
                info = tarfile.TarInfo(f'{number:03}.{kind}')
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def test_parquet_and_webdataset_shards_are_sets_in_the_order_of_their_names(tmp_path, narrow):
    config = narrow()
    put(tmp_path / 'words', **{'data__train-00001-of-00002.parquet': parquet([3, 4]), 'data__train-00000-of-'
                               '00002.parquet': parquet([1, 2]), 'data__test-0.parquet': parquet([7])})
    put(tmp_path / 'tars', **{'train__b.tar': shard([2, 3]), 'train__a.tar': shard([1])})
    source = open_set('words:train', config, tmp_path)
    assert source.labels([3, 0]) == [('train/3', 'word4'), ('train/0', 'word1')]
    rows = list(source.rows(np.array([1, 3])))
    assert [row.text for row in rows] == ['word2', 'word4'] and (rows[1].image == 36).all()
    assert len(open_set('words:train+test', config, tmp_path)) == 5 and len(
        open_set('words', config, tmp_path)) == 4
    source = open_set('tars', config, tmp_path)
    assert source.labels(range(3)) == [('001', 'wörd1'), ('002', 'wörd2'), ('003', 'wörd3')]
    sent = pickle.loads(pickle.dumps(source))  # as processes that read get it
    assert all((row.image == 9 * number).all() for number, row in enumerate(sent.rows(range(3)), 1))
    before = fingerprint(source, config, tmp_path)
    (tmp_path / 'tars' / 'train' / 'c.tar').write_bytes(shard([9]))
    assert fingerprint(source, config, tmp_path) != before
    with pytest.raises(ConfigError, match="'words:tset': split 'tset' does not exist .did you mean 'test'"):
        open_set('words:tset', config, tmp_path)
    with pytest.raises(ConfigError, match=r"text_columns=\('speech',\) .*it has: image .*, text \(string\)"):
        open_set('words:train', narrow("data.text_columns=('speech',)"), tmp_path)
    (tmp_path / 'tars' / 'train' / 'c.tar').write_bytes(b'no tar')
    with pytest.raises(ConfigError, match="set 'tars': the shards in .* cannot be read"):
        open_set('tars', config, tmp_path)


def test_without_the_library_it_says_what_to_install(tmp_path, narrow, monkeypatch):
    monkeypatch.setitem(sys.modules, 'datasets', None)
    for name in ('hf:some/words:train', 'words'):
        put(tmp_path / 'words', **{'train.parquet': b''})
        with pytest.raises(ConfigError, match=f"set '{name}' needs datasets: pip install 'recog.datasets"):
            open_set(name, narrow(), tmp_path)


ASK = '''
import json, sys
from recog.config import experiments
from recog.data.fingerprint import fingerprint
from recog.data.sets import open_set
from recog.errors import ConfigError
config = experiments.load(sys.argv[1])
for name in sys.argv[2:]:
    try:
        source = open_set(name, config, "/nowhere")
        print(json.dumps([*source.labels(range(len(source))), [row.image.shape for row in source.rows([1])],
                          fingerprint(source, config, "/nowhere")]))
    except ConfigError as error:
        print(json.dumps(str(error)))
'''


def test_a_set_of_the_hub_is_one_commit_and_a_wrong_name_is_one_line(tmp_path):
    told = (b'---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n'
            b'    path: data/train-*\n---\n')
    names = ('hf:some/words:train', 'hf:some/words', 'hf:some/words:tset', 'hf:some/none:train', 'hf:words')
    with hub_server.serving() as hub:
        first = hub.commit('datasets/some/words',
                           {'README.md': told, 'data/train-0.parquet': parquet([1, 2])})
        environment = {**os.environ, 'HF_ENDPOINT': hub.address, 'HF_HOME': str(tmp_path / 'hf'),
                       'PYTHONPATH': str(ROOT)}

        def ask(*names):
            done = subprocess.run([sys.executable, '-c', ASK, DEMO, *names], cwd=tmp_path, env=environment,
                                  capture_output=True, text=True, check=True)
            return [json.loads(line) for line in done.stdout.splitlines()]

        train, unnamed, split, name, wrong = ask(*names)
        assert isinstance(train, list), train
        assert train[:3] == [['train/0', 'word1'], ['train/1', 'word2'], [[8, 20, 3]]] and train == unnamed
        assert "split 'tset' does not exist; there are: train" in split
        assert "set 'hf:some/none:train' cannot be read: Dataset 'some/none' doesn't exist on the Hub" in name
        assert 'must be hf:OWNER/NAME' in wrong
        hub.commit('datasets/some/words', {'data/train-1.parquet': parquet([3])})
        later, pinned = ask(names[0], f'hf:some/words@{first}:train')
        assert len(later) == 5 and pinned == train and later[-1] != train[-1]


@pytest.mark.parametrize(('name', 'tests'), [
    ('hf:some/test_words:train', False), ('hf:some/words:test', True)])
def test_the_split_of_a_set_of_the_hub_says_whether_it_is_a_test_set(name, tests):
    assert test_sets.is_test(name) is tests
