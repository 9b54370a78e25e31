"""PARSeq: orders of letters, the ways of reading a memory, and what goes in and comes out, against the
authors' own numbers; what it refuses."""

import json
from typing import Any

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import difference
from ml_collections import FrozenConfigDict
from small import QUICKLY, ROOT

from recog import models
from recog.config import experiments
from recog.errors import ConfigError
from recog.images.fit import fit_image, normalise
from recog.metrics.words import canonical
from recog.models import parseq
from recog.models.decoding import first_end
from recog.models.parts import orders
from recog.text import vocabulary
from recog.text.vocabulary import Unencodable
from recog.train import optimizer

TINY = 'parseq_tiny'


def data() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The authors' results on images, labels, logits and steps."""
    with np.load(golden.GOLDENS / 'parseq_data.npz') as file:
        return dict(file), json.loads((golden.GOLDENS / 'parseq_data.json').read_text(encoding='utf-8'))


def recipe(*overrides: str, variant: str = 'small'):
    return experiments.load(f'{ROOT}/experiments/parseq.py:{variant}',
                            [f'--config.{override}' for override in overrides])


def drawn(letters: int, count: int = 6, most: int = 25, seed: int = 0) -> list[list[int]]:
    """The orders that are used, as lists of places up to the end."""
    draw = jax.jit(orders.orders, static_argnums=(1, 2), compiler_options=QUICKLY)
    ranks, used = draw(jax.random.key(seed), count, most, jnp.int32(letters))
    assert (np.sort(ranks) == np.arange(most + 2)).all()
    return np.argsort(ranks)[np.asarray(used), :letters + 2].tolist()


def test_texts_of_up_to_four_letters_have_the_references_few_orders():
    given = data()[1]['permutations']
    assert drawn(1) == given['1']['result'] and drawn(2) == given['2']['result']
    assert sorted(drawn(3)) == sorted(given['3']['result']) and drawn(3)[:2] == given['3']['result'][:2]
    pool = {(0, *(letter + 1 for letter in order), 5) for order in given['pool_of_4']}
    for seed in range(4):
        found = list(map(tuple, drawn(4, seed=seed)))
        assert len(set(found)) == 6 and found[0] == (0, 1, 2, 3, 4, 5) and found[1] == (0, 5, 4, 3, 2, 1)
        assert all(order in pool for order in found[2::2])


@pytest.mark.parametrize('letters, count', [(5, 6), (25, 6), (9, 12), (9, 2), (9, 1)])
def test_longer_texts_have_forward_its_reversal_and_mirrored_pairs_that_end_last(letters, count):
    found, places = drawn(letters, count), list(range(letters + 2))
    assert len(found) == count and found[0] == places
    if count > 1:
        assert found[1] == [0, *places[:0:-1]]
    for one, mirror in zip(found[2::2], found[3::2], strict=True):
        assert one[0] == mirror[0] == 0 and one[-1] == mirror[-1] == letters + 1
        assert one[1:-1] == mirror[-2:0:-1]
    assert count < 6 or found[2:] != drawn(letters, count, seed=1)[2:]


def test_a_position_sees_what_stands_before_it_in_the_order_but_neither_end_nor_padding():
    given = data()
    ranks = jnp.argsort(jnp.array(given[1]['permutations']['3']['result']))
    seen = np.asarray(parseq._seen(ranks, jnp.array([3, 1])))
    # Rows of the reference say what may not be seen.
    np.testing.assert_array_equal(seen[0], ~given[0]['mask3_query'])
    assert not seen[1, ..., 2:].any() and seen[..., 0].all()


def test_what_is_fed_and_wanted_is_the_references_batch():
    arrays, words = data()
    vocab = vocabulary.from_config(recipe().text)
    ids = [vocab.encode(text, max_length=25).ids for text in words['parseq_batch']]
    tokens = jnp.array([[*row, *[-1] * (25 - len(row))] for row in ids])
    batch = {'tokens': tokens, 'length': jnp.array(list(map(len, ids))), 'weight': jnp.ones(len(ids))}
    wanted, counts = parseq._wanted(batch, jnp.ones(3, bool))
    want = arrays['parseq_batch_ids']
    fed = np.asarray(parseq._fed(tokens, 94))
    there = np.asarray(counts[:, 0]) > 0
    np.testing.assert_array_equal(np.where(want[:, :-1] == 0, 96, want[:, :-1]), fed)
    np.testing.assert_array_equal(there, want[:, 1:] != 96)
    np.testing.assert_array_equal(np.asarray(wanted)[there], want[:, 1:][there])
    np.testing.assert_array_equal(counts[:, 2] > 0, there & (np.asarray(wanted) != 0))


@pytest.fixture(scope='module')
def reading() -> tuple[dict[str, np.ndarray], Any]:
    """The tiny golden, and what reads its memory."""
    want, _, state = golden.golden(TINY)
    params = golden.variables(golden.build(TINY), state)['params']
    module = parseq.PARSeq(FrozenConfigDict(golden.recipe(TINY).model), 94, 26)

    def texts(logits):
        return first_end.finish(logits, 26, jnp.zeros((*logits.shape[:3], 1)))['tokens']

    def every(params, memory, given):
        reader = parseq.Reader(module, params, memory)

        def step(carry, _):
            logits, state, _ = reader.step(1, *carry)
            return (state, logits.argmax(-1)), logits

        start = reader.start(), jnp.full(3, 95)
        _, one_by_one = jax.lax.scan(step, start, length=26)
        at_once = reader.at_once()[0]
        twice = reader.refined(texts(reader.refined(texts(at_once))[0]))[0]
        one_by_one = one_by_one.swapaxes(0, 1)
        return {'nar': at_once[:, 0], 'nar_refined2': twice[:, 0], 'ar': one_by_one,
                'ar_refined': reader.refined(texts(one_by_one[:, None]))[0][:, 0],
                'refined_given': reader.refined(given)[0][:, 0],
                'greedy': reader.one_by_one(26, 1, 0.0, False), 'beam': reader.one_by_one(26, 4, 0.0, False)}

    fed = want['refine_tokens'][:, 1:]
    given = np.where(np.cumsum(np.isin(fed, (0, 96)), 1) == 0, fed - 1, -1)
    given = np.pad(given, ((0, 0), (0, 1)), constant_values=-1)[:, None]
    return want, jax.jit(every, compiler_options=QUICKLY)(params, want['eval.memory'], given)


@pytest.mark.parametrize('way', ['nar', 'nar_refined2', 'ar', 'ar_refined', 'refined_given'])
def test_each_way_of_reading_gives_the_references_logits(reading, way):
    want = reading[0][f'eval.{way}']
    want = np.asarray(jax.nn.log_softmax(want)) if way == 'ar' else want
    assert difference(reading[1][way], want) < 1e-4


def test_the_search_finds_the_texts_of_the_references_steps_and_more_likely_ones_with_a_beam(reading):
    classes = reading[0]['eval.ar'].argmax(-1)
    want = np.where(np.cumsum(classes == 0, 1) == 0, classes - 1, -1)
    np.testing.assert_array_equal(reading[1]['greedy']['tokens'][:, 0], want)
    # A beam may lose the greedy text on the way, but not on the whole.
    assert reading[1]['beam']['score'][:, 0].sum() > reading[1]['greedy']['score'].sum()


def test_decoded_texts_and_their_confidence_are_the_references():
    arrays, words = data()
    logits = jnp.asarray(arrays['parseq_logits'])[:, None]
    result = first_end.finish(logits, 26, jnp.zeros((*logits.shape[:3], 1)))
    vocab = vocabulary.from_config(recipe().text)
    assert [vocab.decode(row[0].tolist()) for row in result['tokens']] == [
        each['text'] for each in words['parseq_decoded']]
    np.testing.assert_allclose(np.exp(result['score'][:, 0]),
                               [each['confidence'] for each in words['parseq_decoded']], rtol=1e-5)


def test_refined_beams_are_ranked_anew_and_equal_texts_are_kept_once():
    tokens = jnp.array([[[1, -1], [2, -1], [1, -1], [1, 2]]])
    result = {'tokens': tokens, 'score': jnp.array([[-3.0, -2.0, -1.0, -4.0]]),
              'length': jnp.array([[1, 1, 1, 2]])}
    found = first_end.ranked(result)
    assert found['tokens'].tolist() == [[[1, -1], [2, -1], [1, 2], [-1, -1]]]
    assert found['length'].tolist() == [[1, 1, 2, 0]]
    np.testing.assert_allclose(found['score'], [[-1, -2, -4, first_end.NO_TEXT]])


@pytest.mark.parametrize('charset', ['36', '62', '94'])
def test_labels_are_the_references(charset):
    words, case = data()[1], 'lower' if charset == '36' else 'keep'
    vocab = vocabulary.from_config(recipe(f'text.charset={charset}', f'text.case={case}').text)
    for text, want in zip(words['texts'], words[f'parseq_labels_{charset}'], strict=True):
        if want is None:
            with pytest.raises(Unencodable):
                vocab.encode(text, max_length=25)
        else:
            encoding = vocab.encode(text, max_length=25)
            assert vocab.decode(encoding.ids) == want
            assert bool(encoding.dropped) == (want.lower() != text.lower())


def test_verdicts_are_the_references():
    for each, (text, truth) in zip(data()[1]['parseq_metric'], data()[1]['pairs'], strict=True):
        assert canonical(truth, '36+nfkd') == each['truth']
        if text.isascii():  # the reference folds labels alone; its models write nothing else
            assert (canonical(text, '36+nfkd') == canonical(truth, '36+nfkd')) == each['right']


@pytest.mark.parametrize('number', range(5))
def test_images_are_the_references_pixel_for_pixel(number):
    rule = recipe().image
    canvas, size = fit_image(golden.data()[0][f'picture{number}'], rule)
    assert size == (32, 128)
    np.testing.assert_array_equal(canvas.transpose(2, 0, 1), data()[0][f'parseq{number}'])
    values = normalise(canvas[None], np.array([size]), rule)
    np.testing.assert_allclose(values, (canvas[None] / 255 - 0.5) / 0.5, atol=1e-6)


def test_rates_are_the_references_with_its_swap_of_schedules():
    want = data()[0]['parseq_rates']
    config = recipe('swa.start=70 %', 'swa.every=1 epochs')
    rate = optimizer.schedule(config, len(want), 10)
    got = jax.jit(jax.vmap(rate), compiler_options=QUICKLY)(jnp.arange(len(want)))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-10)


def test_checkpoints_of_training_and_released_ones_have_the_same_arrays():
    model, state = golden.build(TINY), golden.golden(TINY)[2]
    assert set(model.adapt({f'model.{name}': array for name, array in state.items()})) == set(model.peers)
    assert set(model.adapt(state)) == set(model.peers)


@pytest.mark.parametrize('override, message', [
    ('model.permutations=3', r'config\.model\.permutations=3 must be 1 or even'),
    ('model.heads=7', r'config\.model\.width=384 must be a multiple of model\.heads=7 and decoder_heads=12'),
    ('model.patch=4,9', r'config\.image\.width=128 must be a multiple of model\.patch=\(4, 9\)'),
    ('model.patch=4', r'config\.model\.patch=\(4,\) must be height and width'),
    ('model.decoding=greedy', r"config\.model\.decoding='greedy' is not one of 'autoregressive', 'parallel'"),
    ('train.ema=0.9', r"config\.swa\.start='59388 steps' cannot be combined with config\.train\.ema=0\.9"),
])
def test_what_parseq_cannot_be_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        models.build(recipe(override), range(94))


def test_images_of_another_size_are_refused():
    model = models.build(recipe(variant='demo'), range(36))
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    batch = {'image': jnp.zeros((1, 32, 136, 1), jnp.uint8), 'size': jnp.array([[32, 136]])}
    with pytest.raises(ConfigError, match='images of 32 x 136: this model has positions for'):
        jax.eval_shape(model.apply, shapes, batch)
