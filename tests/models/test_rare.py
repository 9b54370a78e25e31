"""RARE: the inputs of its steps in training, the two losses,
the size of its programs, and decoding's maps."""

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import GOLDENS
from jax.extend import core

from recog import models
from recog.config.recipe import base
from recog.errors import ConfigError
from recog.models import rare
from recog.models.decoding.search import Codes
from recog.text import vocabulary

NARROW: dict[str, Any] = {
    'rectify': 'small', 'fiducials': 8, 'start': 'straight', 'border': 'border', 'backbone': 'small',
    'mobilenet_scale': 0.5, 'lstm_layers': 1, 'lstm_hidden': 8, 'attention': 7, 'capacity': 25,
    'teaching': 'own', 'shifted': False, 'own_share': 0.0, 'own_steps': 1, 'skip_ends': False,
    'length_penalty': 0.0,
}
LABELS = {'teaching': 'labels', 'shifted': True}


def recipe(most: int = 23, **own: Any) -> Any:
    config = base(name='rare', **{**NARROW, **own})
    config.image.width, config.text.max_length = 48, most
    return config


@functools.cache
def build(**own: Any) -> models.Model:
    return models.build(recipe(**own), range(36))


def make_batch(rows: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    length = np.array([1, 4, 23, 7])[:rows]
    tokens = np.where(np.arange(23) < length[:, None], rng.integers(0, 36, (rows, 23)), -1)
    return {
        'image': jnp.asarray(rng.integers(0, 256, (rows, 32, 48, 3)), jnp.uint8),
        'size': jnp.full((rows, 2), 48),
        'tokens': jnp.asarray(tokens, jnp.int32),
        'length': jnp.asarray(length, jnp.int32),
        'weight': jnp.array([1.0, 1, 0, 1])[:rows],
    }


@functools.cache
def made() -> models.Variables:
    """Random variables, so that predictions differ; those of the head are large."""
    rng, leaves = np.random.default_rng(1), {}
    for path, leaf in models.flatten(jax.eval_shape(build().init, jax.random.key(0))).items():
        noise, spread = rng.normal(size=leaf.shape), np.sqrt(2 / max(1, np.prod(leaf.shape[:-1])))
        value = noise * spread if len(leaf.shape) > 1 else (path[-1] in ('scale', 'variance')) + 0.1 * noise
        leaves[path] = jnp.asarray(value * (3 if path[1] == 'head' else 1), jnp.float32)
    return models.unflatten(leaves)


def seen(model: models.Model, batch: Any, **options: Any) -> dict[str, np.ndarray]:
    """The stages of a batch."""
    apply = jax.jit(lambda *given: model.apply(*given, **options)[0])
    return jax.tree.map(np.asarray, apply(made(), batch))


def read(model: models.Model, variables: models.Variables, batch: Any, beam: int = 1) -> dict[str, Any]:
    """The decoded batch."""
    decode = jax.jit(functools.partial(model.decode, beam=beam, details=True))
    return decode(variables, batch['image'], batch['size'], 25)


def loss(model: models.Model, batch: Any, key: Any = None, step: int = 0) -> tuple[float, float]:
    (total, count), _ = losses(model.loss)(made(), batch, key, step)
    return float(total), float(count)


@functools.cache
def losses(function: Any) -> Any:
    return jax.jit(lambda variables, batch, key, step: function(variables, batch, key=key, step=step))


def test_the_references_loss_is_summed_over_all_steps_the_start_and_what_is_behind_the_end_included():
    model, batch = build(), make_batch()
    head = seen(model, batch, train=True)['head']
    want = 0.0
    for row, length in enumerate(np.asarray(batch['length'])):
        label = [0, *(np.asarray(batch['tokens'][row, :length]) + 1), 37]
        label += [0] * (25 - len(label))
        logits = head[row]
        chances = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        want -= float(batch['weight'][row]) * sum(chances[step, each] for step, each in enumerate(label))
    assert loss(model, batch) == (pytest.approx(want, rel=1e-5), 0)


def test_labels_are_laid_out_as_the_references_encoder_does():
    cases = json.loads((GOLDENS / 'data.json').read_text())
    vocab = vocabulary.Vocab(tuple(vocabulary.CHARSETS['36']))
    tried = 0
    for written, want in zip(cases['texts'], cases['att_encoded'], strict=True):
        try:
            ids = vocab.encode(written, max_length=23).ids
        except vocabulary.Unencodable:
            assert want is None or len(want) > 25  # the reference cannot stack these
            continue
        batch = {'tokens': jnp.asarray([[*ids, *[-1] * (23 - len(ids))]]), 'length': jnp.asarray([len(ids)])}
        assert rare._classes(batch, Codes(0, 37, 1, 36), 25)[0].tolist() == want
        tried += 1
    assert tried > 5


def test_with_shifted_targets_the_loss_is_the_mean_over_letters_and_ends():
    model, batch = build(**LABELS), make_batch()
    head = seen(model, batch, train=True)['head']
    want, count = 0.0, 0.0
    for row, length in enumerate(np.asarray(batch['length'])):
        chances = head[row] - np.log(np.exp(head[row]).sum(1, keepdims=True))
        label = [*(np.asarray(batch['tokens'][row, :length]) + 1), 37]
        want -= float(batch['weight'][row]) * sum(chances[step, each] for step, each in enumerate(label))
        count += float(batch['weight'][row]) * len(label)
    assert loss(model, batch) == (pytest.approx(want, rel=1e-5), count)


def test_scheduled_sampling_goes_from_labels_to_own_guesses_with_the_step_and_needs_a_key():
    batch, key = make_batch(), jax.random.key(3)
    scheduled = build(teaching='scheduled', shifted=True, own_share=1.0, own_steps=100)
    labels, own = loss(build(**LABELS), batch), loss(build(teaching='own', shifted=True), batch)
    assert labels != pytest.approx(own, rel=1e-3)
    assert loss(scheduled, batch, key=key, step=0) == pytest.approx(labels, rel=1e-5)
    assert loss(scheduled, batch, key=key, step=100) == pytest.approx(own, rel=1e-5)
    assert loss(scheduled, batch, key=key, step=900) == pytest.approx(own, rel=1e-5)
    assert loss(scheduled, batch, step=900) == pytest.approx(labels, rel=1e-5)
    half = loss(scheduled, batch, key=key, step=50)
    assert half != pytest.approx(own, rel=1e-4) and half != pytest.approx(labels, rel=1e-4)


def test_greedy_decoding_is_what_the_unrolled_decoder_guesses():
    model, batch = build(skip_ends=True), make_batch()
    stages, result = seen(model, {key: batch[key] for key in ('image', 'size')}), read(model, made(), batch)
    assert stages['head'].shape == (4, 25, 38)
    for row, logits in enumerate(stages['head']):
        guesses = logits.argmax(1)
        kept = np.flatnonzero((guesses > 0) & (guesses < 37))
        assert result['tokens'][row, 0, : len(kept)].tolist() == (guesses[kept] - 1).tolist()
        assert result['length'][row, 0] == len(kept)
        attention = result['attention'][row, 0, : len(kept), 0]
        np.testing.assert_allclose(attention, stages['attention'][row, kept], atol=1e-5)
    assert result['length'].max() > 3


def test_decoding_shows_attention_fiducials_and_the_rectified_image():
    result = read(build(skip_ends=True), made(), make_batch(), beam=2)
    assert result['attention'].shape == (4, 2, 25, 1, 12) and result['fiducials'].shape == (4, 8, 2)
    assert result['rectified'].shape == (4, 32, 48, 3)
    np.testing.assert_allclose(result['attention'].sum((3, 4)), result['tokens'] >= 0, atol=1e-5)
    rest = {kind: {name: leaf for name, leaf in tree.items() if name != 'transform'}
            for kind, tree in made().items()}
    bare = read(build(rectify='none'), rest, make_batch())
    assert bare['attention'].shape == (4, 1, 25, 1, 12)
    assert 'fiducials' not in bare and 'rectified' not in bare


def decoder(capacity: int, beam: int) -> Any:
    batch = make_batch()
    decode = functools.partial(build(capacity=capacity).decode, beam=beam)
    return jax.make_jaxpr(decode)(made(), batch['image'], batch['size'], jnp.int32(9))


def learner(capacity: int, **own: Any) -> Any:
    model, batch = build(capacity=capacity, **own), make_batch()
    room = capacity - 2 - 23
    batch['tokens'] = jnp.pad(batch['tokens'], ((0, 0), (0, room)), constant_values=-1)
    return jax.make_jaxpr(jax.grad(lambda variables: model.loss(variables, batch)[0][0]))(made())


def equations(jaxpr: Any) -> list[Any]:
    """All equations, including those inside other equations."""
    found = []
    for equation in jaxpr.eqns:
        found.append(equation)
        params = list(equation.params.values())
        for value in jax.tree.leaves(params, is_leaf=lambda leaf: isinstance(leaf, core.ClosedJaxpr)):
            if isinstance(value, (core.ClosedJaxpr, core.Jaxpr)):
                found += equations(getattr(value, 'jaxpr', value))
    return found


@pytest.mark.parametrize('make', [
    functools.partial(decoder, beam=1), functools.partial(decoder, beam=3), learner,
    functools.partial(learner, **LABELS)])
def test_programs_do_not_grow_with_the_number_of_steps(make):
    assert len(equations(make(25).jaxpr)) == len(equations(make(100).jaxpr)) > 100


def test_the_elementary_operations_keep_their_names():
    found = equations(decoder(25, 1).jaxpr)
    names = {equation.params['name'] for equation in found if 'name' in equation.params}
    assert {'conv', 'batch_norm', 'max_pool', 'spline_grid', 'sample', 'lstm', 'attend', 'gru'} <= names


def test_the_attended_features_are_projected_once_and_not_in_every_step():
    columns, features, width = 12, 16, NARROW['attention']
    everywhere = equations(decoder(25, 1).jaxpr)
    loops = [equation for equation in everywhere if equation.primitive.name == 'while']
    inside = [each for loop in loops for each in equations(loop.params['body_jaxpr'].jaxpr)]

    def projections(of: list[Any]) -> int:
        return sum(each.primitive.name == 'dot_general' and each.invars[1].aval.shape == (features, width)
                   and each.outvars[0].aval.shape[-2:] == (columns, width) for each in of)

    assert projections(everywhere) == 1 and loops and projections(inside) == 0


@pytest.mark.parametrize(('own', 'words'), [
    ({'teaching': 'labels'},
     'config.model.teaching=.labels. must be one of own, labels, scheduled, and own unless .*shifted'),
    ({'fiducials': 7}, 'config.model.fiducials=7 must be even and at least 4'),
    ({'capacity': 24},
     'config.text.max_length=23 must be at most 22 with config.model.capacity=24 and .shifted=False'),
    ({'border': 'mirror'}, "config.model.border='mirror' must be one of zeros, border"),
])
def test_what_rare_cannot_be_is_refused(own, words):
    with pytest.raises(ConfigError, match=words):
        models.build(recipe(**own), range(36))


def test_labels_of_as_many_letters_as_steps_can_be_taught_with_shifted_targets_only():
    models.build(recipe(25, **LABELS), range(36))
    with pytest.raises(ConfigError, match='config.text.max_length=25 must be at most 23'):
        models.build(recipe(25), range(36))


def test_batches_of_their_own_width_are_refused_with_rectification():
    config = recipe()
    config.image.width_rule = 'widest'
    with pytest.raises(ConfigError, match='config.image.width_rule'):
        models.build(config, range(36))
    config.model.rectify = 'none'
    models.build(config, range(36))
