"""The rectifier's parts: sampling against a simple loop,
the spline against another one, the initial points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from recog.models.parts import rectification
from recog.models.parts.layers import Context

RNG = np.random.default_rng(0)


def looped(image, grid, border):
    """Bilinear sampling of one image [H, W, C], place by place."""
    height, width, channels = image.shape

    def pixel(row, column):
        if border == 'border':
            return image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
        return image[row, column] if 0 <= row < height and 0 <= column < width else np.zeros(channels)

    out = np.zeros((*grid.shape[:2], channels))
    for place in np.ndindex(grid.shape[:2]):
        x, y = ((part + 1) / 2 * (size - 1) for part, size in zip(grid[place], (width, height), strict=True))
        left, top = int(np.floor(x)), int(np.floor(y))
        for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            out[place] += (1 - abs(x - column)) * (1 - abs(y - row)) * pixel(row, column)
    return out


@pytest.mark.parametrize('border', rectification.BORDERS)
def test_sampling_equals_a_plain_loop_inside_and_outside(border):
    image, grid = RNG.normal(size=(2, 5, 7, 3)), RNG.uniform(-1.7, 1.7, (2, 6, 9, 2))
    got = rectification.sample(jnp.asarray(image, jnp.float32), jnp.asarray(grid, jnp.float32), border=border)
    want = [looped(*pair, border) for pair in zip(image, grid, strict=True)]
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize('border', rectification.BORDERS)
def test_sampling_at_the_pixels_themselves_gives_them_back_exactly(border):
    image = jnp.asarray(RNG.normal(size=(1, 5, 9, 2)), jnp.float32)  # 8 and 4 steps: their places are exact
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 5)), -1)[None]
    got = rectification.sample(image, jnp.asarray(grid, jnp.float32), border=border)
    np.testing.assert_array_equal(got, image)


@pytest.mark.parametrize(('border', 'outside', 'half'), [('zeros', 0.0, 0.5), ('border', 1.0, 1.0)])
def test_half_a_pixel_outside_and_far_outside_follow_the_rule(border, outside, half):
    image = jnp.ones((1, 3, 3, 1))  # a pixel is 1 wide
    x = jnp.array([-1.5, 1.5, -3.0, 40.0, 1e9, -1e9, jnp.inf])
    grid = jnp.stack([x, jnp.zeros(7)], -1)[None, None]
    got = rectification.sample(image, grid, border=border)[0, 0, :, 0]
    np.testing.assert_allclose(got, [half, half, *[outside] * 5])


def test_a_place_that_is_no_number_gives_no_number_and_harms_no_other():
    grid = jnp.zeros((1, 1, 2, 2)).at[0, 0, 0, 0].set(jnp.nan)
    got = rectification.sample(jnp.ones((1, 3, 3, 1)), grid)[0, 0, :, 0]
    assert np.isnan(got[0]) and got[1] == 1


@pytest.mark.parametrize('border', rectification.BORDERS)
def test_gradients_of_sampling_equal_difference_quotients(border):
    with jax.enable_x64(True):
        image = jnp.asarray(RNG.normal(size=(2, 5, 7, 2)))
        grid = jnp.asarray(RNG.uniform(-1.4, 1.4, (2, 4, 5, 2)))
        weights = jnp.asarray(RNG.normal(size=(2, 4, 5, 2)))

        def total(image, grid):
            return jnp.sum(rectification.sample(image, grid, border=border) * weights)

        gradients = jax.grad(total, argnums=(0, 1))(image, grid)
        for number, gradient in enumerate(gradients):
            assert jnp.abs(gradient).max() > 0
            for _ in range(20):
                direction = jnp.asarray(RNG.normal(size=gradient.shape))
                pair = [image, grid], [image, grid]
                for moved, sign in zip(pair, (1, -1), strict=True):
                    moved[number] = moved[number] + sign * 1e-7 * direction
                quotient = (total(*pair[0]) - total(*pair[1])) / 2e-7
                want = float(jnp.sum(gradient * direction))
                assert float(quotient) == pytest.approx(want, rel=1e-5, abs=1e-6)


def test_outside_zeros_and_far_from_a_border_no_place_gets_a_gradient():
    image = jnp.asarray(RNG.normal(size=(1, 4, 4, 1)), jnp.float32)
    grid = jnp.array([[[[2.5, 0.1], [0.1, -9.0]]]])
    for border in rectification.BORDERS:
        def total(grid, border=border):
            return rectification.sample(image, grid, border=border).sum()

        gradient = jax.grad(total)(grid)[0, 0]
        assert gradient[0, 0] == 0 and gradient[1, 1] == 0
    assert gradient[0, 1] != 0  # along the border


@pytest.mark.parametrize('count', [4, 10, 16, 20])
def test_points_at_their_targets_bend_nothing(count):
    points = jnp.asarray(rectification.targets(count), jnp.float32)[None]
    grid = rectification.spline_grid(points, height=6, width=10)[0]
    x, y = np.meshgrid((2 * np.arange(10) - 9) / 10, (2 * np.arange(6) - 5) / 6)
    np.testing.assert_allclose(grid, np.stack([x, y], -1), atol=1e-5)


def test_a_shear_of_the_points_is_a_shear_of_the_grid():
    def sheared(places):
        return places @ np.array([[0.8, 0.1], [-0.2, 0.7]]) + np.array([0.05, -0.1])

    def grid(points):
        points = jnp.asarray(points, jnp.float32)[None]
        return np.asarray(rectification.spline_grid(points, height=8, width=25)[0])

    points = rectification.targets(20)
    np.testing.assert_allclose(grid(sheared(points)), sheared(grid(points)), atol=2e-5)


@pytest.mark.parametrize('count', [4, 10, 20])
def test_moved_points_bend_the_grid_as_another_thin_plate_spline_does(count):
    points = rectification.targets(count)
    moved = points + RNG.normal(size=(count, 2)) / 10
    x, y = np.meshgrid((2 * np.arange(40) - 39) / 40, (2 * np.arange(20) - 19) / 20)
    other = RBFInterpolator(points, moved, kernel='thin_plate_spline', degree=1)
    want = other(np.stack([x, y], -1).reshape(-1, 2))
    grid = rectification.spline_grid(jnp.asarray(moved, jnp.float32)[None], height=20, width=40)[0]
    np.testing.assert_allclose(grid, want.reshape(20, 40, 2), atol=5e-5)


def test_the_grid_takes_as_many_equations_whatever_the_number_of_points():
    def equations(count):
        made = jax.make_jaxpr(lambda points: rectification.spline_grid(points, height=8, width=20))
        return str(made(jnp.zeros((2, count, 2)))).count('\n')

    assert equations(10) == equations(20)


@pytest.mark.parametrize(('start', 'corners'), [('slanted', [[-1, 0], [1, -1], [-1, 1], [1, 0]]),
                                                ('straight', [[-1, -1], [1, -1], [-1, 1], [1, 1]])])
def test_fiducial_points_start_where_the_recipe_says_whatever_the_image(start, corners):
    module = rectification.Rectifier(rectification.SIZES['small'], 20, start, 'zeros', (32, 100))
    image = jnp.asarray(RNG.normal(size=(2, 32, 100, 3)), jnp.float32)
    context = Context(False, None, 0, jnp.float32)
    outputs = module.apply(module.init(jax.random.key(0), image, context), image, context)
    for points in np.asarray(outputs['fiducials']):
        np.testing.assert_array_equal(points[[0, 9, 10, 19]], corners)
        np.testing.assert_allclose(np.diff(points.reshape(2, 10, 2), axis=1)[..., 0], 2 / 9, atol=1e-6)


def test_a_straight_start_gives_the_image_back_but_for_its_pixels_edges():
    module = rectification.Rectifier(rectification.SIZES['small'], 20, 'straight', 'zeros', (32, 100))
    x, y = np.meshgrid(np.linspace(0, 1, 100), np.linspace(0, 1, 32))
    image = jnp.asarray(np.stack([x, y], -1)[None], jnp.float32)
    context = Context(False, None, 0, jnp.float32)
    got = module.apply(module.init(jax.random.key(0), image, context), image, context)['rectified']
    assert np.abs(np.asarray(got - image)).max() < 0.02


def test_the_rectified_image_has_the_recipes_size_whatever_the_images():
    module = rectification.Rectifier(rectification.SIZES['small'], 8, 'straight', 'border', (32, 48))
    context = Context(False, None, 0, jnp.bfloat16)
    state = module.init(jax.random.key(0), jnp.zeros((1, 32, 48, 3)), context)
    for width in (24, 48, 132):
        outputs = module.apply(state, jnp.ones((2, 32, width, 3)), context)
        assert outputs['rectified'].shape == (2, 32, 48, 3) and outputs['rectified'].dtype == jnp.float32
        np.testing.assert_allclose(outputs['rectified'], 1, atol=1e-6)
