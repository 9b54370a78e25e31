"""Measures on formulas, compared with the reference's, with published numbers, and with values by hand."""

import json
import math
import random
from collections import Counter

import numpy as np
import pytest
from golden import GOLDENS
from ml_collections import ConfigDict
from small import plain_distance

from recog.evaluation import measure, results
from recog.evaluation.write import table
from recog.metrics.formulas import (
    LENGTHS,
    accuracy_by_depth,
    accuracy_by_length,
    bleu,
    bleu_of_counts,
    expression_rate,
    formula_figures,
    formula_tokens,
    leaked,
    nesting_depth,
    normal_forms,
    normalised,
    reference_formula_metric,
    structure,
    token_accuracy,
    well_formed,
)
from recog.metrics.words import judge, word_figures
from recog.text.latex import CROHME

# Formula, prediction, token accuracy in per cent: rows of LaTeX-OCR's own latex_predictions.csv.
# After |\\name| comes a space, which is a token there. No prediction here is longer than its formula: in such
# rows that file divides by the length of the formula, and its metric by the longer length.
PUBLISHED = [
    (r'1 - |\sqrt| { 1 - |\sqrt| { E } }', r'1 - |\sqrt| { 1 - |\sqrt| { t } }', 92.31),
    (r'( 3 7 - 5 ) / ( ( 1 4 0 / 1 9 8 ) / 1 5 0 ) |\geq| 6 7 8 8',
     r'( 5 7 - 5 ) / ( ( 1 4 0 / 1 9 8 ) / 1 5 0 ) |\geq| 6 7 8', 92.86),
    ('f ( u ) = k', 'f ( 0 ) = k', 83.33),
    ('4 c ^ { 3 } + 6 c ^ { 2 } + 2 c + 1', 'a c ^ { 3 } + b ^ { 2 } + 2 c + 1', 33.33),
]


def random_pairs(count: int, seed: int = 0) -> list[tuple[list[str], list[str]]]:
    """Formulas, each with a text that might be read from it."""
    draw, symbols = random.Random(seed), ['x', '2', r'\frac', '{', '}', '^', '+']
    pairs = []
    for _ in range(count):
        truth = draw.choices(symbols, k=draw.randint(1, 12))
        read = [draw.choice(symbols) if draw.random() < 0.15 else token
                for token in truth if draw.random() > 0.08]
        pairs.append((truth, read))
    return pairs


def test_the_reference_metric_is_the_references():
    golden = np.load(GOLDENS / 'data.npz')
    rows = list(zip(golden['can_metric_label'].tolist(), golden['can_metric_predicted'].tolist(),
                    golden['can_metric_mask'].sum(1).tolist(), strict=True))
    expected = json.loads((GOLDENS / 'data.json').read_text())['can_metric']
    assert reference_formula_metric(rows) == pytest.approx(expected, abs=1e-12)
    # Ours on the same rows: the end mark, 0, is not a token.
    pairs = [[[str(token) for token in tokens[:count] if token] for tokens in (label, predicted)]
             for label, predicted, count in rows]
    assert expression_rate(*zip(*pairs, strict=True)) == expected['exp_rate']


def test_tokens_are_commands_and_characters_without_blanks():
    assert formula_tokens(r'\frac{1}{2}x ^ {10}\{ \} \alpha y') == (
        r'\frac', '{', '1', '}', '{', '2', '}', 'x', '^', '{', '1', '0', '}', r'\{', r'\}', r'\alpha', 'y')
    for token in CROHME:
        assert formula_tokens(f'x {token} y') == ('x', token, 'y')


def test_a_verdict_counts_tokens():
    assert judge(r'\frac { 1 } { 2 }', r'\frac{1}{2}', 'latex') == (True, 0)
    assert judge(r'\alpha + \beta', r'\alpha + b', 'latex') == (False, 1)
    assert judge(r'x ^ { 2 }', 'x', 'latex') == (False, 4)


def test_rates_count_edits():
    truths, predictions = zip(*random_pairs(300), strict=True)
    distances = [plain_distance(*pair) for pair in zip(truths, predictions, strict=True)]
    for errors in range(4):
        assert expression_rate(truths, predictions, errors) == sum(each <= errors for each in distances) / 300
    assert expression_rate([], []) == 0


@pytest.mark.parametrize('truth, prediction, per_cent', PUBLISHED)
def test_token_accuracy_is_latex_ocrs(truth, prediction, per_cent):
    wanted, written = ([piece for part in text.split()
                        for piece in ([part.strip('|'), ' '] if '|' in part else [part])]
                       for text in (truth, prediction))
    assert round(100 * token_accuracy([wanted], [written]), 2) == per_cent


def test_token_accuracy_is_of_all_places_together():
    assert token_accuracy(['abcd', 'x'], ['abc', 'y']) == 3 / 5
    assert token_accuracy([], []) == 0


@pytest.mark.parametrize('right, total, wanted, written, score', [
    ([9, 7, 5, 3], [10, 8, 6, 4], 11, 11, 0.8375922397),  # these five are in sacrebleu's own tests
    ([4, 2, 1, 0], [6, 5, 4, 3], 8, 6, 0.0),
    ([0, 0, 0, 0], [4, 4, 2, 1], 1, 0, 0.0),
    ([0, 0, 0, 0], [0, 0, 0, 0], 5, 1, 0.0),
    ([6, 5, 4, 0], [6, 5, 4, 3], 6, 6, 0.0),
    ([4, 3, 2, 1], [4, 3, 2, 1], 8, 4, math.exp(-1)),
])
def test_bleu_of_counts_is_sacrebleus(right, total, wanted, written, score):
    assert bleu_of_counts(right, total, wanted, written) == pytest.approx(score, abs=1e-10)


def test_bleu_counts_what_sacrebleu_counts():
    prediction, truth = 'am I am a character sequence'.split(), 'I am a symbol string sequence a a'.split()
    # One trigram and no 4-gram is right: 0 alone, but not 0 together with a formula that has right 4-grams.
    assert bleu([truth], [prediction]) == 0
    whole = 'this is a test'.split()
    precisions = (4 + 4) / (6 + 4) * (2 + 3) / (5 + 3) * (1 + 2) / (4 + 2) * (0 + 1) / (3 + 1)
    expected = precisions ** 0.25 * math.exp(1 - 12 / 10)
    assert bleu([truth, whole], [prediction, whole]) == pytest.approx(expected, abs=1e-12)
    assert bleu([whole], [whole]) == 1 and bleu([], []) == 0
    assert bleu([['x']], [['x']]) == 0  # too short for a 4-gram; sacrebleu gives 0 too


def test_bleu_agrees_with_a_second_formula():
    truths, predictions = zip(*random_pairs(200, seed=1), strict=True)
    precisions = []
    for order in range(1, 5):
        right = total = 0
        for truth, prediction in zip(truths, predictions, strict=True):
            there, found = (Counter(' '.join(tokens[k:k + order]) for k in range(len(tokens) - order + 1))
                            for tokens in (truth, prediction))
            right += sum(min(count, there[gram]) for gram, count in found.items())
            total += sum(found.values())
        precisions.append(right / total)
    lengths = sum(map(len, truths)) / sum(map(len, predictions))
    assert lengths > 1
    expected = np.prod(precisions) ** 0.25 * np.exp(1 - lengths)
    assert bleu(truths, predictions) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize('prediction, same', [
    (r'y _ { 7 } + \frac { 2 } { \beta }', True), (r'x _ { 1 } - \frac { a } { b }', True),
    (r'x ^ { 1 } - \frac { a } { b }', False), (r'x _ { 1 } - \frac { a b } { b }', False),
    (r'x _ { 1 } - a / b', False)])
def test_structure_ignores_which_symbol_it_is(prediction, same):
    truth, read = (structure(formula_tokens(text)) for text in (r'x _ { i } + \frac { a } { b }', prediction))
    assert (truth == read) == same


@pytest.mark.parametrize('one, other, same', [
    (r'x ^ 2 _ i', r'x _ { i } ^ { 2 }', True), (r'a \le \left( b \right)', r'a \leq ( b )', True),
    ('{ a } b', 'a b', True), ('a b', 'b a', False), (r'x ^ { 2', r'x ^ { 2 }', False),
    (r'x ^ { 2', r'x ^ { 2', True)])
def test_formulas_are_compared_in_the_normal_form(one, other, same):
    assert (normalised(one) == normalised(other)) == same


def test_formula_figures_have_all_measures():
    truths = [r'\frac { 1 } { 2 }', 'x ^ { 2 }', 'a + b', r'a \leq b', 'y']
    predictions = [r'\frac { 1 } { 2 }', 'x _ { 2 }', 'a + b + c + c', r'a \le b', '']
    figures = formula_figures(truths, predictions)
    wanted, written = ([formula_tokens(text) for text in texts] for texts in (truths, predictions))
    assert figures == {
        'within_1': 4 / 5, 'within_2': 4 / 5, 'within_3': 4 / 5, 'symlg': 1 / 5,
        'symlg_within_1': 3 / 5, 'symlg_within_2': 3 / 5, 'normalised': 2 / 5, 'structure': 2 / 5,
        'token_accuracy': (7 + 4 + 3 + 2) / (7 + 5 + 7 + 3 + 1), 'bleu': bleu(wanted, written)}
    base = word_figures(truths, predictions, 'latex')
    assert (base['right'], base['accuracy']) == (1, expression_rate(wanted, written))
    assert base['one_minus_ned'] == pytest.approx((1 + 4 / 5 + 3 / 7 + 2 / 3 + 0) / 5)


def test_formula_figures_of_nothing_are_zeros():
    assert set(formula_figures([], []).values()) == {0}


def test_leaks_are_found_in_the_normal_form():
    training = ['x ^ { 2 }', 'a + b', r'c \le d']
    tests = ['x^2', 'a + c', r'c \leq d', 'a + b', 'x ^ {']
    assert leaked(tests, training) == [0, 2, 3]
    figures = formula_figures(tests, ['x^2', 'a + c', 'c', 'a + b', ''], frozenset(normal_forms(training)))
    assert (figures['seen'], figures['accuracy_unseen']) == (3, 1 / 2)


@pytest.mark.parametrize('text, depth', [
    ('', 0), ('a + b', 0), ('x ^ { 2 }', 1), (r'\frac { 1 } { x ^ { 2 } }', 2), ('x ^ 2', 1),
    ('{ { x } }', 0), (r'\sqrt [ 3 ] { \frac { a } { b _ { i _ { 1 } } } }', 4), ('x ^ { 2', 1)])
def test_depth_is_how_deep_the_structure_lies(text, depth):
    assert nesting_depth(normalised(text)) == depth


def test_formulas_are_counted_by_length_and_depth():
    truths = ['x', 'a + b + c', 'a + b + c + d', r'\frac { 1 } { 2 }', 'x ^ { 2 }', ' '.join('x' * 41), '']
    predictions = ['x', 'a + b', 'a + b + c + d', r'\frac{1}{2}', 'x _ { 2 }', '', '']
    lengths, depths = accuracy_by_length(truths, predictions), accuracy_by_depth(truths, predictions)
    assert {name: (part['count'], part['right']) for name, part in lengths.items()} == {
        '1-5': (4, 2), '6-10': (2, 2), '11-20': (0, 0), '21-40': (0, 0), '41+': (1, 0)}
    assert {name: (part['count'], part['right']) for name, part in depths.items()} == {
        '0': (5, 3), '1': (2, 1), '2': (0, 0), '3': (0, 0), '4+': (0, 0)}
    assert (lengths['1-5']['accuracy'], lengths['11-20']['accuracy']) == (1 / 2, 0)
    assert {end: list(accuracy_by_length([' '.join('x' * end)], ['']).values())[place]['count']
            for place, end in enumerate(LENGTHS)} == dict.fromkeys(LENGTHS, 1)


def test_evaluation_knows_the_formulas_of_stored_training_sets(tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'labels.tsv').write_text('1.png\tx^2\n2.png\ta + b\n')

    def known(*names):
        return measure.trained(ConfigDict({'data': {'train': names}}), tmp_path)
    assert known('mine') == {'x ^ { 2 }', 'a + b'}
    assert known('mine', 'formulas:train') == known('elsewhere') == frozenset()


@pytest.mark.parametrize('text, good', [
    (r'\frac { 1 } { 2 }', True), (r'\int \limits _ { 0 } ^ { 1 } x d x', True), (r'\sqrt [ 3 ] { x }', True),
    ('x ^ 2 ^ 2', True), ('x ^ { 2', False), (r'\frac { 1 }', False), ('', False), ('x ^', False),
    ('} {', False), (r'\nonsense', False), (r'\limits', False)])
def test_mathtext_judges_what_is_well_formed(text, good):
    assert well_formed(text.split()) is good


def test_groups_nested_too_deep_are_not_well_formed():
    assert not well_formed(['{'] * 500 + ['x'] + ['}'] * 500)


def test_a_table_has_the_columns_of_its_protocol():
    def result(protocol, extra):
        truths, texts = ['x ^ { 2 }', 'a'], ['x ^ { 2 }', 'b']
        figures = {**word_figures(truths, texts, protocol), **extra(truths, texts), 'unreadable': 1}
        return results.Result('some', figures, [], [], [])
    words, formulas = result('exact', lambda *_: {}), result('latex', formula_figures)
    assert table([words], ['other']).splitlines()[:2] == [
        '| set | words | right | accuracy | 95 % interval | 1-NED | unreadable |',
        '|---|---|---|---|---|---|---|']
    rows = [[cell.strip() for cell in line.strip('|').split('|')]
            for line in table([formulas], ['other']).splitlines()]
    assert rows[0] == [
        'set', 'formulas', 'right', 'ExpRate', '95 % interval', '≤ 1', '≤ 2', '≤ 3', 'symLG',
        'symLG ≤ 1', 'symLG ≤ 2', 'normalised', 'structure', 'tokens', 'BLEU-4', '1-NED', 'unreadable']
    assert rows[2][:4] == ['some', '2', '1', '50.00%'] and rows[2][-1] == '1'
    assert rows[2][5:8] == ['100.00%'] * 3
    assert rows[3][:2] == ['other', 'missing'] and {len(row) for row in rows} == {17}
    assert '50.00% of 2 formulas right' in measure.line(formulas)
    assert '50.00% of 2 words right' in measure.line(words)
