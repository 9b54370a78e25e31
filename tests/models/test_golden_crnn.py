"""CRNN against the reference implementation's own numbers; goldens/README.md says how they were made."""

import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden import GOLDENS, Training, difference, golden, train
from small import EXACTLY, QUICKLY

from recog import models
from recog.config import recipe
from recog.models.decoding.ctc import best_path, finish
from recog.models.peers import from_peer

CRNN = {
    'rec_r34_vd_none_bilstm_ctc': ({'backbone': 'resnet34_vd', 'lstm_hidden': 256}, 24_481_029),
    'rec_mv3_none_bilstm_ctc': ({'backbone': 'mobilenet_v3', 'lstm_hidden': 96}, 1_451_787),
}
MOBILENET = 'rec_mv3_none_bilstm_ctc'


class Ours(NamedTuple):
    """What we compute from a golden's inputs."""

    want: dict[str, np.ndarray]
    outputs: dict[str, Any]
    training: Training


def build(name: str) -> models.Model:
    config = recipe.base(name='crnn', lstm_layers=2, mobilenet_scale=0.5, **CRNN[name][0])
    return models.build(config, range(36))


@pytest.fixture(scope='module', params=CRNN)
def ours(request) -> Ours:
    want, _, state = golden(request.param)
    model = build(request.param)
    variables = jax.tree.map(jnp.asarray, from_peer(model, state))
    rows = len(want['image'])
    batch = {
        'image': jnp.asarray(want['image'].transpose(0, 2, 3, 1)),
        'size': jnp.full((rows, 2), 100),
        'tokens': jnp.asarray(want['label'] - 1, jnp.int32),
        'length': jnp.asarray(want['length'], jnp.int32),
        'weight': jnp.ones(rows),
    }
    outputs, _ = jax.jit(model.apply, compiler_options=QUICKLY)(variables, batch)
    # Three images make steep gradients in R34, of which three steps make more: LLVM's order of sums matters.
    options = None if request.param == MOBILENET else EXACTLY
    return Ours(want, outputs, train(model, variables, batch, optax.adam(5e-4), options=options))


def test_backbone_neck_and_head_equal_the_references(ours):
    outputs, want = ours.outputs, ours.want
    assert difference(outputs['backbone'].transpose(0, 3, 1, 2), want['eval.backbone']) < 1e-4
    assert difference(outputs['neck'], want['eval.neck']) < 1e-4
    assert difference(jax.nn.softmax(outputs['head']), want['eval.head']) < 1e-4


def test_training_logits_and_first_loss_equal_the_references(ours):
    assert difference(ours.training.heads[0], ours.want['train.head']) < 1e-4
    assert ours.training.losses[0] == pytest.approx(ours.want['train.losses'][0], rel=1e-5)


def test_gradients_equal_the_references(ours):
    keys, norms = ours.want['train.grad_keys'], ours.want['train.grad_norms']
    got = np.array([np.linalg.norm(ours.training.gradients[str(key)]) for key in keys])
    there = np.isfinite(norms)
    assert there.sum() > 100
    assert np.abs(got - norms)[there].max() < 2e-3 * norms[there].max()
    whole = [name for name in ours.want if name.startswith('train.grad/')]
    assert whole
    for name in whole:
        # Three images make steep gradients: rounding alone moves those of R34's first convolution by a hundredth.
        assert difference(ours.training.gradients[name.removeprefix('train.grad/')], ours.want[name]) < 2e-2, name


def test_running_statistics_equal_the_references(ours):
    names = [name for name in ours.want if name.startswith('train.stat/')]
    assert len(names) == 4
    for name in names:
        assert difference(ours.training.statistics[name.removeprefix('train.stat/')], ours.want[name]) < 1e-4, name


def test_three_adam_steps_equal_the_references(ours):
    np.testing.assert_allclose(ours.training.losses, ours.want['train.losses'], rtol=1e-3)


@pytest.mark.parametrize('name', CRNN)
def test_the_parameter_count_is_the_published_one(name):
    shapes = jax.eval_shape(build(name).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes['params'])) == CRNN[name][1]


@pytest.mark.parametrize('name', CRNN)
def test_the_peers_are_all_keys_of_the_references_checkpoint(name):
    rows, model = golden(name)[1], build(name)
    assert set(model.peers) == {row['key'] for row in rows}
    assert {row['key'] for row in rows if row['trainable']} == {
        key for key, peer in model.peers.items() if peer.path[0] == 'params'
    }


def test_a_checkpoint_may_hold_either_name_of_an_lstm_tensor():
    state, model = golden(MOBILENET)[2], build(MOBILENET)
    first = {key: value for key, value in state.items() if '.cell_' not in key}
    second = {key: value for key, value in state.items() if '.cell_' in key or 'lstm' not in key}
    assert len(first) == len(second) < len(state)
    same = jax.tree.map(np.array_equal, from_peer(model, first), from_peer(model, second))
    assert all(jax.tree.leaves(same))


def test_missing_surplus_misshapen_and_contradictory_keys_are_named_in_one_error():
    state, model = golden(MOBILENET)[2], build(MOBILENET)
    del state['head.fc.bias']
    state['head.other'] = np.zeros(3)
    state['head.fc.weight'] = np.zeros((37, 192))
    state['neck.encoder.lstm.0.cell_fw.bias_ih'] = np.zeros(384)
    with pytest.raises(ValueError) as error:
        from_peer(model, state)
    message = str(error.value)
    assert 'missing head.fc.bias;' in message and 'surplus head.other;' in message
    assert 'misshapen head.fc.weight (37, 192);' in message
    assert message.endswith('contradictory neck.encoder.lstm.0.cell_fw.bias_ih') and '\n' not in message


def test_greedy_decoding_and_its_confidence_equal_the_references():
    with np.load(GOLDENS / 'data.npz') as arrays:
        scores = arrays['ctc_scores']
    decoded = json.loads((GOLDENS / 'data.json').read_text())['ctc_decoded']
    result = finish(best_path(jnp.log(scores)), jnp.log(scores), 25, False)
    letters = '0123456789abcdefghijklmnopqrstuvwxyz'
    texts = [''.join(letters[token] for token in row[0] if token >= 0) for row in np.asarray(result['tokens'])]
    assert texts == [text for text, _ in decoded]
    np.testing.assert_allclose(result['confidence'][:, 0], [confidence for _, confidence in decoded], rtol=1e-6)
