"""Hostile sources: what cannot be read is one rejected example or one line; nothing waits or is left."""

import errno
import json
import os

import hostile_sources as hostile
import numpy as np
import pytest
from builders import load
from small_sources import SOUND, tarred
from small_sources import inkml as inkml_of

from recog import prepare
from recog.errors import ConfigError
from recog.images.read import MOST_PIXELS
from recog.prepare import examples, folding, inkml, regular, sheet, tars, trees, work

GOOD = 1  # what the sources below hold besides
# Source: what is rejected and how many are kept, or what is said.
ENDS = {
    'links in circles, of images': ({}, 2), 'links in circles, of ink': ({}, GOOD),
    'links in circles, of LMDBs': ({}, 40), 'links in circles, of label lists': ({}, GOOD),
    'a pipe among images': ({'image file cannot be read': 1}, GOOD),
    'a pipe among ink': ({'file cannot be read': 1}, GOOD),
    'a pipe for an LMDB': 'is no LMDB that can be read (is no regular file)',
    'a pipe for captions': 'captions.txt cannot be read: is no regular file',
    'a pipe for a pickle': 'is no regular file', 'a pipe for a list': 'is no regular file',
    'a pipe for a source': 'is neither a folder nor a regular file',
    'a pipe for an annotation': 'cannot be opened: is no regular file',
    'zeros for a source': 'is neither a folder nor a regular file',
    'zeros among images': ({'image file cannot be read': 1}, GOOD),
    'zeros for a lexicon': 'lexicon.txt: is no regular file',
    'a hole for labels': 'labels.tsv, line 1: is longer than 1,048,576 bytes',
    'a hole for formulas': 'has 5,368,709,120 bytes', 'a hole for a pickle': 'has 5,368,709,120 bytes',
    'a hole among images': ({'image file cannot be read': 1}, GOOD),
    'a hole among ink': ({'file cannot be read': 1}, GOOD),
    'ten thousand million samples': "num-samples is b'10000000000', but there are no more than 81 keys",
    'samples of 5,000 digits': 'but there are no more than 81 keys',
    'a sparse tar': ({'file is too large': 1}, GOOD),
    'a member that ends before it begins': 'bitmaps.tar cannot be read (a member ends before it begins)',
    'an encrypted member': ({'file cannot be read': 1}, GOOD),
    'a member compressed as nobody can': ({'file cannot be read': 1}, GOOD),
    'an encrypted picture': ({'file cannot be read': 1}, 4),
    'wide ink': ({'ink is too long': 1}, GOOD), 'millions of points': ({'file is too large': 1}, GOOD),
    'MathML 3,000 deep': ({'truth is malformed': 1}, GOOD),
    'an encoding that nobody knows': ({'file is no XML that can be read': 1, 'ink cannot be read': 1}, GOOD),
    'a scene in such an encoding': 'test.xml is no XML that can be read',
    'brackets in brackets': ({'image file cannot be read': 1}, GOOD),
    'JSON in JSON': 'line 2: no JSON object',
    'NUL in names': ({'image file cannot be read': 1}, GOOD),
    'surrogates in names': ({'image file cannot be read': 1}, GOOD),
    'surrogates that are dealt': ({'image file cannot be read': 1}, GOOD),
    'long names before others': ({'image file cannot be read': 1}, GOOD),
    'names of several lines': ({'id or text is no UTF-8': 1}, 2),
    'an odd folder without anything': r'two\nlines \udcff holds none of',
    'a lexicon that is no UTF-8': ({}, 2), 'annotations of 5,000 digits': 'annotation_train.txt, line 1',
    'annotations of ten digits in a tar': 'annotation_train.txt, line 1',
    'formulas of 5,000 digits': 'im2latex_train.lst, line 2',
    'infinite boxes': ({'box is degenerate': 1}, GOOD),
    'boxes that are no number': ({'box is degenerate': 1}, GOOD),
    'dimensions of 2^31': 'gt.mat cannot be read', 'a cell of a function handle': 'gt.mat cannot be read',
    'a function handle before all': ({}, 2), 'cells in cells': 'gt.mat cannot be read',
}


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Prepare a source; returns the status, what was said, and the reports by their counts."""
    monkeypatch.setattr(sheet, 'draw', lambda file, *_: file.touch())

    def call(source):
        builder = [each for each in vars(load(source.script)).values()
                   if isinstance(each, type) and issubclass(each, prepare.Builder)][-1]
        data = tmp_path / 'data'
        status = prepare.main(builder, [*source.arguments, '--data', str(data), '--workers', '1'])
        said = capsys.readouterr().err.splitlines()
        reports = [json.loads(file.read_text()) for file in data.rglob('report.json')]
        counts = [({reason: facts['count'] for reason, facts in report['rejected'].items()},
                   sum(split['records'] for split in report['splits'].values())) for report in reports]
        return status, [line for line in said if not line.startswith('WARNING')], counts
    return call


@pytest.mark.parametrize('name', ENDS)
def test_one_example_is_lost_or_one_line_is_said(name, run, tmp_path):
    status, said, counts = run(hostile.SOURCES[name](tmp_path))
    if isinstance(ENDS[name], str):
        assert status and len(said) == 1 and ENDS[name] in said[0] and not (tmp_path / 'data').exists(), said
    else:
        assert (status, said, counts) == (0, [], [ENDS[name]])


@pytest.mark.parametrize('name', SOUND)
def test_the_sound_sources_of_the_campaign_are_read_whole(name, run, tmp_path):
    source = SOUND[name](tmp_path)
    status, said, counts = run(source)
    assert not status and not said and all(file.is_file() for file in source.files)
    assert [rejected for rejected, _ in counts] == [{'file is too large': 1} if 'sparse' in name else {}]


def test_a_fault_that_may_pass_is_no_fault_of_the_file(tmp_path, monkeypatch):
    (tmp_path / 'a').write_text('a')
    assert regular.attempted(tmp_path / 'a') == b'a'
    assert regular.attempted(tmp_path / 'b').reason == 'file is missing'

    def faulty(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, 'open', faulty)
    with pytest.raises(OSError, match='Too many open files'):
        regular.attempted(tmp_path / 'a')


def test_a_damaged_header_is_not_taken_for_the_end_of_a_tar(tmp_path):
    file = tarred(tmp_path / 'a.tar', {name: name.encode() for name in 'abc'})
    content = bytearray(file.read_bytes())
    content[1024 + 150] ^= 1  # the sum of the second header
    file.write_bytes(content)
    with pytest.raises(ConfigError, match='a header is damaged'):
        list(trees.Tree(file).stream(['a', 'b', 'c']))


def test_a_tar_unfolds_within_bounds(tmp_path, monkeypatch):
    file = tarred(tmp_path / 'a.tar.gz', {name: bytes(100_000) for name in 'abc'}, 'w:gz')
    assert len(trees.Tree(file).names) == 3
    for module, name, bound in ((trees, 'LARGEST_TAR', 250_000), (tars, 'MOST_MEMBERS', 2),
                                (tars, 'LARGEST_MEMBER', 50_000)):
        with monkeypatch.context() as patch, pytest.raises(ConfigError, match='a.tar.gz cannot be read'):
            patch.setattr(module, name, bound)
            list(trees.Tree(file).names)


def test_an_image_that_no_reader_takes_is_rejected_though_its_size_is_told():
    class Toy:
        fold, info = folding.WORDS, None

    made = work.Work.__new__(work.Work)
    made.builder = Toy()
    large = examples.Example('a', 'a', b'', size=(8000, MOST_PIXELS // 8000 + 1))
    assert made._record(work.Result({}, {}, [], 0), 'train', large).reason == 'image cannot be decoded'


def test_ink_as_long_as_any_of_crohme_is_drawn():
    points = ', '.join(f'{number % 2 * 300} {number}' for number in range(300))
    found, = inkml.drawn('a', inkml_of(traces=('0 0, 0 300', points)).encode())
    assert isinstance(found, examples.Example)


def test_ink_whose_mathml_is_too_deep_is_kept_without_its_symbols():
    math = '<mrow>' * 3000 + '<mi>x</mi>' + '</mrow>' * 3000
    found, = inkml.drawn('a', inkml_of('x', math=math).encode())
    assert found.text == 'x' and not len(found.extra['symbols'])


def test_samples_of_a_sheet_take_bounded_memory():
    found = sheet._shrunk(np.zeros((4000, 2000, 3), np.uint8))
    assert found.shape == (1000, 500, 3)
    small = np.zeros((900, 10, 3), np.uint8)
    assert sheet._shrunk(small) is small
