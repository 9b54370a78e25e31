"""Every golden: our model against the reference's own numbers; goldens/README.md says how they were made.

A new golden needs no code here: its facts say which recipe it belongs to, and how closely what is compared.
"""

from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import golden
import jax
import numpy as np
import optax
import pytest
from golden import difference
from small import EXACTLY, QUICKLY

from recog import models
from recog.train import optimizer


class Training(NamedTuple):
    """Three steps without dropout; gradients and statistics are the first step's, in the reference's layout."""

    heads: list[np.ndarray]
    losses: list[float]
    parts: dict[str, float]
    divided: bool  # whether the loss is a mean
    gradients: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]


class Ours(NamedTuple):
    """What we compute from a golden's inputs."""

    facts: dict[str, Any]
    want: dict[str, np.ndarray]
    rows: list[dict]
    model: models.Model
    variables: models.Variables
    batch: dict[str, Any]
    outputs: dict[str, np.ndarray]
    training: Training


@pytest.fixture(scope='module', params=golden.names())
def ours(request) -> Ours:
    facts, (want, rows, state) = golden.facts(request.param), golden.golden(request.param)
    model, batch = golden.build(request.param), golden.batch(request.param, want)
    variables = golden.variables(model, state)
    outputs = evaluate(model, variables, batch, [each['ours'] for name, each in facts['stages'].items() if 'eval.' in name])
    return Ours(facts, want, rows, model, variables, batch, outputs, train(request.param, model, variables, batch))


def evaluate(model: models.Model, variables: models.Variables, batch: dict[str, Any], stages: list[str]) -> dict[str, Any]:
    """These stages, with the stored statistics."""
    def apply(variables, batch):
        return {stage: output for stage, output in model.apply(variables, batch)[0].items() if stage in stages}

    return jax.device_get(jax.jit(apply, compiler_options=QUICKLY)(variables, batch)) if stages else {}


def train(name: str, model: models.Model, variables: models.Variables, batch: dict[str, Any]) -> Training:
    """Three steps on one batch, with the recipe's own optimizer and schedule."""
    config, options = golden.recipe(name), EXACTLY if golden.facts(name).get('exactly') else QUICKLY
    tx = optimizer.optimizer(config, optimizer.schedule(config, 100, 10))

    def objective(params, stats):
        outputs, _ = model.apply({'params': params, 'stats': stats}, batch, train=True)
        (total, count), (stats, parts) = model.loss({'params': params, 'stats': stats}, batch)
        # A sum is not divided.
        return total / jax.numpy.where(count > 0, count, 1), (stats, parts, count, outputs['head'])

    def update(params, gradients, memory):
        updates, memory = tx.update(gradients, memory, params)
        return optax.apply_updates(params, updates), memory

    step = jax.jit(jax.value_and_grad(objective, has_aux=True), compiler_options=options)
    update = jax.jit(update, compiler_options=QUICKLY)
    params, stats = variables['params'], variables['stats']
    memory, losses, heads, firsts = jax.jit(tx.init, compiler_options=QUICKLY)(params), [], [], []
    for number in range(3):
        (loss, (stats, parts, count, head)), gradients = step(params, stats)
        losses.append(float(loss))
        heads.append(np.asarray(head))
        firsts.append((parts, bool(count > 0), models.flatten({'params': gradients, 'stats': stats})))
        if number < 2:
            params, memory = update(params, gradients, memory)
    parts, divided, first = firsts[0]
    kinds: dict[str, dict[str, np.ndarray]] = {'params': {}, 'stats': {}}
    for key, peer in model.peers.items():
        if peer != models.ZERO:
            kinds[peer.path[0]][key] = golden.turned_back(first[peer.path], peer.turn)
    return Training(heads, losses, parts, divided, kinds['params'], kinds['stats'])


def within(rules: dict[str, float], name: str) -> float | None:
    """The tolerance of the first pattern that fits the name; none: it is not compared."""
    return next((rule for pattern, rule in rules.items() if fnmatchcase(name, pattern)), None)


def test_the_peers_are_all_keys_of_the_references_checkpoint(ours):
    assert set(ours.model.peers) == {row['key'] for row in ours.rows}
    assert {row['key'] for row in ours.rows if row['trainable']} == {
        key for key, peer in ours.model.peers.items() if peer == models.ZERO or peer.path[0] == 'params'
    }


def test_the_parameter_count_is_the_published_one(ours):
    # The reference counts what is zero and stays so; we have no such parameter.
    zeros = sum(int(np.prod(row['shape'])) for row in ours.rows if ours.model.peers[row['key']] == models.ZERO)
    counts = [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (ours.variables['params'], ours.variables)]
    assert counts[0] + zeros == ours.facts['parameters']
    assert counts[1] == ours.facts.get('values', counts[1])


def test_what_never_learns_is_loaded_all_the_same(ours):
    seeds = {row['key']: row for row in ours.rows}
    arrays = models.flatten(ours.variables)
    keys = [key for key, peer in ours.model.peers.items() if '/'.join(peer.path[1:]) in ours.model.about.no_gradient]
    assert len(keys) == len(ours.model.about.no_gradient)
    for key in keys:
        peer, row = ours.model.peers[key], seeds[key]
        got = golden.turned_back(arrays[peer.path], peer.turn)
        np.testing.assert_array_equal(got, golden.fill(row['seed_key'], row['shape']))


def test_the_batch_has_the_goldens_lengths(ours):
    np.testing.assert_array_equal(ours.batch['length'], ours.want.get('length', ours.batch['length']))


def test_stages_equal_the_references(ours):
    for name, rule in ours.facts['stages'].items():
        want = ours.want[name]
        got = ours.outputs[rule['ours']] if name.startswith('eval.') else ours.training.heads[0]
        got = np.asarray(jax.nn.softmax(got)) if rule.get('softmax') else got
        got = got.transpose(rule['axes']) if 'axes' in rule else got
        got = got.reshape(-1, got.shape[-1]) if rule.get('joined') else got
        if 'until_end' in rule:  # behind the end of a label the reference reads its filling
            counts = np.arange(want.shape[1]) <= ours.batch['length'][:, None]
            assert counts.sum() == rule['until_end']
            got, want = got[counts], want[counts]
        assert difference(got, want) < rule['within'], name


def test_the_first_loss_and_its_parts_equal_the_references(ours):
    rule, want, training = ours.facts['loss'], ours.want, ours.training
    assert training.losses[0] == pytest.approx(want['train.losses'][0], rel=rule['first'])
    assert training.divided == rule['divided']
    if 'parts' in rule:
        assert want['train.losses'][0] == want['train.parts'][0]
        parts = {'total': training.losses[0]} | training.parts
        np.testing.assert_allclose([parts[part] for part in rule['parts']], want['train.parts'], rtol=rule['first'])


def test_three_steps_of_the_recipes_optimizer_lower_the_loss_as_the_references_do(ours):
    """Each step makes rounding errors larger: Adam divides the noise of gradients by the gradients."""
    rule, training = ours.facts['loss'], ours.training
    tolerances = (rule['first'], *rule['later'])
    for head, loss, want, near in zip(training.heads, training.losses, ours.want['train.losses'], tolerances, strict=True):
        if 'floor' in rule:
            loss += cross_entropy(head, ours.want['label'], rule['floor']) - cross_entropy(head, ours.want['label'])
        assert loss == pytest.approx(want, rel=near)


def cross_entropy(logits: np.ndarray, labels: np.ndarray, floor: float = -np.inf) -> float:
    """The mean over labels [B, L]; logits that are further below the largest than the floor are raised to it."""
    below = np.maximum(logits - logits.max(-1, keepdims=True), floor)
    return (np.log(np.exp(below).sum(-1)) - np.take_along_axis(below, labels[..., None], -1)[..., 0]).mean()


def test_gradients_equal_the_references(ours):
    rule, want, gradients = ours.facts['gradients'], ours.want, ours.training.gradients
    norms = dict(zip(map(str, want['train.grad_keys']), want['train.grad_norms'], strict=True))
    there = {key: norm for key, norm in norms.items() if np.isfinite(norm)}
    assert len(there) == rule['count']
    # What the reference leaves without a gradient has none here, and is known not to learn; or it is no parameter of ours.
    for key in norms.keys() - there:
        peer = ours.model.peers[key]
        assert peer == models.ZERO or '/'.join(peer.path[1:]) in ours.model.about.no_gradient, key
        assert key not in gradients or not gradients[key].any(), key
    got = {key: float(np.linalg.norm(gradients[key])) for key in there}
    assert max(abs(got[key] - norm) for key, norm in there.items()) < rule['norms'] * max(there.values())
    for key, norm in there.items():
        near = within(rule.get('each', {}), key)
        assert near is None or got[key] == pytest.approx(norm, rel=near), key


def test_whole_gradients_equal_the_references(ours):
    names = [name.removeprefix('train.grad/') for name in ours.want if name.startswith('train.grad/')]
    tolerances = {name: within(ours.facts['gradients']['whole'], name) for name in names}
    assert len(names) == 6 and any(tolerances.values())
    for name, near in tolerances.items():
        if near is not None:
            assert difference(ours.training.gradients[name], ours.want[f'train.grad/{name}']) < near, name


def test_running_statistics_equal_the_references(ours):
    names = [name.removeprefix('train.stat/') for name in ours.want if name.startswith('train.stat/')]
    assert len(names) == 4
    for name in names:
        near = within(ours.facts['statistics'], name)
        assert difference(ours.training.statistics[name], ours.want[f'train.stat/{name}']) < near, name
