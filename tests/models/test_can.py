"""CAN's masks, its attention and its loss, on narrow models and small images."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from narrow_models import NARROW, close, learn, random_variables
from small import QUICKLY

from recog import models
from recog.config import recipe
from recog.models import can
from recog.models.parts import convolutions, coverage_attention, coverage_weights, layers
from recog.text.vocabulary import Vocab

VOCAB = Vocab(('x', '{', '}', '^', '_', '2'), 'keep', 'drop', ' ')
SIZES = ((32, 48), (21, 33), (17, 16), (5, 47))


@functools.cache
def build(**own: Any) -> models.Model:
    fields, image = NARROW['can']
    config = recipe.base(name='can', **{**fields, 'masked': False, **own})
    config.image.update(image)
    return models.build(config, VOCAB)


def pictures(padding: float = 7.0) -> tuple[list[np.ndarray], np.ndarray]:
    """Images of noise, each alone, and all on one canvas with padding."""
    rng = np.random.default_rng(0)
    alone = [rng.uniform(0, 1, (1, *size, 1)).astype(np.float32) for size in SIZES]
    canvas = np.full((len(SIZES), 48, 64, 1), padding, np.float32)
    for row, (height, width) in enumerate(SIZES):
        canvas[row, :height, :width] = alone[row][0]
    return alone, canvas


def labelled(rows: int = 4) -> dict[str, Any]:
    _, canvas = pictures(0.0)
    tokens = np.array([[0, 3, 1, 5, 2], [5, -1, -1, -1, -1], [0, 0, -1, -1, -1], [1, 0, 2, -1, -1]])
    return {
        'image': canvas[:rows],
        'size': np.array(SIZES[:rows], np.int32),
        'tokens': tokens[:rows].astype(np.int32),
        'length': (tokens[:rows] >= 0).sum(1, dtype=np.int32),
        'weight': np.ones(rows, np.float32),
        'index': np.arange(rows, dtype=np.int32),
    }


@pytest.mark.parametrize('blocks', [2, 3])
def test_decoding_a_padded_batch_equals_the_unmasked_model_on_each_image_alone(blocks):
    model = build(blocks=blocks)
    assert not model.about.masked
    variables, (alone, canvas) = random_variables(model), pictures()
    decode = jax.jit(model.decode, static_argnames=('details',), compiler_options=QUICKLY)
    together = jax.device_get(decode(variables, canvas, np.array(SIZES), 6, details=True))
    apply = jax.jit(lambda *given: model.apply(*given)[0], compiler_options=QUICKLY)
    for row, (height, width) in enumerate(SIZES):
        # The likelihood of the decoded text, from the unmasked model with that text as input.
        length = int(together['length'][row, 0])
        tokens = together['tokens'][row, :, :6]
        batch = {'image': alone[row], 'size': np.array([[height, width]]), 'tokens': tokens,
                 'length': np.array([length]), 'weight': np.ones(1, np.float32)}
        forced = jax.device_get(apply(variables, batch))
        np.testing.assert_allclose(together['counts'][row], forced['counts'][0, can.OFFSET:], atol=1e-5)
        powers = np.exp(forced['head'][0])
        shares = powers / powers.sum(-1, keepdims=True)
        want = shares[np.arange(length), tokens[0, :length] + can.OFFSET]
        np.testing.assert_allclose(together['token_confidence'][row, 0, :length], want, atol=1e-5)
        attention = together['attention'][row, 0, :length]
        down, right = forced['backbone'].shape[1:3]
        np.testing.assert_allclose(attention[:, :down, :right], forced['attention'][0, :length], atol=1e-5)
        assert attention[:, down:].sum() == 0 and attention[:, :, right:].sum() == 0


def test_masked_batch_norm_counts_the_cells_that_are_there_and_no_others():
    rng = np.random.default_rng(0)
    x, cells = rng.normal(size=(3, 4, 5, 2)).astype(np.float32), rng.random((3, 4, 5, 1)) < 0.5
    weight, ones, zeros = np.array([1, 0, 1], np.float32), np.ones(2, np.float32), np.zeros(2, np.float32)
    output, mean, variance = layers.batch_norm(x, ones, zeros, zeros, ones, weight, cells, train=True)
    real = x[[0, 2]][cells[[0, 2], ..., 0]]
    np.testing.assert_allclose(mean, 0.1 * real.mean(0), atol=1e-6)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * real.var(0), atol=1e-6)
    wanted = (real - real.mean(0)) / np.sqrt(real.var(0) + layers.EPSILON)
    np.testing.assert_allclose(np.asarray(output)[[0, 2]][cells[[0, 2], ..., 0]], wanted, atol=1e-5)


@pytest.mark.parametrize('reach', [1, 3, 11])
def test_patches_times_a_kernel_are_a_convolution_also_in_the_gradient(reach):
    rng, shapes = np.random.default_rng(0), ((2, 4, 6), (reach * reach, 3), (2, 4, 6, 3))
    x, kernel, weight = (rng.normal(size=shape).astype(np.float32) for shape in shapes)

    def ours(x, kernel):
        return coverage_weights.patches(x, reach) @ kernel

    def plain(x, kernel):
        square, edge = kernel.reshape(reach, reach, 1, -1), ((reach // 2, reach // 2),) * 2
        return jax.lax.conv_general_dilated(
            x[..., None], square, (1, 1), edge, dimension_numbers=('NHWC', 'HWIO', 'NHWC'))

    def slopes(form):
        def total(x, kernel):
            value = form(x, kernel)
            return (value * weight).sum(), value

        (x_slope, kernel_slope), value = jax.grad(total, (0, 1), has_aux=True)(x, kernel)
        return {'x': x_slope, 'kernel': kernel_slope, 'value': value}

    close(*jax.jit(lambda: [slopes(form) for form in (ours, plain)])(), 1e-5)


@jax.jit
def memory(parameters: Any, cells: jax.Array) -> Any:
    features = np.random.default_rng(3).normal(size=(*cells.shape, 12)).astype(np.float32)
    return coverage_attention.make_memory(parameters, jnp.asarray(features), cells, None)


@functools.cache
def decoder() -> Any:
    module = coverage_attention.CoverageDecoder(16, 8, 3, 5, False)
    return jax.jit(lambda key: module.init(key, 12)['params'], compiler_options=QUICKLY)(jax.random.key(0))


def test_the_folded_coverage_equals_the_convolution_and_the_matrix_after_it():
    parameters = decoder()
    kept, _ = memory(parameters, np.ones((1, 3, 4), bool))
    coverage = np.random.default_rng(4).random((1, 3, 4, 1)).astype(np.float32)

    @jax.jit
    def both():
        maps = convolutions.conv(coverage, parameters['coverage_kernel'], padding=((1, 1), (1, 1)))
        folded = coverage_weights.patches(jnp.asarray(coverage[..., 0]), 3) @ kept.coverage_kernel
        return folded, maps @ parameters['coverage_mix']

    np.testing.assert_allclose(*both(), atol=1e-6)


# Thirteen steps are taken in two parts, of which five steps reach one.
@pytest.mark.parametrize(('steps', 'count'), [(4, 3), (4, 4), (13, 5), (13, 13)])
def test_the_weights_of_all_steps_learn_as_if_each_step_were_differentiated_by_itself(steps, count):
    cells = np.ones((2, 3, 4), bool)
    cells[1, 2:] = cells[1, :, 3:] = False
    parameters, rng = decoder(), np.random.default_rng(5)
    kept, _ = memory(parameters, cells)
    shapes = (steps, 2, 8), (steps, 2, 3, 4)
    queries, given = (rng.normal(size=shape).astype(np.float32) for shape in shapes)

    def one_by_one(kept, kernel, queries):
        coverage, found = jnp.zeros((2, 1, 3, 4)), []
        for step, query in enumerate(queries):
            weights = coverage_weights.coverage_weights(kept, kernel, query[:, None], coverage)
            found.append(weights * (step < count))
            coverage = coverage + found[-1]
        return jnp.concatenate(found, 1).swapaxes(0, 1)

    def all_at_once(kept, kernel, queries):
        return coverage_weights.coverage_weights_by_step(kept, kernel, queries, jnp.int32(count))

    def slopes(form):
        def total(keys, taps, kernel, queries):
            value = form(kept._replace(keys=keys, coverage_kernel=taps), kernel, queries)
            return (value * given).sum(), value

        given_them = kept.keys, kept.coverage_kernel, parameters['energy_kernel'], queries
        learnt, value = jax.grad(total, (0, 1, 2, 3), has_aux=True)(*given_them)
        return dict(zip(('keys', 'coverage', 'energy', 'queries'), learnt, strict=True)) | {'weights': value}

    ours, plain = jax.jit(lambda: [slopes(form) for form in (all_at_once, one_by_one)])()
    close(ours, plain, 1e-5)
    assert all(np.abs(slope).max() > 1e-3 for slope in plain.values())


def test_weights_are_the_references_and_neither_overflow_nor_vanish():
    parameters = decoder()
    cells = np.ones((2, 3, 4), bool)
    cells[1, 2:] = cells[1, :, 3:] = False
    kept, start = jax.device_get(memory(parameters, cells))
    start = start @ np.asarray(parameters['query_kernel']) + np.asarray(parameters['query_bias'])
    query, coverage = start[:, None], np.zeros((2, 1, 3, 4), np.float32)
    kernel = np.asarray(parameters['energy_kernel'])

    def weights(kept, kernel):
        return coverage_weights.coverage_weights(kept, kernel, query, coverage)

    scores = np.tanh(kept.keys + query[:, 0, None, None]) @ kernel
    # As in the reference, minus the largest score of the batch.
    powers = np.where(cells, np.exp(scores - scores.max())[..., 0], 0)
    want = powers / (powers.sum((1, 2), keepdims=True) + 1e-10)
    np.testing.assert_allclose(weights(kept, kernel)[:, 0], want, rtol=1e-5, atol=1e-7)
    steep = np.asarray(weights(kept, np.float32(1e4) * kernel))
    assert np.isfinite(steep).all() and np.all(steep[:, 0][~cells] == 0)
    np.testing.assert_allclose(steep.sum((2, 3)), 1, rtol=1e-5)
    none = kept._replace(cells=np.zeros_like(kept.cells))
    value, slope = jax.jit(jax.value_and_grad(lambda kernel: weights(none, kernel).sum()))(kernel)
    assert value == 0 and np.all(slope == 0)


@pytest.mark.parametrize('masked', [False, True])
def test_the_loss_counts_the_steps_of_the_recipe(masked):
    model, batch = build(masked=masked), labelled()
    got = learn(model, random_variables(model), batch, None, quickly=True)
    # The reference fills all labels with ends up to the longest; masked, each has its tokens and its end.
    assert got['count'] == (batch['length'].sum() + 4 if masked else 4 * 6)


def test_padding_the_token_axis_changes_nothing():
    model, batch = build(), labelled()
    variables = random_variables(model)
    longer = {**batch, 'tokens': np.pad(batch['tokens'], ((0, 0), (0, 4)), constant_values=-1)}
    close(*(learn(model, variables, each, None, quickly=True) for each in (longer, batch)))


def test_fillers_leave_no_trace_in_the_unmasked_model_either():
    model, batch = build(), labelled(3)
    variables = random_variables(model)
    filler = jax.tree.map(lambda leaf: leaf[:1], batch)
    filler |= {'weight': np.zeros(1, np.float32), 'size': np.zeros((1, 2), np.int32),
               'length': np.array([5], np.int32)}
    # The longest label is a filler's: it must not count.
    short = {**batch, 'length': np.minimum(batch['length'], 2)}
    both = {key: np.concatenate([short[key], filler[key]]) for key in batch}
    close(*(learn(model, variables, each, None, quickly=True) for each in (both, short)))


def test_structure_is_not_counted():
    model, batch = build(), labelled(1)
    variables = random_variables(model)
    structure = {**batch, 'tokens': np.array([[0, 3, 1, 5, 2]], np.int32)}
    other = {**batch, 'tokens': np.array([[0, 4, 2, 5, 1]], np.int32)}  # other structure, the same symbols
    apply = jax.jit(lambda *given: model.apply(*given)[0]['counts'], compiler_options=QUICKLY)
    np.testing.assert_array_equal(*(apply(variables, each) for each in (structure, other)))

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def losses(variables, each):
        outputs, _ = model.apply(variables, each, train=True)
        return jax.nn.log_softmax(outputs['head'])[0], model.loss(variables, each)[0][0]

    def counting(each: Any) -> float:
        words, total = jax.device_get(losses(variables, each))
        return float(total + words[np.arange(6), [*(each['tokens'][0] + can.OFFSET), can.END]].sum())

    assert counting(structure) == pytest.approx(counting(other), rel=1e-4)
    symbols = {**batch, 'tokens': np.array([[5, 3, 1, 5, 2]], np.int32)}
    assert counting(symbols) != pytest.approx(counting(other), rel=1e-4)


@pytest.mark.parametrize('counting', [(), (3,), (5,)])
def test_ablations_of_counting_build_learn_and_decode(counting):
    model, batch = build(counting=counting), labelled()
    variables = random_variables(model)
    assert np.isfinite(learn(model, variables, batch, None, quickly=True)['total'])
    decode = jax.jit(functools.partial(model.decode, beam=2, details=True), compiler_options=QUICKLY)
    result = decode(variables, batch['image'], batch['size'], 5)
    assert result['tokens'].shape == (4, 2, 25) and ('counts' in result) == bool(counting)


@pytest.mark.slow
def test_sixteen_formulas_are_learnt_by_heart():
    import optax

    model = build(masked=True, dropout=0.0, word_dropout=0.0, growth=8, hidden=32, attention=32)
    rng, rows = np.random.default_rng(0), 16
    length = rng.integers(1, 5, rows)
    tokens = np.where(np.arange(5) < length[:, None], rng.integers(0, len(VOCAB), (rows, 5)), -1)
    image = np.zeros((rows, 32, 80, 1), np.float32)
    for row in range(rows):  # each token a bar pattern of its own
        for place in range(length[row]):
            pattern = np.random.default_rng(tokens[row, place]).random((24, 12)) < 0.5
            image[row, 4:28, 4 + 15 * place : 16 + 15 * place, 0] = pattern
    batch = {
        'image': jnp.asarray(image),
        'size': jnp.tile(jnp.array([[32, 80]]), (rows, 1)),
        'tokens': jnp.asarray(tokens, jnp.int32),
        'length': jnp.asarray(length, jnp.int32),
        'weight': jnp.ones(rows),
    }
    variables, tx = jax.jit(model.init, compiler_options=QUICKLY)(jax.random.key(0)), optax.adam(5e-3)

    @jax.jit
    def step(params, stats, memory):
        def loss(params):
            (total, count), (after, _) = model.loss({'params': params, 'stats': stats}, batch)
            return total / count, after

        (value, stats), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, memory = tx.update(gradients, memory, params)
        return optax.apply_updates(params, updates), stats, memory, value

    params, stats = variables['params'], variables['stats']
    memory_ = jax.jit(tx.init)(params)
    for _ in range(200):
        params, stats, memory_, _ = step(params, stats, memory_)
    result = jax.jit(model.decode)({'params': params, 'stats': stats}, batch['image'], batch['size'], 5)
    right = (np.asarray(result['tokens'][:, 0, :5]) == tokens).all(1)
    assert right.mean() >= 0.9
