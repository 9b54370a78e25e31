"""What a file announces is known before anything is decoded, in bounded time, whoever decodes it later."""

import os
import time

import hostile_images as hostile
import numpy as np
import pytest
from PIL import Image

from recog.images import header
from recog.images.read import MOST_PARTS, Unreadable, image_size, read_image


def refused(data):
    """The reason of a refusal, which comes at once."""
    began = time.process_time()
    with pytest.raises(Unreadable) as caught:
        read_image(data)
    assert time.process_time() - began < 2
    return caught.value.reason


def test_a_jpeg_has_at_most_a_hundred_scans():
    assert read_image(hostile.progressive(16, header.MOST_SCANS)).shape == (16, 16, 3)
    assert refused(hostile.progressive(16, header.MOST_SCANS + 1)) == 'is broken (more than 100 scans)'
    assert 'scans' in refused(hostile.progressive(1000, 20_000))


def test_scans_are_counted_as_the_decoder_meets_them():
    data = hostile.progressive(16, 12)
    thumbnail = b'\xff\xe1' + (2 + 600).to_bytes(2) + b'\xff\xda\0\0' * 150  # in a segment they are none
    assert read_image(data[:2] + thumbnail + data[2:]).shape == (16, 16, 3)
    second = data.replace(b'\xff\xd9', b'') + b'\xff\xd9'
    assert read_image(second + data * 20).shape == (16, 16, 3)  # of a second picture they do not count
    end = data.rindex(b'\xff\xda')
    hidden = b'\xff\xfe\0\4\xff\xd9'  # the end of the image, in a comment
    assert 'scans' in refused(data[:end] + (hidden + data[end:-2]) * 120 + b'\xff\xd9')


@pytest.mark.parametrize('data, what', [
    (hostile.filled(10_000_000), 'filling bytes'), (hostile.marked(200_000), 'markers'),
    (hostile.chunked(200_000), 'chunks'), (hostile.chunked(200_000, 'RGBA'), 'chunks')])
def test_markers_chunks_and_filling_are_few(data, what):
    assert refused(data).startswith('is broken (more than') and what in refused(data)
    with pytest.raises(Unreadable):
        image_size(data)


def test_what_no_program_exceeds_is_read():
    for data in (hostile.filled(60_000), hostile.marked(5000), hostile.chunked(20_000)):
        assert image_size(data) == (8, 8) and read_image(data).shape == (8, 8, 3)


def test_a_file_of_very_many_strips_is_refused():
    assert read_image(hostile.strips(100)).shape == (100, 1, 3)
    assert 'strips or tiles' in refused(hostile.strips(MOST_PARTS + 1))


def test_the_limit_of_pixels_holds_where_pillow_knows_no_size():
    data = hostile.profiled(30, 40)
    assert image_size(data) == (30, 40) and (read_image(data) == 255).all()
    with pytest.raises(Unreadable, match=r'too many pixels \(40 x 30, at most 1,000\)'):
        read_image(data, most=1000)


@pytest.mark.parametrize('form', ['jpeg', 'png', 'gif', 'bmp', 'tiff', 'webp', 'ppm'])
def test_a_limit_of_pixels_holds_for_every_format(form):
    data = hostile.encoded(Image.new('RGB', (40, 30)), form)
    assert image_size(data) == (30, 40) and read_image(data, most=1200).shape == (30, 40, 3)
    with pytest.raises(Unreadable, match='too many pixels'):
        read_image(data, most=1199)


def test_sixteen_bits_with_a_profile_that_pillow_refuses_are_read():
    data = hostile.deep(6)
    profile = hostile.profiled(6, 6)
    profile = profile[33:profile.index(b'IDAT') - 4]
    assert (read_image(data[:33] + profile + data[33:]) == 255).all()  # transparent: white


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / 'pipe.png')
    for file in (tmp_path / 'pipe.png', '/dev/zero'):
        with pytest.raises(Unreadable, match='is no regular file'):
            read_image(file)


def test_a_conversion_in_bands_is_that_of_the_whole(monkeypatch):
    picture = np.random.default_rng(0).integers(0, 256, (50, 40, 4), np.uint8)
    files = [*(hostile.encoded(Image.fromarray(picture), form) for form in ('png', 'tiff')),
             hostile.encoded(Image.fromarray(picture).quantize(9), 'png', transparency=3)]
    whole = [read_image(data) for data in files]
    monkeypatch.setattr('recog.images.bands.BAND', 280)
    for data, image in zip(files, whole, strict=True):
        np.testing.assert_array_equal(read_image(data), image)
