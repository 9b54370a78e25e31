"""Sources of data sets made to cost, to hang or to break a builder; makers are as in small_sources."""

import gzip
import os
import struct
import tarfile
import zlib
from pathlib import Path

from matlab_files import FUNCTION, HANDLE, cells_in_cells, element, mat, matrix, unfolding
from small_sources import (
    Source,
    bitmaps,
    bitmaps_in,
    crohme,
    iiit5k,
    inkml,
    latex_ocr,
    lexicons_of,
    listed,
    lmdbs,
    mjsynth,
    own,
    picture,
    sparse_tar,
    svt,
    synthtext,
    with_headers,
    written,
    zipped,
)

PLAIN, ENCRYPTED, UNKNOWN = 0, 1, 99  # flags of a zip's member, and a way to compress that nobody knows


def flagged(file, name, *, flags=PLAIN, way=0, size=0):
    """Change what a zip says of a member: flags, the way to compress it, or its size."""
    content = bytearray(file.read_bytes())
    for mark, place in ((b'PK\3\4', 6), (b'PK\1\2', 8)):
        start = -1
        while (start := content.find(mark, start + 1)) >= 0:
            header = 30 if mark == b'PK\3\4' else 46
            if content[start + header:start + header + len(name)] == name.encode():
                content[start + place] |= flags
                if way:
                    content[start + place + 2:start + place + 4] = struct.pack('<H', way)
                if size:
                    at = start + (22 if mark == b'PK\3\4' else 24)
                    content[at:at + 4] = struct.pack('<I', size)
    file.write_bytes(content)


def zeros(megabytes):
    """So many megabytes of zeros, deflated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (megabytes - 1) + packer.flush()


def looped(source):
    """Links below a source that lead back to it, twice, so that each level doubles the paths."""
    place = Path(source.arguments[1])
    (place / 'again').symlink_to(place)
    (place / 'once more').symlink_to(place)
    return source


def piped(source, name):
    """A pipe into which nobody writes, below a source or in the place of one of its files."""
    file = Path(source.arguments[1]) / name
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(file)
    return source


def endless(source, name):
    """A link to a device that never ends."""
    file = Path(source.arguments[1]) / name
    file.unlink(missing_ok=True)
    file.symlink_to('/dev/zero')
    return source


def hollow(source, name, size):
    """A file that is all hole."""
    with open(Path(source.arguments[1]) / name, 'wb') as file:
        file.truncate(size)
    return source


def bomb(place):
    """A zip of 6 MB that says it holds 4 GB, and does hold 6."""
    file = zipped(place / 'bitmaps.zip', {'a.png': zeros(6000), 'b.png': picture()})
    flagged(file, 'a.png', way=8, size=(1 << 32) - 2)
    return bitmaps_in(place, file)


def changed_zip(place, **how):
    """Bitmaps in a zip, of which one member is odd."""
    file = zipped(place / 'bitmaps.zip', {'a.png': picture(), 'b.png': picture(1)})
    flagged(file, 'a.png', **how)
    return bitmaps_in(place, file)


def long_header(place):
    """A tar whose member has a header of a gigabyte and more, in a gzip of some megabytes."""
    member = tarfile.TarInfo('a.png')
    member.type, member.size = tarfile.XHDTYPE, 2000 << 20
    part = gzip.compress(bytes(100 << 20), 9)
    file = place / 'bitmaps.tar.gz'
    file.write_bytes(gzip.compress(member.tobuf()) + part * 20)
    return bitmaps_in(place, file)


def backwards(place):
    """A tar whose member ends before it begins."""
    return with_headers(place, {'size': '-1024'}, picture())


def bulging(place):
    """A tar of zeros in a gzip of some megabytes, as one member that is no image."""
    member = tarfile.TarInfo('zeros')
    member.size = 6400 << 20
    part = gzip.compress(bytes(100 << 20), 9)
    file = place / 'bitmaps.tar.gz'
    file.write_bytes(gzip.compress(member.tobuf()) + part * 64)
    return bitmaps_in(place, file)


def wide(place):
    """Ink of 30,000 points, each as far from the next as can be."""
    points = ', '.join(f'{number % 2 * 90000} {number}' for number in range(30_000))
    return crohme(place, {'train/wide.inkml': inkml(traces=('0 0, 0 10000', points))})


def many_points(place):
    """Ink of millions of points."""
    return crohme(place, {'train/many.inkml': inkml(traces=('0 0,' * 4_000_000,))})


def laughing(place):
    """XML whose entities are a billion letters."""
    entities = '<!ENTITY e0 "ha">' + ''.join(f'<!ENTITY e{number} "{f"&e{number - 1};" * 10}">'
                                             for number in range(1, 10))
    return crohme(place, {'train/laugh.inkml': inkml('&e9;', head=f'<!DOCTYPE ink [{entities}]>')})


def nested(place, depth=3000):
    """MathML that is very deep, where the truth is of no use."""
    return crohme(place, {'train/deep.inkml': inkml('{', math='<mrow>' * depth + '<mi>x</mi>'
                                                    + '</mrow>' * depth)})


def with_odd_names(place):
    """Images whose names hold newlines, tabs and bytes that are no UTF-8."""
    source = own(place, {'labels.tsv': 'a.png\tone\n'})
    for name in (b'a\nb.inkml', b'c\td.inkml', b'\xff\xfe.inkml'):
        os.makedirs(os.fsencode(place / 'source/train'), exist_ok=True)
        with open(os.path.join(os.fsencode(place / 'source/train'), name), 'w') as file:
            file.write(inkml())
    return Source('crohme', ['--source', source.arguments[1]])


def in_an_odd_folder(place, script=svt):
    """A source whose own folder has a name of several lines that is no UTF-8."""
    below = Path(os.fsdecode(os.fsencode(place) + b'/two\nlines \xff'))
    below.mkdir()
    return script(below)


def _source_is(place, script, make):
    make(place / 'source')
    return Source(script, ['--source', str(place / 'source')])


def _annotated_by_a_pipe(place):
    source = piped(synthtext(place), 'pipe.mat')
    return Source('synthtext', [*source.arguments, '--annotation', str(place / 'source/pipe.mat')])


def _flagged_synthtext(place, **how):
    source = synthtext(place, form='zip')
    flagged(source.files[0], 'SynthText/1/0.png', **how)
    return source


# What must be refused, or lose one example, soon and in bounded memory.
SOURCES = {
    'links in circles, of images': lambda place: looped(iiit5k(place)),
    'links in circles, of ink': lambda place: looped(crohme(place, {})),
    'links in circles, of LMDBs': lambda place: looped(lmdbs(place)),
    'links in circles, of label lists': lambda place: looped(
        Source('folder', ['--source', str(written(place / 'source', {
            'train_labels.txt': 'a.png\tx\n', 'a.png': picture()})), '--config', 'hme100k'])),
    'a pipe among images': lambda place: piped(
        own(place, {'labels.tsv': 'a.png\tone\nb.png\ttwo\n'}), 'b.png'),
    'a pipe among ink': lambda place: piped(crohme(place, {}), 'train/b.inkml'),
    'a pipe for an LMDB': lambda place: piped(lmdbs(place), 'b/test/data.mdb'),
    'a pipe for a list': lambda place: piped(
        Source('folder', ['--source', str(written(place / 'source', {
            'train_labels.txt': 'a.png\tx\n', 'a.png': picture()})), '--config', 'hme100k']),
        'test/test_labels.txt'),
    'a pipe for labels': lambda place: piped(own(place, {'labels.tsv': ''}), 'labels.tsv'),
    'a pipe for captions': lambda place: piped(bitmaps(place), 'captions.txt'),
    'a pipe for a pickle': lambda place: piped(bitmaps(place), 'train.pkl'),
    'a pipe for an archive': lambda place: piped(iiit5k(place), 'more.tar.gz'),
    'a pipe for a source': lambda place: _source_is(place, 'mjsynth', os.mkfifo),
    'a pipe for an annotation': lambda place: _annotated_by_a_pipe(place),
    'zeros for a source': lambda place: Source('mjsynth', ['--source', '/dev/zero']),
    'zeros for a zip': lambda place: Source('synthtext', ['--source', '/dev/zero']),
    'zeros among images': lambda place: endless(
        own(place, {'labels.tsv': 'a.png\tone\nb.png\ttwo\n'}), 'b.png'),
    'zeros among ink': lambda place: endless(crohme(place, {}), 'train/b.inkml'),
    'zeros for labels': lambda place: endless(own(place, {'labels.tsv': ''}), 'labels.tsv'),
    'zeros for a lexicon': lambda place: endless(mjsynth(place, form='tree'), 'lexicon.txt'),
    'a hole for labels': lambda place: hollow(own(place, {}), 'labels.tsv', 5 << 30),
    'a hole for formulas': lambda place: hollow(
        Source('folder', ['--source', str(written(place / 'source', {'im2latex_train.lst': '0 a basic\n',
                                                                    'a.png': picture()})),
                          '--config', 'im2latex']), 'im2latex_formulas.lst', 5 << 30),
    'a hole among ink': lambda place: hollow(crohme(place, {}), 'train/b.inkml', 3 << 30),
    'a hole among images': lambda place: hollow(
        own(place, {'labels.tsv': 'a.png\tone\nb.png\ttwo\n'}), 'b.png', 900 << 20),
    'a hole for a pickle': lambda place: hollow(bitmaps(place), 'train.pkl', 5 << 30),
    'a hole for captions': lambda place: hollow(bitmaps(place), 'captions.txt', 5 << 30),
    'a hole for a lexicon': lambda place: hollow(mjsynth(place, form='tree'), 'lexicon.txt', 5 << 30),
    'a hole for gt.mat': lambda place: hollow(synthtext(place), 'gt.mat', 5 << 30),
    'a hole for an LMDB': lambda place: hollow(lmdbs(place), 'train/data.mdb', 5 << 30),
    'ten thousand million samples': lambda place: lmdbs(place, num_samples=b'10000000000'),
    'samples of 5,000 digits': lambda place: lmdbs(place, num_samples=b'9' * 5000),
    'a zip of 6 GB': bomb, 'a sparse tar': sparse_tar, 'a header of 2 GB': long_header,
    'a member that ends before it begins': backwards, 'a tar of 6 GB': bulging,
    'an encrypted member': lambda place: changed_zip(place, flags=ENCRYPTED),
    'a member compressed as nobody can': lambda place: changed_zip(place, way=UNKNOWN),
    'a member with a wrong sum': lambda place: changed_zip(place, size=11),
    'an encrypted picture': lambda place: _flagged_synthtext(place, flags=ENCRYPTED),
    'a picture compressed as nobody can': lambda place: _flagged_synthtext(place, way=UNKNOWN),
    'wide ink': wide, 'millions of points': many_points, 'a billion laughs': laughing,
    'MathML 3,000 deep': nested, 'MathML 100,000 deep': lambda place: nested(place, 100_000),
    'numbers of 5,000 digits in ink': lambda place: crohme(
        place, {'train/b.inkml': inkml(traces=('1' * 5000 + ' 2, 1e999 nan',))}),
    'an encoding that nobody knows': lambda place: crohme(
        place, {'train/b.inkml': inkml(head='<?xml version="1.0" encoding="none"?>'),
                'train/c.inkml': inkml(head='<?xml version="1.0" encoding="utf-7"?>')}),
    'a scene in such an encoding': lambda place: svt(place, form='folder',
                                                     head='<?xml version="1.0" encoding="utf-7"?>'),
    'brackets in brackets': lambda place: own(
        place, {'labels.tsv': 'a.png\tone\n' + '[' * 100_000 + ']\tx\n'}),
    'JSON in JSON': lambda place: own(place, {'l.jsonl': listed() + '{"a":' * 100_000 + '\n'}, 'l.jsonl'),
    'NUL in names': lambda place: own(place, {'l.jsonl': listed(('a\0b.png', 'x'))}, 'l.jsonl'),
    'surrogates in names': lambda place: own(place, {'l.jsonl': listed(('\ud800.png', 'x'))}, 'l.jsonl'),
    'surrogates that are dealt': lambda place: own(
        place, {'l.jsonl': listed(('\ud800.png', 'x'))}, 'l.jsonl', '--ratio', 'train=1'),
    'long names': lambda place: own(place, {'l.jsonl': listed(('x' * 5000, 'x'), ('y/' * 5000, 'x'))},
                                    'l.jsonl'),
    'long names before others': lambda place: own(place, {'labels.tsv': 'x' * 5000 + '\tx\na.png\tone\n'}),
    'names of several lines': with_odd_names, 'an odd folder': in_an_odd_folder,
    'an odd folder of formulas': lambda place: in_an_odd_folder(place, latex_ocr),
    'an odd folder without anything': lambda place: in_an_odd_folder(
        place, lambda below: Source('benchmarks', ['--source', str(below)])),
    'labels of 10 MB': lambda place: own(place, {'labels.tsv': 'a.png\t' + 'x ' * 5_000_000 + '\n'}),
    'a lexicon that is no UTF-8': lambda place: mjsynth(place, {'lexicon.txt': b'\xff\xfe\nlube\n'}, 'tree'),
    'annotations of 5,000 digits': lambda place: mjsynth(
        place, {'annotation_train.txt': f'./1/1/1_Lube_1.jpg {"9" * 5000}\n./1/1/2_a_0.jpg 0\n'}, 'tree'),
    'annotations of ten digits in a tar': lambda place: mjsynth(
        place, {'annotation_train.txt': './1/1/1_Lube_1.jpg 9999999999\n./1/1/2_a_0.jpg 0\n'}),
    'names of NUL': lambda place: mjsynth(
        place, {'annotation_train.txt': './1/1/1_Lu\0be_1.jpg 1\n./1/1/2_a_0.jpg 0\n'}, 'tree'),
    'formulas of 5,000 digits': lambda place: Source('folder', [
        '--source', str(written(place / 'source', {
            'im2latex_formulas.lst': 'x\n', 'im2latex_train.lst': '0 a basic\n' + '9' * 5000 + ' a basic\n',
            'a.png': picture()})), '--config', 'im2latex']),
    'infinite boxes': lambda place: svt(place, 'inf'),
    'boxes that are no number': lambda place: svt(place, 'nan'),
    'boxes of 10^300': lambda place: svt(place, '-1e300', '2e300'),
    'dimensions of 2^31': lambda place: synthtext(
        place, mat(matrix('imnames', 1, (1, 0x7fffffff)))),
    'dimensions of 2^62': lambda place: synthtext(
        place, mat(matrix('imnames', 1, (0x7fffffff, 0x7fffffff)))),
    'characters of 2^31': lambda place: synthtext(
        place, mat(matrix('imnames', 4, (1, 0x7fffffff), element(2, b'abc')))),
    'a function handle': lambda place: synthtext(
        place, mat(matrix('imnames', FUNCTION, (1, 1), HANDLE))),
    'a cell of a function handle': lambda place: synthtext(
        place, mat(matrix('imnames', 1, (1, 1), matrix('', FUNCTION, (1, 1), HANDLE)))),
    'a function handle before all': lambda place: iiit5k(
        place, lexicons_of()[:128] + matrix('f', FUNCTION, (1, 1), HANDLE) + lexicons_of()[128:]),
    'zeros of 2 GB in gt.mat': lambda place: synthtext(place, unfolding()),
    'cells in cells': lambda place: synthtext(place, mat(cells_in_cells(5000))),
}
