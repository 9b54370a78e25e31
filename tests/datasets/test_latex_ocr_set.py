"""LaTeX-OCR's set: the author's split, a split by formula, and what is refused."""

import zipfile

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from recog.prepare import labels
from recog.text.normal_form import normal_text

SCRIPT = 'latex_ocr'


def bitmap(number=0):
    """Black on white, as the author's."""
    image = np.full((20, 40), 255, np.uint8)
    image[5:10, 5 + number % 30] = 0
    return cv2.imencode('.bmp', image)[1].tobytes()


@pytest.fixture
def source(tmp_path):
    """Write the list and the bitmaps of the names in it."""
    def write(rows, missing=()):
        place = tmp_path / 'source'
        (place / 'Handwritten_equations').mkdir(parents=True)
        lines = [f'{name},"{text}"' if ',' in text else f'{name},{text}' for name, text in rows]
        (place / 'caption_data.csv').write_text('\n'.join(['Column1,Column2', *lines, '']), encoding='utf-8')
        for number, (name, _) in enumerate(rows):
            if name not in missing:
                (place / 'Handwritten_equations' / f'{name}.bmp').write_bytes(bitmap(number))
        return place
    return write


def texts(tmp_path, config, split):
    builder = tfds.builder_from_directory(str(tmp_path / 'data' / 'latex_ocr' / config / '1.0.0'))
    found = builder.as_data_source(split, decoders={'image': tfds.decode.SkipDecoding()})
    return [(record['id'].decode(), record['text'].decode()) for record in found]


def test_the_published_split_is_the_authors(script):
    dealt = script.published(22_984)
    assert {split: len(rows) for split, rows in dealt.items()} == {'train': 16_088, 'validation': 3_448,
                                                                   'test': 3_448}
    assert sorted(sum(dealt.values(), [])) == list(range(22_984))
    # As scikit-learn 1.9 splits them; number 27 of the author's predictions is row 140 of the list.
    assert dealt['test'][27] == 140
    assert [dealt[split][:3] for split in dealt] == [[8489, 17137, 9845], [14857, 3001, 1034],
                                                     [22376, 8865, 21898]]
    assert script.published(10) == {'train': [0, 7, 2, 9, 4, 3, 6], 'validation': [8], 'test': [5, 1]}


def test_latex_stays_as_given_and_bitmaps_become_png_without_loss(run, source, tmp_path, script):
    rows = [(f'n{number}', r'\frac  { 1 } { 2 } , ' + str(number)) for number in range(20)]
    source(rows)
    status, said = run()
    assert status == 0, said
    for split, numbers in script.published(20).items():
        assert texts(tmp_path, 'published', split) == [rows[number] for number in numbers]
    builder = tfds.builder_from_directory(str(tmp_path / 'data' / 'latex_ocr' / 'published' / '1.0.0'))
    for record in builder.as_data_source('train', decoders={'image': tfds.decode.SkipDecoding()}):
        assert record['image'].startswith(b'\x89PNG')
        image = cv2.imdecode(np.frombuffer(record['image'], np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(image, cv2.imdecode(np.frombuffer(bitmap(int(record['id'][1:])),
                                                                        np.uint8), 0))


FORMULAS = [f'x ^ {{ {number} }} + {name}' for number in range(40) for name in 'ab']


def rows_of_formulas():
    """Every formula, written in two ways."""
    plain = [(f'p{number}', text) for number, text in enumerate(FORMULAS)]
    return plain + [(f'q{number}', '{ ' + text.replace('x', r'\mathrm { ~ x ~ }') + ' }')
                    for number, text in enumerate(FORMULAS)]


def test_the_disjoint_split_shares_no_formula_and_keeps_out_what_it_is_told(run, source, tmp_path):
    source(rows_of_formulas())
    (tmp_path / 'out.tsv').write_text('k1\tx^5+a\nk2\tx ^ { 6 } + b\n')
    status, said = run('--config', 'disjoint', '--exclude', tmp_path / 'out.tsv')
    assert status == 0, said
    splits = ('train', 'validation', 'test', 'official')
    found = {split: {normal_text(text) for _, text in texts(tmp_path, 'disjoint', split)}
             for split in splits}
    assert sum(map(len, found.values())) == len(FORMULAS) == len(set.union(*found.values()))
    assert len(found['train']) > len(found['test']) > 0
    assert found['official'] == {'x ^ { 5 } + a', 'x ^ { 6 } + b'}


def test_the_disjoint_split_depends_on_nothing_but_the_formula(script):
    rows = [labels.Label(*row) for row in rows_of_formulas()]
    whole, half = script.disjoint(rows), script.disjoint(rows[::2])
    for split in whole:
        assert {rows[number].text for number in whole[split]} >= {rows[::2][number].text
                                                                  for number in half[split]}


@pytest.mark.parametrize('name', [
    '18_em_0', '32_em_220a', '519_em_4', 'RIT_2014_225', 'UN_101_em_3', 'UN19_1001_em_2', 'UN19wb_1103_em_1',
    'ISICal19_1201_em_750'])
def test_what_an_official_test_has_is_in_no_training_by_any_hand(script, name):
    rows = [labels.Label('p1', 'x^2'), labels.Label(name, 'x ^ { 2 }'), labels.Label('q', '{x}^{2}'),
            labels.Label('r', 'y')]
    dealt = script.disjoint(rows)
    assert sorted(dealt['official']) == [0, 1, 2]


@pytest.mark.parametrize('name', ['10_em_81', '2_em_3', '101_alfonso', 'MfrDB0104', 'form000-equation001',
                                  '200923-131-214'])
def test_what_crohme_trains_on_is_no_official_test(script, name):
    assert not script.disjoint([labels.Label(name, 'x')])['official']


def test_names_that_repeat_bitmaps_that_are_missing_or_broken_and_an_archive(run, source, tmp_path):
    place = source([('same', 'a'), ('same', 'b'), *((f'n{number}', 'x') for number in range(10))],
                   missing=['n3'])
    (place / 'Handwritten_equations' / 'n4.bmp').write_bytes(b'BM nothing')
    with zipfile.ZipFile(place / 'equations.zip', 'w') as archive:
        for file in sorted((place / 'Handwritten_equations').iterdir()):
            archive.write(file, f'Handwritten_equations/{file.name}')
            file.unlink()
    status, said = run()
    assert status == 0, said
    found = dict(sum((texts(tmp_path, 'published', split) for split in ('train', 'validation', 'test')), []))
    assert (found['same#0'], found['same#1'], len(found)) == ('a', 'b', 10)
    lines = (tmp_path / 'data/latex_ocr/published/1.0.0/rejected.tsv').read_text().splitlines()[1:]
    assert {line.split('\t')[1]: line.split('\t')[2] for line in lines} == {
        'n3': 'there is no bitmap', 'n4': 'image cannot be decoded'}


@pytest.mark.parametrize('content, arguments, said', [
    (None, [], '0 files called caption_data.csv'),
    ('a,b\n1,2\n', [], 'Column1 and Column2'),
    ('Column1,Column2\nn,x\n', ['--exclude', 'none'], '--exclude is for --config disjoint'),
    ('Column1,Column2\nn,x\n', ['--config', 'disjoint', '--exclude', 'none'], 'none cannot be read'),
    ('Column1,Column2\nn,x\n', ['--config', 'other'], "config 'other' does not exist"),
])
def test_what_cannot_be_is_refused_in_one_line(run, tmp_path, content, arguments, said):
    (tmp_path / 'source').mkdir()
    if content:
        (tmp_path / 'source' / 'caption_data.csv').write_text(content)
    status, printed = run(*arguments)
    assert status == 2 and said in printed and printed.count('\n') == 1
