"""CTC, batch norm and other elementary operations, compared with simple second formulas."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from recog.models.backbones import text_lines
from recog.models.decoding.ctc import best_path, ctc_loss, finish, prefix_beam, text_score
from recog.models.parts import convolutions, depthwise, layers, recurrence

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


@functools.partial(jax.jit, static_argnames='beam')
def read(frames: jax.Array, beam: int, most: int) -> dict[str, jax.Array]:
    """The texts decoded from log-probabilities: by prefix beam search, or the best path if `beam` is 0."""
    paths = prefix_beam(frames, beam) if beam else best_path(frames)
    return finish(paths, frames, most, True)


def padded(rows: list[tuple[int, ...]], width: int) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.full((len(rows), width), -1, np.int32)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
    return tokens, np.array([len(row) for row in rows], np.int32)


# The last two just fit into five frames.
LABELS = [(), (0,), (2,), (0, 1, 2), (0, 0), (1, 1, 1), (2, 1, 1, 0)]


def test_ctc_equals_the_sum_over_all_alignments():
    with jax.enable_x64(True):
        logits = RNG.normal(size=(len(LABELS), 5, 4)) * 2
        tokens, length = padded(LABELS, 6)
        losses, possible = jax.jit(ctc_loss)(logits, tokens, length)
        assert losses.dtype == np.float64 and possible.all()
        for loss, row, label in zip(losses, np.asarray(jax.nn.log_softmax(logits)), LABELS, strict=True):
            assert loss == pytest.approx(-texts(row)[label], rel=1e-12)


def test_a_label_that_needs_more_frames_than_there_are_has_loss_and_gradient_0():
    tokens, length = padded([(0, 0), (0, 1, 2), (0, 0, 1), (0, 1, 2, 0)], 5)
    logits = RNG.normal(size=(4, 3, 4)).astype(np.float32)

    def total(logits):
        losses, possible = ctc_loss(logits, tokens, length)
        return losses.sum(), (losses, possible)

    gradient, (losses, possible) = jax.device_get(jax.jit(jax.grad(total, has_aux=True))(logits))
    assert possible.tolist() == [True, True, False, False]
    assert np.all(losses[2:] == 0) and np.all(gradient[2:] == 0)
    assert np.all(np.abs(gradient[:2]).max((1, 2)) > 0)


def test_a_wide_prefix_beam_finds_every_text_with_its_exact_probability():
    frames = np.asarray(jax.nn.log_softmax(jnp.asarray(RNG.normal(size=(3, 4, 3)) * 2, jnp.float32)))
    result = jax.device_get(read(frames, 40, 4))
    for row in range(3):
        want = sorted(texts(frames[row]).items(), key=lambda item: -item[1])
        pairs = zip(result['tokens'][row], result['length'][row], strict=True)
        got = [tuple(np.asarray(tokens[:length]).tolist()) for tokens, length in pairs]
        assert got[: len(want)] == [text for text, _ in want]
        np.testing.assert_allclose(result['score'][row, : len(want)], [score for _, score in want], rtol=1e-5)
        assert np.all(result['score'][row, len(want) :] == -np.inf)  # there are no more texts than that


def test_a_narrow_prefix_beam_merges_equal_prefixes():
    # The best alignment is all blanks (0.36); the text 0 has three alignments, together 0.64.
    result = jax.device_get(read(np.log(np.array([[[0.6, 0.4], [0.6, 0.4]]], np.float32)), 2, 2))
    assert result['tokens'][0].tolist() == [[0, -1], [-1, -1]]
    np.testing.assert_allclose(np.exp(result['score'][0]), [0.64, 0.36], rtol=1e-6)
    np.testing.assert_allclose(result['mean_token'][0], [0.4, 0.0], rtol=1e-6)


def test_the_best_path_is_greedy_and_scores_its_text_in_all_alignments():
    path = (1, 1, 0, 1, 2, 2, 0)
    frames = np.full((1, 7, 3), 0.1, np.float32)
    frames[0, range(7), path] = [0.8, 0.7, 0.6, 0.5, 0.9, 0.4, 0.8]
    result = jax.device_get(read(np.log(frames), 0, 7))
    assert result['tokens'][0, 0].tolist() == [0, 0, 1, -1, -1, -1, -1] and result['length'][0, 0] == 3
    np.testing.assert_allclose(result['token_confidence'][0, 0, :3], [0.8, 0.5, 0.9], rtol=1e-6)
    np.testing.assert_allclose(result['mean_token'][0, 0], np.mean([0.8, 0.5, 0.9]), rtol=1e-6)
    assert result['score'][0, 0] == pytest.approx(texts(np.log(frames[0]))[0, 0, 1], rel=1e-5)
    cut = jax.device_get(read(np.log(frames), 0, 2))
    assert cut['tokens'][0, 0].tolist() == [0, 0, -1, -1, -1, -1, -1] and cut['length'][0, 0] == 2


def test_the_score_of_a_long_and_unlikely_text_is_that_of_the_loss():
    frames = jax.nn.log_softmax(jnp.asarray(RNG.normal(size=(4, 120, 7)), jnp.float32))
    classes = best_path(frames).classes[:, 0]
    length = (classes > 0).sum(1)
    assert length.min() > 60
    losses, _ = jax.jit(ctc_loss)(frames, classes - 1, length)
    np.testing.assert_allclose(jax.jit(text_score)(frames, classes), -losses, rtol=1e-5)


def norm(x, weight=None, group=0, train=True, mean=None, variance=None):
    """Batch norm with fixed scale and bias."""
    channels = x.shape[-1]
    scale = np.linspace(0.5, 1.5, channels, dtype=np.float32)
    bias = np.linspace(-1, 1, channels, dtype=np.float32)
    mean = np.zeros(channels, np.float32) if mean is None else mean
    variance = np.ones(channels, np.float32) if variance is None else variance
    return layers.batch_norm(x, scale, bias, mean, variance, weight, train=train, group=group)


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
    x, weight = values(6), np.array([1, 0, 1, 1, 0, 0], np.float32)
    x[weight == 0] = 1e6
    got, want = norm(x, weight), norm(x[[0, 2, 3]])
    np.testing.assert_allclose(np.asarray(got[0])[[0, 2, 3]], want[0], atol=1e-5)
    np.testing.assert_allclose(got[1], want[1], atol=1e-6)
    np.testing.assert_allclose(got[2], want[2], atol=1e-6)


def test_groups_count_by_their_real_rows_and_an_empty_one_is_harmless():
    x, weight = values(6), np.array([1, 1, 1, 0, 0, 0], np.float32)
    output, mean, variance = norm(x, weight, group=2)
    assert np.isfinite(output).all()
    full, single = norm(x[:2]), norm(x[2:3])
    for place, found in ((1, mean), (2, variance)):
        np.testing.assert_allclose(found, (2 * np.asarray(full[place]) + single[place]) / 3, atol=1e-6)
    twos, threes = np.full(4, 2, np.float32), np.full(4, 3, np.float32)
    _, mean, variance = norm(x, np.zeros(6, np.float32), mean=twos, variance=threes)
    assert np.all(mean == 2) and np.all(variance == 3)


def test_a_batch_that_is_not_a_multiple_of_the_group_is_refused():
    with pytest.raises(ValueError, match='6 rows are not a multiple of the group of 4'):
        norm(values(6), group=4)


def test_batch_norm_of_rounded_values_loses_less_than_their_rounding():
    """Their variance is computed from sums of squares, which cancel where the mean is large."""
    exact = 8 + RNG.normal(size=(16, 5, 7, 3))
    rounded = jnp.asarray(exact, jnp.bfloat16)
    output, mean, variance = norm(rounded, train=True)
    want = np.asarray(rounded, np.float64)
    np.testing.assert_allclose(mean, 0.1 * want.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * want.var((0, 1, 2)), rtol=1e-5)
    assert np.abs(want.var((0, 1, 2)) / exact.var((0, 1, 2)) - 1).max() > 1e-4
    assert output.dtype == jnp.bfloat16


def test_batch_norm_is_exact_for_a_large_mean():
    x = (1000 + 0.1 * RNG.normal(size=(8, 4, 4, 2))).astype(np.float32)
    assert np.asarray(norm(x)[2]) - 0.9 == pytest.approx(0.1 * x.astype(np.float64).var((0, 1, 2)), abs=1e-5)


@pytest.mark.parametrize('group', [0, 3])
def test_batch_norms_gradient_equals_the_difference_quotient(group):
    with jax.enable_x64(True):
        arguments = RNG.normal(size=(6, 2, 2, 3)), RNG.normal(size=3), RNG.normal(size=3)
        weight, factors = np.array([1.0, 1, 0, 1, 1, 1]), RNG.normal(size=(6, 2, 2, 3))
        axes = tuple(range(bool(group), 3 + bool(group)))
        shape = (-1, group, 2, 2, 3) if group else (6, 2, 2, 3)
        shares = weight.reshape(*shape[: 1 + bool(group)], *[1] * len(axes))
        shares = shares / (shares.sum(axes, keepdims=True) * 4)

        @jax.jit
        def total(x, scale, bias):
            output = layers.normalised(x.reshape(shape), shares, scale, bias, axes)[0]
            return jnp.sum(jnp.sin(output) * factors.reshape(shape))

        check_grads(total, arguments, order=1, modes=['rev'], eps=1e-5, rtol=1e-6)


def test_the_elementary_operations_keep_their_names_in_the_jaxpr():
    x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))

    def all_of_them(x):
        x = convolutions.conv(x, kernel, padding=((1, 1), (1, 1)))
        x = depthwise.depthwise(x, kernel[:, :, :1])
        x = norm(x, train=False)[0]
        weights = (jnp.ones(shape) for shape in ((2, 2, 4), (2, 1, 4), (2, 4), (2, 4)))
        return recurrence.lstm(x[:, 0], *weights)

    inner = {equation.params.get('name') for equation in jax.make_jaxpr(all_of_them)(x).eqns}
    assert {'conv', 'depthwise', 'batch_norm', 'lstm'} <= inner


@pytest.mark.parametrize('name', text_lines.BACKBONES)
@pytest.mark.parametrize('width', [32, 100, 160])
def test_every_backbone_makes_a_frame_of_four_columns(name, width):
    network, context = text_lines.backbone(name, 0.5), layers.Context(False, None, 0, jnp.float32)
    image = jax.ShapeDtypeStruct((2, 32, width, 3), jnp.float32)
    maps = jax.eval_shape(lambda image: network.init_with_output(jax.random.key(0), image, context)[0], image)
    assert maps.shape[:3] == (2, 1, width // 4)


@pytest.mark.parametrize('shape', [
    (9, 8, 25, 6), (2, 8, 8, 10, 6), (8, 7, 13, 6), (9, 6), (3, 8, 25, 6), (16, 64, 100, 4)])
def test_batch_norms_sums_on_a_cpu_are_as_exact_as_xlas(shape):
    values = (1 + RNG.normal(size=shape)).astype(np.float32)
    axes = tuple(range(len(shape) == 5, len(shape) - 1))
    got, want = layers._summed(values, axes), values.astype(np.float64).sum(axes, keepdims=True)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=5e-7 if shape[axes[0]] >= layers.MANY_ROWS else 1e-5)


def test_the_gradients_of_a_product_that_ends_in_float32_have_its_operands_dtype():
    """Otherwise a GPU would multiply in tf32, at half the speed."""
    left, right = jnp.ones((2, 3, 4), jnp.bfloat16), jnp.ones((4, 5), jnp.bfloat16)
    result, back = jax.vjp(functools.partial(layers.einsum32, '...d,de->...e'), left, right)
    backward = jax.make_jaxpr(back)(result).jaxpr
    products = [equation for equation in backward.eqns if equation.primitive.name == 'dot_general']
    operands = [each.aval.dtype for equation in products for each in equation.invars]
    assert result.dtype == jnp.float32 and len(products) >= 2 and set(operands) == {jnp.dtype('bfloat16')}
