"""RARE against the reference implementation's own numbers; goldens/README.md says how they were made, and why in stages."""

import functools
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden import GOLDENS, Training, difference, golden, train
from small import QUICKLY, ROOT

from recog import models
from recog.config import experiments
from recog.models.decoding.search import Codes, search
from recog.models.parts import gru_attention, rectification
from recog.models.parts.layers import Context
from recog.models.peers import from_peer
from recog.train import optimizer

RARE = {'rec_r34_vd_tps_bilstm_att': ('r34', 26_983_268), 'rec_mv3_tps_bilstm_att': ('mv3', 1_679_418)}
MOBILENET = 'rec_mv3_tps_bilstm_att'


class Ours(NamedTuple):
    """What we compute from a golden's inputs; `later` from its rectified image on, and from ours."""

    want: dict[str, np.ndarray]
    rectified: dict[str, Any]
    later: dict[str, Any]
    forced: Any
    training: Training


def recipe(name: str, *overrides: str) -> Any:
    return experiments.load(f'{ROOT}/experiments/rare.py:{RARE[name][0]}', [f'--config.{override}' for override in overrides])


def build(name: str, *overrides: str) -> models.Model:
    return models.build(recipe(name, *overrides), range(36))


def bare(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A checkpoint without the rectifier."""
    return {key: value for key, value in state.items() if not key.startswith('transform.')}


def variables(model: models.Model, state: dict[str, np.ndarray]) -> models.Variables:
    return jax.tree.map(jnp.asarray, from_peer(model, state))


def first(image: Any) -> Any:
    """Channels first, as the reference has them."""
    return np.asarray(image).transpose(0, 3, 1, 2)


@pytest.fixture(scope='module', params=RARE)
def ours(request) -> Ours:
    want, _, state = golden(request.param)
    image = jnp.asarray(want['image'].transpose(0, 2, 3, 1))
    rows, letters = len(image), want['label'][:, 1:] - 1
    batch = {'image': image, 'size': jnp.full((rows, 2), 100), 'tokens': jnp.asarray(letters, jnp.int32),
             'length': jnp.asarray(want['length'], jnp.int32), 'weight': jnp.ones(rows)}
    model, alone = build(request.param), build(request.param, 'model.rectify=none')
    whole, rest = variables(model, state), variables(alone, bare(state))
    rectified = rectify_alone(request.param, whole, image)
    both = jnp.concatenate([want['eval.rectified'].transpose(0, 2, 3, 1), rectified['rectified']])
    later, _ = jax.jit(alone.apply, compiler_options=QUICKLY)(rest, {'image': both, 'size': jnp.full((2 * rows, 2), 100)})
    forced, _ = jax.jit(gru_attention.unroll)(rest['params']['head'], later['neck'][:rows], jnp.asarray(want['label'], jnp.int32))
    tx = optimizer.optimizer(recipe(request.param), optax.constant_schedule(5e-4))
    return Ours(want, rectified, later, forced, train(model, whole, batch, tx))


def rectify_alone(name: str, whole: models.Variables, image: Any) -> dict[str, Any]:
    """The stages of the rectifier of a recipe."""
    rule = recipe(name).model
    module = rectification.Rectifier(rectification.SIZES[rule.rectify], rule.fiducials, rule.start, rule.border, (32, 100))
    state = {'params': whole['params']['transform'], 'batch_stats': whole['stats']['transform']}
    apply = functools.partial(module.apply, context=Context(False, None, 0, jnp.float32))
    return jax.jit(apply, compiler_options=QUICKLY)(state, image)


def test_fiducials_and_grid_equal_the_references(ours):
    assert difference(ours.rectified['fiducials'], ours.want['eval.fiducials']) < 1e-6
    # Rounding of the spline's first product is amplified.
    assert difference(ours.rectified['grid'], ours.want['eval.grid']) < 3e-5


def test_the_image_sampled_at_the_references_grid_is_the_references_rectified_image(ours):
    image, grid = jnp.asarray(ours.want['image'].transpose(0, 2, 3, 1)), jnp.asarray(ours.want['eval.grid'])
    assert difference(first(rectification.sample(image, grid)), ours.want['eval.rectified']) < 1e-6
    # Noise amplifies what the grid is off by.
    assert difference(first(ours.rectified['rectified']), ours.want['eval.rectified']) < 1e-3


@pytest.mark.parametrize('stage', ['backbone', 'neck', 'head'])
def test_backbone_neck_and_head_equal_the_references(ours, stage):
    got, want = ours.later[stage], ours.want[f'eval.{stage}']
    got = first(got) if stage == 'backbone' else jax.nn.softmax(got) if stage == 'head' else got
    assert difference(got[: len(want)], want) < 1e-4  # from its rectified image on
    assert difference(got[len(want) :], want) < 2e-3  # from ours, as far as noise allows


def test_the_head_that_reads_the_label_equals_the_references(ours):
    assert difference(jax.nn.softmax(ours.forced), ours.want['eval.head_forced']) < 1e-4


def test_training_logits_and_first_loss_equal_the_references(ours):
    assert difference(ours.training.heads[0], ours.want['train.head']) < 5e-3
    assert ours.training.losses[0] == pytest.approx(ours.want['train.losses'][0], rel=2e-4)
    assert ours.want['train.losses'][0] == ours.want['train.parts'][0]


def test_gradients_equal_the_references(ours):
    keys, norms = ours.want['train.grad_keys'], ours.want['train.grad_norms']
    there = np.isfinite(norms)
    assert set(keys[~there]) == set(rectification.ZEROS)
    got = np.array([np.linalg.norm(ours.training.gradients[str(key)]) for key in keys[there]])
    assert there.sum() > 150
    assert np.abs(got - norms[there]).max() < 1e-1 * norms[there].max()
    # The decoder's are not behind the noise.
    head = np.array([str(key).startswith('head.') for key in keys[there]])
    np.testing.assert_allclose(got[head], norms[there][head], rtol=5e-3)
    for name in (name for name in ours.want if name.startswith('train.grad/head')):
        assert difference(ours.training.gradients[name.removeprefix('train.grad/')], ours.want[name]) < 5e-3, name


def test_running_statistics_equal_the_references(ours):
    names = [name for name in ours.want if name.startswith('train.stat/')]
    assert len(names) == 4
    for name in names:
        tolerance = 1e-6 if 'loc_net' in name else 1e-3
        assert difference(ours.training.statistics[name.removeprefix('train.stat/')], ours.want[name]) < tolerance, name


def test_three_steps_with_the_recipes_multipliers_lower_the_loss_as_the_references_do(ours):
    # Adam divides the noise of the gradients by the gradients. Without the multipliers the second is 5 % off for MobileNetV3.
    np.testing.assert_allclose(ours.training.losses, ours.want['train.losses'], rtol=3e-2)


@pytest.mark.parametrize('name', RARE)
def test_the_parameter_count_is_the_published_one_with_the_layer_that_stays_zero(name):
    shapes = jax.eval_shape(build(name).init, jax.random.key(0))
    zeros = sum(int(np.prod(row['shape'])) for row in golden(name)[1] if row['key'] in rectification.ZEROS)
    assert zeros == 246  # 40 x 6 and 6: what the reference counts and we leave out
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes['params'])) + zeros == RARE[name][1]


@pytest.mark.parametrize('name', RARE)
def test_the_peers_are_all_keys_of_the_references_checkpoint(name):
    rows, model = golden(name)[1], build(name)
    assert set(model.peers) == {row['key'] for row in rows}
    assert {row['key'] for row in rows if row['trainable']} == {
        key for key, peer in model.peers.items() if peer.path[:1] == ('params',)
    } | set(rectification.ZEROS)


def test_a_checkpoint_whose_zeros_are_not_zero_is_refused():
    state, model = golden(MOBILENET)[2], build(MOBILENET)
    state[rectification.ZEROS[1]] = np.array([0, 0, 0, 1e-3, 0, 0])
    with pytest.raises(ValueError, match=r'^checkpoint: not zero, as the model has it, transform.grid_generator.fc.bias$'):
        from_peer(model, state)


@pytest.mark.parametrize('stop', [False, True])
def test_greedy_decoding_and_its_confidence_equal_the_references(stop):
    with np.load(GOLDENS / 'data.npz') as arrays:
        scores = arrays['att_scores']
    decoded = json.loads((GOLDENS / 'data.json').read_text())['att_decoded']
    letters, end = '0123456789abcdefghijklmnopqrstuvwxyz', 37

    def step(position: jax.Array, classes: jax.Array) -> Any:
        return jnp.log(jnp.asarray(scores))[:, position], position + 1

    result = search(step, jnp.int32(0), Codes(0, end, 1, 36), rows=len(scores), capacity=25, max_length=25, stop=stop)
    texts = [''.join(letters[token] for token in row[0] if token >= 0) for row in np.asarray(result['tokens'])]
    if stop:  # unlike the reference, which leaves the end out and goes on
        decoded = []
        for row in scores:
            best = row.argmax(1)
            last = int(np.argmax(best == end)) if end in best else len(best)
            kept = [place for place in range(last) if best[place] != 0]
            decoded.append((''.join(letters[best[place] - 1] for place in kept), row.max(1)[kept].mean()))
        assert any(end in row.argmax(1) for row in scores)
    assert texts == [text for text, _ in decoded]
    np.testing.assert_allclose(result['confidence'][:, 0], [confidence for _, confidence in decoded], rtol=1e-6)
