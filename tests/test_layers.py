"""The elementary operations and CTC against plain second formulas."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from recog.models import backbones, crnn, layers, recurrence

RNG = np.random.default_rng(0)


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    """Vocabulary ids of an alignment: repeats merged, blanks dropped."""
    return tuple(label - 1 for label, _ in itertools.groupby(path) if label)


def texts(log_probabilities: np.ndarray) -> dict[tuple[int, ...], float]:
    """The log-probability of every text, summed over all alignments of [T, 1 + V]."""
    frames, classes = log_probabilities.shape
    sums: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(classes), repeat=frames):
        score = log_probabilities[np.arange(frames), path].sum()
        sums[collapse(path)] = np.logaddexp(sums.get(collapse(path), -np.inf), score)
    return sums


def padded(rows: list[tuple[int, ...]], width: int) -> tuple[jax.Array, jax.Array]:
    tokens = np.full((len(rows), width), -1, np.int32)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
    return jnp.asarray(tokens), jnp.array([len(row) for row in rows], jnp.int32)


LABELS = [(), (0,), (2,), (0, 1, 2), (0, 0), (1, 1, 1), (2, 1, 1, 0)]  # the last two just fit into five frames


def test_ctc_equals_the_sum_over_all_alignments():
    with jax.enable_x64(True):
        logits = RNG.normal(size=(len(LABELS), 5, 4)) * 2
        tokens, length = padded(LABELS, 6)
        losses, possible = layers.ctc_loss(jnp.asarray(logits), tokens, length)
        assert losses.dtype == np.float64 and possible.all()
        for loss, row, label in zip(losses, np.asarray(jax.nn.log_softmax(logits)), LABELS, strict=True):
            assert loss == pytest.approx(-texts(row)[label], rel=1e-12)


def test_a_label_that_needs_more_frames_than_there_are_has_loss_and_gradient_0():
    tokens, length = padded([(0, 0), (0, 1, 2), (0, 0, 1), (0, 1, 2, 0)], 5)
    logits = jnp.asarray(RNG.normal(size=(4, 3, 4)), jnp.float32)
    losses, possible = layers.ctc_loss(logits, tokens, length)
    assert possible.tolist() == [True, True, False, False]
    gradient = jax.grad(lambda logits: layers.ctc_loss(logits, tokens, length)[0].sum())(logits)
    assert np.all(losses[2:] == 0) and np.all(gradient[2:] == 0) and np.all(np.abs(gradient[:2]).max((1, 2)) > 0)


def test_a_wide_prefix_beam_finds_every_text_with_its_exact_probability():
    frames = np.asarray(jax.nn.log_softmax(jnp.asarray(RNG.normal(size=(3, 4, 3)) * 2, jnp.float32)))
    result = crnn.finish(crnn.prefix_beam(jnp.asarray(frames), 40), jnp.asarray(frames), 4, True)
    for row in range(3):
        want = sorted(texts(frames[row]).items(), key=lambda item: -item[1])
        lengths = result['length'][row]
        got = [tuple(np.asarray(tokens[:n]).tolist()) for tokens, n in zip(result['tokens'][row], lengths, strict=True)]
        assert got[: len(want)] == [text for text, _ in want]
        np.testing.assert_allclose(result['score'][row, : len(want)], [score for _, score in want], rtol=1e-5)
        assert np.all(result['score'][row, len(want) :] == -np.inf)  # there are no more texts than that


def test_a_narrow_prefix_beam_merges_equal_prefixes():
    # The best alignment is all blanks (0.36); the text 0 has three alignments, together 0.64.
    frames = jnp.log(jnp.array([[[0.6, 0.4], [0.6, 0.4]]]))
    result = crnn.finish(crnn.prefix_beam(frames, 2), frames, 2, True)
    assert result['tokens'][0].tolist() == [[0, -1], [-1, -1]]
    np.testing.assert_allclose(jnp.exp(result['score'][0]), [0.64, 0.36], rtol=1e-6)
    np.testing.assert_allclose(result['confidence'][0], [0.4, 0.0], rtol=1e-6)


def test_the_best_path_is_greedy_and_scores_its_alignment():
    path = (1, 1, 0, 1, 2, 2, 0)
    frames = np.full((1, 7, 3), 0.1, np.float32)
    frames[0, range(7), path] = [0.8, 0.7, 0.6, 0.5, 0.9, 0.4, 0.8]
    result = crnn.finish(crnn.best_path(jnp.log(frames)), jnp.log(frames), 7, True)
    assert result['tokens'][0, 0].tolist() == [0, 0, 1, -1, -1, -1, -1] and result['length'][0, 0] == 3
    np.testing.assert_allclose(result['token_confidence'][0, 0, :3], [0.8, 0.5, 0.9], rtol=1e-6)
    np.testing.assert_allclose(result['confidence'][0, 0], np.mean([0.8, 0.5, 0.9]), rtol=1e-6)
    assert result['score'][0, 0] == pytest.approx(np.log([0.8, 0.7, 0.6, 0.5, 0.9, 0.4, 0.8]).sum(), rel=1e-5)
    cut = crnn.finish(crnn.best_path(jnp.log(frames)), jnp.log(frames), 2, False)
    assert cut['tokens'][0, 0].tolist() == [0, 0, -1, -1, -1, -1, -1] and cut['length'][0, 0] == 2


def norm(x, weight=None, group=0, train=True, mean=None, variance=None):
    """Batch norm with fixed scale and bias."""
    channels = x.shape[-1]
    scale, bias = jnp.linspace(0.5, 1.5, channels), jnp.linspace(-1, 1, channels)
    mean = jnp.zeros(channels) if mean is None else mean
    variance = jnp.ones(channels) if variance is None else variance
    return layers.batch_norm(jnp.asarray(x), scale, bias, mean, variance, weight, train=train, group=group)


def values(rows: int) -> np.ndarray:
    return RNG.normal(size=(rows, 3, 5, 4)).astype(np.float32) * 2 + 1


def test_batch_norm_keeps_the_biased_variance_with_momentum_nine_tenths():
    x = values(6)
    output, mean, variance = norm(x)
    np.testing.assert_allclose(mean, 0.1 * x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * x.var((0, 1, 2)), rtol=1e-5)
    standard = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(output, standard * np.linspace(0.5, 1.5, 4) + np.linspace(-1, 1, 4), atol=1e-5)


def test_batch_norm_in_groups_equals_separate_batches():
    x = values(6)
    output, mean, variance = norm(x, group=2)
    parts = [norm(x[start : start + 2]) for start in (0, 2, 4)]
    np.testing.assert_allclose(output, np.concatenate([part[0] for part in parts]), atol=1e-5)
    np.testing.assert_allclose(mean, np.mean([part[1] for part in parts], 0), atol=1e-6)
    np.testing.assert_allclose(variance, np.mean([part[2] for part in parts], 0), atol=1e-6)


def test_rows_of_weight_0_leave_no_trace_in_batch_norm():
    x, weight = values(6), jnp.array([1.0, 0, 1, 1, 0, 0])
    x[weight == 0] = 1e6
    got, want = norm(x, weight), norm(x[[0, 2, 3]])
    np.testing.assert_allclose(got[0][np.array([0, 2, 3])], want[0], atol=1e-5)
    np.testing.assert_allclose(got[1], want[1], atol=1e-6)
    np.testing.assert_allclose(got[2], want[2], atol=1e-6)


def test_groups_count_by_their_real_rows_and_an_empty_one_is_harmless():
    x, weight = values(6), jnp.array([1.0, 1, 1, 0, 0, 0])
    output, mean, variance = norm(x, weight, group=2)
    assert np.isfinite(output).all()
    full, single = norm(x[:2]), norm(x[2:3])
    np.testing.assert_allclose(mean, (2 * full[1] + single[1]) / 3, atol=1e-6)
    np.testing.assert_allclose(variance, (2 * full[2] + single[2]) / 3, atol=1e-6)
    _, mean, variance = norm(x, jnp.zeros(6), mean=jnp.full(4, 2.0), variance=jnp.full(4, 3.0))
    assert np.all(mean == 2) and np.all(variance == 3)


def test_a_batch_that_is_not_a_multiple_of_the_group_is_refused():
    with pytest.raises(ValueError, match='6 rows are not a multiple of the group of 4'):
        norm(values(6), group=4)


def test_batch_norm_is_exact_for_a_large_mean():
    x = (1000 + 0.1 * RNG.normal(size=(8, 4, 4, 2))).astype(np.float32)
    assert norm(x)[2] - 0.9 == pytest.approx(0.1 * x.astype(np.float64).var((0, 1, 2)), abs=1e-5)


@pytest.mark.parametrize('group', [0, 3])
def test_batch_norms_gradient_equals_the_difference_quotient(group):
    with jax.enable_x64(True):
        x, scale, bias = RNG.normal(size=(6, 2, 2, 3)), RNG.normal(size=3), RNG.normal(size=3)
        weight, factors = np.array([1.0, 1, 0, 1, 1, 1]), RNG.normal(size=x.shape)
        axes = tuple(range(bool(group), x.ndim + bool(group) - 1))
        shape = (-1, group, *x.shape[1:]) if group else x.shape
        shares = weight.reshape(*shape[: 1 + bool(group)], *[1] * len(axes))
        shares = shares / (shares.sum(axes, keepdims=True) * 4)

        def total(x, scale, bias):
            output = layers.normalised(x.reshape(shape), shares, scale, bias, axes)[0]
            return jnp.sum(jnp.sin(output) * factors.reshape(shape))

        arguments = tuple(map(jnp.asarray, (x, scale, bias)))
        check_grads(total, arguments, order=1, modes=['rev'], eps=1e-5, rtol=1e-6)


@pytest.mark.parametrize('size', [3, 5])
@pytest.mark.parametrize('strides', [(1, 1), (2, 1), (2, 2)])
def test_the_shifted_depthwise_convolution_equals_the_native_one(size, strides):
    x = jnp.asarray(RNG.normal(size=(2, 8, 13, 6)), jnp.float32)
    kernel = jnp.asarray(RNG.normal(size=(size, size, 1, 6)), jnp.float32)
    want = layers.native_depthwise(x, kernel, strides=strides)
    np.testing.assert_allclose(layers.shifted_depthwise(x, kernel, strides=strides), want, atol=1e-4)
    np.testing.assert_allclose(layers.depthwise(x, kernel, strides=strides), want, atol=1e-4)


def test_a_1x1_convolution_equals_the_general_one():
    x, kernel = jnp.asarray(values(2)), jnp.asarray(RNG.normal(size=(1, 1, 4, 7)), jnp.float32)
    want = jax.lax.conv_general_dilated(x, kernel, (1, 1), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
    np.testing.assert_allclose(layers.conv(x, kernel, padding=((0, 0), (0, 0))), want, atol=1e-5)


@pytest.mark.parametrize('rows', [2, recurrence.LARGE_BATCH + 1])
def test_the_lstm_equals_a_plain_loop(rows):
    hidden, x = 3, RNG.normal(size=(rows, 6, 5)).astype(np.float32)
    shapes = [(2, 5, 4 * hidden), (2, hidden, 4 * hidden), (2, 4 * hidden), (2, 4 * hidden)]
    weights = [RNG.normal(size=shape).astype(np.float32) for shape in shapes]
    want = np.zeros((rows, 6, 2 * hidden))
    for direction, times in enumerate((range(6), reversed(range(6)))):
        kernel_ih, kernel_hh, bias_ih, bias_hh = (weight[direction] for weight in weights)
        state = cell = np.zeros((rows, hidden))
        for time in times:
            i, f, g, o = np.split(x[:, time] @ kernel_ih + bias_ih + state @ kernel_hh + bias_hh, 4, -1)
            cell = cell / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            state = np.tanh(cell) / (1 + np.exp(-o))
            want[:, time, direction * hidden : (direction + 1) * hidden] = state
    np.testing.assert_allclose(recurrence.lstm(jnp.asarray(x), *map(jnp.asarray, weights)), want, atol=1e-5)


def test_the_elementary_operations_keep_their_names_in_the_jaxpr():
    x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))

    def all_of_them(x):
        x = layers.conv(x, kernel, padding=((1, 1), (1, 1)))
        x = layers.depthwise(x, kernel[:, :, :1])
        x = norm(x, train=False)[0]
        return recurrence.lstm(x[:, 0], jnp.ones((2, 2, 4)), jnp.ones((2, 1, 4)), jnp.ones((2, 4)), jnp.ones((2, 4)))

    inner = {equation.params.get('name') for equation in jax.make_jaxpr(all_of_them)(x).eqns}
    assert {'conv', 'depthwise', 'batch_norm', 'lstm'} <= inner


@pytest.mark.parametrize('name', backbones.BACKBONES)
@pytest.mark.parametrize('width', [32, 100, 160])
def test_every_backbone_makes_a_frame_of_four_columns(name, width):
    network, context = backbones.backbone(name, 0.5), layers.Context(False, None, 0, jnp.float32)
    image = jax.ShapeDtypeStruct((2, 32, width, 3), jnp.float32)
    maps = jax.eval_shape(lambda image: network.init_with_output(jax.random.key(0), image, context)[0], image)
    assert maps.shape[:3] == (2, 1, width // 4)


@pytest.mark.parametrize('shape, window, strides, padding', [
    ((2, 8, 10, 3), (2, 2), None, 0), ((2, 9, 7, 3), (2, 1), None, 0), ((1, 16, 25, 4), (3, 3), (2, 2), 1),
    ((1, 5, 5, 2), (2, 2), None, 0),
])
def test_max_pooling_and_its_gradient_equal_the_native_ones(shape, window, strides, padding):
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)

    def native(x):
        return nn.max_pool(x, window, strides or window, [(padding, padding)] * 2)

    def ours(x):
        return layers.max_pool(x, window, strides=strides, padding=padding)

    np.testing.assert_array_equal(ours(x), native(x))
    gradients = [jax.grad(lambda x, pool=pool: (pool(x) ** 3).sum())(x) for pool in (ours, native)]
    np.testing.assert_allclose(*gradients, rtol=1e-6)
