"""ONNX files: each primitive, each named operation and each model gives in onnxruntime what it gives in JAX."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from jax import export, lax
from narrow_models import NARROW, narrow, weighted
from small import QUICKLY

from recog import models
from recog.errors import ConfigError
from recog.export.to_onnx.graph import Unconvertible
from recog.export.to_onnx.jaxpr import to_onnx
from recog.export.to_onnx.named_operations import equations
from recog.export.to_onnx.primitives import OPERATIONS
from recog.models.backbones import densenet
from recog.models.parts import convolutions, coverage_attention, layers, rectification, recurrence, transformer_decoder

ROW, MAP = ('b, 5', 'float32'), ('b, 5, 7, 3', 'float32')
INTS, FLAGS, SCALAR = ('b, 5', 'int32'), ('b, 5', 'bool'), ('', 'int32')
CELLS, PAIR = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32), np.array([[4, 0], [1, 2], [0, 1]], np.int32)

# For each primitive what uses it, on inputs of these shapes and types.
CASES: dict[str, list[tuple[Any, ...]]] = {
    **{name: [(getattr(lax, name), ROW)] for name in (
        'abs', 'ceil', 'cos', 'erf', 'exp', 'floor', 'logistic', 'neg', 'sign', 'sin', 'square', 'tanh')},
    **{name: [(lambda x, name=name: getattr(lax, name)(abs(x) + 0.1), ROW)] for name in ('log', 'log1p', 'rsqrt', 'sqrt')},
    **{name: [(getattr(lax, name), ROW, ROW), (getattr(lax, name), INTS, INTS)] for name in (
        'add', 'eq', 'ge', 'gt', 'le', 'lt', 'max', 'min', 'mul', 'ne', 'sub')},
    **{name: [(getattr(lax, f'bitwise_{name}'), FLAGS, FLAGS), (getattr(lax, f'bitwise_{name}'), INTS, INTS)]
       for name in ('and', 'or', 'xor')},
    'not': [(lax.bitwise_not, FLAGS), (lax.bitwise_not, INTS)],
    'div': [(lax.div, ROW, ROW), (lambda x, y: lax.div(x, abs(y) + 1), INTS, INTS)],
    'rem': [(lambda x, y: lax.rem(x, abs(y) + 1), INTS, INTS), (lambda x: lax.rem(x, jnp.float32(0.3)), ROW)],
    'pow': [(lambda x, y: lax.pow(abs(x) + 0.1, y), ROW, ROW)],
    'integer_pow': [(lambda x: lax.integer_pow(x, 3), ROW), (lambda x: lax.integer_pow(x, 2), INTS)],
    'clamp': [(lambda x: lax.clamp(-0.5, x, 0.25), ROW)],
    'convert_element_type': [(lambda x: x.astype(jnp.int32), ROW), (lambda x: x.astype(jnp.float32), FLAGS),
                             (lambda x: x.astype(bool), INTS), (lambda x: x.astype(jnp.float32), ('b, 5', 'uint8'))],
    'select_n': [(lax.select, FLAGS, ROW, ROW), (lax.select, FLAGS, FLAGS, FLAGS)],
    'stop_gradient': [(lax.stop_gradient, ROW)],
    'copy': [(lax.copy_p.bind, ROW)],
    'transpose': [(lambda x: x.transpose(3, 0, 2, 1), MAP)],
    'reshape': [(lambda x: x.reshape(-1, 21), MAP), (lambda x: x.reshape(5, x.shape[0], 21) + x.shape[0], MAP)],
    'squeeze': [(lambda x: lax.squeeze(x, (1,)), ('b, 1, 5', 'float32'))],
    'broadcast_in_dim': [(lambda x: lax.broadcast_in_dim(x, (3, x.shape[0], 2, 5), (1, 3)), ROW)],
    'concatenate': [(lambda x, y: lax.concatenate([x, y, x], 1), ROW, ROW)],
    'stack': [(lambda x, y: jnp.stack([x, y], 1), ROW, ROW)],
    'split': [(lambda x: lax.split(x, (2, 4, 1), 2), MAP)],
    'tile': [(lambda x: lax.tile(x, (2, 3)), ROW)],
    'iota': [(lambda x: x + lax.broadcasted_iota(jnp.float32, x.shape, 0), ROW), (lambda x: x + lax.iota(jnp.float32, 5), ROW)],
    'dim_as_value': [(lambda x: x * jnp.asarray(x.shape[0] * 2 + 1, jnp.float32), ROW)],
    'reduce_max': [(lambda x: x.max((1, 3)), MAP)], 'reduce_min': [(lambda x: x.min((1, 2)), MAP)],
    'reduce_sum': [(lambda x: x.sum((0, 2)), MAP), (lambda x: x.sum(), INTS)], 'reduce_prod': [(lambda x: x.prod(1), ROW)],
    'reduce_and': [(lambda x: x.all(1), FLAGS)], 'reduce_or': [(lambda x: x.any(), FLAGS)],
    'argmax': [(lambda x: x.argmax(2), MAP), (lambda x: x.argmax(1), INTS)], 'argmin': [(lambda x: x.argmin(1), INTS)],
    'top_k': [(lambda x: lax.top_k(x, 3), ROW)],
    'cumsum': [(lambda x: lax.cumsum(x, 1), INTS), (lambda x: lax.cumsum(x, 0, reverse=True), ROW)],
    'dot_general': [(lambda x: x @ np.arange(6, dtype=np.float32).reshape(3, 2), MAP),
                    (lambda x, y: jnp.einsum('bhwc,bhwd->bhcd', x, y), MAP, MAP),
                    (lambda x, y: jnp.einsum('bhwc,bhwc->b', x, y), MAP, MAP),
                    (lambda x, y: jnp.einsum('bt,btd->bd', x, y), ROW, ('b, 5, 3', 'float32'))],
    'conv_general_dilated': [(lambda x: lax.conv_general_dilated(x, CELLS, (2, 1), ((1, 2), (0, 3)), rhs_dilation=(1, 2),
                                                                 dimension_numbers=('NHWC', 'HWIO', 'NHWC')), MAP)],
    'reduce_window_max': [(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 2, 1), 'SAME'), MAP)],
    'reduce_window_sum': [(lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3, 2, 1), (1, 2, 1, 1), 'SAME'), MAP)],
    'slice': [(lambda x: lax.slice(x, (1, 2), (4, 5), (2, 1)), ('5, 7', 'float32'))],
    'rev': [(lambda x: x[:, ::-1, :, ::-1], MAP)],
    'pad': [(lambda x: jnp.pad(x, ((0, 0), (2, 1)), constant_values=3), ROW), (lambda x: jnp.pad(x, ((0, 0), (0, 2))), FLAGS)],
    'dynamic_slice': [(lambda x, i: lax.dynamic_slice_in_dim(x, i, 2, 1), ROW, SCALAR)],
    'dynamic_update_slice': [
        (lambda x, y, i: lax.dynamic_update_slice_in_dim(x, y[:, :1], i, 1), ROW, ROW, SCALAR),
        (lambda x, y, i: lax.dynamic_update_slice_in_dim(x, y[:, :3], i, 1), ROW, ROW, SCALAR),
        (lambda x, y, i: lax.dynamic_update_slice_in_dim(x, y[:, :1], i, 1), FLAGS, FLAGS, SCALAR),
    ],
    'gather': [
        (lambda x: x[:, 1:4:2, ::3], MAP), (lambda x: x[:, 2], MAP), (lambda x: x[:, :, [3, 0, 1]], MAP),
        (lambda x: x[:, PAIR[:, 0], PAIR[:, 1]], MAP), (lambda x: x[:, 1:, 2:5], MAP),
        (lambda x, i: x[:, i], MAP, ('2, 3', 'int32')), (lambda x, i: x[:, i], MAP, SCALAR),
        (lambda x, i: x.at[:, i].get(mode='clip'), MAP, ('2, 3', 'int32')),
        (lambda x, i: x.at[:, i, :, i].get(mode='fill', fill_value=7), MAP, ('4', 'int32')),
        (lambda x, i: jnp.take_along_axis(x, i, 1), ROW, INTS), (lambda x, i: jnp.take_along_axis(x, i, 1), FLAGS, INTS),
        (lambda x, i: jnp.take_along_axis(x, i[:, :, None, None], 1, mode='clip'), MAP, INTS),
    ],
    'scatter': [(lambda x: x.at[..., 2].set(-jnp.inf), MAP), (lambda x, y: x.at[:, 1].set(y[:, 0]), MAP, MAP)],
}


def session(made: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(made.SerializeToString(), options, providers=['CPUExecutionProvider'])


def operators(graph: Any) -> list[str]:
    names = [node.op_type for node in graph.node]
    for node in graph.node:
        for attribute in node.attribute:
            names += operators(attribute.g) if attribute.HasField('g') else []
    return names


def random(shape: str, dtype: str, rows: int, seed: int) -> np.ndarray:
    generator, sizes = np.random.default_rng(seed), [rows if size == 'b' else int(size) for size in shape.split(', ') if size]
    if dtype == 'bool':
        return generator.random(sizes) < 0.5
    if dtype == 'float32':
        return generator.normal(size=sizes).astype(np.float32)
    return generator.integers(0 if dtype == 'uint8' else -3, 9, sizes).astype(dtype)


def same(function: Any, *given: tuple[str, str], tolerance: float = 2e-6, batches: tuple[int, ...] = (1, 3)) -> list[str]:
    """Compare a function of arrays with its ONNX file; gives the operators of the file."""
    shapes = {f'x{number}': each for number, each in enumerate(given)}

    def named(_: Any, *arrays: Any) -> dict[str, Any]:
        return {f'y{number}': leaf for number, leaf in enumerate(jax.tree.leaves(function(*arrays)))}

    made = to_onnx(named, (), shapes)
    ready = session(made)
    for rows in batches:
        arrays = [random(*each, rows, seed) for seed, each in enumerate(given)]
        wanted = named((), *map(jnp.asarray, arrays))
        got = ready.run(None, dict(zip(shapes, arrays, strict=True)))
        for name, value in zip(wanted, got, strict=True):
            assert value.dtype == wanted[name].dtype and value.shape == wanted[name].shape
            np.testing.assert_allclose(value, wanted[name], rtol=tolerance, atol=tolerance)
    return operators(made.graph)


@pytest.mark.parametrize('name', CASES)
def test_a_primitive_gives_what_jax_gives(name):
    for function, *given in CASES[name]:
        same(function, *given)


def test_every_primitive_is_compared():
    assert set(CASES) == set(OPERATIONS)
    for name, cases in CASES.items():
        for function, *given in cases:
            scope = export.SymbolicScope()
            avals = [jax.ShapeDtypeStruct(export.symbolic_shape(shape, scope=scope) if shape else (), np.dtype(dtype))
                     for shape, dtype in given]
            used = {equation.primitive.name for equation in equations(jax.make_jaxpr(function)(*avals))}
            assert name in used, (name, given)


def test_a_primitive_without_counterpart_is_refused_by_name_and_place():
    with pytest.raises(Unconvertible, match=r'^primitive sort has no counterpart in ONNX \(test_onnx.py line \d+ in'):
        to_onnx(lambda _, x: {'y': lax.sort(x)}, (), {'x': ROW})


@pytest.mark.parametrize(('function', 'words'), [
    (lambda x: lax.select_n((x > 0).astype(jnp.int32), x, x, x), 'select_n among 3'),
    (lambda x: x.at[0, :2].set(x.sum()), 'scatter'),
    (lambda x: lax.dynamic_update_slice(jnp.zeros((7, 7)), jnp.zeros((2, 2)) + x.sum(), (1, 1)), 'dynamic_update_slice along 2'),
    (lambda x: lax.switch(x.sum().astype(jnp.int32), [lambda x: x, lambda x: -x, lambda x: x + 1], x), 'a choice among 3'),
    (lambda x: lax.pad(x, jnp.float32(0), ((0, 0, 0), (1, 1, 1))), 'pad between'),
    (lambda x: jnp.zeros((x.shape[0] ** 2,)), 'dimension b'),
])
def test_a_form_without_counterpart_is_refused(function, words):
    with pytest.raises(Unconvertible, match=words):
        to_onnx(lambda _, x: {'y': function(x)}, (), {'x': ROW})


def test_an_output_that_is_no_array_is_refused():
    with pytest.raises(Unconvertible, match='output maps is no array'):
        to_onnx(lambda _, x: {'y': x, 'maps': {'z': x}}, (), {'x': ROW})


def test_bfloat16_is_refused():
    with pytest.raises(ConfigError, match='bfloat16'):
        to_onnx(lambda _, x: {'y': x.astype(jnp.bfloat16)}, (), {'x': ROW})


def test_what_depends_on_constants_alone_is_not_in_the_file():
    made = to_onnx(lambda w, x: {'y': x + jnp.exp(w).T.sum(0)}, np.ones((5, 2), np.float32), {'x': ROW})
    assert operators(made.graph) == ['Add', 'Identity']


def test_a_constant_of_one_value_takes_no_room():
    made = to_onnx(lambda _, x: {'y': x + jnp.zeros((1000, 1000))}, (), {'x': SCALAR})
    assert made.ByteSize() < 5000


def test_a_second_symbol_may_be_a_multiple():
    made = to_onnx(lambda _, x: {'y': x.reshape(x.shape[0], -1, 4).sum(2)}, (), {'x': ('b, 4*w', 'float32')})
    for shape in ((2, 4), (3, 12)):
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        np.testing.assert_allclose(session(made).run(None, {'x': x})[0], x.reshape(shape[0], -1, 4).sum(2), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('reverse', [False, True])
def test_a_scan_becomes_one_node(reverse):
    def step(carry, now):
        return carry * 0.5 + now, (carry - now, now[:, None])

    assert 'Scan' in same(lambda x: lax.scan(step, jnp.zeros(x.shape[0]), x.T, reverse=reverse), ROW)


@pytest.mark.parametrize('function', [
    lambda x: lax.scan(lambda carry, _: (carry * 1.5, carry), x, None, length=4),
    lambda x: lax.scan(lambda carry, now: (carry + now, None), jnp.zeros(x.shape[0]), x.T)[0],
])
def test_a_scan_may_have_no_inputs_or_no_outputs(function):
    assert 'Scan' in same(function, ROW)


def test_a_while_becomes_a_loop_that_stops_early():
    def going(carry):
        return (carry[0] < 20) & (carry[1].sum() < 50)

    def forward(carry):
        return carry[0] + 1, carry[1] * 1.5 + 1

    assert 'Loop' in same(lambda x: lax.while_loop(going, forward, (jnp.int32(0), x)), ROW)


def test_a_choice_becomes_an_if():
    assert 'If' in same(lambda x: lax.cond(x.sum() > 0, lambda x: x + 1, lambda x: x * 2, x), ROW, batches=(1, 2, 3, 4))


def test_a_choice_by_platform_becomes_the_branch_of_the_cpu():
    branches = {'cpu': lambda x: x + 1, 'cuda': lambda x: x, 'default': lambda x: x * 2}
    assert same(lambda x: lax.platform_dependent(x, **branches), ROW) == ['Add', 'Identity']


@pytest.mark.parametrize(('size', 'strides', 'padding'), [
    ((1, 1), (1, 1), (0, 0)), ((3, 3), (2, 1), (1, 1)), ((2, 3), (1, 2), (0, 1)),
])
def test_a_convolution_takes_batch_norm_in(size, strides, padding):
    kernel = random(f'{size[0]}, {size[1]}, 3, 4', 'float32', 1, 0)
    norm = [abs(random('4', 'float32', 1, seed)) + 0.1 for seed in range(4)]

    def function(x):
        x = convolutions.conv(x, kernel, strides=strides, padding=((padding[0],) * 2, (padding[1],) * 2))
        return jax.nn.relu(layers.batch_norm(x, *norm, train=False)[0])

    names = same(function, MAP, tolerance=1e-5)
    assert [name for name in names if name != 'Transpose'] == ['Conv', 'Relu', 'Identity']


@pytest.mark.parametrize('strides', [(1, 1), (2, 1)])
def test_a_depthwise_convolution_is_one_node(strides):
    kernel = random('5, 5, 1, 3', 'float32', 1, 0)
    names = same(lambda x: convolutions.depthwise(x, kernel, strides=strides), MAP)
    assert names == ['Transpose', 'Conv', 'Transpose', 'Identity']


def test_batch_norm_alone_is_a_factor_and_a_summand():
    norm = [abs(random('3', 'float32', 1, seed)) + 0.1 for seed in range(4)]
    names = same(lambda x: layers.batch_norm(x, *norm, train=False)[0], MAP)
    assert names == ['Mul', 'Add', 'Identity']


@pytest.mark.parametrize(('window', 'strides', 'padding'), [((2, 2), None, 0), ((3, 3), (2, 2), 1), ((2, 1), (2, 1), 0)])
def test_a_max_pool_is_one_node(window, strides, padding):
    names = same(lambda x: convolutions.max_pool(x, window, strides=strides, padding=padding), ('b, 6, 9, 2', 'float32'))
    assert names == ['Transpose', 'MaxPool', 'Transpose', 'Identity']


def test_an_lstm_is_one_node():
    weights = [random(shape, 'float32', 1, seed) for seed, shape in enumerate(('2, 5, 12', '2, 3, 12', '2, 12', '2, 12'))]
    assert same(lambda x: recurrence.lstm(x, *weights), ('b, 7, 5', 'float32')).count('LSTM') == 1


def test_an_lstm_whose_weights_are_given_is_a_loop():
    given = [('b, 7, 5', 'float32'), *((shape, 'float32') for shape in ('2, 5, 12', '2, 3, 12', '2, 12', '2, 12'))]
    assert 'Scan' in same(recurrence.lstm, *given)


@pytest.mark.parametrize('border', rectification.BORDERS)
def test_sampling_is_one_node_beyond_the_border_too(border):
    names = same(lambda x, grid: rectification.sample(x, grid, border=border), MAP, ('b, 4, 6, 2', 'float32'))
    assert 'GridSample' in names and 'GatherND' not in names


def test_an_average_of_cells_is_pooled():
    names = same(densenet.average_pool, ('b, 4, 6, 3', 'float32'), ('b, 4, 6, 1', 'bool'), tolerance=1e-6)
    assert names.count('AveragePool') == 2 and 'ReduceSum' not in names
    assert 'AveragePool' not in same(densenet.average_pool, ('b, 5, 6, 3', 'float32'))


@pytest.mark.parametrize('beams', [1, 3])
def test_the_attention_with_coverage_is_a_conv_and_a_softmax(beams):
    coverage_kernel, energy = random('9, 4', 'float32', 1, 0), random('4, 1', 'float32', 1, 1)

    def look(keys, cells, query, seen):
        memory = coverage_attention.Memory(jnp.zeros((keys.shape[0], 5, 6, 2)), keys, cells, jnp.zeros(()), coverage_kernel)
        return coverage_attention.coverage_weights(memory, energy, query, seen)

    names = same(look, ('b, 5, 6, 4', 'float32'), ('b, 5, 6', 'bool'), (f'b, {beams}, 4', 'float32'),
                 (f'b, {beams}, 5, 6', 'float32'), tolerance=1e-5)
    assert names.count('Conv') == names.count('Softmax') == 1 and 'Gather' not in names


def unit(x, cells, seed, size):
    """A convolution of 3 channels to 3, batch norm, ReLU and mask, as DenseNet has them."""
    kernel = random(f'{size}, {size}, {x.shape[-1]}, 3', 'float32', 1, seed)
    norm = [abs(random('3', 'float32', 1, seed + number)) + 0.1 for number in range(4)]
    x = convolutions.conv(x, kernel, padding=((size // 2,) * 2,) * 2) + norm[0]
    return jnp.where(cells, jax.nn.relu(layers.batch_norm(x, *norm, train=False)[0]), 0)


def test_masks_between_convolutions_become_part_of_them():
    def block(x, cells):
        for seed in (0, 10):
            x = jnp.concatenate([x, unit(unit(x, cells, seed, 1), cells, seed + 5, 3)], -1)
        return unit(x, cells, 20, 1)

    names = same(block, MAP, ('b, 5, 7, 1', 'bool'), tolerance=1e-5)
    assert names.count('Conv') == 5 and not {'Where', 'Mul'} & set(names)


def test_a_mask_before_what_reads_its_surroundings_stays():
    names = same(lambda x, cells: unit(unit(x, cells, 0, 3), cells, 5, 3), MAP, ('b, 5, 7, 1', 'bool'), tolerance=1e-5)
    assert names.count('Mul') == 2


def test_a_choice_of_what_may_be_infinite_stays_a_choice():
    assert 'Where' in same(lambda x, cells: jnp.where(cells, jnp.log(abs(x)), 0), MAP, ('b, 5, 7, 1', 'bool'))


def recalling(x, steps, start=0, turned=False, keep=False):
    """What attention to the tokens so far finds in each of so many steps."""
    shapes = (x.shape[0], 2, 3, 5), (x.shape[0], 2, 5, 3)

    def forward(carry):
        number, keys, values, found = carry
        token = x[:, number].reshape(-1, 2, 1, 3)
        place = number - start if start else number
        found, keys, values = transformer_decoder.attend_cached(token, token.swapaxes(2, 3), token * 2, keys, values, place, scale=0.5)
        if turned:
            keys, values = (leaf.at[jnp.arange(x.shape[0])[::-1]].get(mode='clip') for leaf in (keys, values))
        return number + 1, keys, values, found + token

    begun = (jnp.int32(start), *(jnp.zeros(shape) for shape in shapes), jnp.zeros((x.shape[0], 2, 1, 3)))
    done = lax.while_loop(lambda carry: carry[0] < start + steps, forward, begun)
    return done[1:] if keep else done[3]


TOKENS = ('b, 6, 6', 'float32')


@pytest.mark.parametrize('turned', [False, True])
def test_what_is_kept_grows_by_a_token_a_round(turned):
    assert inside(functools.partial(recalling, steps=4, turned=turned), TOKENS).count('Concat') == 2


@pytest.mark.parametrize('how', [{'keep': True}, {'start': 1}, {'steps': 6}])
def test_what_is_read_later_or_counted_otherwise_or_has_no_room_does_not_grow(how):
    function = functools.partial(recalling, **{'steps': 4, **how})
    assert 'Concat' not in inside(lambda x: jax.tree.leaves(function(x))[0], TOKENS)


def test_rows_of_a_known_product_are_read_from_it():
    table, kernel, bias = (random(shape, 'float32', 1, seed) for seed, shape in enumerate(('9, 5', '5, 4', '4')))
    rows = jnp.asarray(table)
    names = same(lambda i: rows.at[abs(i)].get(mode='clip') @ kernel + bias, INTS, tolerance=1e-5)
    assert 'Gather' in names and 'MatMul' not in names and names[-2:] == ['Gather', 'Identity']


def compare(model: models.Model, variables: models.Variables, shape: tuple[int, ...], beam: int) -> list[str]:
    """A model's texts and scores for 1, 3 and 32 images, a bound on the length included."""
    generator = np.random.default_rng(2)
    decode = functools.partial(model.decode, beam=beam)
    shapes = {'image': ('b, ' + ', '.join(map(str, shape)), 'uint8'), 'size': ('b, 2', 'int32'), 'max_length': SCALAR}
    made = to_onnx(decode, variables, shapes)
    ready = session(made)
    # Waves, as a sampled edge would make much of a rounding error in its place.
    down, right, start = generator.uniform(-0.4, 0.4, (3, 32, 1, 1, shape[2]))
    waves = np.sin(down * np.arange(shape[0])[:, None, None] + right * np.arange(shape[1])[:, None] + 15 * start)
    image = (127 + 120 * waves).astype(np.uint8)
    size = np.stack([np.full(32, shape[0]), generator.integers(shape[1] // 2, shape[1] + 1, 32)], 1).astype(np.int32)
    compiled = jax.jit(decode, compiler_options=QUICKLY)
    for most in (25, 4):
        wanted = jax.device_get(compiled(variables, image, size, jnp.int32(most)))
        assert wanted['length'].max() <= most and (most < 25 or len({text.tobytes() for text in wanted['tokens']}) > 2)
        for rows in (1, 3, 32):
            given = {'image': image[:rows], 'size': size[:rows], 'max_length': np.int32(most)}
            got = dict(zip([output.name for output in ready.get_outputs()],
                           ready.run(None, {key: np.asarray(value) for key, value in given.items()}), strict=True))
            assert set(got) == set(wanted)
            for name in ('tokens', 'length'):
                np.testing.assert_array_equal(got[name], wanted[name][:rows])
            for name in ('score', 'confidence'):
                np.testing.assert_allclose(got[name], wanted[name][:rows], rtol=1e-4, atol=1e-4)
    return operators(made.graph)


@pytest.mark.parametrize('beam', [1, 3])
@pytest.mark.parametrize('name', models.names())
def test_a_model_gives_the_same_texts_and_scores(name, beam):
    image = {'height': 32, 'width': 100, 'channels': 'bgr', **NARROW[name][1]}
    channels = 1 if image['channels'] == 'grey' else 3
    # Steeper weights make texts more varied, and a recurrence that looks where it wants chaotic.
    gain, seed = (1.5, 4) if name == 'rare' else (2.5, 1)
    names = compare(narrow(name), weighted(narrow(name), gain, seed), (image['height'], image['width'], channels), beam)
    assert 'Conv' in names
    assert 'LSTM' in names if name in ('crnn', 'rare', 'latex_ocr') else 'LSTM' not in names
    assert ('GridSample' in names) == (name == 'rare')


def test_the_width_may_be_dynamic():
    model = narrow('crnn')
    variables = weighted(model)
    shapes = {'image': ('b, 32, 4*w, 3', 'uint8'), 'size': ('b, 2', 'int32'), 'max_length': SCALAR}
    made = to_onnx(model.decode, variables, shapes)
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)
    given = {'image': image, 'size': np.array([[32, 64], [32, 40]], np.int32), 'max_length': np.asarray(20, np.int32)}
    got = dict(zip([output.name for output in session(made).get_outputs()], session(made).run(None, given), strict=True))
    wanted = model.decode(variables, *map(jnp.asarray, given.values()))
    np.testing.assert_array_equal(got['tokens'], wanted['tokens'])
    np.testing.assert_allclose(got['score'], wanted['score'], rtol=1e-4, atol=1e-4)


def inside(function: Any, *given: tuple[str, str]) -> list[str]:
    """The operators of the first loop of a function's file, which gives what JAX gives."""
    same(function, *given)
    made = to_onnx(lambda _, *arrays: {'y': function(*arrays)}, (), {f'x{number}': each for number, each in enumerate(given)})
    loop = next(node for node in made.graph.node if node.op_type in ('Loop', 'Scan'))
    return operators(next(attribute.g for attribute in loop.attribute if attribute.HasField('g')))


def test_what_no_round_changes_is_computed_before_the_loop():
    def rounds(x):
        return lax.fori_loop(0, 4, lambda _, y: y + jnp.tanh(x @ x.T).sum(1) * jnp.arange(x.shape[0]), x[:, 0])

    names = inside(rounds, ('b, 5', 'float32'))
    assert 'Tanh' not in names and 'MatMul' not in names and 'Range' not in names


def test_what_is_computed_before_a_choice_is_not_what_only_one_branch_needs():
    names = same(lambda x: lax.cond(x.sum() > 0, lambda: jnp.exp(x), lambda: -x), ROW, batches=(1, 2, 3))
    assert names.index('If') < names.index('Exp')


def test_the_same_thing_is_computed_once():
    assert same(lambda x: (jnp.exp(x) + 1) * (jnp.exp(x) + 1), ROW).count('Exp') == 1


def test_indices_that_cannot_be_outside_are_not_bounded():
    table = np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32)
    names = same(lambda x: jnp.asarray(table)[x], ('b, 5', 'uint8'))
    assert 'Gather' in names and not {'Max', 'Min', 'Where', 'Less'} & set(names)
    names = same(lambda x: jnp.take_along_axis(x, x.argmax(1)[:, None], 1), ROW)
    assert not {'Max', 'Min', 'Where', 'Less'} & set(names)
    names = inside(lambda x: lax.while_loop(lambda carry: (carry[0] < 5) & (carry[1].sum() < 9), lambda carry: (
        carry[0] + 1, carry[1].at[:, carry[0]].set(1.0)), (jnp.int32(0), x * 0))[1], ROW)
    assert not {'Max', 'Min'} & set(names)


def test_indices_that_may_be_outside_are_bounded():
    def clipped(x, i):
        return x.at[:, i].get(mode='clip')

    for function in (clipped, lambda x, i: clipped(x, i + 1), lambda x, i: clipped(x, i * 2)):
        assert {'Max', 'Min'} <= set(same(function, MAP, ('2, 3', 'uint8')))
    # Another condition ends this loop: its counter goes on beyond 5.
    names = inside(lambda x: lax.while_loop(lambda carry: (carry[0] < 3) | (carry[0] * 2 < 16), lambda carry: (
        carry[0] + 1, lax.dynamic_update_slice_in_dim(carry[1], x[:, :1], carry[0], 1)), (jnp.int32(0), x * 0))[1], ROW)
    assert 'Min' in names


@pytest.mark.parametrize(('number', 'operator'), [(7, 'Div'), (-7, 'Sign')])
def test_a_quotient_of_what_is_never_negative_needs_no_signs(number, operator):
    names = same(lambda x: (x.argmax(1) // number, x.argmax(1) % number), ROW)
    assert operator in names and ('Sign' in names) == (operator == 'Sign')


@pytest.mark.parametrize(('function', 'operator'), [
    (jax.nn.softmax, 'Softmax'), (lambda x: jax.nn.softmax(x, 1), 'Softmax'), (jax.nn.log_softmax, 'LogSoftmax'),
])
def test_a_softmax_is_one_node(function, operator):
    assert same(function, MAP) == [operator, 'Identity']


def test_a_layer_norm_is_one_node():
    scale, bias = (random('3', 'float32', 1, seed) for seed in range(2))

    def norm(x):
        centred = x - x.mean(-1, keepdims=True)
        return centred * lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5) * scale + bias

    assert same(norm, MAP, tolerance=1e-5) == ['LayerNormalization', 'Identity']
    other = same(lambda x: norm(x) + norm(x.swapaxes(1, 3)).sum(), ('b, 3, 7, 3', 'float32'), tolerance=1e-4)
    assert other.count('LayerNormalization') == 2


def test_a_hard_swish_is_two_nodes():
    assert same(jax.nn.hard_swish, MAP) == ['HardSigmoid', 'Mul', 'Identity']


def test_a_sum_of_logarithms_is_exact_at_every_distance():
    apart = np.array([0, 1e-7, 0.3, 1, 5, 12, 17, 40, 120, np.inf], np.float32)
    names = same(lambda x: jnp.logaddexp(x[:, :1], x[:, :1] - apart), ROW)
    assert 'Atanh' in names and 'Log' not in names


def test_a_reduction_keeps_its_axes_itself():
    assert same(lambda x: x.max((1, 2), keepdims=True) * 2, MAP) == ['ReduceMax', 'Mul', 'Identity']
