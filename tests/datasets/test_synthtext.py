"""SynthText's builder on a gt.mat as MATLAB and scipy write it, with its pictures in a folder or a zip."""

import zipfile

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from builders import load
from scipy.io import savemat

from recog import prepare
from recog.data.sets import open_set
from recog.errors import ConfigError
from recog.images.read import read_image

synthtext = load('synthtext')


def box(left, top, right, bottom):
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


SLANTED = [(20, 10), (58, 20), (55, 32), (17, 22)]
# Picture: its lines of text, and the corners of the words in it.
TRUTH = {
    '8/a_1.jpg': (['Lines :', 'I  lost', 'Kevin '], [box(1, 2, 20, 10), box(30, 2, 34, 11), box(1, 20, 9, 29),
                                                    box(10, 20, 40, 30), SLANTED]),
    '8/one.jpg': (['word'], [box(5.4, 6.6, 30.2, 19.5)]),
    '9/mismatch.jpg': (['two words'], [box(1, 1, 9, 9)]),
    '9/odd.jpg': (['flat outside tiny partly nan good'],
                  [box(4, 4, 30, 4), box(200, 4, 230, 14), box(10, 10, 40, 10.9), box(-5, 40, 20, 70),
                   box(np.nan, 1, 5, 6), box(2, 2, 30, 20)]),
    '9/broken.jpg': (['lost'], [box(1, 1, 9, 9)]),
    '9/gone.jpg': (['away too'], [box(1, 1, 9, 9), box(1, 1, 9, 9)]),
    '10/empty.jpg': ([], []),
}
NOISE = cv2.resize(np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8), (100, 60),
                   interpolation=cv2.INTER_CUBIC)


def cell(values):
    out = np.empty((1, len(values)), object)
    for number, value in enumerate(values):
        out[0, number] = value
    return out


def write(folder, truth=TRUTH, skip=()):
    """The release: gt.mat, with lines padded to one length and the last axis
    of single words dropped, and pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    words, lines = [], []
    for text, corners in truth.values():
        corners = np.array(corners, float).reshape(-1, 4, 2).transpose(2, 1, 0)
        words.append(corners[:, :, 0] if corners.shape[2] == 1 else corners)
        lines.append(np.array([line.ljust(max(map(len, text))) for line in text]))
    content = {'imnames': cell([np.array([name]) for name in truth]), 'wordBB': cell(words),
               'txt': cell(lines), 'charBB': cell([np.zeros((2, 4, 9))] * len(truth))}
    savemat(folder / 'gt.mat', {name: value for name, value in content.items() if name not in skip},
            do_compression=True)
    for name in truth:
        (folder / name).parent.mkdir(exist_ok=True)
        if 'gone' not in name:
            data = b'no image' if 'broken' in name else cv2.imencode('.png', NOISE)[1].tobytes()
            (folder / name).write_bytes(data)
    return folder


def zipped(folder, file):
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as out:
        for each in sorted(folder.rglob('*')):
            out.write(each, f'SynthText/{each.relative_to(folder)}')
    return file


@pytest.fixture(params=['folder', 'parent', 'zip'])
def source(request, tmp_path):
    """The release in each form."""
    folder = write(tmp_path / 'release' / 'SynthText')
    if request.param == 'zip':
        return zipped(folder, tmp_path / 'SynthText.zip')
    return folder if request.param == 'folder' else folder.parent


def make(source, tmp_path, config=None, workers=1, **options):
    builder = synthtext.SynthText(source=source, data_dir=tmp_path / 'data', config=config, workers=workers,
                                  options=options)
    return builder.prepare(progress=False)


def rows(tmp_path, narrow, name='synthtext:train'):
    source = open_set(name, narrow(), tmp_path / 'data')
    return {row.id: row for row in source.rows(range(len(source)))}


def listed(folder, kind='rejected'):
    lines = (folder / f'{kind}.tsv').read_text().splitlines()[1:]
    return {line.split('\t')[1]: line.split('\t')[2] for line in lines}


def test_every_form_gives_the_words_of_every_line(source, tmp_path, narrow):
    assert make(source, tmp_path, 'box') == tmp_path / 'data' / 'synthtext' / 'box' / '1.0.0'
    found = rows(tmp_path, narrow, 'synthtext/box:train')
    assert {name: row.text for name, row in found.items()} == {
        '8/a_1.jpg#0': 'Lines', '8/a_1.jpg#1': ':', '8/a_1.jpg#2': 'I', '8/a_1.jpg#3': 'lost',
        '8/a_1.jpg#4': 'Kevin',
        '8/one.jpg#0': 'word', '9/odd.jpg#3': 'partly', '9/odd.jpg#5': 'good'}


def test_words_are_the_upright_boxes_of_their_corners(tmp_path, narrow):
    make(write(tmp_path / 'release'), tmp_path)
    found = rows(tmp_path, narrow)
    for name, (top, bottom, left, right) in {'8/a_1.jpg#0': (2, 10, 1, 20), '8/a_1.jpg#4': (10, 32, 17, 58),
                                             '8/one.jpg#0': (6, 20, 5, 31),
                                             '9/odd.jpg#3': (40, 60, 0, 20)}.items():
        wanted = NOISE[top:bottom, left:right]
        assert found[name].image.shape == wanted.shape
        assert np.abs(found[name].image.astype(int) - wanted).mean() < 2.5  # JPEG


def test_rectified_words_are_the_quadrilateral_upright(tmp_path, narrow):
    make(write(tmp_path / 'release'), tmp_path, 'rectified')
    found = rows(tmp_path, narrow, 'synthtext/rectified:train')
    wanted = NOISE[2:20, 2:30]
    assert found['9/odd.jpg#5'].image.shape == wanted.shape
    assert np.abs(found['9/odd.jpg#5'].image.astype(int) - wanted).mean() < 2.5
    assert found['8/a_1.jpg#4'].image.shape[:2] == (12, 39)
    assert found['9/odd.jpg#3'].image.shape[:2] == (30, 25)


def test_a_turned_word_is_turned_back():
    upright = cv2.resize(np.arange(256, dtype=np.uint8).reshape(4, 64), (64, 16))[:, :, None].repeat(3, 2)
    turned = np.zeros((100, 100, 3), np.uint8)
    turned[20:84, 30:46] = cv2.rotate(upright, cv2.ROTATE_90_CLOCKWISE)
    # The text's top left is the picture's top right, and so on.
    back = synthtext.rectified(turned, np.array([(46, 20), (46, 84), (30, 84), (30, 20)], float))
    np.testing.assert_array_equal(back, upright)


def test_what_cannot_be_cut_out_is_named_with_its_reason(source, tmp_path):
    folder = make(source, tmp_path, 'box')
    assert listed(folder) == {
        '9/mismatch.jpg': 'words and boxes do not match', '9/broken.jpg': 'picture cannot be decoded',
        '9/gone.jpg': 'picture is missing', '9/odd.jpg#0': 'box is degenerate',
        '9/odd.jpg#1': 'box is outside the picture',
        '9/odd.jpg#2': 'side is below 2 pixels', '9/odd.jpg#4': 'box is degenerate'}
    assert listed(folder, 'noted') == {'9/odd.jpg#3': 'box reaches out of the picture'}


@pytest.mark.parametrize('config', ['', 'rectified_alnum'])
def test_the_plain_set_and_the_alphanumeric_config_leave_out_other_words(tmp_path, narrow, config, capsys):
    folder = make(write(tmp_path / 'release'), tmp_path, config)
    assert listed(folder)['8/a_1.jpg#1'] == 'text has characters outside 0-9a-zA-Z'
    found = rows(tmp_path, narrow, f'synthtext{f"/{config}" if config else ""}:train')
    assert '8/a_1.jpg#1' not in found and len(found) == 7
    assert 'WARNING: split train has 7 records instead of 5,522,808' in capsys.readouterr().err


def test_sizes_of_the_record_are_those_of_the_encoded_words(tmp_path):
    folder = make(write(tmp_path / 'release'), tmp_path, 'rectified')
    builder = tfds.builder_from_directory(str(folder))
    for record in builder.as_data_source('train', decoders={'image': tfds.decode.SkipDecoding()}):
        assert read_image(record['image']).shape[:2] == tuple(record['size'])


@pytest.mark.parametrize('form', ['folder', 'zip'])
def test_two_processes_give_the_same_bytes_as_one(tmp_path, form):
    truth = {f'1/{number}.jpg': (['some words'], [box(1, 1, 30, 12), SLANTED]) for number in range(60)}
    source = write(tmp_path / 'SynthText', truth)
    source = zipped(source, tmp_path / 'SynthText.zip') if form == 'zip' else source
    written = [{file.name: file.read_bytes()
                for file in make(source, tmp_path / str(workers), workers=workers).iterdir()}
               for workers in (1, 2)]
    assert len(written[0]) == 8 and written[0] == written[1]


def test_gt_mat_may_lie_elsewhere(tmp_path, narrow):
    folder = write(tmp_path / 'release' / 'SynthText')
    (folder / 'gt.mat').rename(tmp_path / 'truth.mat')
    with pytest.raises(ConfigError, match='holds no gt.mat; say where it is with --annotation'):
        make(folder, tmp_path)
    make(folder.parent, tmp_path, annotation=str(tmp_path / 'truth.mat'))
    assert len(rows(tmp_path, narrow)) == 7


def test_sources_of_the_wrong_kind_are_one_line_and_status_2(tmp_path, capsys):
    (tmp_path / 'text.zip').write_text('this is no archive')
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad' / 'gt.mat').write_bytes(b'no matrix' * 100)
    write(tmp_path / 'partial', skip=('txt',))
    write(tmp_path / 'apart')
    for name in TRUTH:
        (tmp_path / 'apart' / name).unlink(missing_ok=True)
    for name, said in {'text.zip': 'is no zip: it must be SynthText.zip', 'bad': 'gt.mat cannot be read',
                       'partial': 'gt.mat holds no txt', 'nowhere': 'does not exist',
                       'apart': 'holds none of the pictures of gt.mat, e.g. 8/a_1.jpg'}.items():
        assert prepare.main(synthtext.SynthText,
                            ['--source', str(tmp_path / name), '--data', str(tmp_path / 'data')]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count('\n') == 1, error
    assert not list((tmp_path / 'data').rglob('*.json'))
