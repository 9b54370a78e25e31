"""The search in both directions and the second reading against the reference's own numbers, on a table in
place of a network and on the golden's features; goldens/README.md says how they were made."""

import json
import zlib
from functools import partial
from typing import Any, NamedTuple

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import QUICKLY

from recog.models import tamer
from recog.models.backbones.densenet import STRIDE, inside
from recog.models.decoding import both_ways, read_again
from recog.models.decoding.both_ways import Ways
from recog.models.decoding.search import Codes, search
from recog.models.parts import formula_labels, formula_reader, formula_trees
from recog.models.parts.formula_labels import ENDS, OFFSET, STARTS
from recog.models.parts.layers import Context
from recog.models.parts.refinement import Refinement
from recog.models.parts.transformer import Noise
from recog.text import latex

WAYS = Ways(STARTS, ENDS, OFFSET)
ITEMS, CLASSES = 3, 113


def maths() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The references' results on labels, trees and searches of a table: arrays, and texts."""
    with np.load(golden.GOLDENS / 'both_ways.npz') as file:
        return dict(file), json.loads((golden.GOLDENS / 'both_ways.json').read_text())


def noise(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers by name."""
    seed = zlib.crc32(f'{maths()[1]["toy"]["seed"]}.{name}'.encode())
    return np.random.RandomState(seed).uniform(-1, 1, shape)


def tables(charset: str, run: str) -> list[np.ndarray]:
    """The logits by the class before, by the place, and by the item."""
    toy = maths()[1]['toy']
    ids = {token: number + OFFSET for number, token in enumerate(latex.vocabulary(charset))}
    before, places = 2 * noise('bigram', (2, CLASSES, CLASSES)), noise('position', (2, 40, CLASSES))
    for first, second, weight in toy['boosts']:
        before[0, ids[first], ids[second]] += weight
        before[1, ids[second], ids[first]] += weight
    allowed = [*range(OFFSET), *(ids[token] for token in toy['allowed'])]
    places[..., [number for number in range(CLASSES) if number not in allowed]] -= 9
    places[..., 0], places[0, :, 1], places[1, :, 2] = -30, -30, -30
    for way, end in enumerate((2, 1)):
        places[way, :, end] += -6 + 0.7 * np.arange(40)
        places[way, 0, end] += 16 * (run == 'run3')
    return [each.astype(np.float32) for each in (before, places, noise('item', (ITEMS, CLASSES)))]


def stepping(charset: str, run: str, temperature: float) -> Any:
    """The state before the first step of so many texts of each item, and the step."""
    before, places, items = map(jnp.asarray, tables(charset, run))

    def empty(texts: int) -> Any:
        return jnp.int32(0), jnp.zeros(ITEMS * texts, jnp.int32)

    def step(state: Any, classes: jax.Array, texts: int) -> Any:
        number, way = state
        way = jnp.where(number == 0, classes - 1, way)  # as the text starts
        logits = before[way, classes] + places[way, jnp.minimum(number, 39)]
        logits = logits + jnp.repeat(items, texts, 0)
        return jax.nn.log_softmax(logits / temperature), (number + 1, way), logits[:, :1], logits[:, :1]

    return empty, step


def padded(texts: both_ways.Texts, count: int) -> np.ndarray:
    """Classes in the golden's layout: (way, image, text, place), -1 after the end."""
    inside = np.arange(texts.classes.shape[-1]) < np.asarray(texts.length)[..., None]
    return np.where(inside, texts.classes, -1).swapaxes(0, 1)[..., :count]


def judging(charset: str) -> Any:
    """The judge that a table of similarities of the classes before makes."""
    similar = 3 * noise('sim', (2, CLASSES, CLASSES)).astype(np.float32)
    shaping = formula_trees.signs(latex.vocabulary(charset))

    def judge(classes: jax.Array, length: jax.Array, *_: Any) -> read_again.Judged:
        flat, labels = length.reshape(-1), classes.reshape(-1, classes.shape[-1])
        parent, refused = formula_trees.parents(labels - OFFSET, flat, shaping)
        places = formula_trees.tree_targets(parent, refused, flat)
        order = jnp.clip(flat[:, None] - 1 - jnp.arange(labels.shape[1]), 0)
        scores = []
        for way, texts in enumerate((labels, jnp.take_along_axis(labels, order, 1))):
            given = jnp.pad(texts, ((0, 0), (1, 0)), constant_values=STARTS[way])
            rows = jnp.asarray(similar)[way][given[:, :, None], given[:, None]]
            rows = jnp.where((jnp.arange(given.shape[1]) <= flat[:, None])[:, None], rows, -jnp.inf)
            chances = jnp.take_along_axis(
                jax.nn.log_softmax(rows), jnp.maximum(places[way], 0)[..., None], -1)[..., 0]
            counts = places[way] >= 0
            scores.append(jnp.where(counts, chances, 0).sum(1) / jnp.maximum(counts.sum(1), 1))
        return read_again.Judged(
            ((scores[0] + scores[1]) / 2).reshape(length.shape), refused.reshape(length.shape))

    return judge


def together(want: dict[str, np.ndarray]) -> np.ndarray:
    """The sums of the reference's scores by image; unlike there, the tree of an empty text counts 0."""
    both = want['first'] + want['reverse']
    if 'struct' in want:
        both = np.where(want['illegal'], read_again.REFUSED, both + np.nan_to_num(want['struct']))
    return np.concatenate(list(both), 1)


@pytest.mark.parametrize('name', ['comer', 'tamer'])
@pytest.mark.parametrize('run', ['run0', 'run1', 'run2', 'run3'])
def test_a_search_of_a_table_and_its_second_reading_equal_the_references(run, name):
    arrays, words = maths()
    want = {key.rpartition('.')[2]: array for key, array in arrays.items()
            if key.startswith(f'{name}.toy_{run}.')}
    rule = words['toy']['runs'][run]
    empty, step = stepping(name, run, rule['temperature'])
    judge = judging(name) if 'struct' in want else None

    def whole() -> Any:
        found = both_ways.search(
            step, empty(2 * rule['beam']), WAYS, rows=ITEMS, capacity=40, max_length=rule['max_len'] - 1,
            beam=rule['beam'], penalty=rule['alpha'], early=rule['early_stopping'])
        return found, read_again.scored(step, empty, WAYS, found, rule['alpha'], judge)

    found, (texts, score) = jax.jit(whole, compiler_options=QUICKLY)()
    np.testing.assert_array_equal(padded(found, want['tokens'].shape[-1]), want['tokens'])
    np.testing.assert_allclose(found.score.swapaxes(0, 1), want['first'], atol=1e-4)
    np.testing.assert_allclose(score, together(want), atol=1e-4)
    if np.isnan(want['best_score']).any():  # there the empty text is the answer
        return
    best = np.asarray(score).argmax(1)
    rows = [np.asarray(texts.classes)[item, place][: int(texts.length[item, place])]
            for item, place in enumerate(best)]
    assert [row.tolist() for row in rows] == [row[row >= 0].tolist() for row in want['best']]
    np.testing.assert_allclose(np.asarray(score).max(1), want['best_score'], atol=1e-4)


class Reader(NamedTuple):
    """A golden's arrays, and the state, step and judge of its decoder from the golden's features on."""

    want: dict[str, np.ndarray]
    empty: Any
    step: Any
    judge: Any


@pytest.fixture(scope='module', params=['comer', 'tamer'])
def reader(request) -> Reader:
    want, _, state = golden.golden(request.param)
    config, batch = golden.recipe(request.param), golden.batch(request.param, want)
    variables = golden.variables(golden.build(request.param), state)
    variables['params']['head']['output']['bias'] *= 0
    features, bias = jnp.asarray(want['eval.feature']), jnp.asarray(want['search.bias'])
    cells = inside(batch['size'], features, STRIDE)[..., 0]
    module = formula_reader.reader(config.model, CLASSES)
    begun, advance = formula_reader.stepping(module, variables, features, cells, int(want['search.max_len']))

    def empty(texts: int) -> Any:
        return jnp.zeros(len(features) * texts, jnp.int32), begun(texts)

    def step(state: Any, classes: jax.Array, texts: int) -> Any:
        way, state = state
        way = jnp.where(state[0] == 0, classes - 1, way)  # as the text starts
        chances, after, *rest = advance(state, classes, texts)
        chances = jax.nn.log_softmax(chances + bias[way, jnp.minimum(state[0], 1)])
        return chances, (way, after), *rest

    judge = None
    if 'judge' in variables['params']:
        shaping = formula_trees.signs(latex.vocabulary(request.param))
        judge = partial(tamer.judged, tamer.tree_head.TreeHead(256, 8, 1024, Noise()),
                        variables['params']['judge'], shaping)
    return Reader(want, empty, step, judge)


def test_what_the_refinement_subtracts_equals_the_references():
    want, _, state = golden.golden('comer')
    config, batch = golden.recipe('comer'), golden.batch('comer', want)
    head = golden.variables(golden.build('comer'), state)
    features = jnp.asarray(want['eval.feature'])
    cells = inside(batch['size'], features, STRIDE)[..., 0]
    classes = formula_labels.inputs(formula_labels.targets(batch, 2), batch['length'])
    module = formula_reader.reader(config.model, CLASSES).head

    def refined(variables: Any) -> Any:
        _, kept = module.apply(
            variables, features, cells, classes, None, Context(False, None, 0, jnp.float32),
            capture_intermediates=lambda part, _: isinstance(part, Refinement), mutable=['intermediates'])
        return kept['intermediates']['refinement']['__call__']

    variables = {'params': head['params']['head'], 'batch_stats': head['stats']['head']}
    step = int(want['eval.arm_step'])
    got = np.stack([np.moveaxis(np.asarray(layer)[:, :, step], (1, 4), (0, 2)).reshape(4, 8, *cells.shape[1:])
                    for layer in jax.jit(refined, compiler_options=QUICKLY)(variables)])
    seen = np.broadcast_to(np.tile(np.asarray(cells), (2, 1, 1))[:, None], got.shape)
    assert np.abs(got - want['eval.arm'])[seen].max() < 3e-5 * np.abs(want['eval.arm'][seen]).max()


@pytest.mark.parametrize('kind', ['search', 'beam1'])
def test_a_search_with_a_network_and_its_second_reading_equal_the_references(reader, kind):
    want, empty, step, judge = reader
    beam = want[f'{kind}.tokens'].shape[2]

    def whole() -> Any:
        found = both_ways.search(step, empty(2 * beam), WAYS, rows=2, capacity=26, max_length=25, beam=beam)
        return found, read_again.scored(step, empty, WAYS, found, 1.0, judge)

    found, (texts, score) = jax.jit(whole, compiler_options=QUICKLY)()
    np.testing.assert_array_equal(padded(found, 26), want[f'{kind}.tokens'])
    np.testing.assert_allclose(found.score.swapaxes(0, 1), want[f'{kind}.first'], atol=1e-4)
    own = {key.removeprefix(f'{kind}.'): array for key, array in want.items() if key.startswith(f'{kind}.')}
    np.testing.assert_allclose(score, together(own), atol=1e-4)


def test_greedy_texts_equal_the_references(reader):
    codes = Codes(start=STARTS[0], end=ENDS[0], offset=OFFSET, size=CLASSES - OFFSET)
    one = formula_reader.only(reader.step, 1)
    result = jax.jit(partial(search, one, reader.empty(1), codes, rows=2, capacity=25, max_length=25),
                     compiler_options=QUICKLY)()
    for row, want, chances in zip(
            range(2), reader.want['greedy.tokens'][0], reader.want['greedy.logprob'][0], strict=True):
        length = int(result['length'][row, 0])
        np.testing.assert_array_equal(result['tokens'][row, 0, :length] + OFFSET, want[:length])
        assert length == 25 or want[length] == ENDS[0]
        taken = chances[: length + 1] if length < 25 else chances[:25]
        assert result['score'][row, 0] == pytest.approx(taken.sum(), abs=1e-4)


def test_similarities_of_places_equal_the_references():
    want, _, state = golden.golden('tamer')
    parameters = golden.variables(golden.build('tamer'), state)['params']['judge']
    given = jnp.asarray(want['eval.decoder2'].reshape(2, 2, *want['eval.decoder2'].shape[1:]))
    batch = golden.batch('tamer', want)
    valid = jnp.arange(given.shape[2]) <= jnp.tile(batch['length'][None, :, None], (2, 1, 1))
    heads = tamer.tree_head.TreeHeads(256, 8, 1024, Noise())
    got = heads.apply({'params': parameters}, given.swapaxes(0, 1), valid.swapaxes(0, 1), False)
    got = np.asarray(got.swapaxes(0, 1)).reshape(want['eval.sim'].shape)
    seen = np.isfinite(want['eval.sim'])
    assert np.abs(got - want['eval.sim'])[seen].max() < 3e-5 * np.abs(want['eval.sim'][seen]).max()
    assert (got[~seen] < -1e8).all()


def test_trees_of_formulas_good_and_bad_are_the_references():
    trees = maths()[1]['trees']
    vocab = latex.vocabulary('tamer')
    longest = max(len(each['tokens']) for each in trees)

    def padded(rows: list[list[int]], width: int) -> np.ndarray:
        return np.array([[*row, *[-1] * (width - len(row))] for row in rows])

    tokens = padded([[vocab.index(token) for token in each['tokens']] for each in trees], longest)
    length = np.array([len(each['tokens']) for each in trees])

    def found(tokens: jax.Array, length: jax.Array) -> Any:
        parent, refused = formula_trees.parents(tokens, length, formula_trees.signs(vocab))
        return parent, refused, *formula_trees.tree_targets(parent, refused, length)

    parent, refused, forwards, backwards = jax.jit(found)(tokens, length)
    np.testing.assert_array_equal(refused, [each['illegal'] for each in trees])
    sound = ~np.asarray(refused)
    np.testing.assert_array_equal(
        np.asarray(parent)[sound], padded([each['parent'] for each in trees if not each['illegal']], longest))
    np.testing.assert_array_equal(forwards, padded([each['l2r'] for each in trees], longest + 1))
    np.testing.assert_array_equal(backwards, padded([each['r2l'] for each in trees], longest + 1))


def test_a_formula_whose_open_braces_would_be_read_for_ever_is_refused():
    vocab = latex.vocabulary('tamer')
    tokens = np.array([[vocab.index(token) for token in 'x ^ { '.split() * 30]])
    parent = jax.jit(partial(formula_trees.parents, signs=formula_trees.signs(vocab)))
    assert parent(tokens, np.array([90]))[1].tolist() == [True]


@pytest.mark.parametrize('name', ['comer', 'tamer'])
def test_labels_of_both_directions_are_the_references(name):
    arrays, words = maths()
    vocab = latex.vocabulary(name)
    rows = [[vocab.index(token) for token in text.split()] for text in words['formulas']]
    rows = rows[: words['label_batch']]
    width = max(map(len, rows))
    batch = {'tokens': jnp.array([[*row, *[-1] * (width - len(row))] for row in rows]),
             'length': jnp.array(list(map(len, rows)))}
    wanted = formula_labels.targets(batch, 2)
    given = formula_labels.inputs(wanted, batch['length'])
    for got, kind in ((given, 'in'), (wanted, 'out')):
        np.testing.assert_array_equal(
            got.swapaxes(0, 1).reshape(-1, width + 1), arrays[f'{name}.target_{kind}'])
