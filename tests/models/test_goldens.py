"""Every golden: our model against the reference's own numbers; goldens/README.md says how they were made.

A new golden needs no code here: its facts name its recipe and the tolerance of each comparison.
"""

from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import golden
import jax
import numpy as np
import optax
import pytest
from golden import difference
from narrow_models import slowly
from small import EXACTLY, QUICKLY

from recog import models
from recog.train import optimizer


class Training(NamedTuple):
    """Three steps without dropout; gradients and statistics are those of the first step,
    in the reference's layout."""

    heads: list[np.ndarray]  # empty arrays where the golden compares none
    losses: list[float]
    parts: dict[str, float]
    divided: bool  # whether the loss is a mean
    gradients: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]
    after: dict[str, np.ndarray]  # the parameters after the first step


class Ours(NamedTuple):
    """Our results for a golden's inputs."""

    facts: dict[str, Any]
    want: dict[str, np.ndarray]
    rows: list[dict]
    model: models.Model
    variables: models.Variables
    batch: dict[str, Any]
    outputs: dict[str, dict[str, np.ndarray]]  # by the first part of the names of the golden's arrays
    training: Training


# Networks of which a smaller size is compared, too.
LARGER = ('parseq', 'rec_r34_vd_none_bilstm_ctc', 'rec_r34_vd_tps_bilstm_att')


@pytest.fixture(scope='module', params=slowly(golden.names(), LARGER))
def ours(request) -> Ours:
    return computed(request.param)


def computed(name: str) -> Ours:
    """Our results for the inputs of the golden of this name."""
    facts, (want, rows, state) = golden.facts(name), golden.golden(name)
    model, batch = golden.build(name), golden.batch(name, want)
    variables = golden.variables(model, state)
    outputs = {}
    for kind in {stage.partition('.')[0] for stage in facts['stages']} - {'train'}:
        stages = [each['ours'] for stage, each in facts['stages'].items() if stage.startswith(f'{kind}.')]
        images = batch if kind == 'eval' else golden.images(want[f'image{kind.removeprefix("eval")}'])
        outputs[kind] = evaluate(model, variables, images, stages)
    return Ours(
        facts, want, rows, model, variables, batch, outputs, train(name, model, variables, batch))


def evaluate(
    model: models.Model, variables: models.Variables, batch: dict[str, Any], stages: list[str]
) -> dict[str, Any]:
    """The outputs of these stages, with the stored statistics."""
    def apply(variables, batch):
        return {stage: output for stage, output in model.apply(variables, batch)[0].items()
                if stage in stages}

    return jax.device_get(jax.jit(apply, compiler_options=QUICKLY)(variables, batch)) if stages else {}


def train(name: str, model: models.Model, variables: models.Variables, batch: dict[str, Any]) -> Training:
    """Three steps on one batch, with the recipe's own optimizer and schedule."""
    config, facts = golden.recipe(name), golden.facts(name)
    options = EXACTLY if facts.get('exactly') else QUICKLY
    headed = 'train.head' in facts['stages'] or 'floor' in facts['loss']
    tx = optimizer.optimizer(config, optimizer.schedule(config, 100, 10))

    def objective(params, stats):
        # The loss does not give the logits: the network is traced once more where they are compared.
        head = model.apply({'params': params, 'stats': stats}, batch, train=True)[0]['head'] if headed else ()
        (total, count), (stats, parts) = model.loss({'params': params, 'stats': stats}, batch)
        # A sum is not divided.
        return total / jax.numpy.where(count > 0, count, 1), (stats, parts, count, head)

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
        if not number:
            second = models.flatten({'params': params})
    parts, divided, first = firsts[0]
    kinds: dict[str, dict[str, np.ndarray]] = {'params': {}, 'stats': {}}
    for key, peer in model.peers.items():
        if peer != models.ZERO:
            kinds[peer.path[0]][key] = golden.turned_back(first[peer.path], peer.turn)
    after = {key: golden.turned_back(second[peer.path], peer.turn) for key, peer in model.peers.items()
             if peer.path in second}
    return Training(heads, losses, parts, divided, kinds['params'], kinds['stats'], after)


def within(rules: dict[str, float], name: str) -> float | None:
    """The tolerance of the first pattern that fits the name; None: it is not compared."""
    return next((rule for pattern, rule in rules.items() if fnmatchcase(name, pattern)), None)


def changed_places(ours: Ours) -> np.ndarray | None:
    """Of a network that reads its own predictions: the place [B] at which each row of `train.head` first
    predicts otherwise than the reference, or None if no row does. There the reference must stand at a near
    tie, which another processor's rounding may decide otherwise; what follows is another text.
    """
    if not ours.facts.get('own'):
        return None
    want, got = ours.want['train.head'], ours.training.heads[0]
    other = want.argmax(-1) != got.argmax(-1)
    if not other.any():
        return None
    rows, places = np.flatnonzero(other.any(1)), other.argmax(1)
    best = np.sort(want[rows, places[rows]], -1)
    near = ours.facts['stages']['train.head']['within'] * np.abs(want).max()
    assert np.all(best[:, -1] - best[:, -2] < near)
    return np.where(other.any(1), places, want.shape[1])


def looser(ours: Ours) -> float:
    """What multiplies tolerances once a near tie was decided otherwise."""
    return 1 if changed_places(ours) is None else 5


def test_the_peers_are_all_keys_of_the_references_checkpoint(ours):
    assert set(ours.model.peers) == {row['key'] for row in ours.rows}
    assert {row['key'] for row in ours.rows if row['trainable']} == {
        key for key, peer in ours.model.peers.items() if peer == models.ZERO or peer.path[0] == 'params'
    }


def test_the_parameter_count_is_the_published_one(ours):
    # The reference also counts parameters that stay zero; we do not have these.
    zeros = sum(
        int(np.prod(row['shape'])) for row in ours.rows if ours.model.peers[row['key']] == models.ZERO)
    counts = [sum(leaf.size for leaf in jax.tree.leaves(tree))
              for tree in (ours.variables['params'], ours.variables)]
    assert counts[0] + zeros == ours.facts['parameters']
    assert counts[1] == ours.facts.get('values', counts[1])


def test_what_never_learns_is_loaded_all_the_same(ours):
    seeds = {row['key']: row for row in ours.rows}
    arrays = models.flatten(ours.variables)
    keys = [key for key, peer in ours.model.peers.items()
            if '/'.join(peer.path[1:]) in ours.model.about.no_gradient]
    assert len(keys) == len(ours.model.about.no_gradient)
    for key in keys:
        peer, row = ours.model.peers[key], seeds[key]
        got = golden.turned_back(arrays[peer.path], peer.turn)
        factors = ours.facts.get('factors', 'first')
        np.testing.assert_array_equal(got, golden.fill(row['seed_key'], row['shape'], factors))


def test_the_batch_has_the_goldens_lengths(ours):
    np.testing.assert_array_equal(ours.batch['length'], ours.want.get('length', ours.batch['length']))


def test_stages_equal_the_references(ours):
    for name, rule in ours.facts['stages'].items():
        assert difference(*stage(ours, name)) < rule['within'], name


def stage(ours: Ours, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The part of a stage that is compared, of ours and of the reference."""
    rule, want, kind = ours.facts['stages'][name], ours.want[name], name.partition('.')[0]
    got = ours.training.heads[0] if kind == 'train' else ours.outputs[kind][rule['ours']]
    got = np.asarray(jax.nn.softmax(got)) if rule.get('softmax') else got
    got = got.transpose(rule['axes']) if 'axes' in rule else got
    got = got.reshape(-1, got.shape[-1]) if rule.get('joined') else got
    if rule.get('part'):
        got = got[tuple(slice(None, None, -(-all_ // kept))
                        for all_, kept in zip(got.shape, want.shape, strict=True))]
    if 'until_end' in rule:  # after the end of a label, the reference reads padding
        counts = np.arange(want.shape[1]) <= ours.batch['length'][:, None]
        assert counts.sum() == rule['until_end']
        got, want = got[counts], want[counts]
    if kind == 'train' and (places := changed_places(ours)) is not None:
        counts = np.arange(want.shape[1]) <= places[:, None]
        got, want = got[counts], want[counts]
    return got, want


def test_the_first_loss_and_its_parts_equal_the_references(ours):
    rule, want, training = ours.facts['loss'], ours.want, ours.training
    near = rule['first'] * looser(ours)
    assert training.losses[0] == pytest.approx(want['train.losses'][0], rel=near)
    assert training.divided == rule['divided']
    if 'parts' in rule:
        assert want['train.losses'][0] == want['train.parts'][0]
        parts = {'total': training.losses[0]} | training.parts
        np.testing.assert_allclose(
            [parts[part] for part in rule['parts']], want['train.parts'], rtol=near)


def test_three_steps_of_the_recipes_optimizer_lower_the_loss_as_the_references_do(ours):
    """Each step makes rounding errors larger: Adam divides the noise of gradients by the gradients."""
    rule, training = ours.facts['loss'], ours.training
    tolerances = (rule['first'] * looser(ours), *rule['later'])
    for head, loss, want, near in zip(
            training.heads, training.losses, ours.want['train.losses'], tolerances, strict=True):
        if 'floor' in rule:
            loss += (cross_entropy(head, ours.want['label'], rule['floor'])
                     - cross_entropy(head, ours.want['label']))
        assert loss == pytest.approx(want, rel=near)


def cross_entropy(logits: np.ndarray, labels: np.ndarray, floor: float = -np.inf) -> float:
    """The mean over labels [B, L]; logits below the largest by more
    than the floor are raised to the floor."""
    below = np.maximum(logits - logits.max(-1, keepdims=True), floor)
    return (np.log(np.exp(below).sum(-1)) - np.take_along_axis(below, labels[..., None], -1)[..., 0]).mean()


def test_gradients_equal_the_references(ours):
    rule, want, gradients = ours.facts['gradients'], ours.want, ours.training.gradients
    norms = dict(zip(map(str, want['train.grad_keys']), want['train.grad_norms'], strict=True))
    there = {key: norm for key, norm in norms.items() if np.isfinite(norm)}
    assert len(there) == rule['count']
    # A parameter without a gradient in the reference has none here and is declared so, or we do not have it.
    for key in norms.keys() - there:
        peer = ours.model.peers[key]
        assert peer == models.ZERO or '/'.join(peer.path[1:]) in ours.model.about.no_gradient, key
        assert key not in gradients or not gradients[key].any(), key
    got = {key: float(np.linalg.norm(gradients[key])) for key in there}
    assert max(abs(got[key] - norm) for key, norm in there.items()) < rule['norms'] * max(there.values())
    for key, norm in there.items():
        near = within(rule.get('each', {}), key)
        assert near is None or got[key] == pytest.approx(norm, rel=near * looser(ours)), key


def test_whole_gradients_equal_the_references(ours):
    names = [name.removeprefix('train.grad/') for name in ours.want if name.startswith('train.grad/')]
    tolerances = {name: within(ours.facts['gradients']['whole'], name) for name in names}
    assert len(names) >= 6 and any(tolerances.values())
    for name, near in tolerances.items():
        if near is not None:
            got = ours.training.gradients[name]
            assert difference(got, ours.want[f'train.grad/{name}']) < near * looser(ours), name


def test_running_statistics_equal_the_references(ours):
    names = [name.removeprefix('train.stat/') for name in ours.want if name.startswith('train.stat/')]
    assert len(names) == (4 if ours.variables['stats'] else 0)
    for name in names:
        near = within(ours.facts['statistics'], name)
        assert difference(ours.training.statistics[name], ours.want[f'train.stat/{name}']) < near, name


def test_parameters_after_the_first_step_equal_the_references(ours):
    """A wrong decay shows here: without one, or with one too many, a parameter is 3e-5 off."""
    for name in (name for name in ours.want if name.startswith('train.after/')):
        key = name.removeprefix('train.after/')
        got = ours.training.after[key]
        assert difference(got, ours.want[name]) < within(ours.facts['after'], key), key
