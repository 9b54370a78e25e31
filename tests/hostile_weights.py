"""Weights files that ask for code, for memory that is not theirs, or for far more than they hold.

`GADGETS` holds the content of each by a name that says what it tries.
"""

import copy
import gzip
import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
from hostile_pickles import HUGE, PICKLES, doubled, named, text
from pytorch_files import SYSTEM, Tensor, row, zipped

from recog.weights.pytorch import MAGIC, PROTOCOL


def read(path):
    """How many arrays a file holds."""
    from recog.weights.files import read_weights

    return len(read_weights(path))


def put_in(tensor_pickle):
    """A zip of PyTorch with this data.pkl and a storage of four numbers."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('a/data.pkl', tensor_pickle)
        archive.writestr('a/data/0', bytes(16))
    return file.getvalue()


REBUILD = named('torch._utils', '_rebuild_tensor_v2')
STORAGE = b'(' + text('storage') + named('torch', 'FloatStorage') + text('0') + text('cpu') + b'K\x04tQ'


def tensor(shape, strides=b'(K\x01t', offset=b'K\x00', storage=STORAGE):
    """A zip of PyTorch with a tensor of four numbers, whose parts are instructions."""
    call = REBUILD + b'(' + storage + offset + shape + strides + b'\x89}tR'
    return put_in(b'\x80\x02}' + text('a') + call + b's.')


def tensors():
    """References and views that PyTorch never writes."""
    many = b'(' + b'K\x01' * 100_000 + b't'
    begun = b''.join(pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, SYSTEM))
    return {
        'a tensor of negative size': tensor(b'(J\xff\xff\xff\xfft'), 'a tensor before its storage': tensor(
            b'K\x02\x85', offset=b'J\xff\xff\xff\xff'),
        'a tensor beyond': tensor(b'K\x05\x85'), 'a tensor of 100,000 axes': tensor(many, many),
        'a tensor with steps for other axes': tensor(b'K\x02K\x02\x86'),
        'a tensor of texts': tensor(text('22')),
        'a tensor of an infinite size': tensor(b'G\x7f\xf0\0\0\0\0\0\0\x85'),
        'a tensor of a tuple': tensor(b'K\x02\x85', storage=b')'),
        'a tensor of nothing': tensor(b')', storage=b'N'), 'a reference that is a list': put_in(b']Q.'),
        'a reference of 2^60 tuples': put_in(doubled(60).replace(b'2', b'q\x00h\x00') + b'Q.'),
        'a reference with a view': tensor(b'K\x02\x85', storage=STORAGE[:-2] + b'))tQ'),
        'a storage of -1 numbers': tensor(b')', storage=STORAGE[:-4] + b'J\xff\xff\xff\xfftQ'),
        'a storage of 2^63 numbers': tensor(b')', storage=STORAGE[:-4] + b'\x8a\x09' + bytes(8) + b'\x01tQ'),
        'a storage that is missing': tensor(b'K\x02\x85', storage=STORAGE.replace(text('0'), text('9'))),
        'a storage that is the pickle': tensor(
            b'K\x02\x85', storage=STORAGE.replace(text('0'), text('../data.pkl'))),
        'a storage of another type': tensor(b'K\x02\x85', storage=STORAGE.replace(b'FloatStorage', b'load')),
        'a storage in the place of an array': put_in(b'}' + text('a') + STORAGE + b's.'),
        'a parameter of a number': put_in(
            b'}' + text('a') + named('torch._utils', '_rebuild_parameter') + b'K\x01\x85Rs.'),
        'a row with other keys': begun + pickle.dumps({}, 2) + pickle.dumps(['0'], 2),
        'a row with a key of 2^60 tuples': begun + pickle.dumps({}, 2) + b'(' + doubled(60).replace(
            b'2', b'q\x00h\x00') + b'l.',
        'a row whose facts are a number': begun.replace(pickle.dumps(SYSTEM, 2), b'K\x01.')}


def shared():
    """Files whose tensors or dictionaries are made of the same things again and again."""
    many, storage = np.float32([7]), np.zeros(250_000, np.float32)
    state = {f'a{number}': Tensor(storage) for number in range(2500)}
    return {
        'an ordered dictionary of a list, often': put_in(
            b'\x80\x02(](' + b'K\x00N\x86' * 100_000 + b'eq\x00' + (
                named('collections', 'OrderedDict') + b'h\x00\x85R') * 20_000 + b'l.'),
        'one storage in 2,500 tensors, zipped': zipped_bytes(state),
        'one storage in 2,500 tensors, in a row': row(state),
        'a tensor with steps of 0': zipped_bytes({'a': Tensor(many, (1 << 30,), (0,))})}


def archives():
    """Zips and tars that unfold to more than they hold, or contradict themselves."""
    return {
        'a compressed zip': zipped_bytes({'a': Tensor(np.zeros(10 ** 6, np.float32))}, zipfile.ZIP_DEFLATED),
        'a zip of entries over one another': overlapping(),
        'a compressed tar': gzip.compress(tarred(bytes(10 ** 8))),
        'a sparse tar': tarred(b'1\n0\n4\n'.ljust(516, b'\0'), pax_headers={'GNU.sparse.major': '1',
        'GNU.sparse.minor': '0',
                                                 'GNU.sparse.realsize': str(HUGE)}),
        'a tar with a size of its own': tarred(b'N.', pax_headers={'size': str(HUGE)}),
        'a tar with a negative size': tarred(b'N.', pax_headers={'size': '-2048'}),
        'a tar with a negative size in its header': negative(),
        'a tar that is cut off': tarred(bytes(5000))[:3000], 'a tar without weights': tarred(b'', 'a.txt'),
        'a tar in a tar': tarred(tarred(b'N.')),
        'an empty file': b'',
        'zeros': bytes(10_000),
        'a text': b'text'}


def tarred(content, name='a/best_accuracy.pdparams', **facts):
    """A tar with one file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode='w', format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo(name)
        member.size, member.pax_headers = len(content), facts.get('pax_headers', {})
        archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def negative():
    """A tar whose first header says a size of -1024, so that the second header would be the first again."""
    header = bytearray(tarred(b'')[:512])
    header[124:136] = b'\xff' * 10 + b'\xfc\x00'
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    return bytes(header) + bytes(1024)


def overlapping():
    """A zip whose directory has one storage under 200 names."""
    numbers, references = bytes(400_000), b''
    for number in range(200):
        storage = STORAGE.replace(text('0'), text(str(number)))
        storage = storage.replace(b'K\x04', b'J' + struct.pack('<i', 100_000))
        references += text(f'a{number}') + REBUILD + (
            b'(' + storage + b'K\x00K\x01\x85K\x01\x85\x89}tR')
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('a/data.pkl', b'\x80\x02}(' + references + b'u.')
        archive.writestr('a/data/0', numbers)
        for number in range(1, 200):
            again = copy.copy(archive.getinfo('a/data/0'))
            again.filename = f'a/data/{number}'
            archive.filelist.append(again)
    return file.getvalue()


def zipped_bytes(state, compression=zipfile.ZIP_STORED):
    """The bytes of PyTorch's zip."""
    file = io.BytesIO()
    zipped(file, state, compression=compression)
    return file.getvalue()


GADGETS = {**PICKLES, **tensors(), **shared(), **archives()}
