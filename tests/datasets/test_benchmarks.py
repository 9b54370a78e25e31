"""The benchmark sets in all forms that people have, written here as they were released: LMDBs, .mat, XML,
gt.txt, crops with labels."""

import io
import tarfile
import zipfile

import cv2
import lmdb
import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds

from recog.errors import ConfigError

SCRIPT = 'benchmarks'


def picture(seed=0, width=30, height=12, form='.png'):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.imencode(form, image)[1].tobytes()


def records(tmp_path, name, split='test'):
    """The records of a prepared set by their ids."""
    builder = tfds.builder_from_directory(str(tmp_path / 'data' / name / '1.0.0'))
    source = builder.as_data_source(split, decoders={'image': tfds.decode.SkipDecoding()})
    return {record['id'].decode(): record for record in source}


def texts(tmp_path, name, split='test'):
    return {key: record['text'].decode() for key, record in records(tmp_path, name, split).items()}


def rejected(tmp_path, name):
    lines = (tmp_path / 'data' / name / '1.0.0' / 'rejected.tsv').read_text(encoding='utf-8').splitlines()[1:]
    return {line.split('\t')[1]: line.split('\t')[2] for line in lines}


def write_lmdb(folder, words, number=None, **entries):
    folder.mkdir(parents=True)
    with (lmdb.open(str(folder), map_size=1 << 24) as environment,
          environment.begin(write=True) as transaction):
        for place, word in enumerate(words, 1):
            transaction.put(f'image-{place:09d}'.encode(), picture(place, form='.jpg'))
            transaction.put(f'label-{place:09d}'.encode(), word if isinstance(word, bytes) else word.encode())
        transaction.put(b'num-samples', str(number or len(words)).encode())
        for key, value in entries.items():
            key = key.replace('_', '-').encode()
            transaction.delete(key) if value is None else transaction.put(key, value)


SETS = {'iiit5k': 'IIIT5k_3000', 'svt': 'SVT', 'svtp': 'SVTP', 'cute80': 'CUTE80', 'ic03/860': 'IC03_860',
        'ic03/867': 'IC03_867',
        'ic13/857': 'IC13_857', 'ic13/1015': 'IC13_1015', 'ic15/1811': 'IC15_1811', 'ic15/2077': 'IC15_2077'}


def test_a_release_of_lmdbs_becomes_its_sets_in_one_command(run, tmp_path):
    release = tmp_path / 'data_lmdb_release'
    for name in SETS.values():
        write_lmdb(release / 'evaluation' / name, [name, 'Word'])
    for name in ('MJ/MJ_train', 'MJ/MJ_valid', 'MJ/MJ_test', 'ST'):
        write_lmdb(release / 'training' / name, [name])
    write_lmdb(release / 'validation', ['one', 'two', 'three'])
    said = run('--list', source=release)[1]
    for name, key in SETS.items():
        assert f'found {name}:test in {release / "evaluation" / key}\n' in said
    only = ('iiit5k', 'ic13/857', 'mjsynth', 'synthtext', 'validation_union')
    status, said = run(*(argument for name in only for argument in ('--only', name)), source=release)
    assert status == 0
    for name, key in (('iiit5k', 'IIIT5k_3000'), ('ic13/857', 'IC13_857')):
        ids = [f'evaluation/{key}/image-{number:09d}' for number in (1, 2)]
        # The words of an LMDB have been selected already: all are kept.
        assert texts(tmp_path, name) == {ids[0]: key, ids[1]: 'Word'}
    assert {split: list(texts(tmp_path, 'mjsynth', split).values())
            for split in ('train', 'validation', 'test')} == {
        'train': ['MJ/MJ_train'], 'validation': ['MJ/MJ_valid'], 'test': ['MJ/MJ_test']}
    assert len(texts(tmp_path, 'synthtext', 'train')) == 1
    assert len(texts(tmp_path, 'validation_union', 'validation')) == 3
    assert 'WARNING: split test has 2 records instead of 3,000' in said
    assert 'is not there' not in said


def test_the_folder_of_parseq_is_known_and_what_else_it_holds_is_named(run, tmp_path):
    data = tmp_path / 'parseq'
    for name in ('test/IIIT5k', 'test/IC15_1811', 'test/ArT', 'train/synth/MJ/train', 'train/synth/MJ/val',
                 'train/synth/ST', 'val', 'train/real/SVT', 'train/real/COCOv2.0/val'):
        write_lmdb(data / name, ['Word'])
    said = run(source=data)[1]
    assert {path.name for path in (tmp_path / 'data').iterdir()} == {'iiit5k', 'ic15', 'mjsynth', 'synthtext',
                                                                     'validation_union'}
    assert list(texts(tmp_path, 'validation_union', 'validation')) == ['val/image-000000001']
    for left in ('test/ArT', 'train/real/SVT', 'train/real/COCOv2.0/val'):
        assert f'{data / left} is an LMDB of no set that is known here' in said
    assert 'WARNING: svt:test is not there' in said
    assert 'WARNING: ic03/860:test is not there (a choice that only its LMDB has)' in said


def test_the_challenges_of_openocrs_release_are_known_by_their_folders(run, tmp_path):
    release = tmp_path / 'release'
    for name in ('u14m/curve', 'u14m/general', 'ltb', 'OST', 'general'):
        write_lmdb(release / name, ['Word'])
    said = run(source=release)[1]
    assert f'{release / "general"} is an LMDB of no set that is known here' in said
    for name in ('u14m/curve', 'u14m/general', 'ltb', 'ost'):
        assert f'found {name}:test' in said and (tmp_path / 'data' / name).is_dir()


def test_damaged_samples_of_an_lmdb_are_rejected_by_name(run, tmp_path):
    write_lmdb(tmp_path / 'SVT', ['one', 'two', 'three', b'\xff\xfe', 'five', 'six'], number=7,
               image_000000002=None, label_000000003=None, image_000000005=b'this is no image')
    assert run(source=tmp_path / 'SVT')[0] == 0
    assert list(texts(tmp_path, 'svt')) == ['SVT/image-000000001', 'SVT/image-000000006']
    assert rejected(tmp_path, 'svt') == {
        'SVT/image-000000002': 'image key is missing', 'SVT/image-000000003': 'label key is missing',
        'SVT/image-000000004': 'label is not UTF-8', 'SVT/image-000000005': 'image cannot be decoded',
        'SVT/image-000000007': 'image key is missing'}


def iiit5k(split, words):
    """The bytes of testdata.mat or traindata.mat."""
    kind = [(field, object) for field in ('ImgName', 'GroundTruth', 'smallLexi', 'mediumLexi')]
    table = np.zeros((1, len(words)), kind)
    for place, word in enumerate(words):
        lexicons = [np.array([*(f'W{number}' for number in range(count)), word], object)[None]
                    for count in (2, 4)]
        table[0, place] = (f'{split}/{place}_1.png', word, *lexicons)
    content = io.BytesIO()
    scipy.io.savemat(content, {f'{split}data': table}, do_compression=True)
    return content.getvalue()


def iiit5k_files(root=''):
    files = {f'{root}testdata.mat': iiit5k('test', ['PRIVATE', 'X']),
             f'{root}traindata.mat': iiit5k('train', ['You'])}
    return {**files, f'{root}test/0_1.png': picture(0), f'{root}test/1_1.png': picture(1),
            f'{root}train/0_1.png': picture(2)}


def write_tar(file, files):
    with tarfile.open(file, 'w:gz') as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_zip(file, files):
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_folder(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize('form', ['folder', 'tar'])
def test_iiit5k_has_its_lexicons(run, tmp_path, form):
    source = tmp_path / 'source'
    if form == 'folder':
        write_folder(source, iiit5k_files('IIIT5K/'))
    else:
        source.mkdir()
        write_tar(source / 'IIIT5K-Word_V3.0.tar.gz', iiit5k_files('./IIIT5K/'))
    assert run('--only', 'iiit5k', source=source)[0] == 0
    found = records(tmp_path, 'iiit5k')
    assert {key: record['text'] for key, record in found.items()} == {'test/0_1.png': b'PRIVATE',
                                                                      'test/1_1.png': b'X'}
    assert found['test/0_1.png']['lexicon_50'].decode().split('\n') == ['W0', 'W1', 'PRIVATE']
    assert found['test/1_1.png']['lexicon_1k'].decode().split('\n') == ['W0', 'W1', 'W2', 'W3', 'X']
    assert found['test/1_1.png']['image'] == picture(1)
    assert texts(tmp_path, 'iiit5k', 'train') == {'train/0_1.png': 'You'}


SVT = '''<?xml version="1.0" encoding="utf-8"?>
<tagset>
  <image>
    <imageName>img/14_03.jpg</imageName>
    <address>341 Southwest 10th Avenue Portland OR</address>
    <lex>
    LIVING,ROOM,THEATERS
    </lex>
    <Resolution x="60" y="40"/>
    <taggedRectangles>
      <taggedRectangle height="10" width="20" x="5" y="8"><tag>LIVING</tag></taggedRectangle>
      <taggedRectangle height="9" width="30" x="40" y="-2"><tag>ROOM</tag></taggedRectangle>
      <taggedRectangle height="9" width="30" x="70" y="2"><tag>THEATERS</tag></taggedRectangle>
    </taggedRectangles>
  </image>
</tagset>
'''


def test_words_of_svt_are_cut_from_their_scenes(run, tmp_path):
    scene = picture(3, 60, 40)
    write_zip(tmp_path / 'source' / 'svt.zip', {'svt1/test.xml': SVT.encode(), 'svt1/img/14_03.jpg': scene})
    said = run()[1]
    found = records(tmp_path, 'svt')
    pixels = cv2.imdecode(np.frombuffer(scene, np.uint8), cv2.IMREAD_COLOR)
    for number, box in ((1, np.s_[8:18, 5:25]), (2, np.s_[0:7, 40:60])):
        record = found[f'img/14_03.jpg#{number}']
        crop = cv2.imdecode(np.frombuffer(record['image'], np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(crop, pixels[box])
        assert tuple(record['size']) == crop.shape[:2]
        assert record['lexicon_50'].decode().split('\n') == ['LIVING', 'ROOM', 'THEATERS']
    assert [record['text'] for record in found.values()] == [b'LIVING', b'ROOM']
    assert rejected(tmp_path, 'svt') == {'img/14_03.jpg#3': 'box lies outside of the image'}
    assert 'box cut off at the edge of the image 1' in said


def test_icdar_2003_gives_all_its_words_and_the_choice_of_867(run, tmp_path):
    words = ['caf\xe9', 'Hotel', 'to', "it's", 'R&D', '311']
    tags = [word.replace('&', '&amp;') for word in words]
    listed = ''.join(f'<image file="word/1/{number}.jpg" tag="{tag}" />\n' for number, tag in enumerate(tags))
    head = '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
    xml = f'{head}<imagelist>\n{listed}</imagelist>\n'.encode('latin-1')
    files = {'word.xml': xml, **{f'word/1/{number}.jpg': picture(number, form='.jpg')
                                 for number in range(len(words))}}
    write_zip(tmp_path / 'source' / 'TrialTest' / 'word.zip', files)
    status, said = run()
    assert status == 0
    assert sorted(texts(tmp_path, 'ic03/1110').values()) == sorted(words)
    assert texts(tmp_path, 'ic03/867') == {'word/1/1.jpg': 'Hotel', 'word/1/5.jpg': '311'}
    assert rejected(tmp_path, 'ic03/867')['word/1/2.jpg'] == 'not in this choice: too short'
    assert not (tmp_path / 'data' / 'ic03' / '860').exists() and 'WARNING: ic03/860:test is not there' in said


def test_scenes_of_icdar_2003_serve_where_there_are_no_word_images(run, tmp_path):
    xml = SVT.replace('<lex>', '<other>').replace('</lex>', '</other>').encode()
    write_folder(tmp_path / 'SceneTrialTrain', {'words.xml': xml, 'img/14_03.jpg': picture(3, 60, 40)})
    assert run(source=tmp_path / 'SceneTrialTrain')[0] == 0
    assert list(texts(tmp_path, 'ic03/1110', 'train').values()) == ['LIVING', 'ROOM']
    assert not (tmp_path / 'data' / 'ic03' / '867').exists()


GT = ['Tiredness', 'A', '[falling', 'say \\"yes\\"', 'a\\\\b', '1,095', 'kills', 'to']


def gt(words):
    lines = '\r\n'.join(f'word_{number}.png, "{word}"' for number, word in enumerate(words, 1))
    return b'\xef\xbb\xbf' + lines.encode() + b'\r\n'


def test_icdar_2013_is_read_with_its_marks_quotes_and_commas(run, tmp_path):
    source = tmp_path / 'downloads'
    write_zip(source / 'Challenge2_Test_Task3_Images.zip',
              {f'word_{number}.png': picture(number) for number in range(1, 9)})
    write_zip(source / 'Challenge2_Training_Task3_Images_GT.zip',
              {'gt.txt': gt(['PROPER']), 'word_1.png': picture(20)})
    (source / 'Challenge2_Test_Task3_GT.txt').write_bytes(gt(GT))
    assert run(source=source)[0] == 0
    found = list(texts(tmp_path, 'ic13/1095').values())
    assert found == ['Tiredness', 'A', '[falling', 'say "yes"', 'a\\b', '1,095', 'kills', 'to']
    assert records(tmp_path, 'ic13/1095')['word_7.png']['image'] == picture(7)
    assert texts(tmp_path, 'ic13/1095', 'train') == {'word_1.png': 'PROPER'}
    assert list(texts(tmp_path, 'ic13/1015').values()) == ['Tiredness', 'A', 'kills', 'to']
    assert list(texts(tmp_path, 'ic13/857').values()) == ['Tiredness', 'kills']


def test_icdar_2015_has_2077_words_and_no_1811(run, tmp_path):
    source = tmp_path / 'ic15'
    write_folder(source / 'ch4_training_word_images_gt',
                 {'gt.txt': gt(['Genaxis Theatre']), 'word_1.png': picture(1)})
    write_folder(source / 'test', {'gt.txt': gt(['Joint']), 'word_1.png': picture(2)})
    status, said = run(source=source)
    assert status == 0
    assert texts(tmp_path, 'ic15/2077') == {'word_1.png': 'Joint'}
    assert texts(tmp_path, 'ic15/2077', 'train') == {'word_1.png': 'Genaxis Theatre'}
    assert 'WARNING: ic15/1811:test is not there (a choice that only its LMDB has)' in said


def test_a_word_list_with_a_bad_line_is_left_out_with_file_and_line(run, tmp_path):
    write_folder(tmp_path / 'ic13' / 'test', {'gt.txt': gt(['Joint']) + b'word_2.png "no comma"\n',
                                              'word_1.png': picture(2)})
    write_folder(tmp_path / 'ic13', iiit5k_files())
    status, said = run(source=tmp_path / 'ic13')
    assert status == 0
    assert 'gt.txt, line 2' in said and 'left out' in said and 'WARNING: ic13/1015:test is not there' in said


def test_crops_with_labels_become_the_same_sets(run, tmp_path):
    files = {f'{name}.jpg': picture(1, form='.jpg') for name in 'abc'}
    labels = b'a.jpg\tHere!\tword_1.png\nb.jpg\tkills\tword_2.png\nc.jpg\tA\tx\n'
    write_folder(tmp_path / 'test' / 'ic13', {'labels.tsv': labels, **files})
    write_folder(tmp_path / 'train' / 'iiit5k',
                 {'labels.tsv': b'a.jpg\tYou\nlost.jpg\tMe\n', 'a.jpg': picture(2, form='.jpg')})
    assert run(source=tmp_path)[0] == 0
    assert {name: list(texts(tmp_path, f'ic13/{name}').values()) for name in ('1095', '1015', '857')} == {
        '1095': ['Here!', 'kills', 'A'], '1015': ['kills', 'A'], '857': ['kills']}
    assert texts(tmp_path, 'iiit5k', 'train') == {'a.jpg': 'You'}
    assert rejected(tmp_path, 'iiit5k') == {'lost.jpg': 'image file is missing'}


def test_an_archive_goes_before_an_lmdb_and_that_is_said(run, tmp_path):
    write_folder(tmp_path / 'source' / 'IIIT5K', iiit5k_files())
    write_lmdb(tmp_path / 'source' / 'evaluation' / 'IIIT5k_3000', ['Word'])
    said = run()[1]
    assert f'iiit5k:test is also in {tmp_path / "source" / "evaluation" / "IIIT5k_3000"}: left out' in said
    assert 'lexicon_50' in records(tmp_path, 'iiit5k')['test/0_1.png']


def test_a_set_that_is_there_stays_and_lacking_splits_are_named(run, tmp_path):
    write_lmdb(tmp_path / 'source' / 'IIIT5k', ['Word'])
    run()
    write_folder(tmp_path / 'source', iiit5k_files())
    said = run()[1]
    assert 'iiit5k/1.0.0 lacks train, which are found now; --overwrite prepares it with them' in said
    assert list(texts(tmp_path, 'iiit5k')) == ['IIIT5k/image-000000001']
    assert run('--overwrite')[0] == 0
    assert len(texts(tmp_path, 'iiit5k')) == 2 and len(texts(tmp_path, 'iiit5k', 'train')) == 1


def test_listing_prepares_nothing(run, tmp_path):
    write_lmdb(tmp_path / 'source' / 'SVTP', ['Word'])
    status, said = run('--list')
    assert status == 0 and f'found svtp:test in {tmp_path / "source" / "SVTP"}' in said
    assert not (tmp_path / 'data').exists()


@pytest.mark.parametrize('arguments, message', [
    (('--only', 'iiit5'), "--only 'iiit5' is no set (did you mean 'iiit5k'?)"),
    (('--name', 'mine'), '--name mine: the benchmarks have names of their own'),
    (('--only', 'svt'), 'holds none of svt'),
])
def test_what_cannot_be_asked_is_said_in_one_line(run, tmp_path, arguments, message):
    write_lmdb(tmp_path / 'source' / 'SVTP', ['Word'])
    status, said = run(*arguments)
    assert status == 2 and message in said


def test_a_damaged_archive_is_named(run, tmp_path):
    (tmp_path / 'source').mkdir()
    (tmp_path / 'source' / 'svt.zip').write_bytes(b'PK not so')
    status, said = run()
    assert status == 2 and f'{tmp_path / "source" / "svt.zip"} cannot be read' in said


def test_an_annotation_that_is_not_as_released_is_refused(script, tmp_path):
    write_folder(tmp_path / 'IIIT5K', {**iiit5k_files(), 'testdata.mat': iiit5k('train', ['You'])})
    with pytest.raises(ConfigError, match='testdata.mat is not as IIIT5K has it'):
        script.Benchmarks(source=tmp_path / 'IIIT5K', data_dir=tmp_path / 'data',
                          workers=1).prepare(progress=False)


def test_workers_read_and_cut_as_one_process_does(script, tmp_path):
    write_lmdb(tmp_path / 'source' / 'SVTP', [f'Word{number}' for number in range(600)])
    for workers in (1, 2):
        made = script.Benchmarks(source=tmp_path / 'source', data_dir=tmp_path / f'data{workers}',
                                 workers=workers)
        made.prepare(progress=False)
    shards = [next((tmp_path / f'data{workers}').rglob('*.array_record*')) for workers in (1, 2)]
    assert shards[0].read_bytes() == shards[1].read_bytes()
