"""CAN against the reference implementation's own numbers; goldens/README.md says how they were made."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden import Training, difference, golden, train
from small import QUICKLY, ROOT

from recog import models
from recog.config import experiments
from recog.models import can
from recog.models.backbones import densenet
from recog.models.parts import coverage_attention
from recog.models.peers import from_peer
from recog.text import vocabulary
from recog.train import optimizer

NAME = 'rec_d28_can'
SIZES = ((70, 150), (45, 101))  # odd, and different: the second is padded


class Ours(NamedTuple):
    """What we compute from the golden's inputs."""

    want: dict[str, np.ndarray]
    variables: models.Variables
    batch: dict[str, Any]
    outputs: dict[str, Any]
    training: Training


def recipe(*overrides: str) -> Any:
    return experiments.load(f'{ROOT}/experiments/can.py:d28', [f'--config.{override}' for override in overrides])


def build(*overrides: str) -> models.Model:
    config = recipe(*overrides)
    return models.build(config, vocabulary.from_config(config.text))


@pytest.fixture(scope='module')
def ours() -> Ours:
    want, _, state = golden(NAME)
    model = build()
    variables = jax.tree.map(jnp.asarray, from_peer(model, state))
    label = want['label'][:, :-1]  # we add the end ourselves
    length = (label > 0).sum(1)
    batch = {
        'image': jnp.asarray(want['image'].transpose(0, 2, 3, 1)), 'size': jnp.array(SIZES),
        'tokens': jnp.asarray(np.where(label > 0, label - can.OFFSET, -1), jnp.int32), 'length': jnp.asarray(length, jnp.int32),
        'weight': jnp.ones(2), 'index': jnp.arange(2),
    }
    outputs, _ = jax.jit(model.apply, compiler_options=QUICKLY)(variables, batch)
    tx = optimizer.optimizer(recipe(), optax.constant_schedule(0.01))
    return Ours(want, variables, batch, outputs, train(model, variables, batch, tx))


def test_the_sizes_are_those_of_the_goldens_masks(ours):
    mask = np.asarray(densenet.inside(ours.batch['size'], ours.batch['image'], 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(mask, ours.want['mask'] > 0)


def test_backbone_counts_and_words_equal_the_references(ours):
    outputs, want = ours.outputs, ours.want
    assert difference(outputs['backbone'].transpose(0, 3, 1, 2), want['eval.backbone']) < 1e-5
    for name in ('counts3', 'counts5', 'counts'):
        assert difference(outputs[name], want[f'eval.{name}']) < 1e-5, name
    assert difference(outputs['head'], want['eval.words']) < 1e-5


def test_greedy_words_of_36_steps_equal_the_references(ours):
    parameters, outputs = ours.variables['params']['head'], ours.outputs
    cells = densenet.inside(ours.batch['size'], outputs['backbone'], densenet.STRIDE)[..., 0]

    @jax.jit
    def greedy(features, counts):
        memory, start = coverage_attention.make_memory(parameters, features, cells, counts)

        def step(carry, _):
            hidden, seen, classes = carry
            logits, hidden, weights = coverage_attention.advance(parameters, memory, hidden, seen, classes)
            return (hidden, seen + weights, logits.argmax(-1)), logits[:, 0]

        first = start[:, None], jnp.zeros((2, 1, *cells.shape[1:])), jnp.full((2, 1), can.START)
        return jax.lax.scan(step, first, length=36)[1]

    logits = greedy(outputs['backbone'], outputs['counts']).swapaxes(0, 1)
    assert difference(logits, ours.want['eval.words_greedy']) < 1e-4


def test_an_image_that_fills_its_canvas_is_decoded_as_the_reference_does(ours):
    decode = jax.jit(build().decode, compiler_options=QUICKLY)
    result = decode(ours.variables, ours.batch['image'], ours.batch['size'], 36)
    want = ours.want['eval.words_greedy'][0].argmax(-1)
    assert can.END not in want and can.START not in want
    np.testing.assert_array_equal(result['tokens'][0, 0, :36], want - can.OFFSET)
    assert result['length'][0, 0] == 36


def test_training_logits_and_first_loss_equal_the_references(ours):
    assert difference(ours.training.heads[0], ours.want['train.head']) < 1e-4
    assert ours.training.losses[0] == pytest.approx(ours.want['train.losses'][0], rel=1e-5)
    assert ours.want['train.losses'][0] == ours.want['train.parts'][0]


def test_three_losses_equal_the_references(ours):
    """Its cross-entropy on CPU raises logits that are more than 64 below the largest to that, which matters from step 2 on."""
    wanted = np.asarray(can._wanted(ours.batch))[..., None]
    tolerances = (1e-5, 1e-3, 5e-3)  # each step makes rounding errors larger
    heads, losses = ours.training.heads, ours.training.losses
    for logits, loss, want, near in zip(heads, losses, ours.want['train.losses'], tolerances, strict=True):
        below = logits - logits.max(-1, keepdims=True)
        words = [(np.log(np.exp(each).sum(-1)) - np.take_along_axis(each, wanted, -1)[..., 0]).mean()
                 for each in (below, np.maximum(below, -64))]
        assert loss - words[0] + words[1] == pytest.approx(want, rel=near)


def test_gradients_equal_the_references(ours):
    keys, norms = ours.want['train.grad_keys'], ours.want['train.grad_norms']
    assert np.isfinite(norms).all() and len(norms) == 432
    got = np.array([np.linalg.norm(ours.training.gradients[str(key)]) for key in keys])
    assert np.abs(got - norms).max() < 2e-3 * norms.max()
    whole = [name.removeprefix('train.grad/') for name in ours.want if name.startswith('train.grad/')]
    assert len(whole) == 6
    for name in whole:
        assert difference(ours.training.gradients[name], ours.want[f'train.grad/{name}']) < 5e-3, name


def test_running_statistics_equal_the_references(ours):
    names = [name.removeprefix('train.stat/') for name in ours.want if name.startswith('train.stat/')]
    assert len(names) == 4
    for name in names:
        assert difference(ours.training.statistics[name], ours.want[f'train.stat/{name}']) < 1e-4, name


def test_the_parameter_count_is_the_published_one():
    shapes = jax.eval_shape(build().init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes['params'])) == 16_844_040
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 16_858_640


def test_the_peers_are_all_keys_of_the_references_checkpoint():
    rows, model = golden(NAME)[1], build()
    assert set(model.peers) == {row['key'] for row in rows}
    trainable = {key for key, peer in model.peers.items() if peer.path[0] == 'params'}
    assert {row['key'] for row in rows if row['trainable']} == trainable


def test_the_recipes_rates_equal_the_references():
    with np.load(ROOT / 'tests' / 'goldens' / 'data.npz') as arrays:
        want = arrays['can_rates']
    rate = optimizer.schedule(recipe(), len(want), 5)
    np.testing.assert_allclose(jax.vmap(rate)(jnp.arange(len(want))), want, rtol=1e-4, atol=1e-9)
