"""Images that a model was not trained on are brought to the form of its training images; no others change."""

import time
import tracemalloc

import cv2
import numpy as np
import pytest

from recog.config import recipe
from recog.data.rows import Row
from recog.reading import adapt


def rule(ink='light', symbol=30.0):
    image = recipe.base().image
    image.ink, image.symbol, image.height, image.width = ink, symbol, 256, 1024
    return image


def drawn(height=30):
    """White rings of a height on black, as training images."""
    image = np.zeros((height + 26, 6 * height + 26), np.uint8)
    for number in range(4):
        centre = 13 + height // 2 + number * int(1.5 * height), 13 + height // 2
        cv2.circle(image, centre, height // 2, 255, max(1, height // 10))
    return image


def bgr(image):
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)


def test_an_image_in_the_form_of_training_is_left_as_it_is():
    np.testing.assert_array_equal(adapt.adapted(bgr(drawn()), rule()), drawn())
    np.testing.assert_array_equal(adapt.adapted(bgr(255 - drawn()), rule('dark')), 255 - drawn())


@pytest.mark.parametrize('ink', ['light', 'dark'])
def test_the_other_ink_is_turned_round(ink):
    trained = drawn() if ink == 'light' else 255 - drawn()
    np.testing.assert_array_equal(adapt.adapted(bgr(255 - trained), rule(ink)), trained)


def test_what_the_user_says_of_the_ink_comes_first():
    np.testing.assert_array_equal(adapt.adapted(bgr(drawn()), rule(symbol=0.0), 'yes'), 255 - drawn())
    np.testing.assert_array_equal(adapt.adapted(bgr(255 - drawn()), rule(symbol=0.0), 'no'), 255 - drawn())
    np.testing.assert_array_equal(adapt.adapted(bgr(255 - drawn()), rule(symbol=0.0), 'yes'), drawn())


@pytest.mark.parametrize('height', [12, 100, 300])
def test_symbols_of_another_height_are_rescaled(height):
    assert adapt.symbol_height(adapt.adapted(bgr(drawn(height)), rule())) == pytest.approx(30, rel=0.1)


def test_nothing_grows_beyond_the_largest_canvas_and_dust_says_nothing_of_the_size():
    dots = np.zeros((600, 600), np.uint8)
    dots[10:12, 10:12] = dots[590:592, 590:592] = 255
    small = adapt.adapted(bgr(dots), rule())  # would be 9,000 x 9,000
    assert max(small.shape) <= 582 + 2 * adapt.MARGIN
    wide = adapt.adapted(bgr(np.pad(drawn(12), ((0, 0), (0, 400)))[:, ::-1].copy()), rule(symbol=200.0))
    assert wide.shape[1] == 1024 + 2 * adapt.MARGIN and wide.shape[0] <= 256 + 2 * adapt.MARGIN
    page = np.zeros((2000, 2000), np.uint8)
    page[100:103, 100:103] = page[1900:1903, 1900:1903] = 255
    assert not adapt.symbol_height(page)
    page[1000:1300, 500:700] = 255
    assert adapt.symbol_height(page) == 300


def test_a_large_photograph_takes_little_time_and_memory():
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (3000, 3000), np.uint8), (0, 0), 2)
    tracemalloc.start()
    began = time.process_time()
    adapt.adapted(noise, rule())
    assert time.process_time() - began < 10  # minutes if the paper is looked at in every pixel
    assert tracemalloc.get_traced_memory()[1] < 150_000_000
    tracemalloc.stop()


def test_a_photograph_of_dark_ink_on_uneven_paper_becomes_light_ink_on_black():
    ink = np.pad(drawn(90), 40)
    down, right = np.mgrid[0:1:ink.shape[0] * 1j, 0:1:ink.shape[1] * 1j]
    paper = 160 + 70 * right - 50 * down + np.random.default_rng(0).normal(0, 4, ink.shape)
    photo = np.clip(paper * (1 - 0.7 * (ink / 255)), 0, 255).astype(np.uint8)
    got = adapt.adapted(bgr(photo), rule())
    assert adapt.symbol_height(got) == pytest.approx(30, rel=0.15)
    count = cv2.connectedComponents((got > 127).astype(np.uint8))[0] - 1
    assert count == 4 and got[:10].max() < 64


def test_an_empty_page_stays_empty():
    assert not (adapt.adapted(np.full((40, 60, 3), 255, np.uint8), rule()) > 127).any()


def test_a_source_keeps_its_names_and_its_unreadable_rows():
    class Two:
        name = 'two'

        def __len__(self):
            return 2

        def labels(self, indices):
            return [(str(i), '') for i in indices]

        def rows(self, indices):
            return [Row('0', '', bgr(255 - drawn())), Row('1', '', None, 'is empty')]

    adapted = adapt.Adapted(Two(), rule(), 'auto')
    good, bad = list(adapted.rows([0, 1]))
    np.testing.assert_array_equal(good.image, drawn())
    assert bad.image is None and bad.reason == 'is empty' and len(adapted) == 2
