"""Sources of data sets that are made to cost, to hang or to break a builder, and sound ones to be changed.

Each maker writes a source below a folder and says which script of datasets/ reads it, with which arguments.
"""

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hostile_images import encoded
from PIL import Image

PLAIN, ENCRYPTED, UNKNOWN = 0, 1, 99  # flags of a zip's member, and a way to compress that nobody knows
MATH = '<msub><mi>x</mi><mi>k</mi></msub>'


class Source(NamedTuple):
    """A script, its arguments, and the files that may be changed."""

    script: str
    arguments: list[str]
    files: list[Path] = []


def picture(number=0):
    """A small image of its own."""
    noise = np.random.default_rng(number).integers(0, 256, (12, 30, 3), np.uint8)
    return encoded(Image.fromarray(noise), 'png')


def written(folder, files):
    """Write files by their names."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def zipped(file, files, how=zipfile.ZIP_STORED):
    """A zip of files by their names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, 'w', how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file


def tarred(file, files, mode='w'):
    """A tar of files by their names; a whole number is the size of a file of zeros without any."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


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


def own(place, files, labels='labels.tsv', *more):
    """A folder of images and labels of one's own."""
    source = written(place / 'source', {'a.png': picture(), 'b.png': picture(1), **files})
    return Source('folder', ['--source', str(source), '--name', 'mine', '--labels', labels, *more],
                  [source / name for name in files])


def crohme(place, files):
    """A tree of ink with one good file."""
    source = written(place / 'source', {'train/good.inkml': inkml(), **files})
    return Source('crohme', ['--source', str(source)], [source / name for name in files])


def inkml(truth='$x_k$', traces=('10 10, 10 90', '30 50, 40 90'), math=MATH, head=''):
    """The ink of a formula."""
    strokes = ''.join(f'<trace id="{number}">{trace}</trace>' for number, trace in enumerate(traces))
    return (f'{head}<ink xmlns="http://www.w3.org/2003/InkML"><annotation type="truth">{truth}</annotation>'
            f'<annotationXML type="truth"><math xmlns="http://www.w3.org/1998/Math/MathML"><mrow>{math}</mrow>'
            f'</math></annotationXML>{strokes}</ink>')


def lmdb_of(folder, words, **entries):
    """An LMDB of words and their pictures."""
    import lmdb

    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=1 << 24) as environment, environment.begin(write=True) as writing:
        for number, word in enumerate(words, 1):
            writing.put(f'image-{number:09d}'.encode(), picture(number) + bytes(5000 * (number % 3 == 0)))
            writing.put(f'label-{number:09d}'.encode(), word.encode())
        writing.put(b'num-samples', str(len(words)).encode())
        for key, value in entries.items():
            writing.put(key.replace('_', '-').encode(), value)
    return folder


def lmdbs(place, count=40, **entries):
    """A script that reads one LMDB."""
    folder = lmdb_of(place / 'source' / 'train', [f'word{number}' for number in range(count)], **entries)
    return Source('lmdb_folder', ['--source', str(place / 'source'), '--name', 'mine'],
                  [folder / 'data.mdb'])


def cells(values):
    """A row of MATLAB's cells."""
    row = np.empty((1, len(values)), object)
    for number, value in enumerate(values):
        row[0, number] = value
    return row


def truth_of(count=3, compressed=False):
    """SynthText's gt.mat."""
    from scipy.io import savemat

    box = np.array([[1, 20, 20, 1], [1, 1, 10, 10]], float)
    content = io.BytesIO()
    savemat(content, {'imnames': cells([f'1/{number}.png' for number in range(count)]),
                      'wordBB': cells([np.stack([box, box], 2) if number else box
                                       for number in range(count)]),
                      'txt': cells([np.array(['two words' if number else 'one'])
                                    for number in range(count)])},
            do_compression=compressed)
    return content.getvalue()


def synthtext(place, truth=b'', form='folder'):
    """SynthText's release."""
    files = {'gt.mat': truth or truth_of(), **{f'1/{number}.png': picture(number) for number in range(3)}}
    if form == 'zip':
        source = zipped(place / 'SynthText.zip', {f'SynthText/{name}': each for name, each in files.items()})
        return Source('synthtext', ['--source', str(source)], [source])
    source = written(place / 'source', files)
    return Source('synthtext', ['--source', str(source)], [source / 'gt.mat'])


def lexicons_of(words=('PRIVATE', 'X'), compressed=False, **odd):
    """IIIT5K's testdata.mat."""
    from scipy.io import savemat

    table = np.zeros((1, len(words)), [(field, object) for field in ('ImgName', 'GroundTruth', 'smallLexi',
                                                                     'mediumLexi')])
    for place, word in enumerate(words):
        lists = [np.array([*(f'W{number}' for number in range(count)), word], object)[None]
                 for count in (2, 4)]
        table[0, place] = (f'test/{place}_1.png', word, *lists)
    content = io.BytesIO()
    savemat(content, {'testdata': table, **odd}, do_compression=compressed)
    return content.getvalue()


def iiit5k(place, truth=b''):
    """IIIT5K's test words."""
    source = written(place / 'source' / 'IIIT5K', {'testdata.mat': truth or lexicons_of(),
                                                   **{f'test/{number}_1.png': picture(number)
                                                      for number in range(2)}})
    return Source('benchmarks', ['--source', str(place / 'source')], [source / 'testdata.mat'])


def svt(place, x='5', width='20', body='', form='zip', head='<?xml version="1.0" encoding="utf-8"?>'):
    """A scene of SVT in its zip."""
    xml = (f'{head}<tagset><image><imageName>img/1.jpg</imageName><lex>LIVING,ROOM</lex><taggedRectangles>'
           f'<taggedRectangle height="10" width="{width}" x="{x}" y="1"><tag>LIVING</tag></taggedRectangle>'
           f'<taggedRectangle height="10" width="20" x="1" y="1"><tag>ROOM</tag></taggedRectangle>{body}'
           '</taggedRectangles></image></tagset>')
    files = {'svt1/test.xml': xml, 'svt1/img/1.jpg': picture()}
    if form == 'zip':
        file = zipped(place / 'source' / 'svt.zip', files)
        return Source('benchmarks', ['--source', str(place / 'source')], [file])
    written(place / 'source', files)
    return Source('benchmarks', ['--source', str(place / 'source')], [place / 'source/svt1/test.xml'])


def mjsynth(place, changes=(), form='tar', mode='w'):
    """MJSynth as a tar, or as its tree."""
    files = {'1/1/1_Lube_1.jpg': picture(), '1/1/2_a_0.jpg': picture(1),
             'annotation_train.txt': './1/1/1_Lube_1.jpg 1\n./1/1/2_a_0.jpg 0\n', 'annotation_val.txt': '',
             'annotation_test.txt': '', 'lexicon.txt': 'a\nlube\n', **dict(changes)}
    files = {name: each if isinstance(each, bytes) else each.encode() for name, each in files.items()}
    if form == 'tree':
        source = written(place / 'source', files)
        return Source('mjsynth', ['--source', str(source)], [source / name for name in files])
    file = tarred(place / 'mjsynth.tar', {f'max/90kDICT32px/{name}': each for name, each in files.items()},
                  mode)
    return Source('mjsynth', ['--source', str(file)], [file])


def latex_ocr(place, how=zipfile.ZIP_STORED):
    """LaTeX-OCR's set in a zip."""
    rows = ''.join(f'n{number},x ^ {number}\n' for number in range(10))
    file = zipped(place / 'source.zip', {'caption_data.csv': f'Column1,Column2\n{rows}',
                                         **{f'bitmaps/n{number}.png': picture(number)
                                            for number in range(10)}}, how)
    return Source('latex_ocr', ['--source', str(file)], [file])


def bitmaps(place, content=b''):
    """CROHME's bitmaps in a pickle."""
    arrays = {name: np.full((9, 9), 255, np.uint8) for name in 'abc'}
    source = written(place / 'source', {'captions.txt': 'a\tx\nb\ty\nc\tz\n',
                                        'train.pkl': content or pickle.dumps(arrays, 2)})
    return Source('crohme', ['--source', str(source), '--config', 'bitmaps', '--captions',
                             'train=captions.txt', '--bitmaps', 'train=train.pkl'],
                  [source / 'captions.txt', source / 'train.pkl'])


def bitmaps_in(place, file):
    """CROHME's bitmaps in an archive that is there."""
    source = written(place / 'source', {'captions.txt': 'a\tx\nb\ty\n'})
    return Source('crohme', ['--source', str(source), '--config', 'bitmaps', '--captions',
                             'train=captions.txt', '--bitmaps', f'train={file}'], [file])


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
    content = bytearray(file.read_bytes())
    file.write_bytes(content)
    flagged(file, 'a.png', way=8, size=(1 << 32) - 2)
    return bitmaps_in(place, file)


def changed_zip(place, **how):
    """Bitmaps in a zip, of which one member is odd."""
    file = zipped(place / 'bitmaps.zip', {'a.png': picture(), 'b.png': picture(1)})
    flagged(file, 'a.png', **how)
    return bitmaps_in(place, file)


def sparse_tar(place):
    """A tar whose member says that it is 6 GB, of which a few bytes stand in it."""
    headers = {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 'a.png',
               'GNU.sparse.realsize': str(6 << 30)}
    content = f'1\n{(6 << 30) - 1}\n1\n'.encode().ljust(512, b'\0') + b'x'
    return _with_headers(place, headers, content)


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
    return _with_headers(place, {'size': '-1024'}, picture())


def bulging(place):
    """A tar of zeros in a gzip of some megabytes, as one member that is no image."""
    member = tarfile.TarInfo('zeros')
    member.size = 6400 << 20
    part = gzip.compress(bytes(100 << 20), 9)
    file = place / 'bitmaps.tar.gz'
    file.write_bytes(gzip.compress(member.tobuf()) + part * 64)
    return bitmaps_in(place, file)


def _with_headers(place, headers, content):
    file = place / 'bitmaps.tar'
    with tarfile.open(file, 'w', format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo('a.png')
        member.size, member.pax_headers = len(content), headers
        archive.addfile(member, io.BytesIO(content))
        other = tarfile.TarInfo('b.png')
        other.size = len(picture())
        archive.addfile(other, io.BytesIO(picture()))
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


def matrix(name, kind, dims, parts=b''):
    """The bytes of a matrix of MATLAB's."""
    body = struct.pack('<4I', 6, 8, kind, 0) + _element(5, struct.pack(f'<{len(dims)}i', *dims))
    body += _element(1, name.encode()) + parts
    return struct.pack('<2I', 14, len(body)) + body


def _element(kind, content):
    return struct.pack('<2I', kind, len(content)) + content + bytes(-len(content) % 8)


def mat(*matrices):
    """A file of MATLAB's."""
    return b'MATLAB 5.0 MAT-file'.ljust(124) + b'\0\1IM' + b''.join(matrices)


def packed(content):
    """An element of MATLAB's, compressed."""
    small = zlib.compress(content)
    return struct.pack('<2I', 15, len(small)) + small


def unfolding(megabytes=2000):
    """A matrix of zeros, compressed."""
    packer = zlib.compressobj(9)
    head = matrix('imnames', 6, (1, megabytes << 17), struct.pack('<2I', 9, megabytes << 20))
    head = struct.pack('<2I', 14, len(head) - 8 + (megabytes << 20)) + head[8:]
    content = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    first = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    content += first + again * (megabytes - 1) + packer.flush()
    return mat(struct.pack('<2I', 15, len(content)) + content)


def _labels(*rows):
    return ''.join(json.dumps({'file': file, 'text': text}) + '\n'
                   for file, text in (('a.png', 'one'), *rows))


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


FUNCTION = 16  # MATLAB's class of function handles
HANDLE = matrix('', 2, (1, 1), struct.pack('<4I', 5, 4, 8, 1) + _element(1, b'sub\0\0\0\0\0'))
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
    'JSON in JSON': lambda place: own(place, {'l.jsonl': _labels() + '{"a":' * 100_000 + '\n'}, 'l.jsonl'),
    'NUL in names': lambda place: own(place, {'l.jsonl': _labels(('a\0b.png', 'x'))}, 'l.jsonl'),
    'surrogates in names': lambda place: own(place, {'l.jsonl': _labels(('\ud800.png', 'x'))}, 'l.jsonl'),
    'surrogates that are dealt': lambda place: own(
        place, {'l.jsonl': _labels(('\ud800.png', 'x'))}, 'l.jsonl', '--ratio', 'train=1'),
    'long names': lambda place: own(place, {'l.jsonl': _labels(('x' * 5000, 'x'), ('y/' * 5000, 'x'))},
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
        place, mat(matrix('imnames', 4, (1, 0x7fffffff), _element(2, b'abc')))),
    'a function handle': lambda place: synthtext(
        place, mat(matrix('imnames', FUNCTION, (1, 1), HANDLE))),
    'a cell of a function handle': lambda place: synthtext(
        place, mat(matrix('imnames', 1, (1, 1), matrix('', FUNCTION, (1, 1), HANDLE)))),
    'a function handle before all': lambda place: iiit5k(
        place, lexicons_of()[:128] + matrix('f', FUNCTION, (1, 1), HANDLE) + lexicons_of()[128:]),
    'zeros of 2 GB in gt.mat': lambda place: synthtext(place, unfolding()),
    'cells in cells': lambda place: synthtext(place, mat(_cells_in_cells(5000))),
}


def _cells_in_cells(depth):
    made = matrix('', 4, (1, 1), _element(2, b'x'))
    for _ in range(depth):
        made = matrix('', 1, (1, 1), made)
    return matrix('imnames', 1, (1, 1), made)


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


# Sound sources of all forms, whose files may be changed.
SOUND = {
    'own tsv': lambda place: own(place, {'labels.tsv': 'a.png\tone\nb.png\ttwo\n'}),
    'own csv': lambda place: own(place, {'l.csv': 'file,text\na.png,"one, two"\nb.png,two\n'}, 'l.csv'),
    'own jsonl': lambda place: own(place, {'l.jsonl': _labels(('b.png', 'two'))}, 'l.jsonl'),
    'own icdar': lambda place: own(place, {'gt.txt': 'a.png, "one"\nb.png, "two"\n'}, 'gt.txt',
                                   '--form', 'icdar'),
    'ink': lambda place: crohme(place, {'train/b.inkml': inkml(), 'test2014/c.inkml': inkml('{')}),
    'pickle': bitmaps,
    'bitmaps in a zip': lambda place: changed_zip(place),
    'bitmaps in a deflated zip': lambda place: bitmaps_in(place, zipped(
        place / 'bitmaps.zip', {'a.png': picture(), 'b.png': picture(1)}, zipfile.ZIP_DEFLATED)),
    'bitmaps in a tar': lambda place: _with_headers(place, {'comment': 'x'}, picture(2)),
    'bitmaps in a sparse tar': sparse_tar,
    'bitmaps in a tar.gz': lambda place: bitmaps_in(place, tarred(
        place / 'bitmaps.tar.gz', {'a.png': picture(), 'b.png': picture(1)}, 'w:gz')),
    'formulas in a zip': latex_ocr,
    'LMDB': lmdbs,
    'gt.mat': synthtext, 'gt.mat, compressed': lambda place: synthtext(place, truth_of(compressed=True)),
    'SynthText.zip': lambda place: synthtext(place, form='zip'),
    'testdata.mat': iiit5k,
    'testdata.mat, compressed': lambda place: iiit5k(place, lexicons_of(compressed=True)),
    'svt.zip': svt, 'svt': lambda place: svt(place, form='folder'),
    'mjsynth.tar': mjsynth, 'mjsynth.tar.gz': lambda place: mjsynth(place, mode='w:gz'),
    'mjsynth': lambda place: mjsynth(place, form='tree'),
}
