"""Measures on words, compared with the reference's, with textbook formulas, and with values made by hand."""

import json
import math
import random

import golden
import pytest
from small import plain_distance

from recog.errors import ConfigError
from recog.metrics.words import (
    PROTOCOLS,
    canonical,
    edit_distance,
    judge,
    normalised_edit_distance,
    protocol_id,
    reference_word_metric,
    wilson_interval,
    word_accuracy,
    word_figures,
)

GOLDENS = json.loads((golden.GOLDENS / 'data.json').read_text(encoding='utf-8'))


def random_pairs(count: int, letters: str = 'abAB1- é') -> list[tuple[str, str]]:
    draw = random.Random(7)
    return [tuple(''.join(draw.choices(letters, k=draw.randint(0, 6))) for _ in range(2))
            for _ in range(count)]


@pytest.mark.parametrize('name, filtered', [('plain', False), ('filter', True)])
def test_the_word_metric_is_the_references(name, filtered):
    ours = reference_word_metric(GOLDENS['pairs'], filtered=filtered)
    assert ours == pytest.approx(GOLDENS['word_metric'][name], abs=1e-12)


def test_our_measures_are_the_references_without_the_small_number_in_its_denominator():
    predictions, truths = zip(*GOLDENS['pairs'], strict=True)
    ours, theirs = word_figures(truths, predictions, '36'), GOLDENS['word_metric']['filter']
    added = (6 + 1e-5) / 6
    assert (ours['count'], ours['right']) == (6, 4)
    assert ours['accuracy'] == pytest.approx(theirs['acc'] * added, abs=1e-12)
    assert 1 - ours['one_minus_ned'] == pytest.approx((1 - theirs['norm_edit_dis']) * added, abs=1e-12)


def test_edit_distances_agree_with_the_textbook():
    for a, b in random_pairs(300):
        assert edit_distance(a, b) == plain_distance(a, b)
    assert edit_distance('kitten', 'sitting') == 3


def test_edit_distance_counts_whole_tokens():
    assert edit_distance(['\\frac', '{', 'x', '}'], ['\\sqrt', '{', 'x', '}']) == 1
    assert edit_distance([], ['\\alpha']) == 1


def test_measures_agree_with_a_second_formula():
    pairs = random_pairs(200)
    truths, predictions = zip(*pairs, strict=True)
    shares = [plain_distance(a, b) / max(len(a), len(b)) if a or b else 0 for a, b in pairs]
    assert normalised_edit_distance(truths, predictions) == pytest.approx(1 - sum(shares) / 200)
    assert word_accuracy(truths, predictions) == sum(share == 0 for share in shares) / 200


@pytest.mark.parametrize('protocol, compared', [
    ('36', "helloworld2"), ('62', "HelloWorld2"), ('94', "Hello-World!2"), ('exact', "Hello - World! é2")])
def test_a_protocol_keeps_what_it_compares(protocol, compared):
    assert canonical('Hello - World! é2', protocol) == compared


def test_an_unknown_protocol_is_refused_with_what_is_allowed():
    with pytest.raises(ConfigError, match="protocol '63' is not one of 36, 62, 94, exact"):
        canonical('a', '63')


@pytest.mark.parametrize('text, compared', [
    ('Café', 'Cafe'), ('ﬁsh', 'fish'), ('Ａ１', 'A1'), ('½', '12'), ('10€', '10'), ('Grüße', 'Grue'),
    ('naïve x-y', 'naivex-y')])
def test_nfkd_turns_texts_into_ascii_before_they_are_filtered(text, compared):
    assert canonical(text, '94+nfkd') == compared
    assert canonical(text, '36+nfkd') == ''.join(filter(str.isalnum, compared.lower()))
    assert judge(text, compared, '94+nfkd').right and judge(compared, text, '94+nfkd').right
    assert not judge(text, compared, 'exact').right


def test_a_protocol_is_known_by_its_id():
    assert [protocol_id(name, nfkd) for name, nfkd in (('36', False), ('94', True), ('latex', False))] == [
        '36', '94+nfkd', 'latex']
    with pytest.raises(ConfigError, match='the protocol latex compares tokens'):
        protocol_id('latex', True)
    for unknown in ('latex+nfkd', '36+nfk', '+nfkd', '63+nfkd'):
        with pytest.raises(ConfigError, match='is not one of'):
            canonical('a', unknown)


def test_a_verdict_compares_what_the_protocol_keeps():
    assert judge("Don't", 'dont', '36') == (True, 0)
    assert judge("Don't", 'dont', '62') == (False, 1)
    assert judge("Don't", 'dont', '94') == (False, 2)
    assert judge('a b', 'ab', 'exact') == (False, 1)


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_word_figures_add_up_the_verdicts(protocol):
    truths, predictions = zip(*random_pairs(100), strict=True)
    verdicts = [judge(a, b, protocol) for a, b in zip(truths, predictions, strict=True)]
    figures = word_figures(truths, predictions, protocol)
    assert figures['right'] == sum(verdict.right for verdict in verdicts)
    assert figures['accuracy'] == figures['right'] / 100
    kept = [[canonical(word, protocol) for word in words] for words in (truths, predictions)]
    assert figures['one_minus_ned'] == pytest.approx(normalised_edit_distance(*kept))
    assert all(verdict.right == (verdict.distance == 0) for verdict in verdicts)


def test_nothing_predicted_is_no_accuracy():
    assert word_figures([], [], '36') == {'count': 0, 'right': 0, 'accuracy': 0, 'one_minus_ned': 0}
    assert word_accuracy([], []) == normalised_edit_distance([], []) == 0


def test_truths_and_predictions_of_different_number_are_refused():
    for measure in (word_accuracy, normalised_edit_distance, lambda a, b: word_figures(a, b, '36')):
        with pytest.raises(ValueError):
            measure(['a', 'b'], ['a'])


@pytest.mark.parametrize('right, count', [(0, 10), (1, 10), (810, 1000), (3000, 3000)])
def test_the_ends_of_the_interval_are_where_the_observation_is_just_plausible(right, count):
    low, high = wilson_interval(right, count)
    assert 0 <= low <= right / count <= high <= 1
    for end in (low, high):
        # It holds every share that is at most 1.96 of its standard deviations from the observed one.
        if 0 < end < 1:
            deviation = math.sqrt(end * (1 - end) / count)
            assert abs(right / count - end) == pytest.approx(1.959963984540054 * deviation)


def test_the_interval_of_nothing_is_everything():
    assert wilson_interval(0, 0) == (0, 1)
    assert wilson_interval(81, 100) == pytest.approx((0.7222, 0.8748), abs=1e-4)
