"""Small sources of data sets in all forms, for the builders to read and for others to change.

Each maker writes a source below a folder and says which script of datasets/ reads it, with which arguments.
"""

import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hostile_images import encoded
from PIL import Image

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
    """A tar of files by their names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


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


def with_headers(place, headers, content):
    """CROHME's bitmaps in a tar, of which the first has headers of its own."""
    file = place / 'bitmaps.tar'
    with tarfile.open(file, 'w', format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo('a.png')
        member.size, member.pax_headers = len(content), headers
        archive.addfile(member, io.BytesIO(content))
        other = tarfile.TarInfo('b.png')
        other.size = len(picture())
        archive.addfile(other, io.BytesIO(picture()))
    return bitmaps_in(place, file)


def sparse_tar(place):
    """A tar whose member says that it is 6 GB, of which a few bytes stand in it."""
    headers = {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 'a.png',
               'GNU.sparse.realsize': str(6 << 30)}
    content = f'1\n{(6 << 30) - 1}\n1\n'.encode().ljust(512, b'\0') + b'x'
    return with_headers(place, headers, content)


def listed(*rows):
    """Labels as lines of JSON, after that of a good image."""
    return ''.join(json.dumps({'file': file, 'text': text}) + '\n'
                   for file, text in (('a.png', 'one'), *rows))


# Sound sources of all forms, whose files may be changed.
SOUND = {
    'own tsv': lambda place: own(place, {'labels.tsv': 'a.png\tone\nb.png\ttwo\n'}),
    'own csv': lambda place: own(place, {'l.csv': 'file,text\na.png,"one, two"\nb.png,two\n'}, 'l.csv'),
    'own jsonl': lambda place: own(place, {'l.jsonl': listed(('b.png', 'two'))}, 'l.jsonl'),
    'own icdar': lambda place: own(place, {'gt.txt': 'a.png, "one"\nb.png, "two"\n'}, 'gt.txt',
                                   '--form', 'icdar'),
    'ink': lambda place: crohme(place, {'train/b.inkml': inkml(), 'test2014/c.inkml': inkml('{')}),
    'pickle': bitmaps,
    'bitmaps in a zip': lambda place: bitmaps_in(place, zipped(
        place / 'bitmaps.zip', {'a.png': picture(), 'b.png': picture(1)})),
    'bitmaps in a deflated zip': lambda place: bitmaps_in(place, zipped(
        place / 'bitmaps.zip', {'a.png': picture(), 'b.png': picture(1)}, zipfile.ZIP_DEFLATED)),
    'bitmaps in a tar': lambda place: with_headers(place, {'comment': 'x'}, picture(2)),
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
