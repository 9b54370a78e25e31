"""Greedy decoding of given scores, and its confidence, as the reference decodes them."""

from typing import Any

import golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recog.models.decoding import parallel
from recog.models.decoding.ctc import best_path, finish
from recog.models.decoding.search import Codes, search

LETTERS = '0123456789abcdefghijklmnopqrstuvwxyz'


def given(name: str) -> tuple[np.ndarray, list]:
    """Scores [B, T, classes], and the texts and confidences that the reference makes of them."""
    arrays, words = golden.data()
    return arrays[f'{name}_scores'], words[f'{name}_decoded']


def texts(result: dict[str, Any]) -> list[str]:
    return [''.join(LETTERS[token] for token in row[0] if token >= 0) for row in np.asarray(result['tokens'])]


def test_ctc_equals_the_references():
    scores, decoded = given('ctc')
    result = finish(best_path(jnp.log(scores)), jnp.log(scores), 25, False)
    assert texts(result) == [text for text, _ in decoded]
    np.testing.assert_allclose(
        result['mean_token'][:, 0], [confidence for _, confidence in decoded], rtol=1e-6)


@pytest.mark.parametrize('stop', [False, True])
def test_attention_equals_the_references_or_stops_at_the_first_end(stop):
    scores, decoded = given('att')
    end = 37

    def step(position: jax.Array, classes: jax.Array) -> Any:
        return jnp.log(jnp.asarray(scores))[:, position], position + 1

    codes = Codes(0, end, 1, 36)
    result = search(step, jnp.int32(0), codes, rows=len(scores), capacity=25, max_length=25, stop=stop)
    if stop:  # unlike the reference, which leaves the end out and goes on
        decoded = []
        for row in scores:
            best = row.argmax(1)
            last = int(np.argmax(best == end)) if end in best else len(best)
            kept = [place for place in range(last) if best[place] != 0]
            decoded.append((''.join(LETTERS[best[place] - 1] for place in kept), row.max(1)[kept].mean()))
        assert any(end in row.argmax(1) for row in scores)
    assert texts(result) == [text for text, _ in decoded]
    np.testing.assert_allclose(
        result['mean_token'][:, 0], [confidence for _, confidence in decoded], rtol=1e-6)


@pytest.mark.parametrize('skip_ends', [True, False])
def test_all_places_at_once_equal_the_references_with_ends_skipped_or_stop_at_the_first(skip_ends):
    scores, decoded = given('srn')
    end = 37
    chances = parallel.log_probabilities(jnp.log(scores), skip_ends)
    result = parallel.finish(
        parallel.best_texts(chances, 1), chances, 25, skip_ends, jnp.zeros((4, 25, 1, 1)))
    got, classes = texts(result), scores.argmax(-1).tolist()
    if skip_ends:
        assert got == [text for text, _ in decoded]
        wanted = [confidence for _, confidence in decoded]
    else:
        assert got == [''.join(LETTERS[each] for each in row[: (row + [end]).index(end)]) for row in classes]
        assert got != [text for text, _ in decoded]
        wanted = [row[: len(text)].mean() for row, text in zip(scores.max(-1), got, strict=True)]
    np.testing.assert_allclose(result['mean_token'][:, 0], wanted, rtol=1e-6)
