"""Ink: the traces of InkML, what a record keeps of them, and how they are drawn."""

import numpy as np
import pytest

from recog.images import ink
from recog.images.ink import joined


def strokes(*lists):
    return [np.array(points, np.float64) for points in lists]


@pytest.mark.parametrize('text, wanted', [
    ('1 2, 3 4', [[1, 2], [3, 4]]),
    ('1 2,3 4,', [[1, 2], [3, 4]]),
    ('\n 1.5 -2 0.1,\n3 4 0.2 \n', [[1.5, -2], [3, 4]]),
    ('1e3 2', [[1000, 2]]),
])
def test_a_trace_gives_its_points(text, wanted):
    assert ink.trace(text).tolist() == wanted


@pytest.mark.parametrize('text', ['', ' , ', '1', '1 2, 3', 'a b', "1 2, '3'4", 'nan 1', '1 inf', '1e12 3'])
def test_what_is_no_trace_is_refused(text):
    with pytest.raises(ValueError):
        ink.trace(text)


def test_a_record_gives_the_strokes_back():
    given = strokes([(0, 0), (1, 5)], [(7, 7)], [(1, 2), (3, 4), (5, 6)])
    points, lengths = joined(given)
    assert points.dtype == np.float32 and points.shape == (6, 2)
    assert lengths.dtype == np.int32 and lengths.tolist() == [2, 1, 3]
    for back, stroke in zip(ink.parted(points, lengths), given, strict=True):
        np.testing.assert_array_equal(back, stroke)


def test_a_record_without_ink_has_no_strokes():
    points, lengths = joined([])
    assert points.shape == (0, 2) and ink.parted(points, lengths) == []


def test_fractions_become_thousandths_and_whole_numbers_stay():
    assert ink.whole(strokes([(1, 2)]))[0].tolist() == [[1, 2]]
    assert ink.whole(strokes([(1, 2)], [(0.0005, 1)]))[1].tolist() == [[1, 1000]]


def test_the_mean_stroke_is_28_pixels_high_and_the_border_13_wide():
    image = ink.draw(strokes([(100, 100), (100, 200)], [(300, 120), (300, 180)]))
    # Strokes of 100 and 60, mean 80: 100 becomes 35 pixels, 200 becomes 70.
    assert image.shape == (35 + 26, 70 + 26) and image.dtype == np.uint8 and set(np.unique(image)) == {0, 255}
    rows, columns = np.nonzero(image)
    assert (rows.min(), columns.min(), rows.max(), columns.max()) == (12, 12, 35 + 14, 70 + 14)


def test_nearly_flat_strokes_do_not_count():
    tall, dash = [(0, 0), (0, 100)], [(50, 50), (90, 60)]
    assert ink.draw(strokes(tall, dash)).shape[0] == 28 + 26
    assert ink.draw(strokes(tall, [(50, 50), (90, 61)])).shape[0] == 100 * 28 // 55 + 26


@pytest.mark.parametrize('line, middle', [([(10, 10), (12, 11)], (11, 11)), ([(12, 11), (10, 10)], (11, 10))])
def test_lines_round_halves_away_from_where_they_start(line, middle):
    image = ink.draw(strokes([(0, 0), (0, 28)], line), pen=1)
    drawn = {(int(x) - 13, int(y) - 13) for y, x in zip(*np.nonzero(image), strict=True) if x > 13}
    assert drawn == {(10, 10), middle, (12, 11)}


@pytest.mark.parametrize('pen, thick', [(1, 1), (3, 3), (5, 5)])
def test_the_pen_sets_the_thickness(pen, thick):
    image = ink.draw(strokes([(0, 0), (0, 100)]), pen=pen)
    assert (image[27] > 0).sum() == thick


def test_the_height_scales_and_units_do_not_matter():
    given = strokes([(0, 0), (40, 100)])
    np.testing.assert_array_equal(ink.draw(given), ink.draw([stroke * 7 for stroke in given]))
    assert ink.draw(given, height=56).shape == (56 + 26, 22 + 26)


def test_ink_in_fractions_is_drawn_alike_from_its_record():
    random = np.random.default_rng(0)
    given = [random.normal(size=(20, 2)) + 20 for _ in range(4)]
    points, lengths = joined(ink.whole(given))
    np.testing.assert_array_equal(ink.draw(given), ink.draw(ink.parted(points, lengths)))


def test_the_size_is_known_from_the_corners_of_the_strokes():
    random = np.random.default_rng(0)
    for given in ([random.integers(-40, 900, (7, 2)).astype(float) for _ in range(5)],
                  strokes([(0, 5), (1000, 5)]), strokes([(3, 5)]),
                  strokes([(0, 0), (0, 1)], [(0, 0), (1_000_000, 0)])):
        given = [stroke - np.concatenate(given).min(0) for stroke in given]
        low, high = (np.array([edge(stroke, 0) for stroke in given]) for edge in (np.min, np.max))
        assert ink.drawn_size(low, high) == ink.draw(given).shape


def test_a_dash_is_measured_by_its_width_and_a_dot_is_drawn():
    assert ink.draw(strokes([(0, 5), (1000, 5)])).shape == (26, 28 + 26)
    assert (ink.draw(strokes([(3, 5)])) > 0).sum() == 9


def test_nonsense_is_shrunk_and_no_ink_refused():
    assert max(ink.draw(strokes([(0, 0), (0, 1)], [(0, 0), (1_000_000, 0)])).shape) == ink.LARGEST + 26
    with pytest.raises(ValueError, match='no stroke'):
        ink.draw([])
