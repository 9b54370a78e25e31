"""The embedded formulas: what the grammar writes, how a hand lays it out, and the pictures."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ml_collections import ConfigDict

from recog.config import recipe
from recog.data.drawn import symbols
from recog.data.drawn.dice import SPLITS, Dice
from recog.data.drawn.formulas import Formulas
from recog.data.drawn.grammar import FREQUENCY, Grammar, split_of
from recog.data.drawn.handwriting import BIG, Hand, layout
from recog.data.sets import open_set
from recog.errors import ConfigError
from recog.metrics.formulas import well_formed
from recog.text.latex import CROHME
from recog.text.normal_form import normal_tokens

EASY = {'difficulty': 0.0, 'tokens': (1, 14), 'depth': 1, 'symbols': 30, 'size': 16.0, 'height': 64,
        'width': 192}
SCRIPTS = frozenset(('_', '^', '{', '}', r'\frac', r'\sqrt'))


def rule(**changes) -> ConfigDict:
    return ConfigDict({**recipe.base(name='crnn').formulas.to_dict(), **changes})


def drawn(count: int, symbols: int = 0, deep: int = 3, tokens=(1, 40),
          split: str = 'train') -> list[list[str]]:
    grammar = Grammar(symbols, deep)
    return [grammar.draw(Dice(number), tokens, split) for number in range(count)]


def placed(text: str, difficulty: float = 0.0, seed: int = 0):
    """The boxes of a formula's symbols in their order, as (left, top, bottom)."""
    box = layout(text.split(), Hand(Dice(seed), difficulty))
    edges = []
    for part in box.parts:
        x, y = np.array(((part.a, part.b), (part.c, part.d))) @ part.points + np.array(((part.x,), (part.y,)))
        edges.append((x.min(), y.min(), y.max()))
    return edges


def nested(tokens: list[str]) -> int:
    depth = np.cumsum([(token == '{') - (token == '}') for token in tokens])
    return int(depth.max(initial=0))


def test_every_formula_is_in_the_normal_form():
    for tokens in drawn(1500):
        assert list(normal_tokens(' '.join(tokens))) == tokens


def test_every_formula_can_be_drawn_by_mathtext():
    assert all(well_formed(tokens) for tokens in drawn(100))


def test_the_grammar_writes_every_symbol_of_crohme():
    assert set(FREQUENCY) | SCRIPTS == set(CROHME)
    assert {token for tokens in drawn(12_000) for token in tokens} == set(CROHME)


@pytest.mark.parametrize('symbols', [1, 2, 8, 30, 60])
@pytest.mark.parametrize('deep', [0, 1, 2])
def test_formulas_keep_to_the_symbols_and_the_depth(symbols, deep):
    known = set(list(FREQUENCY)[:symbols]) | (SCRIPTS if deep else set())
    for tokens in drawn(200, symbols, deep, (1, 12)):
        assert set(tokens) <= known
        assert nested(tokens) <= deep
        assert tuple(normal_tokens(' '.join(tokens))) == tuple(tokens)


@pytest.mark.parametrize('tokens', [(1, 1), (5, 5), (20, 40), (60, 70)])
def test_formulas_have_as_many_tokens_as_asked_for(tokens):
    lengths = [len(each) for each in drawn(100, tokens=tokens)]
    assert tokens[0] <= min(lengths) and max(lengths) <= tokens[1]


def test_splits_share_no_formula():
    found = {split: {' '.join(each) for each in drawn(400, 20, 1, (1, 10), split)} for split in SPLITS}
    assert not found['train'] & found['test'] and not found['train'] & found['validation']
    assert not found['test'] & found['validation']
    assert all(split_of(text) == split for split, texts in found.items() for text in texts)
    # Held-out sets are not the same formula over and over.
    assert min(len(found[split]) for split in SPLITS) > 250


@pytest.mark.parametrize('changes, named', [
    ({'tokens': (30, 40), 'symbols': 1, 'depth': 0},
     r'tokens=\(30, 40\): no formula of the train split has so many tokens'),
    ({'width': 20}, r'config.formulas.height=192, width=20 must have room'),
    ({'tokens': (40, 40), 'width': 100}, 'width=100 must have room'),
])
def test_what_no_formula_can_be_is_refused(changes, named):
    with pytest.raises(ConfigError, match=named):
        Formulas(rule(**changes), 'train', seed=0)


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match="split 'dev' of formulas must be train, validation or test"):
        Formulas(rule(), 'dev', seed=0)


@pytest.mark.parametrize('changes', [
    {'tokens': (3,)}, {'tokens': (0, 3)}, {'tokens': (5, 3)}, {'difficulty': 1.5}, {'size': 0.0},
    {'depth': -1}, {'symbols': -1}, {'count': 0}, {'width': 3}])
def test_fields_that_cannot_be_are_refused(changes):
    from recog.config import checks

    config = recipe.changed(recipe.base(name='crnn'),
                            {f'formulas.{name}': value for name, value in changes.items()})
    with pytest.raises(ConfigError, match=f'config.formulas.{next(iter(changes))}='):
        checks.check(config)


@pytest.mark.parametrize('font', symbols.FONTS)
def test_every_symbol_has_a_line_in_every_font(font):
    for token in FREQUENCY:
        if token != r'\limits':
            shape = symbols.glyph(token, font)
            assert shape.points.shape[1] > 0 and np.isfinite(shape.points).all()
    # Small parts are what thinning might lose.
    assert {symbols.glyph(token, font).points.shape[1] > 2 for token in (r'\ldots', r'\cdots')} == {True}
    assert symbols.glyph(r'\div', font).top < symbols.glyph('-', font).top - 0.1


def test_thinned_ink_is_a_line():
    ink = np.zeros((20, 40), bool)
    ink[8:13, 5:35] = True
    line = symbols.thinned(ink)
    assert (line.sum(0) <= 1).all() and line.sum() >= 24 and np.flatnonzero(line.any(1)).tolist() == [10]


@pytest.mark.parametrize('difficulty', [0.0, 1.0])
def test_parts_stand_where_their_tokens_say(difficulty):
    for seed in range(5):
        base, above = placed('x ^ { 2 }', difficulty, seed)
        assert above[0] > base[0] and above[1] < base[1]
        base, below = placed('x _ { 2 }', difficulty, seed)
        assert below[0] > base[0] and below[2] > base[2]
        bar, above, below = placed(r'\frac { a } { b }', difficulty, seed)
        assert above[2] < bar[1] and below[1] > bar[2]
        total, below, above = placed(r'\sum _ { n } ^ { k }', difficulty, seed)
        assert above[2] < total[1] and below[1] > total[2]
        sign, inside = placed(r'\sqrt { x }', difficulty, seed)
        assert sign[0] < inside[0] and sign[1] < inside[1]
        assert [edge[0] for edge in placed('1 + 2 = 3', difficulty, seed)] == sorted(
            edge[0] for edge in placed('1 + 2 = 3', difficulty, seed))


def test_an_integral_has_its_limits_at_its_side_unless_they_are_set_above():
    integral, below, above = placed(r'\int _ { 1 } ^ { 2 }')
    assert below[0] > integral[0] + 0.2 and above[1] > integral[1] - 0.3
    integral, below, above = placed(r'\int \limits _ { 1 } ^ { 2 }')
    assert above[2] < integral[1] and below[1] > integral[2]


def test_brackets_are_as_high_as_what_stands_between():
    for pair in ('( )', '[ ]', '| |', r'\{ \}'):
        opening, closing = pair.split()
        small, tall = (placed(f'{opening} {inside} {closing}') for inside in ('x', r'\frac { a } { b }'))
        heights = [edges[0][2] - edges[0][1] for edges in (small, tall)]
        assert heights[1] > 1.3 * heights[0]
        assert tall[0][1] < min(edge[1] for edge in tall[1:-1])
        assert tall[-1][2] > max(edge[2] for edge in tall[1:-1])
    assert len(placed('( x ] ) |')) == 5  # what closes nothing is written all the same


def test_any_formula_in_the_normal_form_is_laid_out():
    for text in ('x', '', r'\frac { } { }', r'\sqrt [ 3 ] { x }', 'x ^ { x ^ { x ^ { 2 } } }', '{ a } b',
                 r'\lim _ { x }'):
        box = layout(text.split(), Hand(Dice(0), 1.0))
        assert np.isfinite([box.width, box.top, box.bottom]).all()


@pytest.mark.parametrize('changes', [{}, EASY])
def test_pictures_are_white_on_black_and_fit_their_sizes(changes):
    source = Formulas(rule(**changes), 'train', seed=3)
    margin = 13 if not changes else 7
    sizes = source.sizes(range(40))
    assert sizes.dtype == np.int32
    for row, size in zip(source.rows(range(40)), sizes, strict=True):
        assert row.image.dtype == np.uint8 and row.image.ndim == 2 and set(np.unique(row.image)) == {0, 255}
        assert (row.image.shape <= size).all() and (size <= (source.paper.height, source.paper.width)).all()
        lines = np.argwhere(row.image).min(0), row.image.shape - np.argwhere(row.image).max(0) - 1
        assert np.abs(np.concatenate(lines) - margin).max() <= 3  # half a pen


def test_sizes_of_very_many_are_those_of_the_canvas():
    source = Formulas(rule(**EASY), 'train', seed=0)
    assert (source.sizes(range(10**6)) == (64, 192)).all()


def test_symbols_have_the_mean_height_asked_for():
    for size in (14.0, 28.0):
        plain = rule(size=size, tokens=(1, 12), difficulty=0.0, symbols=10, depth=0)
        source = Formulas(plain, 'train', seed=0)
        plain = [row.image for row in source.rows(range(60)) if row.text in ('1', '2', '1 2', '2 1')]
        heights = [np.ptp(np.flatnonzero(image.any(1))) for image in plain]
        assert heights and np.abs(np.array(heights) - size).max() <= 3


def test_a_formula_is_a_function_of_seed_split_and_index():
    source, again = (Formulas(rule(), 'train', seed=5) for _ in range(2))
    first, second = source.rows([3, 11, 7]), again.rows([7, 3])
    assert [row.text for row in first] == [first[0].text, first[1].text, second[0].text]
    assert first[0].text == second[1].text
    assert np.array_equal(first[0].image, second[1].image) and np.array_equal(first[2].image, second[0].image)
    assert source.labels([3, 11, 7]) == [(row.id, row.text) for row in first]
    assert first[0].id == 'train-000000003'
    assert Formulas(rule(), 'train', seed=6).labels(range(20)) != source.labels(range(20))


def test_formulas_are_the_same_in_threads_and_in_other_processes():
    source = Formulas(rule(**EASY), 'train', seed=0)
    plain = source.rows(range(64))
    with ThreadPoolExecutor(4) as pool:
        threaded = [row for rows in pool.map(source.rows, np.split(np.arange(64), 8)) for row in rows]
    copied = pickle.loads(pickle.dumps(source)).rows(range(64))
    for rows in (threaded, copied):
        assert all(one.text == other.text and np.array_equal(one.image, other.image)
                   for one, other in zip(plain, rows, strict=True))


def test_the_easiest_hand_writes_evenly_and_the_hardest_does_not():
    rules = [rule(difficulty=value, tokens=(1, 1), symbols=1, depth=0) for value in (0.0, 1.0)]
    even, uneven = ([row.image for row in Formulas(each, 'train', seed=0).rows(range(12))] for each in rules)
    even = [image for image in even if image.shape == even[0].shape]
    assert len(even) >= 2 and all(np.array_equal(image, even[0]) for image in even)
    assert len({image.tobytes() for image in uneven}) == 12


def test_the_set_opens_by_its_name():
    config = recipe.base(name='crnn')
    train, test = (open_set(name, config, '/nowhere') for name in ('formulas:train', 'formulas:test'))
    assert (len(train), len(test), train.name) == (100_000, 1_000, 'formulas:train')
    config.seed = 9
    # So that runs can be compared.
    assert open_set('formulas:test', config, '/nowhere').labels([0]) == test.labels([0])
    assert open_set('formulas:train', config, '/nowhere').labels(range(9)) != train.labels(range(9))
    assert set(BIG) <= set(FREQUENCY)


def test_a_negative_index_is_refused():
    with pytest.raises(IndexError, match='formulas:train has no formula -1'):
        Formulas(rule(**EASY), 'train', seed=0).rows([-1])
