"""A user's own LMDBs as a set: splits by folder or by name, and the errors that name what is wrong."""

import importlib.machinery
import sys
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
import tensorflow_datasets as tfds
from small import ROOT

from recog.errors import ConfigError
from recog.prepare import lmdbs

SCRIPT, NAME = 'lmdb_folder', 'mine'


def write(folder, words, number=None, images=()):
    folder.mkdir(parents=True)
    with (lmdb.open(str(folder), map_size=1 << 24) as environment,
          environment.begin(write=True) as transaction):
        for place, word in enumerate(words, 1):
            pixels = np.random.default_rng(place).integers(0, 256, (12, 30, 3), np.uint8)
            image = images[place - 1] if place <= len(images) else cv2.imencode('.jpg', pixels)[1].tobytes()
            transaction.put(f'image-{place:09d}'.encode(), image)
            transaction.put(f'label-{place:09d}'.encode(), word.encode())
        if number != '':
            transaction.put(b'num-samples', str(number or len(words)).encode())


def texts(tmp_path, split):
    builder = tfds.builder_from_directory(str(tmp_path / 'data' / 'mine' / '1.0.0'))
    source = builder.as_data_source(split, decoders={'image': tfds.decode.SkipDecoding()})
    return {record['id'].decode(): record['text'].decode() for record in source}


def test_folders_give_the_splits_and_nested_ones_are_joined(run, tmp_path):
    for name, words in (('Training/a', ['one', 'two']), ('Training/b/c', ['three']), ('val', ['four']),
                        ('x/test', ['fünf'])):
        write(tmp_path / 'source' / name, words)
    assert run()[0] == 0
    assert texts(tmp_path, 'train') == {'Training/a/image-000000001': 'one',
                                        'Training/a/image-000000002': 'two',
                                        'Training/b/c/image-000000001': 'three'}
    assert list(texts(tmp_path, 'validation').values()) == ['four']
    assert texts(tmp_path, 'test') == {'x/test/image-000000001': 'fünf'}


def test_one_lmdb_goes_to_the_split_that_is_named(run, tmp_path):
    write(tmp_path / 'words', [f'word{number}' for number in range(100)])
    assert run('--split', 'validation', source=tmp_path / 'words')[0] == 0
    found = texts(tmp_path, 'validation')
    assert list(found)[99] == 'words/image-000000100'
    assert list(found.values()) == [f'word{number}' for number in range(100)]


def test_a_folder_that_tells_no_split_is_named(run, tmp_path):
    write(tmp_path / 'source' / 'train', ['one'])
    write(tmp_path / 'source' / 'more', ['two'])
    status, said = run()
    assert status == 2 and f'{tmp_path / "source" / "more"} tells no split' in said
    assert 'give --split NAME' in said


def test_an_image_that_cannot_be_decoded_is_rejected_by_name(run, tmp_path):
    write(tmp_path / 'train', ['one', 'two'], number=3, images=[b'nothing'])
    assert run(source=tmp_path / 'train')[0] == 0
    lines = (tmp_path / 'data' / 'mine' / '1.0.0' / 'rejected.tsv').read_text().splitlines()
    assert [line.split('\t')[1:3] for line in lines[1:]] == [
        ['train/image-000000001', 'image cannot be decoded'],
        ['train/image-000000003', 'image key is missing']]


@pytest.mark.parametrize('number, message', [('', 'key num-samples is missing'),
                                             ('many', "key num-samples is b'many'")])
def test_an_lmdb_must_say_how_many_it_holds(run, tmp_path, number, message):
    write(tmp_path / 'train', ['one'], number=number)
    status, said = run(source=tmp_path / 'train')
    assert status == 2 and message in said


def test_a_file_that_is_no_lmdb_is_named(run, tmp_path):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / 'data.mdb').write_bytes(b'nothing' * 2000)
    status, said = run(source=tmp_path / 'train')
    assert status == 2 and f'{tmp_path / "train" / "data.mdb"} is no LMDB that can be read' in said


def test_an_lmdb_that_is_cut_short_is_refused_and_not_read(run, tmp_path):
    write(tmp_path / 'train', ['word'] * 100)
    file = tmp_path / 'train' / 'data.mdb'
    file.write_bytes(file.read_bytes()[:-5000])
    status, said = run(source=tmp_path / 'train')
    assert status == 2 and f'{file} is cut short' in said


def test_a_source_without_an_lmdb_is_refused(run, tmp_path):
    status, said = run(source=tmp_path)
    assert status == 2 and 'holds no LMDB' in said


def test_an_lmdb_is_read_in_ranges_which_may_be_read_in_turns(tmp_path):
    write(tmp_path / 'train', [f'word{number}' for number in range(70)])
    parts = lmdbs.ranges(tmp_path / 'train', 'mine')
    assert [(part.first, part.length) for part in parts] == [(1, 32), (33, 32), (65, 6)]
    readers = [lmdbs.read(part) for part in parts]
    found = [next(reader) for reader in readers] + [entry for reader in readers for entry in reader]
    assert sorted(entry.text for entry in found) == sorted(f'word{number}' for number in range(70))
    with pytest.raises(ConfigError, match='no LMDB that can be read'):
        lmdbs.count(tmp_path)


def test_no_builder_is_called_like_a_package():
    scripts = sorted((ROOT / 'datasets').glob('*.py'))
    assert scripts and not (ROOT / 'datasets' / '__init__.py').exists()
    elsewhere = [path for path in sys.path if path and Path(path).resolve() not in (ROOT, ROOT / 'datasets',
                                                                                    ROOT / 'tests')]
    for script in scripts:
        assert script.stem not in sys.stdlib_module_names
        assert importlib.machinery.PathFinder.find_spec(script.stem, elsewhere) is None, script
