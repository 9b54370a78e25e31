"""MJSynth's builder on archives and trees in the release's form."""

import io
import tarfile

import cv2
import numpy as np
import pytest
from builders import load

from recog import prepare
from recog.data.sets import open_set
from recog.errors import ConfigError

mjsynth = load('mjsynth')

FOLDER = 'mnt/ramdisk/max/90kDICT32px'
LEXICON = ['a', 'lube', 'moniker', 'ecclesiastics', 'firestorm']
SPLITS = {'train': ['2425/1/115_Lube_1.jpg', '1/1/2_MONIKER_2.jpg', '1/2/3_a_0.jpg', '1/2/9_Lube_4.jpg',
                    '1/3/8_Lube_1.jpg'],
          'val': ['7/1/1_ecclesiastics_3.jpg', '7/1/2_broken_1.jpg'],
          'test': ['9/4/77_FireStorm_4.jpg', '9/4/78_gone_1.jpg']}
MISSING, BROKEN, STRAY = '9/4/78_gone_1.jpg', '7/1/2_broken_1.jpg', '3/3/1_stray_1.jpg'


def picture(name):
    noise = np.random.default_rng(len(name)).integers(0, 256, (31, 40 + len(name), 3), np.uint8)
    return b'no image' if name == BROKEN else cv2.imencode('.jpg', noise)[1].tobytes()


def release(changes=()):
    """The files of a small release, annotations and lexicon at the end."""
    names = [name for names in SPLITS.values() for name in names]
    files = {name: picture(name) for name in [*names[::-1], STRAY] if name != MISSING}
    for split, names in SPLITS.items():
        files[f'annotation_{split}.txt'] = ''.join(f'./{name} {name[:-4].rpartition("_")[2]}\n'
                                                   for name in names).encode()
    files['imlist.txt'] = b'./2425/1/115_Lube_1.jpg\n'
    files['annotation.txt'] = b'./nothing 1\n'
    files['lexicon.txt'] = '\n'.join(LEXICON).encode() + b'\n'
    files.update(changes)
    return {name: data for name, data in files.items() if data is not None}


def archive(file, files, mode='w:gz'):
    with tarfile.open(file, mode) as out:
        for name, data in files.items():
            member = tarfile.TarInfo(f'{FOLDER}/{name}')
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return file


def tree(folder, files):
    for name, data in files.items():
        (folder / FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / FOLDER / name).write_bytes(data)
    return folder


def make(source, tmp_path, workers=1):
    builder = mjsynth.MJSynth(source=source, data_dir=tmp_path / 'data', workers=workers)
    return builder.prepare(progress=False, overwrite=True)


def listed(folder, kind='rejected'):
    lines = (folder / f'{kind}.tsv').read_text().splitlines()[1:]
    return {tuple(line.split('\t')[:3]) for line in lines}


@pytest.fixture(params=['tar.gz', 'tar', 'tree', 'inner tree'])
def source(request, tmp_path):
    """The release in each form."""
    if request.param == 'tar':
        return archive(tmp_path / 'mjsynth.tar', release(), 'w')
    if request.param == 'tar.gz':
        return archive(tmp_path / 'mjsynth.tar.gz', release())
    folder = tree(tmp_path / 'unpacked', release())
    return folder if request.param == 'tree' else folder / FOLDER


def test_every_form_gives_the_annotated_images_with_their_splits(source, tmp_path, narrow, capsys):
    folder = make(source, tmp_path)
    assert folder == tmp_path / 'data' / 'mjsynth' / '1.0.0'
    for split, names in (('train', SPLITS['train']), ('validation', SPLITS['val'][:1]),
                         ('test', SPLITS['test'][:1])):
        opened = open_set(f'mjsynth:{split}', narrow(), tmp_path / 'data')
        labels = dict(opened.labels(range(len(opened))))
        assert labels == {name: name.split('_')[1] for name in names}
        row, = opened.rows([0])
        np.testing.assert_array_equal(row.image,
                                      cv2.imdecode(np.frombuffer(picture(row.id), np.uint8),
                                                   cv2.IMREAD_COLOR))
    said = capsys.readouterr().err
    assert 'WARNING: split train has 5 records instead of 7,224,612' in said
    assert 'split validation has 1 records instead of 802,734' in said
    assert 'instead of 891,927' in said


def test_what_is_broken_missing_or_stray_is_named(source, tmp_path):
    folder = make(source, tmp_path)
    rejected = {('validation', BROKEN, 'image cannot be decoded'),
                ('test', MISSING, 'annotated image is missing')}
    if source.is_file():  # the nine million files of a tree are never listed
        rejected.add(('', STRAY, 'image is in no annotation file'))
    assert listed(folder) == rejected
    assert listed(folder, 'noted') == {('train', '1/2/9_Lube_4.jpg', "lexicon's word is another"),
                                       ('validation', BROKEN, "lexicon's word is another")}


def test_the_archive_is_read_by_two_processes_as_by_one(tmp_path):
    many = {f'1/1/{number}_Lube_1.jpg': picture('lube') for number in range(600)}
    lines = ''.join(f'./{name} 1\n' for name in many).encode()
    source = archive(tmp_path / 'mjsynth.tar.gz', {**many, **release({'annotation_train.txt': lines})})
    written = []
    for workers in (1, 2):
        folder = make(source, tmp_path, workers)
        written.append({file.name: file.read_bytes() for file in folder.iterdir()
                        if file.name != 'metadata.json'})
        written[-1].pop('files.json')
    assert len(written[0]) == 11 and written[0] == written[1]


def test_a_release_without_lexicon_is_prepared_unchecked(tmp_path):
    folder = make(archive(tmp_path / 'mjsynth.tar.gz', release({'lexicon.txt': None})), tmp_path)
    assert not (folder / 'noted.tsv').exists()


def test_a_number_beyond_the_lexicon_is_noted(tmp_path):
    folder = make(archive(tmp_path / 'mjsynth.tar.gz',
                          release({'lexicon.txt': b'a\nlube\nmoniker\necclesiastics\n'})), tmp_path)
    assert ('test', '9/4/77_FireStorm_4.jpg', "lexicon's word is another") in listed(folder, 'noted')
    assert 'none at 4' in (folder / 'noted.tsv').read_text()


def test_a_file_name_without_word_is_rejected(tmp_path):
    lines = b'./9/4/nothing.jpg 1\n./9/4/77_FireStorm_4.jpg 4\n'
    files = release({'annotation_test.txt': lines, '9/4/nothing.jpg': picture('x')})
    folder = make(archive(tmp_path / 'mjsynth.tar', files, 'w'), tmp_path)
    assert ('test', '9/4/nothing.jpg', 'file name holds no word') in listed(folder)


@pytest.mark.parametrize('changes, said', [
    ({'annotation_val.txt': None}, 'holds no annotation_val.txt'),
    ({'annotation_val.txt': b'./7/1/1_ecclesiastics_3.jpg\n'},
     "annotation_val.txt, line 1: './7/1/1_ecclesiastics_3.jpg' must be path, blank, number"),
    ({'annotation_test.txt': b'./9/4/77_FireStorm_4.jpg 4\n./1/2/3_a_0.jpg 0\n'},
     'annotation files name an image twice: line 3 of train and line 2 of test'),
])
def test_lists_that_are_wrong_are_one_line(tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        make(archive(tmp_path / 'mjsynth.tar.gz', release(changes)), tmp_path)


def test_sources_of_the_wrong_kind_are_one_line_and_status_2(tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.tar.gz').write_text('this is no archive')
    whole = archive(tmp_path / 'mjsynth.tar.gz', release()).read_bytes()
    (tmp_path / 'cut.tar.gz').write_bytes(whole[:len(whole) // 2])
    for name, said in {'empty': 'holds no annotation_train.txt, neither itself nor in '
                                'mnt/ramdisk/max/90kDICT32px',
                       'text.tar.gz': 'is no tar archive: it must be mjsynth.tar.gz',
                       'cut.tar.gz': 'is cut off or damaged', 'nowhere': 'does not exist'}.items():
        arguments = ['--source', str(tmp_path / name), '--data', str(tmp_path / 'data')]
        assert prepare.main(mjsynth.MJSynth, arguments) == 2
        error = capsys.readouterr().err
        assert said in error and error.count('\n') == 1, error
    assert not list((tmp_path / 'data').rglob('*.json'))
