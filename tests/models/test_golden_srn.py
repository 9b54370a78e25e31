"""SRN, and its recipe, against the reference implementation's own numbers; goldens/README.md says how they were made."""

import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden import GOLDENS, difference, golden, turned_back
from small import QUICKLY, ROOT

from recog import models
from recog.config import experiments, values
from recog.models import srn
from recog.models.decoding import parallel
from recog.models.peers import from_peer
from recog.train import optimizer

NAME, LETTERS = 'rec_r50_fpn_srn', '0123456789abcdefghijklmnopqrstuvwxyz'
END = 37
# The reference's first gradients below the whole backbone, for two images, are themselves 0.018 and 0.026 from those
# computed in float64.
STEEP = ('backbone.conv.conv.weight', 'backbone.conv.bn.weight', 'backbone.conv.bn.bias')


class Ours(NamedTuple):
    """What we compute from the golden's inputs; `first` is the gradients and statistics of the first step."""

    want: dict[str, np.ndarray]
    outputs: dict[str, Any]
    head: np.ndarray
    parts: dict[str, Any]
    losses: list[float]
    first: dict[str, np.ndarray]


def recipe() -> values.ConfigDict:
    return experiments.load(str(ROOT / 'experiments' / 'srn.py'))


def build() -> models.Model:
    return models.build(recipe(), range(36))


@pytest.fixture(scope='module')
def ours() -> Ours:
    want, _, state = golden(NAME)
    model, rule = build(), recipe()
    tx = optimizer.optimizer(rule, optimizer.schedule(rule, 100, 10))
    variables = jax.tree.map(jnp.asarray, from_peer(model, state))
    letters = want['label'] < END
    batch = {
        'image': jnp.asarray(want['image'].transpose(0, 2, 3, 1)),
        'size': jnp.full((2, 2), 64),
        'tokens': jnp.asarray(np.where(letters, want['label'], -1), jnp.int32),
        'length': jnp.asarray(letters.sum(1), jnp.int32),
        'weight': jnp.ones(2),
    }

    @jax.jit
    def step(params, stats, memory):
        def loss(params):
            outputs, _ = model.apply({'params': params, 'stats': stats}, batch, train=True)
            (total, count), rest = model.loss({'params': params, 'stats': stats}, batch)
            return total, (count, outputs['head'], *rest)

        (total, (count, head, stats, parts)), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, memory = tx.update(gradients, memory, params)
        return optax.apply_updates(params, updates), stats, memory, (total, count, head, parts, gradients)

    outputs, _ = jax.jit(model.apply, compiler_options=QUICKLY)(variables, batch)
    params, stats, losses = variables['params'], variables['stats'], []
    memory = jax.jit(tx.init)(params)
    for number in range(3):
        params, stats, memory, (total, count, head, parts, gradients) = step(params, stats, memory)
        assert count == 0  # a sum that is not divided
        losses.append(float(total))
        if number == 0:
            leaves, kept = models.flatten({'params': gradients, 'stats': stats}), (np.asarray(head), parts)
            first = {key: turned_back(leaves[peer.path], peer.turn) for key, peer in model.peers.items()}
    return Ours(want, outputs, *kept, losses, first)


def test_every_stage_equals_the_references(ours):
    outputs, want = ours.outputs, ours.want
    assert difference(outputs['backbone'].transpose(0, 3, 1, 2), want['eval.backbone']) < 1e-4
    assert difference(outputs['encoder'], want['eval.encoder']) < 1e-4
    assert difference(outputs['pvam'], want['eval.pvam_feature']) < 1e-4
    assert difference(outputs['word'].reshape(50, 38), want['eval.word_out']) < 1e-4
    assert difference(outputs['gsrm'].reshape(50, 39), want['eval.gsrm_out']) < 1e-4
    assert difference(jax.nn.softmax(outputs['head']).reshape(50, 38), want['eval.predict']) < 1e-4


def test_training_logits_and_losses_equal_the_references(ours):
    want = ours.want
    assert difference(ours.head.reshape(50, 38), want['train.head']) < 1e-4
    np.testing.assert_allclose([ours.losses[0], ours.parts['word'], ours.parts['vsfd']], want['train.parts'], rtol=1e-5)
    assert ours.losses[0] == pytest.approx(want['train.losses'][0], rel=1e-5)


def test_gradients_equal_the_references(ours):
    keys, norms = ours.want['train.grad_keys'], ours.want['train.grad_norms']
    got = np.array([np.linalg.norm(ours.first[str(key)]) for key in keys])
    there = np.isfinite(norms)
    assert there.sum() > 300
    assert np.abs(got - norms)[there].max() < 2e-3 * norms[there].max()
    assert not got[~there].any()
    whole = [name.removeprefix('train.grad/') for name in ours.want if name.startswith('train.grad/')]
    assert len(whole) == 6
    for name in whole:
        assert difference(ours.first[name], ours.want[f'train.grad/{name}']) < (5e-2 if name in STEEP else 1e-4), name


def test_running_statistics_equal_the_references(ours):
    names = [name for name in ours.want if name.startswith('train.stat/')]
    assert len(names) == 4
    for name in names:
        assert difference(ours.first[name.removeprefix('train.stat/')], ours.want[name]) < 1e-4, name


def test_three_steps_of_the_recipes_optimizer_equal_the_references(ours):
    np.testing.assert_allclose(ours.losses, ours.want['train.losses'], rtol=1e-3)


def test_the_parameter_count_is_the_published_one():
    shapes = jax.eval_shape(build().init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes['params'])) == 54_639_628
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 54_695_820


def test_the_peers_are_all_keys_of_the_references_checkpoint():
    rows, model = golden(NAME)[1], build()
    assert set(model.peers) == {row['key'] for row in rows}
    assert {row['key'] for row in rows if row['trainable']} == {
        key for key, peer in model.peers.items() if peer.path[0] == 'params'
    }


def test_what_never_learns_is_loaded_all_the_same():
    _, _, state = golden(NAME)
    model = build()
    variables = models.flatten(from_peer(model, state))
    tables = [name for name in model.about.no_gradient if name.endswith('positions/table')]
    assert len(tables) == 3
    for name in tables:
        key = next(key for key, peer in model.peers.items() if '/'.join(peer.path[1:]) == name)
        np.testing.assert_array_equal(variables['params', *name.split('/')], state[key])


@pytest.mark.parametrize('skip_ends', [True, False])
def test_decoding_and_its_confidence_equal_the_references_with_ends_skipped_or_stops_at_the_first(skip_ends):
    with np.load(GOLDENS / 'data.npz') as arrays:
        scores = arrays['srn_scores']
    decoded = json.loads((GOLDENS / 'data.json').read_text())['srn_decoded']
    chances = parallel.log_probabilities(jnp.log(scores), skip_ends)
    result = parallel.finish(parallel.best_texts(chances, 1), chances, 25, skip_ends, jnp.zeros((4, 25, 1, 1)))
    texts = [''.join(LETTERS[token] for token in row[0] if token >= 0) for row in np.asarray(result['tokens'])]
    classes = scores.argmax(-1).tolist()
    if skip_ends:
        assert texts == [text for text, _ in decoded]
        wanted = [confidence for _, confidence in decoded]
    else:
        assert texts == [''.join(LETTERS[each] for each in row[: (row + [END]).index(END)]) for row in classes]
        assert texts != [text for text, _ in decoded]
        wanted = [row[:len(text)].mean() for row, text in zip(scores.max(-1), texts, strict=True)]
    np.testing.assert_allclose(result['confidence'][:, 0], wanted, rtol=1e-6)


def test_labels_are_the_references():
    words = json.loads((GOLDENS / 'data.json').read_text())
    pairs = [(text, want) for text, want in zip(words['texts'], words['srn_encoded'], strict=True) if want is not None]
    from recog.text import vocabulary

    vocab = vocabulary.from_config(recipe().text)
    ids = [vocab.encode(text, max_length=25).ids for text, _ in pairs]
    tokens = np.array([[*row, *[-1] * (25 - len(row))] for row in ids])
    got = srn.labels(jnp.asarray(tokens), jnp.asarray([len(row) for row in ids]), 25, END)
    np.testing.assert_array_equal(got, [want for _, want in pairs])
