import contextlib
import io
import subprocess
import sys

import cv2
import golden
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from recog.config import recipe
from recog.images.fit import fit_batch, fit_image, normalise, prediction_width
from recog.images.read import Unreadable, read_image

GOLDENS = np.load(golden.GOLDENS / 'data.npz')
PICTURES = [GOLDENS[f'picture{index}'] for index in range(5)]
ORIENTATION = 0x0112


def rule(**fields):
    image = recipe.base(name='crnn').image
    image.update(fields)
    return image


def smooth(height: int = 24, width: int = 40) -> np.ndarray:
    """A BGR picture that JPEG keeps well and that no turn or flip leaves as it is."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5 + 20, columns * 4 + 30, rows * 3 + columns * 2 + 60], 2).astype(np.uint8)


def encoded(picture: Image.Image | np.ndarray, form: str, **options) -> bytes:
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture[:, :, ::-1] if picture.ndim == 3 else picture)
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def png16(pixels: np.ndarray) -> bytes:
    return cv2.imencode('.png', pixels)[1].tobytes()


def normalised(pictures, recipe) -> np.ndarray:
    image, size = fit_batch(pictures, recipe)
    return np.asarray(jax.jit(lambda image, size: normalise(image, size, recipe))(image, size))


def refusal(source, name='') -> str:
    with pytest.raises(Unreadable) as caught:
        read_image(source, name)
    said = str(caught.value)
    assert said == f'{caught.value.name}: {caught.value.reason}' and '\n' not in said
    return str(caught.value)


def test_word_images_are_the_references_bit_for_bit():
    ours = normalised(PICTURES, rule())
    for index, image in enumerate(ours):
        np.testing.assert_array_equal(image.transpose(2, 0, 1), GOLDENS[f'word{index}'])


def test_word_images_of_a_few_widths_are_the_references_bit_for_bit():
    recipe = rule(height=64, width=256, channels='grey', fit='steps', scale=1.0, mean=0.0, std=1.0,
                  padding=0.0)
    _, size = fit_batch(PICTURES, recipe)
    assert size.tolist() == [[64, 128], [64, 256], [64, 64], [64, 256], [64, 256]]
    for index, image in enumerate(normalised(PICTURES, recipe)):
        np.testing.assert_array_equal(image.transpose(2, 0, 1), GOLDENS[f'srn{index}'])


@pytest.mark.parametrize('shape, width', [
    ((20, 1), 32), ((20, 20), 32), ((20, 21), 64), ((20, 40), 64), ((20, 41), 96), ((20, 60), 96),
    ((20, 61), 100), ((20, 900), 100)])
def test_in_steps_a_picture_is_a_multiple_of_the_height_wide_up_to_the_full_width(shape, width):
    image, size = fit_image(np.full((*shape, 3), 200, np.uint8), rule(fit='steps'))
    assert size == (32, width)
    assert (image[:, :width] == 200).all() and not image[:, width:].any()


def test_stretched_grey_is_made_grey_after_resizing_as_the_reference_does():
    image, size = fit_image(PICTURES[1], rule(height=64, width=256, channels='grey', fit='stretch'))
    np.testing.assert_array_equal(image[:, :, 0], GOLDENS['srn1'][0])
    assert image.shape == (64, 256, 1) and size == (64, 256)


@pytest.mark.parametrize('shape, width', [
    ((32, 100), 100), ((32, 101), 100), ((32, 33), 33), ((31, 32), 34), ((64, 1), 1)])
def test_the_ratio_is_kept_up_to_the_full_width_and_the_rest_is_zero(shape, width):
    image, size = fit_image(np.full((*shape, 3), 200, np.uint8), rule())
    assert size == (32, width) and image.dtype == np.uint8
    assert (image[:, :width] == 200).all() and not image[:, width:].any()


def test_channels_come_in_the_asked_order():
    picture = smooth()
    bgr, rgb, grey = (fit_image(picture, rule(channels=channels))[0] for channels in ('bgr', 'rgb', 'grey'))
    np.testing.assert_array_equal(bgr[:, :, ::-1], rgb)
    assert grey.shape == (32, 100, 1)
    # A grey image as read, with or without its axis, is as good as one of three equal channels.
    flat = picture[:, :, 0]
    for channels in ('bgr', 'rgb', 'grey'):
        whole = fit_image(np.repeat(flat[:, :, None], 3, 2), rule(channels=channels))[0]
        np.testing.assert_array_equal(fit_image(flat, rule(channels=channels))[0], whole)
        np.testing.assert_array_equal(fit_image(flat[:, :, None], rule(channels=channels))[0], whole)


def test_a_batch_is_its_images_fitted_one_by_one_and_zero_where_there_is_none():
    batch, size = fit_batch(PICTURES, rule())
    for index, picture in enumerate(PICTURES):
        image, (height, width) = fit_image(picture, rule())
        np.testing.assert_array_equal(batch[index], image)
        assert tuple(size[index]) == (height, width) and batch.dtype == np.uint8 and size.dtype == np.int32
    assert [array.any() for array in fit_batch([None], rule())] == [False, False]


def test_prediction_is_as_wide_as_the_widest_image_of_the_batch():
    assert prediction_width(PICTURES, rule()) == int(32 * 200 / 31)
    assert prediction_width([PICTURES[0], PICTURES[2]], rule()) == 100
    assert prediction_width([], rule()) == 100
    batch, size = fit_batch(PICTURES, rule(), width=206)
    assert batch.shape == (5, 32, 206, 3) and size[:, 1].tolist() == [64, 206, 15, 100, 101]


def test_all_outside_the_size_becomes_the_padding_value():
    image, size = np.full((2, 4, 6, 3), 255, np.uint8), np.array([[4, 2], [3, 6]], np.int32)
    out = np.asarray(normalise(image, size, rule(padding=-7.0)))
    inside = np.zeros((2, 4, 6), bool)
    inside[0, :4, :2] = inside[1, :3, :6] = True
    assert out.dtype == np.float32
    assert (out[inside] == 1).all() and (out[~inside] == -7).all()


def test_each_channel_may_have_its_own_mean_and_deviation():
    recipe = ConfigDict({'scale': 1.0, 'mean': (1.0, 2.0, 3.0), 'std': (1.0, 2.0, 4.0), 'padding': 0.0})
    image = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    out = np.asarray(normalise(image, np.array([[4, 5]] * 2), recipe))
    np.testing.assert_array_equal(out, (image - np.float32([1, 2, 3])) / np.float32([1, 2, 4]))


def test_a_floating_image_counts_as_normalised():
    image = jax.numpy.linspace(-3, 3, 72).reshape(1, 4, 6, 3)
    np.testing.assert_array_equal(normalise(image, np.array([[1, 1]]), rule()), image)
    assert normalise(image.astype('bfloat16'), np.array([[1, 1]]), rule()).dtype == np.float32


def test_normalising_traces_with_a_symbolic_number_of_images():
    (rows,) = jax.export.symbolic_shape('b')
    arguments = jax.ShapeDtypeStruct((rows, 32, 100, 3), 'uint8'), jax.ShapeDtypeStruct((rows, 2), 'int32')
    exported = jax.export.export(jax.jit(lambda image, size: normalise(image, size, rule())))(*arguments)
    image, size = fit_batch(PICTURES, rule())
    np.testing.assert_array_equal(exported.call(image, size), normalised(PICTURES, rule()))


@pytest.mark.parametrize('form', ['png', 'bmp', 'gif', 'tiff', 'webp', 'ppm'])
def test_lossless_formats_are_read_exactly(form, tmp_path):
    picture = (np.indices((6, 9)).sum(0) % 4 * 60).astype(np.uint8)[:, :, None].repeat(3, 2)
    data = encoded(picture, form, **({'lossless': True} if form == 'webp' else {}))
    (tmp_path / 'picture').write_bytes(data)
    for source in (data, tmp_path / 'picture', str(tmp_path / 'picture')):
        read = read_image(source)
        np.testing.assert_array_equal(read, picture)
        assert read.dtype == np.uint8 and read.flags.c_contiguous


def test_colours_come_in_opencvs_order_and_grey_as_three_channels():
    np.testing.assert_array_equal(read_image(encoded(smooth(), 'png')), smooth())
    assert np.abs(read_image(encoded(smooth(), 'jpeg', quality=95)).astype(int) - smooth()).mean() < 4
    read = read_image(encoded(smooth()[:, :, 0].copy(), 'jpeg', quality=95))
    assert read.shape == (24, 40, 3) and (read == read[:, :, :1]).all()


@pytest.mark.parametrize('mode', ['1', 'L', 'P'])
@pytest.mark.parametrize('form', ['png', 'tiff'])
def test_grey_two_toned_and_palette_images_become_three_channels(mode, form):
    picture = Image.fromarray(smooth()[:, :, ::-1]).convert(mode)
    want = np.asarray(picture.convert('RGB'))[:, :, ::-1]
    np.testing.assert_array_equal(read_image(encoded(picture, form)), want)


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'PA', 'P', 'RGB', 'L'])
def test_what_is_transparent_lies_on_white(mode):
    grey = np.full((4, 6), 100, np.uint8)
    grey[:, 3:] = 40
    opaque = {'RGBA': 'RGB', 'PA': 'RGB', 'LA': 'L'}.get(mode, mode)
    picture, options = Image.fromarray(grey).convert(opaque), {}
    if mode[-1] == 'A':
        picture.putalpha(Image.fromarray((grey == 40) * np.uint8(255)))
        picture = picture.quantize(4) if mode == 'PA' else picture
    else:
        options = {'transparency': picture.getpixel((0, 0))}
    read = read_image(encoded(picture, 'png', **options))
    assert (read[:, :3] == 255).all() and (read[:, 3:] == 40).all()


def test_half_transparent_pixels_are_blended_with_white():
    picture = Image.new('RGBA', (3, 2), (10, 100, 200, 51))
    assert read_image(encoded(picture, 'png'))[0, 0].tolist() == [244, 224, 206]
    deep = np.full((2, 3, 4), 257, np.uint16) * np.array([200, 100, 10, 51], np.uint16)
    assert read_image(png16(deep))[0, 0].tolist() == [244, 224, 206]


def test_sixteen_bits_are_scaled_and_not_cut():
    pixels = np.random.default_rng(1).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    expected = ((pixels.astype(int) + 128) // 257).astype(np.uint8)
    np.testing.assert_array_equal(read_image(png16(pixels)), expected)
    grey = expected[:, :, :1].repeat(3, 2)
    np.testing.assert_array_equal(read_image(png16(pixels[:, :, 0])), grey)
    np.testing.assert_array_equal(read_image(encoded(pixels[:, :, 0].copy(), 'tiff')), grey)


def test_a_cmyk_jpeg_has_its_colours():
    picture = Image.new('RGB', (16, 16), (200, 30, 60)).convert('CMYK')
    pixel = read_image(encoded(picture, 'jpeg', quality=95))[8, 8]
    assert np.abs(pixel.astype(int) - (60, 30, 200)).max() <= 3


@pytest.mark.parametrize('turn', range(1, 9))
def test_orientation_is_undone_on_every_path(turn):
    upright = smooth()
    turns = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
             5: upright.swapaxes(0, 1), 6: np.rot90(upright), 7: upright[::-1, ::-1].swapaxes(0, 1),
             8: np.rot90(upright, -1)}
    stored = turns[turn].copy()
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    jpeg = encoded(stored, 'jpeg', quality=95, subsampling=0, exif=exif)
    assert np.abs(read_image(jpeg).astype(int) - upright).max() < 12
    # Bytes behind the end take another path, to the same pixels.
    np.testing.assert_array_equal(read_image(jpeg + b'\0\0'), read_image(jpeg))
    plain = encoded(stored, 'png', exif=exif)
    opaque = encoded(Image.fromarray(stored[:, :, ::-1]).convert('RGBA'), 'png', exif=exif)
    deep, start = png16(stored.astype(np.uint16) * 257), plain.index(b'eXIf') - 4
    chunk = plain[start:start + 12 + int.from_bytes(plain[start:start + 4], 'big')]
    for data in (plain, opaque, deep[:33] + chunk + deep[33:]):
        np.testing.assert_array_equal(read_image(data), upright)


def test_of_an_animation_the_first_frame_is_read():
    frames = [Image.new('RGB', (6, 4), colour) for colour in ('red', 'blue')]
    read = read_image(encoded(frames[0], 'gif', save_all=True, append_images=frames[1:]))
    assert read.shape == (4, 6, 3) and (read == (0, 0, 255)).all()


def test_what_is_not_there_is_refused_by_name(tmp_path):
    assert refusal(tmp_path / 'word.png') == f'{tmp_path}/word.png: does not exist'
    assert 'cannot be read (Is a directory)' in refusal(tmp_path)
    (tmp_path / 'word').write_bytes(b'')
    assert refusal(str(tmp_path / 'word')) == f'{tmp_path}/word: is empty'
    assert refusal(b'hello', 'train/7') == 'train/7: is not an image'


@pytest.mark.filterwarnings('ignore::UserWarning')  # Pillow's, of TIFF tags
@pytest.mark.parametrize('form, options', [
    ('jpeg', {}), ('jpeg', {'progressive': True}), ('png', {}), ('gif', {}), ('tiff', {}), ('bmp', {})])
def test_a_truncated_file_is_refused_wherever_it_is_cut(form, options):
    noise = np.random.default_rng(2).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    data = encoded(noise, form, **options)
    assert read_image(data).shape == (40, 60, 3)
    for length in (4, 20, 40, 200, len(data) // 2, len(data) * 9 // 10):
        refusal(data[:length])
    if form in ('jpeg', 'png'):
        assert refusal(data[:-2], 'word') == refusal(data[:len(data) // 2], 'word') == 'word: is truncated'


def test_a_png_whose_chunks_are_damaged_is_refused_before_decoding():
    data = encoded(smooth(), 'png')
    longer = bytearray(data)
    longer[33] = 0x70  # IDAT claims almost 2 GiB
    assert refusal(bytes(longer)) == 'image: is truncated'
    assert refusal(data[:8] + data[33:]) == 'image: is broken (no header)'
    assert refusal(data[:8] + data[-12:]) == 'image: is broken (no header)'


def test_a_header_that_promises_too_much_or_nothing_is_refused_before_decoding():
    for side, reason in ((60_000, 'has too many pixels (60000 x 60000'), (0, 'has size zero (0 x 0)')):
        png, jpeg = (bytearray(encoded(smooth(), form)) for form in ('png', 'jpeg'))
        png[16:24] = side.to_bytes(4, 'big') * 2
        frame = jpeg.index(b'\xff\xc0')
        jpeg[frame + 5:frame + 9] = side.to_bytes(2, 'big') * 2
        assert reason in refusal(bytes(png)) and reason in refusal(bytes(jpeg))
    gif = encoded(smooth(), 'gif')
    assert 'has too many pixels' in refusal(gif[:6] + b'\xff' * 4 + gif[10:])


def test_pixels_of_thirty_two_bits_are_refused():
    assert 'pixels of 32 bits' in refusal(encoded(Image.fromarray(np.ones((4, 6), np.float32)), 'tiff'))


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_damage_anywhere_gives_an_image_or_a_refusal_and_nothing_else(monkeypatch):
    monkeypatch.setattr('recog.images.read.MOST_PIXELS', 100_000)  # damaged sizes would take seconds
    draw = np.random.default_rng(3)
    alpha = Image.fromarray(smooth()).convert('RGBA')
    sources = [encoded(smooth(), form) for form in ('jpeg', 'png', 'gif', 'tiff', 'webp')]
    for data in (*sources, encoded(alpha, 'png'), png16(smooth().astype(np.uint16) * 200)):
        for _ in range(60):
            damaged = bytearray(data)
            for place in draw.integers(0, min(len(data), 400), 2):
                damaged[place] = draw.integers(0, 256)
            with contextlib.suppress(Unreadable):
                read = read_image(bytes(damaged))
                assert read.dtype == np.uint8 and read.ndim == 3 and read.shape[2] == 3 and read.size


def test_the_hosts_half_imports_neither_jax_nor_grain():
    code = ('import sys, cv2, numpy as np; from recog.config import recipe; '
            'from recog.images import augment, fit, read; from recog.metrics import words; '
            'from recog.text import vocabulary; '
            'c = recipe.base(name="crnn"); vocabulary.from_config(c.text).encode("a"); '
            'words.word_figures(["a"], ["a"], "36"); '
            'png = cv2.imencode(".png", np.zeros((9, 9, 4), np.uint8))[1].tobytes(); '
            'image = augment.change(read.read_image(png), augment.generator(0, 0, 0), augment.PLAIN); '
            'fit.fit_batch([image], c.image); print({"jax", "flax", "grain"} & set(sys.modules))')
    assert subprocess.check_output([sys.executable, '-c', code], text=True).strip() == 'set()'
