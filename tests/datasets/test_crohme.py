"""CROHME: InkML trees and zips, published bitmaps as files and pickles, and what is refused."""

import html
import json
import pickle
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from builders import load

from recog.config import recipe
from recog.data.sets import open_set, set_folder
from recog.errors import ConfigError
from recog.images import ink
from recog.prepare import bitmaps, examples, labels, trees
from recog.prepare import inkml as inkml_files
from recog.text.held_out import held_out

SCRIPT = 'crohme'
MATH = '<msub><mi xml:id="x_1">x</mi><mi xml:id="1">k</mi></msub>'


def inkml(truth='$x_k$', traces=('10 10, 10 90', '30 50, 40 90'), math=MATH,
          namespace='xmlns="http://www.w3.org/2003/InkML"'):
    """A file like those of the competitions: with namespaces, ids that are not file names,
    and a segmentation that has truths too."""
    note = '' if truth is None else f'<annotation type="truth">{html.escape(truth, quote=False)}</annotation>'
    tree = ('<annotationXML type="truth"><math xmlns="http://www.w3.org/1998/Math/MathML">'
            f'<mrow>{math}</mrow></math></annotationXML>')
    lines = ''.join(f'<trace id="{number}">\n{trace}\n</trace>' for number, trace in enumerate(traces))
    group = ('<traceGroup xml:id="6"><annotation type="truth">q</annotation>'
             '<traceView traceDataRef="0"/></traceGroup>')
    return (f'<ink {namespace}><annotation type="UI">u</annotation>{note}{tree if math else ""}{lines}'
            '<traceGroup xml:id="5"><annotation '
            f'type="truth">Segmentation</annotation>{group}</traceGroup></ink>')


@pytest.fixture
def write(tmp_path):
    """Write files into the source."""
    def call(files):
        for name, content in files.items():
            (tmp_path / 'source' / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / 'source' / name).write_bytes(content if isinstance(content, bytes)
                                                     else content.encode())
        return tmp_path / 'source'
    return call


def records(tmp_path, split, folder='crohme/2.1.0'):
    builder = tfds.builder_from_directory(str(tmp_path / 'data' / folder))
    found = builder.as_data_source(split, decoders={'image': tfds.decode.SkipDecoding()})
    return {record['id'].decode(): record for record in found}


def pixels(record):
    return cv2.imdecode(np.frombuffer(record['image'], np.uint8), cv2.IMREAD_UNCHANGED)


def problems(tmp_path, kind='rejected', folder='crohme/2.1.0'):
    lines = (tmp_path / 'data' / folder / f'{kind}.tsv').read_text().splitlines()[1:]
    return {name: reason for _, name, reason, _ in (line.split('\t') for line in lines)}


def test_ink_becomes_pictures_tokens_and_stays_in_the_record(run, write, tmp_path):
    write({'train/HAMEX/a.inkml': inkml(traces=('1.5 2 0.1, 1.5 4 0.2,', '3 3 9, 4 4 9')),
           'train/plain.inkml': inkml(namespace=''), 'test2014/b.inkml': inkml(r'$ \frac 1 2 $')})
    status, said = run()
    assert status == 0, said
    train, test = records(tmp_path, 'train'), records(tmp_path, 'test_2014')
    assert (train['a']['text'], train['a']['truth'], test['b']['text']) == (b'x _ { k }', b'$x_k$',
                                                                            b'\\frac { 1 } { 2 }')
    assert train['a']['points'].tolist() == [[1500, 2000], [1500, 4000], [3000, 3000], [4000, 4000]]
    assert train['a']['strokes'].tolist() == [2, 2]
    for record in (train['a'], test['b']):
        np.testing.assert_array_equal(pixels(record),
                                      ink.draw(ink.parted(record['points'], record['strokes'])))
        assert record['size'].tolist() == list(pixels(record).shape)
    assert train['plain']['text'] == b'x _ { k }'
    assert 'WARNING: split train has 2 records instead of 8,418' in said


def segmented(truth, symbols, math, writer='', points=3, loose=0):
    """A file whose segmentation gives each of the symbols (xml:id, label) a stroke of so many points; some
    more strokes belong to none."""
    lines = ''.join(f'<trace id="{number}">' + ', '.join(f'{10 * number + step} {5 * step}'
                                                         for step in range(points)) + '</trace>'
                    for number in range(len(symbols) + loose))
    groups = ''.join(f'<traceGroup><annotation type="truth">{html.escape(label)}</annotation><traceView '
                     f'traceDataRef="{number}"/><annotationXML href="{html.escape(own)}"/></traceGroup>'
                     for number, (own, label) in enumerate(symbols))
    said = f'<annotation type="writer">{writer}</annotation>' if writer else ''
    return (f'<ink><annotation type="truth">{html.escape(truth)}</annotation>{said}'
            '<annotationXML type="truth">'
            f'<math xmlns="http://www.w3.org/1998/Math/MathML"><mrow>{math}</mrow></math></annotationXML>'
            f'{lines}<traceGroup><annotation type="truth">From ITF</annotation>{groups}</traceGroup></ink>')


def leaf(own, text, kind='mi'):
    return f'<{kind} xml:id="{own}">{text}</{kind}>'


@pytest.mark.parametrize('truth, symbols, math, wanted', [
    # The bar has the fraction's id, the sign the root's; the index of a root is drawn, its brackets are not.
    (r'\frac{1}{x}', [('x', 'x'), ('f', '-'), ('1', '1')],
     f'<mfrac xml:id="f">{leaf("1", "1")}{leaf("x", "x")}</mfrac>', [5, 0, 2]),
    (r'\sqrt[3]{a}', [('r', r'\sqrt'), ('3', '3'), ('a', 'a')],
     f'<mroot xml:id="r">{leaf("a", "a")}{leaf("3", "3")}</mroot>', [0, 2, 5]),
    ('x^2', [('x', 'x'), ('2', '2')], f'<msup>{leaf("x", "x")}{leaf("2", "2")}</msup>', [0, 3]),
    # Three dots of one token, and names that differ between truth, MathML and segmentation.
    (r'1 \cdots', [('1', '1'), ('d', '.'), ('e', '.'), ('g', '.')],
     leaf('1', '1') + leaf('d', '.') + leaf('e', '.') + leaf('g', '.'), [0, 1, 1, 1]),
    (r'a \cdot b', [('a', 'a'), ('p', '.'), ('b', 'b')], leaf('a', 'a') + leaf('p', '.') + leaf('b', 'b'),
     [0, 1, 2]),
    # Truth, MathML and segmentation that disagree, a symbol without ink, ink without its symbol.
    ('a b', [('a', 'a'), ('b', 'b')], leaf('b', 'b') + leaf('a', 'a'), []),
    ('a b', [('a', 'a'), ('b', 'x')], leaf('a', 'a') + leaf('b', 'b'), []),
    ('a b', [('a', 'a')], leaf('a', 'a') + leaf('b', 'b'), []),
    ('a b', [('a', 'a'), ('b', 'b'), ('c', 'c')], leaf('a', 'a') + leaf('b', 'b'), []),
    ('a b', [('a', 'a'), ('a', 'b')], leaf('a', 'a') + leaf('a', 'b'), []),
])
def test_the_segmentation_tells_which_stroke_draws_which_token(truth, symbols, math, wanted):
    found, = inkml_files.drawn('a', segmented(truth, symbols, math).encode())
    assert found.extra['symbols'].tolist() == wanted
    if wanted:
        found, = inkml_files.drawn('a', segmented(truth, symbols, math, loose=2).encode())
        assert found.extra['symbols'].tolist() == [*wanted, -1, -1]


@pytest.mark.parametrize('said, name, wanted', [
    ('depart027', '2009210-947-148', 'depart027'), ('', '2009210-947-148', '2009210-947'),
    ('Unknown', 'MfrDB0001', 'MfrDB0001'), ('', '8_em_62', '8_em_62')])
def test_a_writer_is_named_or_known_by_the_session_or_by_one_file(said, name, wanted):
    found, = inkml_files.drawn(name, segmented('a', [('a', 'a')], leaf('a', 'a'), said).encode())
    assert found.extra['writer'] == wanted


def test_composed_formulas_are_made_of_training_ink_alone(run, write, tmp_path):
    def made(digits, points):
        symbols = [(f'{place}', digit) for place, digit in enumerate(digits)]
        return segmented(' '.join(digits), symbols, ''.join(leaf(*symbol) for symbol in symbols), 'w', points)

    sums = [f'{one}+{two}' for one in range(10) for two in range(10)]
    held = [text for text in sums if held_out(' '.join(text))]
    kept = [text for text in sums if text not in held]
    assert len(held) > 2
    write({**{f'train/{text}.inkml': made(text, 3) for text in kept},
           **{f'train/{text}.inkml': made(text, 4) for text in held},
           **{f'test2014/{text}.inkml': made(text, 5) for text in kept[:9]}})
    assert run()[0] == 0
    assert set(records(tmp_path, 'validation')) == set(held)
    source = open_set('composed:train', recipe.base(name='crnn'), tmp_path / 'data')
    rows = source.rows(range(200))
    assert {len(stroke) for row in rows for stroke in row.strokes} == {3}
    assert not {row.text.replace(' ', '') for row in rows} & set(held)
    assert set_folder('composed:train', tmp_path / 'data') == tmp_path / 'data/crohme/2.1.0'


def test_a_set_that_was_prepared_without_symbols_composes_nothing(run, write, tmp_path, drawings):
    write({'bitmaps/a.png': bitmaps.png(drawings['a']), 'captions.txt': 'a\tx\n'})
    assert published(run, 'train=bitmaps')[0] == 0
    (tmp_path / 'data' / 'crohme' / 'bitmaps' / '2.0.0').rename(tmp_path / 'data' / 'crohme' / '2.0.0')
    with pytest.raises(ConfigError, match='crohme:train does not say which strokes draw which symbol'):
        open_set('composed:train', recipe.base(name='crnn'), tmp_path / 'data')


def test_a_twentieth_of_the_formulas_validates_the_same_in_both_configs(run, write, tmp_path, drawings):
    written = {f'{way}{number}': text for number in range(60)
               for way, text in (('a', f'x ^ {{ {" ".join(str(number))} }}'), ('b', f'$x^{{{number}}}$'))}
    write({**{f'train/{name}.inkml': inkml(text) for name, text in written.items()},
           **{f'bitmaps/{name}.png': bitmaps.png(drawings['a']) for name in written},
           'captions.txt': ''.join(f'{name}\t{text}\n' for name, text in written.items())})
    assert run('--ink', 'train=train')[0] == published(run, 'train=bitmaps')[0] == 0
    for folder in ('crohme/2.1.0', 'crohme/bitmaps/2.0.0'):
        train, validation = (set(records(tmp_path, split, folder)) for split in ('train', 'validation'))
        assert 0 < len(validation) < 20 and train | validation == set(written) and not train & validation
        # Both ways to write a formula are on the same side.
        assert {name for name in validation if name[0] == 'a'} == {
            name.replace('b', 'a') for name in validation if name[0] == 'b'}
    both = [set(records(tmp_path, 'validation', folder)) for folder in ('crohme/2.1.0',
                                                                        'crohme/bitmaps/2.0.0')]
    assert both[0] == both[1]
    report = json.loads((tmp_path / 'data/crohme/bitmaps/2.0.0/report.json').read_text())
    assert {(each['split'], each['other']): each['folded'] for each in report['shared_labels']} == {
        ('train', 'validation'): 0, ('validation', 'train'): 0}


def test_what_validates_crohme_is_in_no_training_of_latex_ocrs_set(script):
    other = load('latex_ocr')
    texts = [f'x ^ {{ {number} }}' for number in range(2000)]
    held = {text for text in texts if script.Crohme.dealt(None, 'train', text) == 'validation'}
    assert 70 < len(held) < 130
    dealt = other.disjoint([labels.Label('p', text) for text in texts])
    assert held < {texts[number] for number in dealt['validation']}


def test_broken_files_are_named_with_their_reason(run, write, tmp_path):
    write({'train/good.inkml': inkml(), 'train/empty.inkml': '',
           'train/xml.inkml': inkml().replace('$x_k$', 'a & b'),
           'train/bare.inkml': inkml(traces=()), 'train/trace.inkml': inkml(traces=('1 2, 3',)),
           'elsewhere/b.inkml': inkml(),
           'train/untold.inkml': inkml(None, math=''), 'train/broken.inkml': inkml(r'\frac{a', math='')})
    status, said = run()
    assert status == 0, said
    assert list(records(tmp_path, 'train')) == ['good']
    assert problems(tmp_path) == {
        'empty': 'file is empty', 'xml': 'file is no XML that can be read', 'bare': 'there is no ink',
        'trace': 'ink cannot be read', 'untold': 'there is no truth', 'broken': 'truth is malformed',
        'source/elsewhere/b.inkml': 'in no folder called train, or test and 2014, 2016 or 2019'}


@pytest.mark.parametrize('truth, math, text, note', [
    (r'\lim_{x}} a', MATH, 'x _ { k }', 'truth is malformed, MathML used'),
    (r'\sqrt{x} ABOVE {q}', MATH, 'x _ { k }', 'truth has unknown tokens, MathML used'),
    (r'x \heartsuit', '', r'x \heartsuit', 'truth has unknown tokens'),
    (r'x \heartsuit', '<mfrac/>', r'x \heartsuit', 'truth has unknown tokens'),
    (None, MATH, 'x _ { k }', 'no truth, MathML used'),
    (r'\int\limits_0^1 x', MATH, r'\int \limits _ { 0 } ^ { 1 } x', None),
])
def test_mathml_stands_in_where_the_truth_is_of_no_use(truth, math, text, note):
    made = list(inkml_files.drawn('a', inkml(truth, math=math).encode()))
    assert [(each.id, each.reason)
            for each in made if isinstance(each, examples.Noted)] == ([('a', note)] if note else [])
    assert [each.text for each in made if isinstance(each, examples.Example)] == [text]


@pytest.mark.parametrize('path, split', [
    ('ink/train/MfrDB/a.inkml', 'train'),
    ('CROHME2013_data/TrainINKML/HAMEX/a.inkml', 'train'),
    ('CROHME2013_data/TestINKMLGT/a.inkml', ''),
    ('CROHME2014_data/TestEM2014GT/a.inkml', 'test_2014'),
    ('crohme2019/Task1_onlineRec/MainTask_formula/valid/TEST2016_INKML_GT/a.inkml', 'test_2016'),
    ('crohme2019/Task1_onlineRec/MainTask_formula/Test/a.inkml', 'test_2019'),
    ('crohme2019/Task1_onlineRec/MainTask_formula/Train/INKMLs/Train_2014/a.inkml', 'train'),
    ('crohme2019/Task1_onlineRec/subTask_symbols/Train/a.inkml', ''),
    ('somewhere/a.inkml', ''),
    ('a_train.inkml', ''),
])
def test_folders_of_the_releases_tell_the_split(script, path, split):
    assert script.split_of(path) == split


def test_a_zip_is_read_and_a_split_can_be_given_as_a_folder(run, write, tmp_path):
    write({'one/a.inkml': inkml(), 'two/a.inkml': inkml('y')})
    with zipfile.ZipFile(tmp_path / 'source' / 'TestEM2014GT.zip', 'w') as archive:
        archive.writestr('a.inkml', inkml())
        archive.writestr('__MACOSX/._a.inkml', 'x')
    status, said = run('--ink', 'train=one', '--ink', 'test_2014=TestEM2014GT.zip')
    assert status == 0, said
    assert [list(records(tmp_path, split)) for split in ('train', 'test_2014')] == [['a'], ['a']]


def zipped(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.fixture
def package(tmp_path):
    """The layout of TC11's package, with its zips: the tests of 2014 and 2016 stand in it twice."""
    task = tmp_path / 'source' / 'CROHME2019_data' / 'Task1_onlineRec' / 'MainTask_formula'
    old = tmp_path / 'source' / 'CROHME2016_data' / 'Task-1-Formula.zip'
    zipped(task / 'Train.zip', {'Train/INKMLs/Train_2014/a.inkml': inkml('t'),
                                'Train/INKMLs/TestINKMLGT_2013/b.inkml': inkml('b')})
    zipped(task / 'valid.zip', {'valid/TestEM2014GT_INKMLs/c.inkml': inkml('c'),
                                'valid/TEST2016_INKML_GT/d.inkml': inkml('d'),
                                'valid/TEST2016_INKML_GT/e.inkml': inkml('e')})
    zipped(old, {'TEST2016_INKML_GT/d.inkml': inkml('d'), 'TEST2016_INKML_GT/e.inkml': inkml('f'),
                 'TEST2016_INKML_noGT/e.inkml': inkml(None, math='').replace('truth', ''),
                 'TEST2016_INKML_noGT/g.inkml': inkml('g')})


def test_the_package_is_read_from_its_root_each_formula_once(run, tmp_path, package):
    status, said = run()
    assert status == 0, said
    found = {split: {key: record['text'].decode() for key, record in records(tmp_path, split).items()}
             for split in ('train', 'test_2014', 'test_2016')}
    assert found == {'train': {'a': 't'}, 'test_2014': {'c': 'c'},
                     'test_2016': {'d': 'd', 'e': 'e', 'g': 'g'}}
    task, old = 'source/CROHME2019_data/Task1_onlineRec/MainTask_formula', 'source/CROHME2016_data'
    assert problems(tmp_path) == {
        f'{task}/Train/Train/INKMLs/TestINKMLGT_2013/b.inkml':
            'in no folder called train, or test and 2014, 2016 or 2019',
        f'{old}/Task-1-Formula/TEST2016_INKML_GT/d.inkml': 'the same file again',
        f'{old}/Task-1-Formula/TEST2016_INKML_GT/e.inkml': 'a later release has a file of its name',
        f'{old}/Task-1-Formula/TEST2016_INKML_noGT/e.inkml':
            'without truth, which another file of its name has'}


def test_a_split_can_be_a_folder_in_a_zip(run, tmp_path, package):
    archive = 'CROHME2019_data/Task1_onlineRec/MainTask_formula/valid.zip'
    status, said = run('--ink', f'train={archive}/valid/TestEM2014GT_INKMLs',
                       '--ink', f'test_2016={archive}/valid')
    assert status == 0, said
    assert [set(records(tmp_path, split)) for split in ('train', 'test_2016')] == [{'c'}, {'c', 'd', 'e'}]
    status, said = run('--ink', f'train={archive}/valid/none', name='other')
    assert status == 2 and f'{archive}/valid/none does not exist' in said


def test_a_folder_in_a_tar_is_a_tree_of_its_own(tmp_path):
    (tmp_path / 'in' / 'deep').mkdir(parents=True)
    for name in ('a', 'deep/b'):
        (tmp_path / 'in' / name).write_text(name)
    with tarfile.open(tmp_path / 'all.tar.gz', 'w:gz') as archive:
        archive.add(tmp_path / 'in', 'top/in')
    (tree,), _ = trees.found(tmp_path / 'all.tar.gz' / 'top' / 'in')
    assert dict(tree.stream(sorted(tree.names))) == {'a': b'a', 'deep/b': b'deep/b'}
    assert not trees.exists(tmp_path / 'all.tar.gz' / 'top' / 'i')


def test_two_files_of_one_name_between_which_nothing_decides_are_refused(run, write):
    write({'train/one/a.inkml': inkml(), 'train/two/a.inkml': inkml('y')})
    status, said = run()
    assert status == 2
    assert 'train/one/a.inkml and source/train/two/a.inkml are both a of train; --ink train=FOLDER' in said


@pytest.fixture
def drawings():
    return {name: ink.draw([np.array([(0, 0), (5, number + 5)], np.float64)])
            for number, name in enumerate(('a', 'b.c', 'd_0'))}


CAPTIONS = 'a\tx ^ { 2 }\nb.c.png x  +  1\r\nd_0\ty\n'


def published(run, *arguments):
    return run('--config', 'bitmaps', '--captions', 'train=captions.txt', '--bitmaps', *arguments)


def checked(tmp_path, drawings):
    found = records(tmp_path, 'train', 'crohme/bitmaps/2.0.0')
    assert {name: record['text'].decode() for name, record in found.items()} == {'a': 'x ^ { 2 }',
                                                                                 'b.c': 'x + 1', 'd_0': 'y'}
    for name, image in drawings.items():
        np.testing.assert_array_equal(pixels(found[name]), image)
        assert found[name]['points'].shape == (0, 2) and found[name]['strokes'].shape == (0,)
    return found


def test_published_bitmaps_are_files_whose_bytes_stay(run, write, tmp_path, drawings):
    files = {f'bitmaps/{name}.png': cv2.imencode('.png', image)[1].tobytes()
             for name, image in drawings.items()}
    write({'captions.txt': CAPTIONS, **files})
    status, said = published(run, 'train=bitmaps')
    assert status == 0, said
    found = records(tmp_path, 'train', 'crohme/bitmaps/2.0.0')
    assert {name: record['text'].decode() for name, record in found.items()} == {'a': 'x ^ { 2 }',
                                                                                 'b.c': 'x + 1', 'd_0': 'y'}
    for name, image in drawings.items():
        assert found[name]['image'] == files[f'bitmaps/{name}.png']
        np.testing.assert_array_equal(pixels(found[name]), image)
        assert found[name]['points'].shape == (0, 2) and found[name]['strokes'].shape == (0,)


def test_published_bitmaps_are_waps_files(drawings, tmp_path):
    for name, image in drawings.items():
        cv2.imwrite(str(tmp_path / f'{name}_0.bmp'), image)
    for name, content in bitmaps.stream(tmp_path, drawings):
        kept = bitmaps.recorded(content, name)
        assert kept.startswith(b'\x89PNG')
        np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(kept, np.uint8), cv2.IMREAD_UNCHANGED),
                                      drawings[name])


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('form', [lambda image: image, lambda image: image[None], lambda image: [image]])
def test_published_bitmaps_are_a_pickle(tmp_path, drawings, protocol, form):
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps({f'{key}.bmp': form(image)
                                                   for key, image in drawings.items()}, protocol))
    found = dict(bitmaps.stream(tmp_path / 'a.pkl', [*drawings, 'none']))
    assert found.pop('none') == bitmaps.NONE
    for name, content in found.items():
        np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED),
                                      drawings[name])


def test_a_pickle_of_older_numpy_is_read(tmp_path):
    data = pickle.dumps({'a': np.full((2, 3), 7, np.uint8)}, 2).replace(b'numpy._core.', b'numpy.core.')
    (tmp_path / 'a.pkl').write_bytes(data)
    (_, image), = bitmaps.stream(tmp_path / 'a.pkl', ['a'])
    assert cv2.imdecode(np.frombuffer(image, np.uint8), 0).tolist() == [[7] * 3] * 2


class Harm:
    def __reduce__(self):
        return print, ('run',)


@pytest.mark.parametrize('content, said', [
    (pickle.dumps({'a': Harm()}), 'builtins.print'),
    (b'cnumpy\nload\n.', 'numpy.load'),
    (b'cnumpy.f2py.crackfortran\nmyeval\n.', 'myeval'),
    (pickle.dumps({'a': np.zeros((2, 2), np.uint8)})[:-9], 'cannot be read as a pickle'),
    (pickle.dumps([1]), 'holds a list'),
    (pickle.dumps({'a': np.zeros((2, 2))}), 'float64'),
    (pickle.dumps({'a': 'text'}), 'instead of a uint8 image'),
    (pickle.dumps({'a': np.zeros((0, 2), np.uint8)}), 'instead of a uint8 image'),
])
def test_a_pickle_runs_nothing_and_holds_images_alone(tmp_path, content, said, capsys):
    (tmp_path / 'a.pkl').write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        list(bitmaps.stream(tmp_path / 'a.pkl', ['a']))
    assert 'run' not in capsys.readouterr().out


def test_missing_and_broken_bitmaps_are_named(run, write, tmp_path, drawings):
    good = cv2.imencode('.png', drawings['a'])[1].tobytes()
    write({'captions.txt': 'a\tx\nb\ty\nc\tz\nd\n', 'bitmaps/a.png': good, 'bitmaps/b.png': good[:60],
           'bitmaps/d.png': good, 'bitmaps/c.txt': b''})
    assert published(run, 'train=bitmaps')[0] == 0
    assert problems(tmp_path, folder='crohme/bitmaps/2.0.0') == {
        'b': 'image cannot be decoded', 'c': 'there is no bitmap', 'd': 'there is no caption'}


@pytest.mark.parametrize('arguments, said', [
    (['--config', 'bitmaps'], 'takes --captions'),
    (['--config', 'bitmaps', '--captions', 'train=captions.txt'], 'takes --captions'),
    (['--config', 'bitmaps', '--captions', 'train=none', '--bitmaps', 'train=bitmaps'],
     'none does not exist'),
    (['--config', 'bitmaps', '--captions', 'dev=captions.txt', '--bitmaps', 'dev=bitmaps'],
     'must be SPLIT=PATH'),
    (['--config', 'bitmaps', '--captions', 'train=twice.txt', '--bitmaps', 'train=bitmaps'],
     'line 2: a has a caption already'),
    (['--captions', 'train=captions.txt'], '--captions is for --config bitmaps'),
    (['--config', 'bitmaps', '--ink', 'train=bitmaps'], '--ink is for --config ink'),
    (['--ink', 'train=bitmaps', '--ink', 'train=bitmaps'], 'given twice'),
    ([], 'gives no record'),
])
def test_what_cannot_be_is_refused_in_one_line(run, write, drawings, arguments, said):
    write({'captions.txt': 'a\tx\n', 'twice.txt': 'a\tx\na\ty\n',
           'bitmaps/a.png': bitmaps.png(drawings['a'])})
    status, printed = run(*arguments)
    assert status == 2 and said in printed and printed.count('\n') == 1


def test_two_bitmaps_of_one_name_are_refused(run, write, drawings):
    good = cv2.imencode('.png', drawings['a'])[1].tobytes()
    write({'captions.txt': 'a\tx\n', 'bitmaps/1/a.png': good, 'bitmaps/2/a.png': good})
    status, said = published(run, 'train=bitmaps')
    assert status == 2 and '1/a.png and 2/a.png are both a' in said
