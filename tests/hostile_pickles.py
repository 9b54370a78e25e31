"""Pickles that ask for code, for memory that is not theirs, or for far more than they hold."""

import builtins
import codecs
import collections
import io
import os
import pickle
import struct
import types

import numpy as np
from numpy._core import multiarray, numeric

HUGE = 1 << 40


class Call:
    """Pickled as a call of a function with arguments, and perhaps a state that is set afterwards."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def dumped(value, protocol=4):
    """The pickle of a dictionary with this value."""
    return pickle.dumps({'a': value}, protocol)


def text(words):
    """The instruction that pushes a text."""
    content = words.encode()
    return b'X' + struct.pack('<I', len(content)) + content


def named(module, name):
    """The instruction that pushes what a table of names has."""
    return f'c{module}\n{name}\n'.encode()


def doubled(times):
    """The instructions that push a tuple of two of a tuple of two of ... so many times."""
    return b')' + b'2\x86' * times


def code():
    """Calls of what would run something, or reach for more."""
    made = {f'calls {function.__module__}.{function.__name__}': dumped(Call(function, *arguments))
            for function, arguments in (
                (os.system, ('true',)), (builtins.eval, ('1',)), (builtins.exec, ('1',)),
                (builtins.getattr, ('a', 'b')), (builtins.__import__, ('os',)), (io.open, ('/dev/null',)),
                (np.fromfile, ('/dev/zero',)), (np.load, ('/dev/zero',)), (np.zeros, (1 << 33,)),
                (collections.Counter, ('a' * 9,)), (pickle.loads, (b'N.',)), (types.SimpleNamespace, ()))}
    for name in ('numpy.f2py.crackfortran myeval', 'numpy.testing._private.utils runstring',
                 'numpy.core.multiarray scalar', 'numpy.ndarray __new__', 'torch.hub load', 'torch storage',
                 'copyreg _reconstructor', 'collections.OrderedDict fromkeys', '_codecs lookup'):
        made[f'names {name}'] = b'}' + text('a') + named(*name.split(' ')) + b'(tRs.'
    made['a function in the place of an array'] = b'}' + text('a') + named('numpy', 'dtype') + b's.'
    made['an instance by INST'] = b'(ios\nsystem\n.'
    made['an instance by OBJ'] = b'(' + named('numpy', 'ndarray') + b'K\x04o.'
    made['an instance by NEWOBJ'] = named('numpy', 'ndarray') + b'K\x04\x85\x81.'
    made['an extension'] = b'\x82\x01.'
    return made


def array(state):
    """What numpy pickles as an array with this state: version, shape, type, order and bytes."""
    return Call(multiarray._reconstruct, np.ndarray, (0,), b'b', state=state)


def forged_types():
    """Types and arrays whose numbers are pointers, or that are larger than their bytes."""
    plain, objects = np.dtype('f8'), np.dtype('O')
    fields = (3, '|', None, ('a', 'b'), {'a': (objects, 0), 'b': (objects, 1 << 30)}, 16, 1, 27)
    eight = b'A' * 8
    made = {
        'numpy.ndarray of objects over bytes': dumped(Call(np.ndarray, (4,), objects, b'A' * 32)),
        'numpy.ndarray with steps of 0': dumped(Call(np.ndarray, (1 << 30,), plain, b'A' * 8, 0, (0,))),
        'numpy.ndarray with steps beyond': dumped(Call(np.ndarray, (4,), plain, b'A' * 8, 0, (1 << 30,))),
        'numpy.ndarray without bytes': dumped(Call(np.ndarray, (1 << 31,))),
        '_frombuffer of objects': dumped(Call(numeric._frombuffer, b'A' * 32, objects, (4,), 'C')),
        '_frombuffer in an order of its own': dumped(Call(numeric._frombuffer, b'A' * 8, plain, (1,), 'K')),
        '_frombuffer larger than its bytes': dumped(Call(numeric._frombuffer, b'A' * 8, plain, (2,), 'C')),
        '_reconstruct with a size': dumped(Call(multiarray._reconstruct, np.ndarray, (1 << 33,), b'd')),
        '_reconstruct of another class': dumped(Call(multiarray._reconstruct, np.matrix, (0,), b'b')),
        '_reconstruct of a function': dumped(Call(multiarray._reconstruct, np.dtype, (0,), b'b')),
        'the state of a tuple': b')' + b'}b.', 'the state of a list': b']}b.',
        'the state of a function': named('numpy', 'dtype') + b'}' + text('__code__') + b'Nsb.',
        'the state of a class': named('numpy', 'ndarray') + b'}' + text('call') + b'Nsb.',
        'an entry of an array': dumped(np.zeros(3))[:-2] + b'NNss.',
        'an array extended': dumped(np.zeros(3))[:-2] + b'Nas.'}
    states = {
        'objects by state': (1, (4,), objects, False, b'A' * 32),
        'a list of objects': (1, (1,), objects, 0, [0]),
        'too few bytes': (1, (9,), plain, False, b'A' * 8),
        'too many bytes': (1, (0,), plain, False, b'A' * 8),
        'negative sizes': (1, (-1, -1), plain, False, b'A' * 8), 'no sizes': (1, None, plain, False, b''),
        'sizes that wrap around': (1, (1 << 32, 1 << 32), plain, False, b''),
        'a size of a million bits': (1, (1 << 1_000_000,), plain, False, b'A' * 8),
        'half a size': (1, (0.5,), np.dtype('f4'), False, b'AA'),
        'a hundred axes': (1, (1,) * 100, plain, 0, b'A' * 8),
        '100,000 axes': (1, (1,) * 100_000, plain, False, b'A' * 8),
        'no type': (1, (8,), None, False, b'A' * 8),
        'structured numbers': (1, (1,), Call(np.dtype, 'V16', state=fields), False, b'A' * 16)}
    made |= {f'an array with {name}': dumped(array(state)) for name, state in states.items()}
    for name, state in {'fields': fields, 'a subtype': (3, '|', (objects, (1,)), None, None, 8, 1, 27),
                        'names alone': (3, '<', None, ('a',), None, -1, -1, 0), 'nothing': (),
                        'an order of its own': (3, 'X', None, None, None, -1, -1, 0)}.items():
        kind = Call(np.dtype, 'f8', state=state)
        made[f'a type with the state {name}'] = dumped(array((1, (1,), kind, False, eight)))
    for name in ('O', 'V8', 'U1000000000', 'M8[s]', '(1000000000,)f8', 'f8,O', 'f4', {'names': ['a']}, None):
        kind = Call(np.dtype, name, False, True)
        made[f'a type called {name}'] = dumped(array((1, (1,), kind, False, eight)))
    return made


def large():
    """Few bytes that ask for many, or for a long time."""
    nested = b'AAAAAAAAAAAAAAAA'.hex()
    for _ in range(26):
        nested = Call(codecs.encode, nested, 'hex')
    once = np.zeros(25_000, np.float32)
    return {
        'bytes by a codec, nested': dumped(nested),
        'punycode': dumped(Call(codecs.encode, 'é' * 300_000, 'punycode')),
        **{f'encoded as {codec}': dumped(Call(codecs.encode, b'A', codec))
           for codec in ('zip', 'bz2', 'rot13', 'idna', 'utf-32', 'unicode_escape', 'undefined')},
        'bytes of a large text, often': b'\x80\x02(' + text('a' * 100_000) + b'q\x00' + (
            named('_codecs', 'encode') + b'h\x00' + text('latin1') + b'\x86R') * 20_000 + b'l.',
        'a memo of 2^28': b'\x80\x02Nr\xff\xff\xff\x0f.',
        'a memo of 2^62': b'N' + b'p%d\n' % (1 << 62) + b'.',
        'a missing memo': b'\x80\x02j\xff\xff\xff\x0f.',
        **{f'{name} of a terabyte': b'\x80\x05' + code + struct.pack('<Q', HUGE) + b'.'
           for name, code in (('bytes', b'\x8e'), ('a byte array', b'\x96'), ('a text', b'\x8d'),
                              ('a frame', b'\x95'))},
        'a text of 4 GB': b'X\xff\xff\xff\xff.', 'a string of -1 bytes': b'T\xff\xff\xff\xff.',
        'a number of 2 GB': b'\x8b\xff\xff\xff\x7f.',
        'a number of 100,000 digits': b'I' + b'9' * 100_000 + b'\n.',
        'nothing but lists': b']' * 1_500_000, 'nothing but marks': b'(' * 1_500_000,
        'a key nested 300,000 times': b'}' + b')' + b'\x85' * 300_000 + b'Ns.',
        'a key of 2^60 tuples': b'}' + doubled(60).replace(b'2', b'q\x00h\x00') + b'Ns.',
        'a key of a million bits': b'}' + pickle.dumps(1 << 1_000_000, 2)[2:-1] + b'Ns.',
        'a list that holds itself': b']q\x00h\x00a.',
        'a value nested 300,000 times': b'}' + text('a') + b']' * 300_000
        + b'a' * 299_999 + b's.',
        'a name of a megabyte': pickle.dumps({'a' * 1_000_000: 3}),
        'a name of two lines': pickle.dumps({'a\nb': once}),
        'a value named in two lines': pickle.dumps({'a\nb\tc': 3}),
        'a module of two lines': named('os\r', 'a\r') + b'.',
        'one array 2,500 times': pickle.dumps({f'a{number}': once for number in range(2500)}),
        'no array at all': pickle.dumps(3), 'an array as it is': pickle.dumps(once)}


PICKLES = {**code(), **forged_types(), **large()}
