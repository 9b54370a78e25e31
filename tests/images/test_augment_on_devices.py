"""Augmentation on the devices, against the host's."""

import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recog.config.recipe import base
from recog.images import augment, augment_on_devices
from recog.images.fit import fit_image

HEIGHT, WIDTH, ROOM = 32, 80, 120


def recipe(**strengths):
    config = base(name='')
    config.image.update(height=HEIGHT, width=ROOM)
    config.image.augment.update(probability=0.7, **strengths)
    return config.image


@pytest.fixture(scope='module')
def word():
    """Soft shapes on a coloured ground, as wide as the rest of the canvas leaves it."""
    random = np.random.default_rng(0)
    small = random.integers(40, 216, (4, 8, 3), np.uint8)
    return cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def on_canvas(image):
    return np.pad(image, ((0, 0), (0, ROOM - image.shape[1]), (0, 0)))


@functools.cache
def program(name, most, channels):
    """What changes an image on the devices, compiled once for all keys, images and both signs."""
    rule = recipe()
    rule.channels = channels
    return jax.jit(lambda key, image, size, strength: augment_on_devices.exactly(
        key, image, size, {name: strength}, {name: most}, rule))


def changed(word, name, strength, channels='bgr', key=0):
    """The word as the devices change it."""
    image, size = program(name, abs(strength), channels)(
        jax.random.key(key), on_canvas(word), np.array(word.shape[:2]), np.float32(strength))
    return np.asarray(image).astype(int), tuple(np.asarray(size))


@pytest.mark.parametrize('name, strength, most', [
    ('brightness', 0.2, 0.1), ('brightness', -0.28, 0.1), ('contrast', 0.4, 0.1), ('contrast', -0.5, 0.1),
    ('blur', 1.2, 1), ('stretch', 0.2, 5), ('stretch', -0.3, 5), ('rotation', 8, 5), ('rotation', -5, 5),
    ('curve', 0.3, 5), ('curve', -0.3, 5), ('stroke', 1.0, 0.1), ('stroke', -2.5, 0.5),
])
def test_what_is_not_drawn_is_as_the_host_makes_it(word, name, strength, most):
    host = augment.change(word, np.random.default_rng(0), {name: strength})
    expected, size = fit_image(host, recipe())
    image, found = changed(word, name, strength)
    assert found[0] == size[0] and abs(found[1] - size[1]) <= 1  # the host's canvas has whole pixels
    off = np.abs(image - expected)[:, :min(found[1], size[1])].mean()  # and is resampled twice
    assert off < most
    if name in augment.SIGNED:
        other, width = changed(word, name, -strength)
        assert np.abs(other - expected)[:, :min(width[1], size[1])].mean() > 2 * off


@pytest.mark.parametrize('name, strength', [
    ('perspective', 0.15), ('elastic', 3.0), ('motion', 5.0), ('noise', 10.0), ('colour', 0.4)])
def test_what_is_drawn_differs_from_key_to_key_and_spares_the_padding(word, name, strength):
    (first, size), (second, _) = (changed(word, name, strength, key=key) for key in (1, 2))
    assert (first != second).any()
    assert not first[:, size[1]:].any() and first[:, :size[1]].any()


def test_noise_and_motion_have_the_hosts_strength(word):
    image, _ = changed(np.full_like(word, 128), 'noise', 10.0)
    assert 9.5 < (image[:, :WIDTH] - 128).std() < 10.5
    image, _ = changed(word, 'motion', 6.0)
    host = augment.change(word, np.random.default_rng(3), {'motion': 6.0})
    assert abs(image[:, :WIDTH].mean() - host.mean()) < 1 and image[:, :WIDTH].std() < word.std()


def test_grey_is_weighed_by_the_channels_order(word):
    one, other = changed(word, 'colour', 0.5)[0], changed(word[:, :, ::-1], 'colour', 0.5, 'rgb')[0]
    np.testing.assert_array_equal(one[..., 1], other[..., 1])  # the middle channel is the same in both orders


@pytest.fixture(scope='module')
def batch(word):
    return {'image': jnp.asarray(np.stack([on_canvas(word)] * 6)),
            'size': jnp.tile(jnp.array(word.shape[:2]), (6, 1)), 'index': jnp.array([4, 7, 4, 9, 9, 9]),
            'epoch': jnp.array([0, 0, 0, 0, 1, 1]), 'length': jnp.arange(6)}


def test_a_rows_image_is_a_function_of_seed_epoch_and_row_alone(batch):
    rule = recipe(rotation=8.0, noise=10.0, contrast=0.4)
    run = jax.jit(lambda batch, seed: augment_on_devices.change(batch, seed, rule), static_argnums=1)
    once, other = run(batch, 1), run(batch, 2)
    assert set(once) == set(batch) - {'epoch'}
    image = np.asarray(once['image'])
    np.testing.assert_array_equal(image[0], image[2])
    np.testing.assert_array_equal(image[4], image[5])
    assert not np.array_equal(image[3], image[4]) or not np.array_equal(image[0], image[1])
    assert not np.array_equal(image, np.asarray(other['image']))


def test_where_all_is_off_a_batch_stays_as_it_is(batch):
    for rule in (recipe(), recipe(rotation=0.0)):
        same = augment_on_devices.change(batch, 0, rule)
        assert same['image'] is batch['image'] and same['size'] is batch['size']
    rule = recipe(rotation=8.0)
    rule.augment.probability = 1e-9
    after = jax.jit(lambda batch: augment_on_devices.change(batch, 0, rule))(batch)
    np.testing.assert_array_equal(after['image'], batch['image'])


def test_a_row_without_an_image_stays_empty(batch):
    empty = {**batch, 'image': jnp.zeros_like(batch['image']), 'size': jnp.zeros_like(batch['size'])}
    rule = recipe(rotation=8.0, noise=10.0, blur=1.0)
    after = jax.jit(lambda batch: augment_on_devices.change(batch, 0, rule))(empty)
    assert not after['image'].any() and not after['size'].any()


def test_what_devices_cannot_do_is_known():
    rule = recipe(rotation=5.0, jpeg=50.0, downscale=0.5, scale=0.2, stroke=1.0)
    assert augment_on_devices.unknown(rule) == ['scale', 'downscale', 'jpeg']
    rule.fit = 'none'
    assert augment_on_devices.unknown(rule) == ['downscale', 'jpeg']


@pytest.mark.parametrize('name, strength', [('rotation', 8), ('rotation', -5), ('curve', 0.3)])
def test_on_the_canvas_devices_and_host_change_an_image_alike(word, name, strength):
    rule = recipe(on_canvas=True)
    rule.update(fit='stretch', width=WIDTH)
    expected = augment.centred(augment.change(word, np.random.default_rng(0), {name: strength}), word.shape)
    image, size = jax.jit(lambda: augment_on_devices.exactly(
        jax.random.key(0), jnp.asarray(word), jnp.array(word.shape[:2]), {name: jnp.float32(strength)},
        {name: abs(strength)}, rule))()
    assert tuple(np.asarray(size)) == word.shape[:2] == expected.shape[:2]
    assert np.abs(np.asarray(image).astype(int) - expected).mean() < 5  # the host's canvas has whole pixels
