"""SRN: its parts and their ablations, decoding of all positions at once, and what it refuses."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import FrozenConfigDict
from small import ROOT

from recog import models
from recog.config import experiments
from recog.config.recipe import to_json
from recog.errors import ConfigError
from recog.models import srn
from recog.models.decoding import parallel
from recog.train import optimizer
from recog.workdir import description

LETTERS, LENGTH, WIDTH = 4, 3, 8
NARROW = {
    'heads': 2, 'feed_forward': 8, 'encoder_layers': 1, 'reason_layers': 1, 'semantic': True,
    'branches': 'both', 'fusion': 'gate', 'positions': 'fixed', 'dropout': 0.0, 'dropout_rule': 'upscale',
    'embed_first': False, 'attention_scale': 'model',
}


def settings(**changes):
    return FrozenConfigDict({**NARROW, **changes})


def filled(module, *inputs):
    """The module's parameters, all random."""
    shapes, random = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs)), np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32), shapes)


def random_chances(rows=5, length=LENGTH, sharp=2.0):
    logits = np.random.default_rng(1).normal(size=(rows, length, LETTERS + 2)) * sharp
    return parallel.log_probabilities(jnp.asarray(logits, jnp.float32), False)


@pytest.mark.parametrize('changes', [
    {'fusion': 'add'}, {'branches': 'forward'}, {'branches': 'backward'}, {'semantic': False},
    {'encoder_layers': 0}, {'positions': 'learned'}, {'embed_first': True}])
def test_every_parameter_of_an_ablation_is_used(changes):
    stages = {'word', 'head'} if 'semantic' in changes else {'word', 'gsrm', 'head'}
    head = srn.Head(settings(**changes), LENGTH, LETTERS + 2)
    maps = jnp.asarray(np.random.default_rng(2).normal(size=(2, 2, 4, WIDTH)), jnp.float32)
    variables = filled(head, maps, False)

    def total(variables):
        outputs = head.apply(variables, maps, True)
        return sum(jnp.square(outputs[stage]).sum() for stage in stages), outputs

    gradients, outputs = jax.jit(jax.grad(total, has_aux=True))(variables)
    assert set(outputs) == stages | {'encoder', 'attention', 'pvam'}
    assert outputs['head'].shape == (2, LENGTH, LETTERS + 2)
    assert outputs['attention'].shape == (2, LENGTH, 2, 4)
    np.testing.assert_allclose(outputs['attention'].sum((2, 3)), 1, rtol=1e-5)
    for path, gradient in models.flatten(gradients).items():
        assert bool(np.abs(gradient).max() > 0) == (path[-2] != 'positions' or 'positions' in changes), path


@pytest.mark.parametrize('branches, free', [('forward', lambda place, changed: changed >= place),
                                            ('backward', lambda place, changed: changed <= place)])
def test_a_branch_reads_the_characters_on_one_side_alone(branches, free):
    reason = srn.SemanticReasoning(settings(branches=branches), WIDTH, LETTERS + 2)
    ids = jnp.array([[1, 2, 3]])
    variables = filled(reason, ids, jnp.float32, False)
    found = reason.apply(variables, ids, jnp.float32, False)[0]
    for changed in range(LENGTH):
        other = reason.apply(variables, ids.at[0, changed].set(4), jnp.float32, False)[0]
        for place in range(LENGTH):
            assert (np.abs(other - found)[0, place].max() < 1e-5) == free(place, changed), (changed, place)


def test_the_first_token_embeds_as_zero_and_has_an_output_all_the_same():
    reason = srn.SemanticReasoning(settings(), WIDTH, LETTERS + 2)
    zeros, ones = jnp.zeros((1, LENGTH), jnp.int32), jnp.ones((1, LENGTH), jnp.int32)
    variables = filled(reason, zeros, jnp.float32, False)
    changed = jax.tree.map(jnp.array, variables)
    changed['params']['embedding'] = changed['params']['embedding'].at[0].set(7.0)
    for ids in (zeros, ones):
        (before, first), (after, second) = (
            reason.apply(each, ids, jnp.float32, False) for each in (variables, changed))
        np.testing.assert_array_equal(before, after)
        assert np.abs(first - second)[..., 0].max() > 1 and np.array_equal(first[..., 1:], second[..., 1:])


def test_with_embed_first_the_first_token_is_told_from_others_by_its_own_embedding():
    reason = srn.SemanticReasoning(settings(embed_first=True), WIDTH, LETTERS + 2)
    zeros, ones = jnp.zeros((1, LENGTH), jnp.int32), jnp.ones((1, LENGTH), jnp.int32)
    variables = filled(reason, zeros, jnp.float32, False)
    changed = jax.tree.map(jnp.array, variables)
    changed['params']['embedding'] = changed['params']['embedding'].at[0].set(7.0)
    before, after, others, others_after = (
        reason.apply(each, ids, jnp.float32, False)[0]
        for ids in (zeros, ones) for each in (variables, changed))
    assert np.abs(before - after).max() > 0.1
    np.testing.assert_array_equal(others, others_after)


def test_products_of_attention_are_scaled_by_the_width_of_the_model_or_of_a_head():
    x = jnp.asarray(np.random.default_rng(3).normal(size=(2, 5, WIDTH)), jnp.float32)
    by_model, by_head = (srn.encoder(settings(attention_scale=scale, heads=4), WIDTH, 1, None)
                         for scale in ('model', 'head'))
    variables = filled(by_model, x)
    assert (by_model.scale, by_head.scale) == (8 ** -0.5, 2 ** -0.5)
    # Queries that are twice as large, as 8 is four times 2.
    doubled = jax.tree.map(jnp.array, variables)
    doubled['params']['layer_0']['attention']['query']['kernel'] *= 2
    np.testing.assert_allclose(by_head.apply(variables, x), by_model.apply(doubled, x), rtol=1e-5, atol=1e-5)
    assert np.abs(by_head.apply(variables, x) - by_model.apply(variables, x)).max() > 0.01


@pytest.mark.parametrize('variant, values', [('r50', (False, 'model')), ('modern', (True, 'head')),
                                             ('demo', (True, 'head'))])
def test_the_reference_keeps_its_embedding_and_scale_and_our_variants_have_the_papers(variant, values):
    config = recipe(variant=variant)
    assert (config.model.embed_first, config.model.attention_scale) == values


def test_a_recipe_from_before_these_fields_is_as_it_was():
    older = recipe(variant='r50')
    with older.unlocked():
        del older.model.embed_first, older.model.attention_scale
    assert description.parse_config(to_json(older)).to_dict() == recipe(variant='r50').to_dict()


def test_the_likeliest_texts_are_those_of_trying_all():
    chances, number = random_chances(), 12
    texts = np.asarray(parallel.best_texts(chances, number))
    result = parallel.finish(texts, chances, LENGTH, False, jnp.zeros((5, LENGTH, 1, 1)))
    every = [(*letters, *[LETTERS + 1] * (LENGTH - count))
             for count in range(LENGTH + 1) for letters in itertools.product(range(LETTERS), repeat=count)]
    for row in range(5):
        table = np.asarray(chances[row], np.float64)
        scores = {text: sum(table[place, each] for place, each in enumerate(text)) for text in every}
        best = sorted(scores, key=scores.get, reverse=True)[:number]
        assert [tuple(text) for text in texts[row].tolist()] == best
        np.testing.assert_allclose(result['score'][row], [scores[text] for text in best], rtol=1e-4)


def test_where_only_ends_follow_an_end_the_most_likely_classes_are_the_most_likely_text():
    chances = random_chances(rows=40)
    one, several = (np.asarray(parallel.best_texts(chances, beam))[:, 0] for beam in (1, 3))
    ended = one == LETTERS + 1
    plain = (ended[:, 1:] >= ended[:, :-1]).all(1)
    assert 10 < plain.sum() < 40 and ended[plain].any()
    np.testing.assert_array_equal(one[plain], several[plain])
    assert not (several[:, 1:] < several[:, :-1])[several[:, :-1] == LETTERS + 1].any()


def test_max_length_cuts_and_maps_go_with_their_tokens():
    end, sos = LETTERS + 1, LETTERS
    classes = jnp.array([[[2, end, 0, sos, 3]]])
    chances = jnp.log(jnp.full((1, 5, LETTERS + 2), 0.5))
    maps = jnp.arange(5.0)[None, :, None, None] + jnp.ones((1, 5, 2, 3))
    stopped, skipped, cut = (
        parallel.finish(classes, chances, most, skip, maps)
        for most, skip in ((5, False), (5, True), (2, True)))
    assert stopped['tokens'].tolist() == [[[2, -1, -1, -1, -1]]]
    assert skipped['tokens'].tolist() == [[[2, 0, 3, -1, -1]]]
    assert cut['tokens'].tolist() == [[[2, 0, -1, -1, -1]]] and cut['length'].tolist() == [[2]]
    assert skipped['attention'][0, 0, :, 0, 0].tolist() == [1, 3, 5, 0, 0]
    assert stopped['attention'][0, 0, :, 1, 2].tolist() == [1, 0, 0, 0, 0]
    np.testing.assert_allclose(stopped['score'], 5 * np.log(0.5), rtol=1e-6)
    np.testing.assert_allclose(skipped['mean_token'], 0.5)


def recipe(*overrides, variant='demo'):
    lines = [f'--config.{override}' for override in overrides]
    return experiments.load(f'{ROOT}/experiments/srn.py:{variant}', lines)


@pytest.mark.parametrize('override, message', [
    ('model.widths=8,8,8', r'config\.model\.widths=\(8, 8, 8\) must be 4 numbers of at least 1'),
    ('model.heads=7', r'config\.model\.width=128 must be a multiple of model\.heads=7'),
    ('image.width=100', r'config\.image\.width=100 must be a multiple of 8 for srn'),
    ('image.width_rule=widest', r'config\.image\.width_rule=.widest. must be fixed for srn'),
    ('model.dropout=1.0', r'config\.model\.dropout=1\.0 must be at least 0 and below 1'),
    ('optimizer.groups=*/positions/table=0',
     r"config\.optimizer\.groups=.* must be without .*positions='learned'"),
    ('model.attention_scale=query', r"config\.model\.attention_scale='query' is not one of 'model', 'head'"),
    ('model.branches=left', r"config\.model\.branches='left' is not one of 'both', 'forward', 'backward'"),
])
def test_what_srn_cannot_be_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        models.build(recipe(override), range(36))


def test_images_of_another_size_are_refused():
    model = models.build(recipe(), range(36))
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    batch = {'image': jnp.zeros((1, 32, 136, 1), jnp.uint8), 'size': jnp.array([[32, 136]])}
    words = 'images of 32 x 136: this model has positions for .*height=32 and width=128'
    with pytest.raises(ConfigError, match=words):
        jax.eval_shape(model.apply, shapes, batch)


def test_of_a_recipe_with_decay_the_positions_stay_as_they_are():
    config = recipe('optimizer.decay=0.1', variant='r50')
    tx = optimizer.optimizer(config, optimizer.schedule(config, 10, 10))
    model = models.build(config, range(36))
    shapes = jax.eval_shape(model.init, jax.random.key(0))['params']
    few = models.unflatten({path: leaf for path, leaf in models.flatten(shapes).items()
                            if path[-2] in ('positions', 'smooth_1', 'smooth_2')})
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), few)
    updates, _ = tx.update(jax.tree.map(np.zeros_like, params), tx.init(params), params)
    still = {'/'.join(path) for path, update in models.flatten(updates).items() if not update.any()}
    assert still == {name for name in model.about.no_gradient if name.endswith('table') or 'smooth_' in name}
