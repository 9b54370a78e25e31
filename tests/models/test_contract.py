"""The contract of every algorithm, tested for all of `models.names()`.
A new algorithm declares in its experiment how to make it narrow."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from narrow_models import KEY, NARROW, VOCAB, close, learn, learner, make_batch, narrow, random_variables
from small import QUICKLY

from recog import models
from recog.config import recipe
from recog.devices.mesh import one_device
from recog.errors import ConfigError
from recog.reading.compiled import decoder
from recog.reading.read import FED
from recog.text.vocabulary import Vocab
from recog.train import rows


@functools.cache
def reading(decode, beam):
    """A model's `decode` with all details, compiled once for all tests of one beam."""
    return jax.jit(functools.partial(decode, beam=beam, details=True), compiler_options=QUICKLY)


def test_every_algorithm_has_an_experiment():
    assert set(models.names()) <= set(NARROW)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="config.model.name='crn' is not one of .*did you mean 'crnn'"):
        models.build(recipe.base(name='crn'), VOCAB)


@pytest.mark.parametrize('name', models.names())
def test_variables_are_plain_dicts_of_float32(name):
    variables = jax.jit(narrow(name).init, compiler_options=QUICKLY)(jax.random.key(0))
    assert list(variables) == ['params', 'stats']
    leaves = models.flatten(variables)
    assert all(leaf.dtype == jnp.float32 and np.isfinite(leaf).all() for leaf in leaves.values())
    assert str(jax.tree.structure(variables)) == str(jax.tree.structure(models.variables(leaves)))


@pytest.mark.parametrize('name', models.names())
def test_every_parameter_gets_a_gradient(name):
    model = narrow(name)
    gradients = learn(model, random_variables(model), make_batch(name, 6))['gradients']
    for path, gradient in models.flatten(gradients).items():
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max() > 0) == ('/'.join(path) not in model.about.no_gradient), path


@pytest.mark.parametrize('name', models.names())
def test_the_parameters_sized_by_the_vocabulary_are_declared(name):
    few, many = (narrow(name, Vocab(tuple('012345678'[:size]))) for size in (6, 9))
    shapes = [models.flatten(jax.eval_shape(model.init, jax.random.key(0))['params'])
              for model in (few, many)]
    changed = {'/'.join(path) for path, leaf in shapes[0].items() if leaf.shape != shapes[1][path].shape}
    assert changed == set(few.about.vocabulary_parameters)


@pytest.mark.parametrize('name', models.names())
def test_with_its_rows_carried_over_a_model_of_another_vocabulary_reads_the_same(name):
    old, new = VOCAB, Vocab(('9', *reversed(VOCAB.tokens), '8'))  # two tokens are new, all have other places
    few, many = narrow(name), narrow(name, new)
    variables, drawn = (models.flatten(random_variables(model)) for model in (few, many))
    for path in drawn:
        sized = few.about.vocabulary_parameters.get('/'.join(path[1:]))
        if sized is None:
            drawn[path] = variables[path]
            continue
        assert rows.fits(sized, variables[path].shape, drawn[path].shape, (len(old), len(new))), path
        array, kept = rows.carried(variables[path], sized, old, new)
        assert (~kept).sum() == 2
        # What is drawn would be read where its logit is the largest.
        drawn[path] = np.where(kept, array, -100.0 if path[-1].endswith('bias') else 0.0).astype(np.float32)
    batch, texts = make_batch(name, 4), []
    for model, leaves, vocab in ((few, variables, old), (many, drawn, new)):
        out = reading(model.decode, 1)(models.variables(leaves), batch['image'], batch['size'], 5)
        texts.append([vocab.decode(row.tolist()) for row in np.asarray(out['tokens'][:, 0])])
    assert texts[0] == texts[1] and any(texts[0])


@pytest.mark.parametrize('name', models.names())
def test_rows_of_weight_0_change_nothing(name):
    model = narrow(name)
    variables, batch = random_variables(model), make_batch(name, 2)
    want = learn(model, variables, batch)
    filler = make_batch(name, 4, seed=7) | {'weight': np.zeros(4, np.float32),
                                            'index': np.full(4, -1, np.int32)}
    filler['length'][:2] = 0, 5
    filler['tokens'][:2] = [[-1] * 5, [3] * 5]
    close(learn(model, variables, {key: np.concatenate([batch[key], filler[key]]) for key in batch}), want)


@pytest.mark.parametrize('name', models.names())
def test_a_batch_of_fillers_changes_nothing(name):
    model = narrow(name)
    variables = random_variables(model)
    got = learn(model, variables, make_batch(name, 2) | {'weight': np.zeros(2, np.float32)})
    assert got['total'] == 0 and got['count'] == 0
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves((got['gradients'], got['metrics'])))
    close(got['stats'], variables['stats'], 0)


@pytest.mark.parametrize('name', models.names())
def test_the_same_key_gives_the_same_loss(name):
    model = narrow(name)
    variables, batch = random_variables(model), make_batch(name, 6)
    assert learn(model, variables, batch)['total'] == learn(model, variables, batch)['total']


@pytest.mark.parametrize('name', models.names())
def test_accumulation_equals_one_large_batch(name):
    micro, large = narrow(name), narrow(name, norm_group=2)
    variables, batch = random_variables(micro), make_batch(name, 6)
    batch['weight'] = np.array([1, 1, 1, 0, 0, 0], np.float32)
    parts = [learn(micro, variables, {k: v[start : start + 2] for k, v in batch.items()}, None)
             for start in (0, 2, 4)]
    rows = batch['weight'].reshape(3, 2).sum(1)
    want = jax.tree.map(lambda *leaves: sum(leaves), *({**part, 'stats': None} for part in parts))
    stats = [jax.tree.map(lambda leaf, n=n: leaf * n, part['stats'])
             for part, n in zip(parts, rows, strict=True)]
    want['stats'] = jax.tree.map(lambda *leaves: sum(leaves) / rows.sum(), *stats)
    close(learn(large, variables, batch, None), want)


@pytest.mark.parametrize('name', models.names())
def test_bfloat16_keeps_parameters_statistics_and_loss_in_float32(name):
    model, half = narrow(name), narrow(name, precision='bfloat16')
    variables, batch = random_variables(model), make_batch(name, 6)
    key = jax.random.key(KEY)
    kinds = jax.eval_shape(learner(half.loss, True), variables, batch, key)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(kinds))
    (total, _), _ = jax.jit(half.loss, compiler_options=QUICKLY)(variables, batch, key=key)
    assert total == pytest.approx(float(learn(model, variables, batch)['total']), rel=0.05)


@pytest.mark.parametrize('beam', [1, 3])
@pytest.mark.parametrize('name', models.names())
def test_decoding_stays_in_the_vocabulary_and_stops(name, beam):
    model = narrow(name)
    assert model.about.beam or beam == 1
    variables, batch = random_variables(model), make_batch(name, 4)
    variables['params']['head'] = jax.tree.map(lambda leaf: np.float32(20) * leaf,
                                               variables['params']['head'])
    full, cut = (jax.device_get(reading(model.decode, beam)(variables, batch['image'], batch['size'], most))
                 for most in (model.about.capacity, 1))
    for result, most in ((full, model.about.capacity), (cut, 1)):
        tokens, length = np.asarray(result['tokens']), np.asarray(result['length'])
        assert tokens.shape == (4, beam, model.about.capacity) and tokens.dtype == np.int32
        ended = np.arange(tokens.shape[-1]) >= length[..., None]
        assert length.max() <= most and np.all(tokens[ended] == -1)
        assert np.all((tokens[~ended] >= 0) & (tokens[~ended] < len(VOCAB)))
        assert np.all((result['mean_token'] >= 0) & (result['mean_token'] <= 1))
        assert np.all(result['token_confidence'][ended] == 0)
        assert np.all(result['score'] <= 1e-4) and np.all(np.diff(result['score'], axis=1) <= 0)
    assert full['length'].max() > 1
    if beam == 1:  # a search that is cut ranks other texts
        np.testing.assert_array_equal(cut['tokens'][:, 0, :1], full['tokens'][:, 0, :1])


@pytest.mark.parametrize('name', models.names())
def test_images_are_read_as_before_beside_rows_that_are_none_and_get_no_text(name):
    model, mesh = narrow(name), one_device()
    variables, batch = random_variables(model), make_batch(name, 3)
    images = {field: batch[field] for field in FED}
    decode, longest = decoder(model, mesh), np.int32(model.about.capacity)
    every = jax.device_get(decode(variables, images, longest))
    some = jax.device_get(decode(variables, images | {'weight': np.float32([1, 0, 1])}, longest))
    assert (every['tokens'][1] >= 0).any() and (some['tokens'][1] == -1).all()
    for result in ('tokens', 'mean_token'):
        np.testing.assert_array_equal(some[result][::2], every[result][::2])


@pytest.mark.parametrize('name', models.names())
def test_the_maps_and_features_that_are_declared_are_given(name):
    model, batch = narrow(name), make_batch(name, 2)
    variables, given = jax.eval_shape(model.init, jax.random.key(0)), {field: batch[field]
                                                                       for field in ('image', 'size')}
    stages, _ = jax.eval_shape(model.apply, variables, given)
    assert all(stages[stage].ndim == 4 for stage in model.about.features) and model.about.features
    decode = functools.partial(model.decode, details=True)
    found = jax.eval_shape(decode, variables, *given.values(), jnp.int32(5))
    assert set(found) - {'tokens', 'length', 'score', 'mean_token',
                         'token_confidence'} == set(model.about.maps)
    assert set(model.about.maps) <= {*models.MAPS_OF_TEXTS, *models.MAPS_OF_IMAGES}


@pytest.mark.parametrize('name', models.names())
def test_decoding_exports_with_any_batch_and_width(name):
    model = narrow(name)
    width, image = model.about.stride[1], make_batch(name, 1)['image']
    # A model whose stride is the width of its images has only one width.
    columns = width if width == image.shape[2] else f'{width}*w'
    shape = export.symbolic_shape(f'b, {image.shape[1]}, {columns}, {image.shape[3]}')
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    arguments = jax.ShapeDtypeStruct(shape, jnp.uint8), jax.ShapeDtypeStruct((shape[0], 2), jnp.int32)
    exported = export.export(jax.jit(model.decode), platforms=('cpu', 'cuda', 'tpu'))(
        shapes, *arguments, jax.ShapeDtypeStruct((), jnp.int32)
    )
    arguments = random_variables(model), *(make_batch(name, 4)[field] for field in ('image', 'size'))
    got = jax.jit(exported.call, compiler_options=QUICKLY)(*arguments, jnp.int32(9))
    close(got, reading(model.decode, 1)(*arguments, 9))


def test_padding_changes_nothing_for_models_that_mask_it():
    for name in models.names():
        model = narrow(name)
        if not model.about.masked:
            continue
        variables, batch = random_variables(model), make_batch(name, 2)
        wider = np.pad(batch['image'], ((0, 0), (0, 0), (0, model.about.stride[1]), (0, 0)),
                       constant_values=99)
        # Without a key, as the noise of dropout has the shape of the canvas.
        close(learn(model, variables, batch | {'image': wider}, None), learn(model, variables, batch, None))
