"""Sets of TFDS are read by the names of their features alone: nothing that a set names is imported."""

import json
import sys

import cv2
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from recog.data.prepared import Prepared
from recog.errors import ConfigError

TEXT = {'pythonClassName': 'tensorflow_datasets.core.features.text_feature.Text', 'text': {}}
FEATURES = {'image': TEXT, 'text': TEXT, 'id': TEXT}


def made(folder, features=FEATURES, shape='featuresDict', **facts):
    """A set of three words."""
    writer = ArrayRecordWriter(str(folder / 'words-train.array_record-00000-of-00001'), 'group_size:1')
    for number in range(3):
        example = tf_example_pb2.Example()
        image = cv2.imencode('.png', np.full((8, 9 + number), 7 * number, np.uint8))[1].tobytes()
        for name, value in {'image': image, 'text': b'word%d' % number, 'id': b'w/%d' % number}.items():
            example.features.feature[name].bytes_list.value.append(value)
        writer.write(example.SerializeToString())
    writer.close()
    inside = {'featuresDict': {'features': features}, 'content': features,
              'text': json.dumps(features)}[shape]
    (folder / 'features.json').write_text(json.dumps({'content' if shape == 'text' else shape: inside}))
    (folder / 'dataset_info.json').write_text(json.dumps({
        'name': 'words', 'version': '1.0.0', 'fileFormat': 'array_record',
        'splits': [{'name': 'train', 'shardLengths': ['3'], 'numBytes': '300'}], **facts}))
    return folder


@pytest.mark.parametrize('shape', ['featuresDict', 'content', 'text'])
def test_a_set_is_read_however_old_its_list_of_features(shape, tmp_path):
    rows = Prepared('words', made(tmp_path, shape=shape), 'train').rows([2, 0])
    assert [(row.id, row.text, row.image.shape, int(row.image.max())) for row in rows] == [
        ('w/2', 'word2', (8, 11, 3), 14), ('w/0', 'word0', (8, 9, 3), 0)]


def test_a_set_imports_nothing_that_it_names(tmp_path, monkeypatch):
    trap = tmp_path / 'place' / 'a_trap_of_a_set.py'
    trap.parent.mkdir()
    trap.write_text('raise SystemExit("this ran")\n')
    monkeypatch.syspath_prepend(str(trap.parent))
    monkeypatch.chdir(trap.parent)
    evil = {'pythonClassName': 'a_trap_of_a_set.Image', 'pythonClass': 'a_trap_of_a_set.Image', 'content': ''}
    folder = made(tmp_path, {'image': evil, 'text': TEXT, 'more': evil}, moduleName='a_trap_of_a_set')
    features = json.loads((folder / 'features.json').read_text())
    (folder / 'features.json').write_text(json.dumps({**features, 'pythonClassName': 'a_trap_of_a_set.All'}))
    assert Prepared('words', folder, '').labels([1]) == [('train/1', 'word1')]
    assert 'a_trap_of_a_set' not in sys.modules


@pytest.mark.parametrize(('file', 'content', 'words'), [
    ('features.json', None, 'features.json cannot be read'), ('features.json', b'{', 'features.json cannot'),
    ('features.json', b'[]', 'features.json cannot'), ('features.json', b'3', 'features.json cannot'),
    ('features.json', b'[' * 100_000, 'features.json cannot'),
    ('features.json', b'\xff', 'features.json cannot'),
    ('features.json', b'{"featuresDict": {"features": {"image": {}}}}', "features ['image'] must hold image"),
    ('dataset_info.json', None, 'dataset_info.json cannot'),
    ('dataset_info.json', b'{', 'dataset_info.json cannot'),
    ('dataset_info.json', b'{"splits": 3}', 'dataset_info.json cannot'),
    ('dataset_info.json', b'{"name": "a", "version": "1.0.0"}', 'is tfrecord and must be array_record')])
def test_a_damaged_description_is_refused_in_one_line(file, content, words, tmp_path):
    folder = made(tmp_path)
    (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        Prepared('words', folder, 'train')
    said = str(refused.value)
    assert words in said and said.startswith(f'{folder}: ') and '\n' not in said
