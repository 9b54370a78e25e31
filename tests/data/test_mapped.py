"""Arrays in files, and files that are cut while they are read."""

import os

import numpy as np
import pytest

from recog.data.mapped import LARGE, Mapped


@pytest.fixture(params=[3, LARGE], ids=['small rows', 'large rows'])
def array(request, tmp_path):
    """An array whose rows have so many bytes, and its file."""
    values = np.arange(40 * request.param, dtype=np.int64).astype(np.uint8).reshape(40, request.param)
    np.save(tmp_path / 'part.npy', values)
    return values, tmp_path / 'part.npy'


@pytest.mark.parametrize('rows', [[3], [4, 5, 6, 7], [39, 0, 7], []])
def test_rows_are_copies_of_those_in_the_file(array, rows):
    values, file = array
    found = Mapped(file).rows(np.array(rows, np.int64))
    np.testing.assert_array_equal(found, values[rows])
    found[...] = 0  # neither a view of the file, nor one that cannot be written


def test_a_part_and_the_whole_are_those_in_the_file(array):
    values, file = array
    np.testing.assert_array_equal(Mapped(file).part(7, 29), values[7:29])
    np.testing.assert_array_equal(Mapped(file).small(), values)


@pytest.mark.parametrize('read', [
    lambda mapped: mapped.rows(np.array([39, 2])), lambda mapped: mapped.rows(np.arange(20, 40)),
    lambda mapped: mapped.part(38, 40), lambda mapped: mapped.rows(np.array([39]))])
def test_a_file_that_is_cut_is_an_error_and_no_signal(array, read):
    _, file = array
    mapped = Mapped(file)
    read(mapped)
    whole = file.stat().st_size
    os.truncate(file, 150)
    with pytest.raises(OSError, match='part.npy was cut while it was read: it has 150 bytes instead of '
                                      f'{whole:,}; pack the set again'):
        read(mapped)
