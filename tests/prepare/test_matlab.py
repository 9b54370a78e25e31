"""MATLAB's files: what scipy writes is read the same, and no bytes do more than be refused."""

import io
import random
import tracemalloc

import numpy as np
import pytest
import scipy.io
from matlab_files import HANDLE, element, mat, matrix, packed, unfolding
from mutations import mutated
from small_sources import cells, lexicons_of, truth_of

from recog.prepare import matlab


def read(content, name='x'):
    return matlab.variable(io.BytesIO(content), name)


def saved(compressed=True, **variables):
    file = io.BytesIO()
    scipy.io.savemat(file, variables, do_compression=compressed)
    return file.getvalue()


ARRAYS = [np.arange(24.0).reshape(2, 3, 4), np.array([[1, -2]], np.int8), np.zeros((2, 0)),
          np.array([[1.5]], np.float32), np.array([[2 ** 40]], np.uint64), np.array([[True, False]])]


@pytest.mark.parametrize('compressed', [True, False])
def test_numbers_are_as_they_were_saved(compressed):
    for array in ARRAYS:
        found = read(saved(compressed, other=np.ones((50, 50)), x=array)).numbers()
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize('compressed', [True, False])
def test_text_cells_and_structs_are_as_they_were_saved(compressed):
    records = np.array([('n', 1.0), ('m', 2.0)], [('name', object), ('number', object)])[None]
    content = saved(compressed, lines=np.array(['one  ', 'zwölf']), records=records,
                    cells=cells(['a', np.ones((1, 2)), '']))
    assert read(content, 'lines').lines() == ['one  ', 'zwölf']
    text, numbers, empty = read(content, 'cells').cells()
    assert (text.lines(), numbers.numbers().tolist(), empty.lines()) == (['a'], [[1, 1]], [])
    assert [(each['name'].lines(), each['number'].numbers().item())
            for each in read(content, 'records').records()] == [(['n'], 1), (['m'], 2)]
    assert read(content, 'nothing') is None


def test_both_orders_of_bytes_are_read():
    numbers = np.array([1.5, -2])
    content = mat(matrix('x', 6, (1, 2), element(9, numbers.tobytes())))
    assert read(content).numbers().tolist() == [[1.5, -2]]
    words = np.frombuffer(content, '<u4', offset=128).astype('>u4').tobytes()
    # Letters have no order, and each of the numbers has eight bytes.
    swapped = content[:124] + b'\1\0MI' + words[:48] + content[176:184] + words[56:64]
    assert read(swapped + numbers.astype('>f8').tobytes()).numbers().tolist() == [[1.5, -2]]


@pytest.mark.parametrize('content, said', [
    (b'', 'no file of MATLAB'), (b'MATLAB 7.3 MAT-file'.ljust(124) + b'\0\2IM', 'save it with -v7'),
    (mat(matrix('x', 1, (1, 1 << 30))), 'matrices have 0 bytes'),
    (mat(matrix('x', 1, (1, 1), matrix('', 1, (1, -1)))), 'has the size'),
    (mat(matrix('x', 1, (1, 1), matrix('', 6, (0, *[1 << 30] * 3)))), 'has the size'),
    (mat(matrix('x', 1, (1, 1), matrix('', 16, (1, 1), HANDLE))), 'class 16'),
    (mat(matrix('x', 4, (1, 1 << 30), element(2, b'abc'))), 'class 4'),
    (mat(packed(matrix('x', 1, (1, 1)))[:-9]), 'cut off'),
    (mat(packed(b'nothing that is a matrix')), 'holds no x'),
])
def test_what_contradicts_itself_is_refused(content, said):
    with pytest.raises(matlab.Damaged, match=said):
        found = read(content)
        if found is None:
            raise matlab.Damaged('holds no x')
        [cell.lines() for cell in found.cells()]


def test_what_is_compressed_unfolds_within_bounds():
    content = unfolding(400)
    tracemalloc.start()
    with pytest.raises(matlab.Damaged, match='unfolds to more than'):
        read(content, 'imnames')
    assert tracemalloc.get_traced_memory()[1] < 300e6
    tracemalloc.stop()


def looked_through(found, depth=8):
    """Read all of a matrix."""
    if found.kind == matlab.CELL:
        return depth and [looked_through(cell, depth - 1) for cell in found.cells()]
    if found.kind == matlab.STRUCT:
        return depth and [looked_through(each, depth - 1) for record in found.records()
                          for each in record.values()]
    return found.lines() if found.kind == matlab.CHAR else found.numbers().sum()


def test_changed_bytes_are_refused_or_read():
    dice, ends = random.Random(0), {'read': 0, 'refused': 0}
    whole = [(truth_of(), 'wordBB'), (truth_of(), 'txt'), (lexicons_of(), 'testdata'),
             (lexicons_of(compressed=True), 'testdata')]
    for _ in range(400):
        content, name = dice.choice(whole)
        try:
            looked_through(read(mutated(content, dice), name) or matlab.Matrix(memoryview(b''), '<'))
            ends['read'] += 1
        except matlab.Damaged:
            ends['refused'] += 1
    assert min(ends.values()) > 50
