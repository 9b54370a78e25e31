"""A folder of images and its labels, in every form they come in;
HME100K and im2latex as they are released."""

import json

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

SCRIPT, NAME = 'folder', 'mine'


@pytest.fixture
def source(tmp_path):
    """Write images and files of labels into the source: source(['a.png'], {'labels.tsv': 'a.png Hello '})."""
    def write(images, files):
        for number, name in enumerate(images):
            (tmp_path / 'source' / name).parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (12, 30, 3), np.uint8)
            cv2.imwrite(str(tmp_path / 'source' / name), pixels)
        for name, text in files.items():
            (tmp_path / 'source' / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / 'source' / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / 'source'
    return write


def texts(tmp_path, split='train', name='mine'):
    builder = tfds.builder_from_directory(str(tmp_path / 'data' / name / '1.0.0'))
    found = builder.as_data_source(split, decoders={'image': tfds.decode.SkipDecoding()})
    return {record['id'].decode(): record['text'].decode() for record in found}


TWO = {'a.png': 'Hello', 'b.png': 'two, words "quoted"'}


@pytest.mark.parametrize('file, content', [
    ('labels.tsv', 'a.png\tHello\tfurther\r\nb.png\ttwo, words "quoted"\r\n'),
    ('labels.tsv', '\ufefffilename\tother\tlabel\na.png\tx\tHello\nb.png\ty\ttwo, words "quoted"'),
    ('labels.csv', 'text,image\nHello,a.png\n"two, words ""quoted""",b.png\n'),
    ('labels.csv', '\ufeffimage;text\na.png;Hello\n\nb.png;"two, words ""quoted"""\n'),
    ('rec_gt.txt', 'a.png\tHello\n\nb.png\ttwo, words "quoted"\n'),
    ('labels.jsonl',
     '{"file_name": "a.png", "text": "Hello"}\n{"label": "two, words \\"quoted\\"", "image": "b.png"}\n'),
])
def test_labels_are_read_in_every_form(run, source, tmp_path, file, content):
    source(TWO, {file: content})
    status, said = run('--labels', file)
    assert status == 0, said
    assert texts(tmp_path) == TWO


def test_a_word_list_of_icdar_is_read_when_it_is_called_so(run, source, tmp_path):
    source(TWO, {'gt.txt': b'\xef\xbb\xbfa.png, "Hello"\r\nb.png, "two, words \\"quoted\\""\r\n'})
    assert run('--labels', 'gt.txt', '--form', 'icdar')[0] == 0
    assert texts(tmp_path) == TWO


def test_texts_stay_as_given(run, source, tmp_path):
    given = {'a.png': ' blanks  ', 'b.png': 'a\u2028b', 'c.png': '', 'd.png': '\u00e9 \u6c49\u5b57'}
    source(given, {'labels.tsv': ''.join(f'{name}\t{text}\n' for name, text in given.items())})
    assert run()[0] == 0
    assert texts(tmp_path) == given


def test_a_line_break_may_stand_in_quotes_and_columns_may_have_other_names(run, source, tmp_path):
    source(TWO, {'labels.csv': 'Column1,Column2\na.png,"x\n\ny"\nb.png,z\n'})
    assert run('--labels', 'labels.csv', '--columns', 'Column1,Column2')[0] == 0
    assert texts(tmp_path) == {'a.png': 'x\n\ny', 'b.png': 'z'}


def test_the_list_of_paddleocr_names_images_from_above_and_several_at_once(run, source, tmp_path):
    source(['train/a.jpg', 'train/b.jpg'],
           {'rec_gt_train.txt': '["source/train/a.jpg", "source/train/b.jpg"]\t汉字\n'})
    assert run('--labels', 'rec_gt_train.txt')[0] == 0
    assert texts(tmp_path) == {'source/train/a.jpg': '汉字', 'source/train/b.jpg': '汉字'}


def test_every_split_has_a_file(run, source, tmp_path):
    source(['train/a.png', 'test/a.png'], {'train/labels.tsv': 'a.png\tone\n',
                                           'test.tsv': 'test/a.png\ttwo\n'})
    assert run('--split', 'train=train/labels.tsv', '--split', 'test=test.tsv')[0] == 0
    assert texts(tmp_path) == {'a.png': 'one'} and texts(tmp_path, 'test') == {'test/a.png': 'two'}


def test_shares_are_dealt_by_the_name_so_that_a_label_keeps_its_split(run, source, tmp_path):
    def dealt(names, seed, name):
        source(names, {'labels.tsv': ''.join(f'{each}\tx\n' for each in names)})
        assert run('--ratio', 'train=0.75', '--ratio', 'test=.25', '--seed', seed, name=name)[0] == 0
        return {each: split for split in ('train', 'test') for each in texts(tmp_path, split, name)}

    names = [f'{number}.png' for number in range(200)]
    first = dealt(names, 0, 'first')
    assert set(first) == set(names) and 30 < list(first.values()).count('test') < 70
    assert first == dealt(names[::-1], 0, 'turned') and first != dealt(names, 1, 'seeded')
    more = dealt([*names, *(f'new{number}.png' for number in range(20))], 0, 'more')
    assert all(more[each] == first[each] for each in names)


def test_an_image_that_is_missing_or_broken_is_rejected_by_name(run, source, tmp_path):
    source(['a.png'], {'labels.tsv': 'a.png\tone\nlost.png\ttwo\nbroken.png\tthree\n',
                       'broken.png': b'nothing'})
    assert run()[0] == 0
    lines = (tmp_path / 'data' / 'mine' / '1.0.0' / 'rejected.tsv').read_text().splitlines()
    assert [line.split('\t')[1:3] for line in lines[1:]] == [
        ['lost.png', 'image file is missing'], ['broken.png', 'image cannot be decoded']]


def test_an_image_named_twice_is_refused(run, source):
    source(['a.png'], {'labels.tsv': 'a.png\tone\na.png\ttwo\n'})
    status, said = run()
    assert status == 2 and "'a.png' occurs" in said


@pytest.mark.parametrize('file, content, message', [
    ('labels.tsv', b'a.png\tone\nb.png two\n', "labels.tsv, line 2: 'b.png two' must be file, tab, text"),
    ('labels.tsv', 'a.png\tcaf\xe9\n'.encode('latin-1'),
     'labels.tsv, line 1: must be UTF-8; its byte 9 is not'),
    ('labels.tsv', 'a.png\tone\n'.encode('utf-16'), 'labels.tsv, line 1: must be UTF-8'),
    ('labels.csv', b'a.png,one\n',
     "labels.csv, line 1: 'a.png,one' must be a line of column names with one of file"),
    ('labels.csv', b'file,text\na.png,one\nb.png\n', 'labels.csv, line 3'),
    ('labels.csv', b'file,text\na.png,"one\n', 'labels.csv, line 2: unexpected end of data'),
    ('labels.jsonl', b'{"file": "a.png", "text": "one"}\n{"file": "a.png"\n',
     'labels.jsonl, line 2: no JSON object'),
    ('labels.jsonl', b'["a.png", "one"]\n', 'labels.jsonl, line 1'),
    ('labels.jsonl', b'{"file": "a.png", "text": 5}\n', 'must be an object whose image and text are strings'),
    ('labels.jsonl', b'{"file": "a.png", "text": "\\ud800"}\n', 'must be free of lone surrogates'),
    ('labels.tsv', b'', 'holds no label'),
    ('labels.tsv', b'x/a.png\tone\n', "neither 'x/a.png' nor the labels after it name an image in"),
])
def test_bad_labels_are_refused_with_file_and_line(run, source, file, content, message):
    source(['a.png', 'b.png'], {file: content})
    status, said = run('--labels', file)
    assert status == 2 and message in said and len(said.strip().splitlines()) == 1


@pytest.mark.parametrize('arguments, message', [
    ((), "labels.tsv' do not exist; give --labels FILE"),
    (('--name', ''), 'give --name NAME: what the set is called'),
    (('--split', 'train'), "--split 'train' must be NAME=VALUE"),
    (('--split', 'train=a.tsv', '--ratio', 'train=1'), '--split names a file for every split'),
    (('--labels', 'b.csv', '--ratio', 'train=0.5'), '--ratio train=0.5 adds up to 0.5; it must be 1'),
    (('--labels', 'b.csv', '--ratio', 'train=half'), '--ratio train=half must be a number'),
    (('--labels', 'b.csv', '--columns', 'one'), "--columns 'one' must be FILE,TEXT"),
    (('--config', 'hme100k', '--ratio', 'train=1'), '--ratio is for labels of one\'s own'),
    (('--config', 'hme100k'), 'holds neither train_labels.txt nor test_labels.txt'),
    (('--config', 'im2latex'), 'im2latex_formulas.lst does not exist'),
])
def test_what_cannot_be_asked_is_said_in_one_line(run, source, arguments, message):
    source(['a.png'], {'b.csv': 'file,text\na.png,one\n'})
    status, said = run(*arguments)
    assert status == 2 and message in said


def test_hme100k_is_prepared_as_released(run, source, tmp_path):
    source(['train/train_images/train_0.jpg', 'test/test_images/test_0.jpg'],
           {'train/train_labels.txt': 'train_0.jpg\tx ^ { 2 }\n',
            'test/test_labels.txt': 'test_0.jpg\t\\frac { 1 } { 2 }\n'})
    status, said = run('--config', 'hme100k', name='')
    assert status == 0
    assert texts(tmp_path, 'train', 'hme100k') == {'train_0.jpg': 'x ^ { 2 }'}
    assert texts(tmp_path, 'test', 'hme100k') == {'test_0.jpg': '\\frac { 1 } { 2 }'}
    assert 'WARNING: split train has 1 records instead of 74,502' in said


def test_im2latex_joins_its_lists_to_the_formulas(run, source, tmp_path):
    # The release counts formulas by \n alone: a carriage return may stand within one, and some are not UTF-8.
    formulas = b'\\alpha\rb\n\\beta\r\ncaf\xe9\n'
    source(['formula_images/60ee748793.png', 'formula_images/66667cee5b.png',
            'formula_images/1cbb05a562.png'],
           {'im2latex_formulas.lst': formulas,
            'im2latex_train.lst': '0 60ee748793 basic\n2 66667cee5b basic\n',
            'im2latex_validate.lst': '1 1cbb05a562 basic\n'})
    assert run('--config', 'im2latex', name='')[0] == 0
    assert texts(tmp_path, 'train', 'im2latex') == {'60ee748793.png': '\\alpha\rb',
                                                    '66667cee5b.png': 'caf\u00e9'}
    assert texts(tmp_path, 'validation', 'im2latex') == {'1cbb05a562.png': '\\beta'}


def test_a_list_of_im2latex_must_name_formulas_that_are_there(run, source):
    source(['a.png'], {'im2latex_formulas.lst': 'x\n', 'im2latex_test.lst': '0 a basic\n1 b basic\n'})
    status, said = run('--config', 'im2latex', name='')
    assert status == 2
    assert "im2latex_test.lst, line 2: '1 b basic' must be the number of a formula below 1" in said


def test_workers_and_one_process_write_the_same(script, source, tmp_path):
    names = [f'{number}.png' for number in range(300)]
    place = source(names, {'labels.jsonl': ''.join(json.dumps({'file': name, 'text': name}) + '\n'
                                                   for name in names)})
    for workers in (1, 2):
        made = script.Folder(source=place, data_dir=tmp_path / f'data{workers}', name='mine', workers=workers,
                             options={'labels': 'labels.jsonl'})
        made.prepare(progress=False)
    shards = [next((tmp_path / f'data{workers}').rglob('*.array_record*')) for workers in (1, 2)]
    assert shards[0].read_bytes() == shards[1].read_bytes()
