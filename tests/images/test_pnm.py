"""PBM, PGM and PPM: every form is read as Pillow reads it, 16 bits too, and none slowly."""

import io
import time

import hostile_images as hostile
import numpy as np
import pytest
from PIL import Image

from recog.images.read import Unreadable, read_image

RANDOM = np.random.default_rng(0)
FILES = [
    b'P1\n# bits\n3 2\n1 0 1\n010', b'P1 3 2 101010', b'P2 3 2 255\n0 1 2 100 200 255',
    b'P2 2 2 # seven\n7 0 3 5 7', b'P3\n1 2\n255\n1 2 3 4 5 6', b'P3 1 1 65535 65535 0 32768',
    b'P4 11 2\n' + RANDOM.bytes(4), b'P5 3 2 255\n#\n #\n#',
    b'P5 # size\n 2 # more\n 2 255 ' + bytes([10, 13, 9, 32]),
    b'P5 3 2 9\n\0\1\3\7\x08\x09', b'P6 3 2 255\n' + RANDOM.bytes(18),
    b'P6 3 2 300\n' + b''.join(value.to_bytes(2) for value in range(1, 300, 17)),
]


@pytest.mark.parametrize('data', FILES)
def test_a_file_is_read_as_pillow_reads_it(data):
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(opened.convert('RGB'))[:, :, ::-1]
    np.testing.assert_array_equal(read_image(data), expected)


def test_grey_of_sixteen_bits_is_scaled():
    values = np.array([[0, 128, 257], [32768, 65406, 65535]], '>u2')
    expected = [[0, 0, 1], [128, 254, 255]]
    assert read_image(b'P5 3 2 65535\n' + values.tobytes())[:, :, 0].tolist() == expected
    assert read_image(b'P2 3 2 65535\n' + b' '.join(str(value).encode() for value in values.flat)
                      )[:, :, 2].tolist() == expected


@pytest.mark.parametrize('data, reason', [
    (b'P5 3 2 255\n12345', 'is truncated'), (b'P2 3 2 255\n1 2 3 4 5', 'is truncated'),
    (b'P2 1 1 255\n', 'is truncated'), (b'P1 3 2 10101', 'is truncated'),
    (b'P2 1 2 255\n1 -2', 'is broken (no number)'), (b'P3 1 1 255\n1 2 3x', 'is broken (no number)'),
    (b'P2 1 1 255\n123456', 'is broken (no number)'), (b'P1 1 2 12', 'is broken (no number)'),
    (b'P2 1 2 7 0 # no 1\n1', 'is broken (no number)'),
    (b'P5 1 1 0\n\0', 'is broken (white is 0)'), (b'P5 1 1 70000\n\0', 'is broken (white is 70000)'),
    (b'P5 0 1 255\n\0', 'has size zero (0 x 1)'), (b'P6 100000 100000 255\n', 'has too many pixels'),
    (b'P5 10', 'is not an image'), (b'P7\nWIDTH 1\n', 'is not an image'),
    (b'P5 ' + b'9' * 5000 + b' 1 255\n', 'is not an image')])
def test_what_is_damaged_is_refused(data, reason):
    with pytest.raises(Unreadable) as caught:
        read_image(data)
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize('data', [
    hostile.commented(1_000_000), hostile.odd_white(2000), b'P3 ' + b'#\n' * 1_000_000,
    b'P2 1000 1000 255\n' + b'1 ' * 1_000_000])
def test_no_file_is_read_a_pixel_at_a_time(data):
    began = time.process_time()
    try:
        assert read_image(data).size
    except Unreadable as error:
        assert error.reason in ('is broken (no number)', 'is not an image')
    assert time.process_time() - began < 2
