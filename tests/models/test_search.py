"""The search: greedy and beams, compared with a search through all texts,
on small models of two letters or five."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recog.models.decoding.search import Codes, search

# Two letters: start, a, b, end.
SMALL = Codes(start=0, end=3, offset=1, size=2)


def chain(seed, kinds=4, sharp=1.0, start=None):
    """Log-probabilities [B, K, K] of the next class by the last one;
    a row of tables for each row of the batch."""
    rng = np.random.default_rng(seed)
    logits = sharp * rng.normal(size=(3, kinds, kinds))
    if start is not None:
        logits[:, :, start] = -np.inf
    return normal(logits).astype(np.float32)


def normal(logits):
    """Log-probabilities, without a compiled program."""
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def stepping(tables, beam):
    """A step whose state holds the last class, which shows whether beams are mixed up,
    and a counter of steps."""
    tables = jnp.asarray(tables)

    def step(state, classes):
        (last, number) = state
        rows = jnp.arange(classes.shape[0]) // beam
        both = 0.7 * tables[rows, classes] + 0.3 * tables[rows, last]
        scores = jax.nn.log_softmax(both)
        maps = jnp.stack([classes.astype(jnp.float32), jnp.full(classes.shape, number, jnp.float32)], 1)
        return scores, (classes, number + 1), maps

    return step, (jnp.zeros(tables.shape[0], jnp.int32), jnp.int32(0))


def run(tables, beam=1, capacity=5, **options):
    return jax.device_get(searched(tables, beam=beam, capacity=capacity, **options))


@functools.partial(jax.jit, static_argnames=('beam', 'capacity', 'details', 'penalty'))
def searched(tables, *, beam, capacity, **options):
    """One program for all tables of a size."""
    step, state = stepping(tables, beam)
    options |= {'rows': tables.shape[0], 'capacity': capacity, 'max_length': capacity, 'beam': beam}
    return search(step, state, SMALL, **options)


def probabilities(table, classes):
    """The log-probability of each class of a sequence."""
    table, last, before, out = np.asarray(table), 0, 0, []
    for each in classes:
        out.append(frame(table, last, before)[each])
        before, last = last, each
    return out


def frame(table, last, before):
    both = 0.7 * table[last] + 0.3 * table[before]
    return normal(both)


def ways(codes, capacity):
    """Every sequence of `capacity` classes without an end, and every shorter one with an end."""
    letters = range(codes.offset, codes.offset + codes.size)
    for length in range(capacity):
        for text in itertools.product(letters, repeat=length):
            yield (*text, codes.end)
    yield from itertools.product(letters, repeat=capacity)


def test_a_beam_as_wide_as_all_texts_finds_the_best_ones_in_their_order():
    tables = chain(0, start=0)
    got = run(tables, beam=40, capacity=4)
    for row, table in enumerate(tables):
        ranked = sorted(((sum(probabilities(table, way)), way) for way in ways(SMALL, 4)), reverse=True)
        np.testing.assert_allclose(got['score'][row, :31], [score for score, _ in ranked], rtol=1e-4)
        for rank in range(8):
            text = [each - 1 for each in ranked[rank][1] if each != SMALL.end]
            assert got['tokens'][row, rank].tolist() == text + [-1] * (4 - len(text))
    # There are 31 texts: the other beams hold none.
    assert np.all(got['score'][:, 31:] == -np.inf) and np.all(got['length'][:, 31:] == 0)


def test_the_beams_differ_from_the_first_step_on():
    got = run(chain(1, start=0), beam=3)
    texts = [[tuple(tokens) for tokens in row] for row in got['tokens']]
    assert all(len(set(row)) == 3 for row in texts)
    assert np.all(np.diff(got['score'], axis=1) <= 0)


def test_one_beam_is_greedy():
    tables = chain(2)
    got = run(tables)
    for row, table in enumerate(tables):
        way = [0, 0]
        while len(way) < 7 and SMALL.end not in way:
            way.append(int(frame(np.asarray(table), way[-1], way[-2]).argmax()))
        way = way[2:]
        text = [each - 1 for each in way if 1 <= each <= 2]
        assert got['tokens'][row, 0, : len(text)].tolist() == text and got['length'][row, 0] == len(text)
        assert got['score'][row, 0] == pytest.approx(sum(probabilities(table, way)), rel=1e-5)


def test_a_wider_beam_never_finds_a_worse_best_text_than_greedy_here():
    for seed in range(5):
        tables = chain(seed, start=0)
        assert np.all(run(tables, beam=6)['score'][:, 0] >= run(tables)['score'][:, 0] - 1e-5)


@pytest.mark.parametrize('beam', [1, 4])
def test_confidences_are_the_probabilities_of_the_tokens_alone(beam):
    tables = chain(3, start=0)
    got = run(tables, beam=beam, details=True)
    for row, rank in np.ndindex(3, beam):
        text = [int(token) + 1 for token in got['tokens'][row, rank] if token >= 0]
        want = np.exp(probabilities(tables[row], text))
        np.testing.assert_allclose(got['token_confidence'][row, rank, : len(text)], want, rtol=1e-4)
        assert np.all(got['token_confidence'][row, rank, len(text):] == 0)
        assert got['mean_token'][row, rank] == pytest.approx(want.mean() if text else 0.0, rel=1e-4)


@pytest.mark.parametrize('beam', [1, 4])
def test_maps_are_those_of_the_step_that_chose_the_token_in_its_own_beam(beam):
    got = run(chain(4, start=0), beam=beam, details=True)
    for row, rank in np.ndindex(3, beam):
        length = got['length'][row, rank]
        tokens, maps = got['tokens'][row, rank, :length], got['maps'][row, rank]
        # A map holds the class that the step has read, which is the token before, and the number of the step.
        np.testing.assert_array_equal(maps[:length, 0], [0, *(tokens[:-1] + 1)][:length])
        np.testing.assert_array_equal(maps[:length, 1], np.arange(length))
        assert np.all(maps[length:] == 0)


def test_maps_may_be_a_tree_and_are_not_collected_without_details():
    tables = chain(5)
    step, state = stepping(tables, 2)

    def several(state, classes):
        scores, state, maps = step(state, classes)
        return scores, state, {'a': maps, 'b': jnp.ones((classes.shape[0], 2, 3))}

    arguments = {'rows': 3, 'capacity': 5, 'max_length': 5, 'beam': 2}

    def found(step, **options):
        return jax.eval_shape(lambda state: search(step, state, SMALL, **arguments, **options), state)

    got = found(several, details=True)['maps']
    assert got['a'].shape == (3, 2, 5, 2) and got['b'].shape == (3, 2, 5, 2, 3)
    assert 'maps' not in found(several)
    # Without details, a step need not return a map.
    assert 'maps' not in found(lambda *given: step(*given)[:2])


def test_a_length_penalty_prefers_longer_texts():
    tables = chain(6, start=0)
    plain, longer = (run(tables, beam=40, capacity=4, penalty=penalty) for penalty in (0.0, 2.0))
    for row, table in enumerate(tables):
        _, way = max((sum(probabilities(table, way)) / len(way) ** 2, way) for way in ways(SMALL, 4))
        assert longer['score'][row, 0] == pytest.approx(sum(probabilities(table, way)), rel=1e-4)
    assert longer['length'][:, 0].sum() > plain['length'][:, 0].sum()


def test_a_text_stops_at_its_end_or_leaves_it_out_and_goes_on():
    # start -> a -> end -> b -> b ...
    table = np.full((4, 4), np.log(0.01), np.float32)
    table[[0, 1, 3, 2], [1, 3, 2, 2]] = np.log(0.97)

    def step(state, classes):
        return jnp.asarray(table)[classes], state

    @functools.partial(jax.jit, static_argnames='stop')
    def found(max_length, stop):
        return search(step, (), SMALL, rows=1, capacity=5, max_length=max_length, stop=stop)

    assert found(5, True)['tokens'][0, 0].tolist() == [0, -1, -1, -1, -1]
    went_on = found(5, False)
    assert went_on['tokens'][0, 0].tolist() == [0, 1, 1, 1, -1]
    assert went_on['score'][0, 0] == pytest.approx(5 * np.log(0.97))
    cut = found(2, False)
    assert cut['tokens'][0, 0].tolist() == [0, 1, -1, -1, -1]


def test_the_start_is_left_out_of_the_text_and_does_not_count():
    # start -> start -> a -> a ...
    table = np.full((4, 4), np.log(0.01), np.float32)
    table[[0, 1], 1] = np.log(0.97)

    def step(number, classes):
        first = jnp.log(jnp.array([0.9, 0.05, 0.04, 0.01]))
        return jnp.where(number == 0, first, jnp.asarray(table)[classes]), number + 1

    @jax.jit
    def found():
        return search(step, jnp.int32(0), SMALL, rows=2, capacity=5, max_length=2)

    got = jax.device_get(found())
    assert got['tokens'][:, 0].tolist() == [[0, 0, -1, -1, -1]] * 2
    assert got['score'][0, 0] == pytest.approx(np.log(0.9) + 2 * np.log(0.97), rel=1e-5)


@pytest.mark.parametrize(('max_length', 'steps'), [(0, 0), (3, 3), (5, 5), (9, 5)])
def test_max_length_stops_the_loop_at_run_time_and_the_capacity_does_always(max_length, steps):
    def step(number, classes):
        return jnp.log(jnp.tile(jnp.array([0.05, 0.7, 0.2, 0.05]), (classes.shape[0], 1))), number + 1

    def counting(limit, beam):
        counts = []

        def counted(number, classes):
            jax.debug.callback(lambda: counts.append(1))
            return step(number, classes)

        @jax.jit
        def found(limit):
            return search(counted, jnp.int32(0), SMALL, rows=2, capacity=5, max_length=limit, beam=beam)

        result = jax.block_until_ready(found(limit))
        jax.effects_barrier()
        return result, len(counts)

    for beam in (1, 2):
        result, count = counting(jnp.int32(max_length), beam)
        assert count == steps
        assert result['length'][:, 0].tolist() == [steps] * 2 and result['tokens'].shape == (2, beam, 5)


def test_the_loop_ends_when_all_texts_have_ended():
    counts = []

    def step(number, classes):
        jax.debug.callback(lambda: counts.append(1))
        ends = number >= jnp.arange(classes.shape[0])  # row r ends after r tokens
        end, token = jnp.array([0.01, 0.01, 0.01, 0.97]), jnp.array([0.01, 0.97, 0.01, 0.01])
        return jnp.log(jnp.where(ends[:, None], end, token)), number + 1

    got = jax.jit(lambda: search(step, jnp.int32(0), SMALL, rows=3, capacity=50, max_length=50))()
    jax.block_until_ready(got)
    jax.effects_barrier()
    assert got['length'][:, 0].tolist() == [0, 1, 2] and len(counts) == 3


def test_rows_may_have_limits_of_their_own_and_one_of_0_is_not_waited_for():
    counts = []

    def step(number, classes):
        jax.debug.callback(lambda: counts.append(1))
        ends = (number >= 1) & (jnp.arange(classes.shape[0]) == 0)  # row 0 ends after a token, no other does
        end, token = jnp.array([0.01, 0.01, 0.01, 0.97]), jnp.array([0.01, 0.97, 0.01, 0.01])
        return jnp.log(jnp.where(ends[:, None], end, token)), number + 1

    @jax.jit
    def found(limits):
        return search(step, jnp.int32(0), SMALL, rows=3, capacity=50, max_length=limits)

    got = jax.block_until_ready(found(jnp.array([9, 0, 3])))
    jax.effects_barrier()
    assert got['length'][:, 0].tolist() == [1, 0, 3] and len(counts) == 3


@pytest.mark.parametrize('beam', [1, 3])
def test_a_program_is_of_the_same_size_whatever_the_capacity(beam):
    def equations(capacity):
        step, state = stepping(chain(7), beam)
        arguments = {'rows': 3, 'capacity': capacity, 'beam': beam, 'details': True}
        made = jax.make_jaxpr(lambda limit: search(step, state, SMALL, max_length=limit, **arguments))
        return str(made(jnp.int32(3))).count(' = ')

    assert equations(5) == equations(223)


def test_rows_do_not_depend_on_their_neighbours():
    tables = chain(8, start=0)
    together = run(tables, beam=3, details=True)
    for row in range(3):
        alone = run(tables[row : row + 1], beam=3, details=True)
        for name, value in alone.items():
            np.testing.assert_allclose(value[0], together[name][row], rtol=1e-5, err_msg=name)
