"""Unusual and hostile images and labels: each is read correctly, or refused by name with the reason."""

import io
import os
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from small import DEMO, ROOT

from recog.config import recipe
from recog.data.batches import Batches, unpack_notes
from recog.data.files import Files, read_row
from recog.data.plan import Plan
from recog.images.fit import fit_image
from recog.images.header import PNG
from recog.images.read import ORIENTATION, Unreadable, read_image
from recog.text import vocabulary
from recog.text.vocabulary import Unencodable

GREY, BLUE, RED = (128, 128, 128), (230, 60, 10), (10, 20, 200)  # blue, green, red


def encoded(picture: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def flat(colour: tuple[int, int, int], height: int, width: int) -> Image.Image:
    return Image.new('RGB', (width, height), colour[::-1])


def deep(pixels: np.ndarray) -> bytes:
    return cv2.imencode('.png', pixels)[1].tobytes()


def turned(height: int, width: int) -> bytes:
    """A JPEG that a camera stored on its side: upright, blue is above red."""
    upright = np.full((height, width, 3), BLUE, np.uint8)
    upright[height // 2:] = RED
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return encoded(Image.fromarray(np.rot90(upright)[:, :, ::-1].copy()), 'jpeg', quality=95, exif=exif)


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def png(width: int, height: int, content: bytes) -> bytes:
    """A PNG file whose header may promise more pixels than it has."""
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    return PNG + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(content)) + chunk(b'IEND', b'')


BLUE_FRAME, RED_FRAME = flat(BLUE, 20, 50), flat(RED, 20, 50)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
# Bytes, the shape [H, W], the colour at the top left, and the width at a height of 32.
RIGHT = {
    'grey of 16 bits': (deep(np.full((20, 50), 128 * 257, np.uint16)), (20, 50), GREY, 80),
    'colours of 16 bits': (deep(np.full((20, 50, 3), BLUE, np.uint16) * 257), (20, 50), BLUE, 80),
    'cmyk': (encoded(BLUE_FRAME.convert('CMYK'), 'jpeg', quality=95), (20, 50), BLUE, 80),
    'turned': (turned(50, 30), (50, 30), BLUE, 20),
    'animation': (encoded(BLUE_FRAME, 'gif', save_all=True, append_images=[RED_FRAME]), (20, 50), BLUE, 80),
    'one pixel': (encoded(flat(RED, 1, 1), 'png'), (1, 1), RED, 32),
    'one column': (encoded(flat(RED, 60, 1), 'png'), (60, 1), RED, 1),
    'one row': (encoded(flat(RED, 1, 60), 'png'), (1, 60), RED, 100),
    'narrow': (encoded(flat(BLUE, 600, 10), 'png'), (600, 10), BLUE, 1),
    'wide': (encoded(flat(BLUE, 10, 600), 'png'), (10, 600), BLUE, 100),
    'very wide': (encoded(flat(BLUE, 32, 30_000), 'png'), (32, 30_000), BLUE, 100),
    'very high': (encoded(flat(BLUE, 30_000, 32), 'jpeg', quality=95), (30_000, 32), BLUE, 1),
}
WRONG = {
    'empty.png': (b'', 'is empty'),
    'text.png': (b'a word, not its picture\n', 'is not an image'),
    'half.png': (encoded(NOISE, 'png')[:2000], 'is truncated'),
    'half.jpg': (encoded(NOISE, 'jpeg')[:1000], 'is truncated'),
    'start.png': (encoded(NOISE, 'png')[:20], 'is truncated'),
    'start.jpg': (encoded(NOISE, 'jpeg')[:20], 'is truncated'),
    'half.gif': (encoded(NOISE, 'gif')[:1000], 'is '),
    'bomb.png': (png(100_000, 100_000, bytes(1000)),
                 'has too many pixels (100000 x 100000, at most 64,000,000)'),
    'long.png': (png(2**31 - 1, 1, bytes(1000)), 'has too many pixels (2147483647 x 1, at most 64,000,000)'),
    'none.png': (png(0, 10, b''), 'has size zero (0 x 10)'),
    'short.png': (png(30, 30, bytes(100)), 'is '),
}


def vocab(**fields) -> vocabulary.Vocab:
    return vocabulary.from_config(recipe.changed(recipe.base(name='crnn').text, fields))


@pytest.mark.parametrize('kind', RIGHT)
def test_an_unusual_image_is_read_rightly(kind, tmp_path):
    content, shape, colour, width = RIGHT[kind]
    (tmp_path / 'image').write_bytes(content)
    image = read_image(tmp_path / 'image')
    assert image.shape == (*shape, 3) and image.dtype == np.uint8
    assert np.abs(image[0, 0].astype(int) - colour).max() <= 4
    rule = recipe.base(name='crnn').image
    fitted, size = fit_image(image, rule)
    assert size == (32, width) and not fitted[:, width:].any()
    assert np.abs(fitted[:10, :width].astype(int) - colour).max() <= 12
    full, size = fit_image(image, recipe.changed(rule, {'fit': 'stretch', 'channels': 'grey'}))
    assert size == (32, 100) and full.shape == (32, 100, 1) and full.all()


def test_an_image_that_was_turned_is_red_below():
    assert np.abs(read_image(turned(50, 30))[-1, 0].astype(int) - RED).max() <= 4


@pytest.mark.parametrize('name', WRONG)
def test_a_bad_file_is_refused_with_its_name_and_the_reason(name, tmp_path):
    content, reason = WRONG[name]
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(Unreadable) as caught:
        read_image(file)
    assert str(caught.value).startswith(f'{file}: {reason}') and '\n' not in str(caught.value)
    row = read_row('id', 'text', file)
    assert row.image is None and row.reason == caught.value.reason


def test_a_folder_named_as_an_image_is_refused(tmp_path):
    (tmp_path / 'x.png').mkdir()
    with pytest.raises(Unreadable, match=r'x\.png: cannot be read \(Is a directory\)'):
        read_image(tmp_path / 'x.png')


def test_a_bomb_is_refused_before_it_takes_memory(tmp_path):
    (tmp_path / 'bomb.png').write_bytes(WRONG['bomb.png'][0])
    code = ('import cv2, resource, sys; from PIL import Image; from recog.images import read\n'
            'before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
            'try: read.read_image(sys.argv[1])\n'
            'except read.Unreadable as error: print(error)\n'
            'print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1.3 * before)')
    said = subprocess.check_output([sys.executable, '-c', code, str(tmp_path / 'bomb.png')],
                                   text=True).splitlines()
    assert 'bomb.png: has too many pixels' in said[0] and said[1] == 'True'


# Label, and its encoding in charset 36 (lower case) and charset 95 (as it is): what is kept, or the reason
# why not.
LABELS = {
    'composed': ('caf\u00e9', 'caf', 'caf'),
    'combining': ('cafe\u0301', 'cafe', 'cafe'),
    'an accent alone': ('\u0301', 'empty', 'empty'),
    'an accented letter alone': ('\u00e9', 'empty', 'empty'),
    'right to left': ('\u05e9\u05dc\u05d5\u05dd', 'empty', 'empty'),
    'both directions': ('\u202bab \u05d0 12\u202c', 'ab12', 'ab  12'),
    'nothing': ('', 'empty', 'empty'),
    'blanks': ('   ', 'empty', '   '),
    'other blanks': ('\u00a0\u3000', 'empty', 'empty'),
    'too many': ('a' * 10_000, 'too long', 'too long'),
    'too many that count for nothing': ('\u05d0' * 10_000, 'too long', 'too long'),
    'a line break': ('ab\ncd', 'abcd', 'abcd'),
    'a tab': ('ab\tcd', 'abcd', 'abcd'),
    'a nil': ('ab\0cd', 'abcd', 'abcd'),
    'half a character': ('ab\ud800cd\udfff', 'abcd', 'abcd'),
    'emoji': ('ok\U0001f44d\U0001f3fd', 'ok', 'ok'),
    'emoji alone': ('\U0001f469\u200d\U0001f4bb', 'empty', 'empty'),
    'wide letters': ('\uff21\uff22c', 'c', 'c'),
    'a letter that folds to two': ('\u0130x', 'ix', 'x'),
    'case': ('AbC', 'abc', 'AbC'),
}


@pytest.mark.parametrize('kind', LABELS)
@pytest.mark.parametrize('charset', ['36', '95'])
def test_an_unusual_label_is_coded_or_refused_with_a_reason(kind, charset):
    label, folded, kept = LABELS[kind]
    expected, coder = (folded, vocab()) if charset == '36' else (kept, vocab(charset='95', case='keep'))
    try:
        encoding = coder.encode(label, max_length=25)
    except Unencodable as error:
        assert error.reason == expected and '\n' not in str(error)
    else:
        assert coder.decode(encoding.ids) == expected
        assert len(encoding.dropped) == len(label.lower() if charset == '36' else label) - len(expected)


@pytest.mark.parametrize('kind', LABELS)
def test_where_unknown_characters_are_refused_the_reason_can_be_printed_in_a_line(kind):
    label, _, kept = LABELS[kind]
    coder = vocab(charset='95', case='keep', unknown='refuse')
    if label == kept:
        assert coder.decode(coder.encode(label).ids) == label
        return
    with pytest.raises(Unencodable) as caught:
        coder.encode(label, max_length=25)
    line = str(caught.value)
    line.encode()  # half a character could not be printed
    assert '\n' not in line and '\t' not in line
    assert caught.value.reason in ('empty', 'too long', 'unknown character')


def test_unusual_labels_and_images_leave_the_batch_and_are_named(narrow, tmp_path):
    names, labels = [], []
    for kind, (label, *_) in LABELS.items():
        file = tmp_path / f'{kind}.png'
        file.write_bytes(RIGHT['one column'][0])
        names.append(str(file))
        labels.append(label)
    for name, (content, _) in WRONG.items():
        (tmp_path / name).write_bytes(content)
        names.append(str(tmp_path / name))
        labels.append('word')
    source = Files('hostile', names, labels)
    made = narrow(*(f'image.augment.{name}=0.5'
                    for name in ('stretch', 'rotation', 'curve', 'downscale', 'motion')),
                  'image.augment.probability=1.0')
    plan = Plan([len(source)], (), len(source), 'file', 0)
    batch = Batches(source, plan, np.arange, vocabulary.from_config(made.text), made, 1)[0]
    usable = [folded not in ('empty', 'too long') for _, folded, _ in LABELS.values()] + [False] * len(WRONG)
    assert batch['weight'].tolist() == [float(each) for each in usable]
    notes = unpack_notes(batch['notes'])
    left_out = {row: reason for row, _, reason, _ in notes if reason != 'changed'}
    assert sorted(left_out) == [row for row, each in enumerate(usable) if not each] and all(left_out.values())


def test_a_file_whose_name_is_no_utf8_is_read_and_written_and_named_as_it_is(tmp_path):
    word, sheet = (os.path.join(os.fsencode(tmp_path), name) for name in (b'caf\xe9.png', b'sh\xeaet.png'))
    with open(word, 'wb') as file:
        file.write(RIGHT['one column'][0])
    line = [sys.executable, '-m', 'recog', 'augment', word, '--all', '--config', DEMO, '--out', sheet]
    strict = {**os.environ, 'PYTHONIOENCODING': 'utf-8:strict'}
    assert subprocess.check_output(line, cwd=ROOT, env=strict) == sheet + b'\n' and os.path.getsize(sheet)
