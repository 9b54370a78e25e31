"""Formulas put together from people's symbols: what is exchanged, where it stands, and whose ink it is."""

import pickle

import numpy as np
import pytest
from ml_collections import ConfigDict
from small import ROOT

from recog.config import experiments, recipe
from recog.data.batches import Batches, measure, unpack_notes
from recog.data.drawn.arranged import Arrangement
from recog.data.drawn.composed import Composed
from recog.data.drawn.dice import Dice
from recog.data.drawn.handwriting import Hand, layout
from recog.data.drawn.parts import NoTree, spans, tree
from recog.data.drawn.people import People, items
from recog.data.joined import joined
from recog.data.planning import make_plan
from recog.data.rows import Written
from recog.data.sets import open_set
from recog.errors import ConfigError
from recog.text import vocabulary
from recog.text.held_out import held_out
from recog.text.latex import UNDRAWN
from recog.text.normal_form import normal_text

TEXTS = ('1 + 2', 'x ^ { 2 } + 1 = 0', r'\frac { 1 + x } { 2 }', r'\sqrt { x + 2 } - 1', '( x + 1 ) ^ { 2 }',
         r'\sum _ { x = 1 } ^ { 2 } x', r'\frac { 2 } { x } + \frac { x } { 1 }', 'x _ { 1 } = 2 x _ { 2 }',
         r'( \frac { 1 } { x } ) ^ { 2 }', r'\sqrt { \frac { x } { 2 } } = x')


def written(text, writer='a', seed=0, points=9, unit=100.0):
    """A formula in a hand whose strokes all have so many points."""
    tokens = text.split()
    box = layout(tokens, Hand(Dice(seed), 0.6))
    places = [place for place, token in enumerate(tokens) if token not in UNDRAWN]
    lines = [np.array(((part.a, part.b), (part.c, part.d))) @ part.points + [[part.x], [part.y]]
             for part in box.parts]
    kept = [line[:, np.linspace(0, line.shape[1] - 1, points).astype(int)] for line in lines]
    strokes = [np.rint(line.T * unit).astype(np.float32) for line in kept]
    return Written(text, writer, strokes, np.array(places))


class Given:
    """A set of written formulas."""

    name = 'crohme:train'

    def __init__(self, formulas):
        self._formulas = formulas

    def written(self):
        return self._formulas


@pytest.fixture(scope='module')
def given():
    """Each formula in two hands: lines of 9 points are a's, lines of 12 are b's, in other units."""
    return Given([each for seed, text in enumerate(TEXTS)
                  for each in (written(text, 'a', seed), written(text, 'b', 50 + seed, 12, 7_000.0))])


def rule(**changes):
    return ConfigDict({**recipe.base(name='crnn').composed.to_dict(), 'count': 60, **changes})


def composed(given, seed=0, **changes):
    return Composed(rule(**changes), given, 'train', seed=seed)


def arranged(people, number, exchanged=()):
    """Where the symbols of a formula stand, in the order of the blocks, by their token: left, top, right,
    bottom."""
    by_line = {}
    for old, new in exchanged:
        by_line.setdefault(id(old.line), {})[old.start] = (old, new)
    tokens = {item.symbol: item.token for formula in people.formulas for item in items(formula.whole)}
    found = []
    for piece in Arrangement(people, lambda token, symbol: symbol, by_line).line(
            people.formulas[number].whole).pieces:
        left, top, right, bottom = people.edges[piece.symbol]
        x = [piece.a * at + piece.b + piece.c * max(at - piece.knot, 0) for at in (left, right)]
        y = [piece.d * at + piece.e for at in (top, bottom)]
        found.append((tokens[piece.symbol], (x[0], y[0], x[1], y[1])))
    return found


def exchange(people, host, kind, donor, other=None):
    """A pair of parts of two formulas, of this kind, the first of each."""
    old, new = (next(span for span in people.formulas[number].spans if span.kind == each)
                for number, each in ((host, kind), (donor, other or kind)))
    return old, new


def test_a_formula_in_which_nothing_is_exchanged_stands_as_it_was_written(given):
    people = People(given.written())
    for number, formula in enumerate(people.formulas):
        found = arranged(people, number)
        assert [token for token, _ in found] == [token for token in formula.tokens if token not in UNDRAWN]
        wanted = [people.edges[item.symbol] for item in items(formula.whole)]
        np.testing.assert_allclose(sorted(edges for _, edges in found), sorted(wanted),
                                   atol=1e-6 * formula.whole.size)


def pairs(text):
    tokens = text.split()
    return {(' '.join(tokens[span.first:span.end]), *span.kind) for span in spans(0, tree(tokens))}


def test_parts_are_whole_lines_sides_of_relations_and_operands():
    assert pairs('x = 1 + 2') == {
        ('x', 'whole', 'side'), ('1 + 2', 'whole', 'side'), ('x', 'whole', 'operand'),
        ('1', 'whole', 'operand'), ('2', 'whole', 'operand')}
    assert pairs(r'\frac { a } { ( b - c ) ^ { 2 } }') == {
        ('a', 'fraction', 'all'), ('( b - c ) ^ { 2 }', 'fraction', 'all'), ('b - c', 'brackets', 'all'),
        ('b', 'brackets', 'operand'), ('c', 'brackets', 'operand'), ('2', 'sup', 'all')}
    assert ('n = 1', 'below', 'all') in pairs(r'\sum _ { n = 1 } x')
    assert pairs('( 1 + 2') == set()  # a part could hold half a pair of brackets
    for text in ('x }', 'x ^', '{ x }', r'\frac { 1 }', r'\sqrt { }', '^ { 2 }'):
        with pytest.raises(NoTree):
            tree(text.split())


def test_a_bar_is_as_wide_as_what_is_above_and_below_it_and_clear_of_both():
    people = People([written(r'\frac { 1 } { 2 }'),
                     written(r'\frac { 1 + x + 2 x } { 1 }', 'b', 5, 9, 900.0)])
    (_, bar), *rest = arranged(people, 0, [exchange(people, 0, ('fraction', 'all'), 1)])
    above, (_, below) = [edges for _, edges in rest[:-1]], rest[-1]
    assert [token for token, _ in rest] == ['1', '+', 'x', '+', '2', 'x', '2']
    assert bar[0] < min(edges[0] for edges in above) and max(edges[2] for edges in above) < bar[2]
    assert max(edges[3] for edges in above) < bar[1] and bar[3] < below[1]
    middle = (bar[0] + bar[2]) / 2
    assert abs((below[0] + below[2]) / 2 - middle) < 0.2 * (bar[2] - bar[0])
    # In the units of the formula that it has come into.
    height = people.edges[people.formulas[0].whole.items[0].parts[0].items[0].symbol]
    assert above[0][3] - above[0][1] == pytest.approx(height[3] - height[1], rel=0.4)


def test_a_root_reaches_over_what_stands_in_it_and_brackets_around_it():
    tall = written(r'\sqrt { 1 + \frac { x } { 2 } + 1 }', 'b', 3)
    people = People([written(r'\sqrt { x }'), tall])
    (_, sign), *inside = arranged(people, 0, [exchange(people, 0, ('root', 'all'), 1)])
    assert len(inside) == 7
    assert sign[0] < min(edges[0] for _, edges in inside) and max(edges[2] for _, edges in inside) < sign[2]
    assert sign[1] < min(edges[1] for _, edges in inside) and max(edges[3] for _, edges in inside) < sign[3]
    people = People([written('( x ) ^ { 2 }'), tall])
    found = arranged(people, 0, [exchange(people, 0, ('brackets', 'all'), 1, ('root', 'all'))])
    (_, opening), *inside, (_, closing), (_, power) = found
    plain = dict(arranged(people, 0))
    for edges in (opening, closing):
        assert edges[1] < min(each[1] for _, each in inside) and edges[3] > max(each[3] for _, each in inside)
    assert opening[2] < inside[0][1][0] and inside[-1][1][2] < closing[0]
    assert power[0] > closing[0] and power[1] - closing[1] == pytest.approx(plain['2'][1] - plain[')'][1])


def test_a_script_stays_above_the_line_or_below_it():
    longer = written('2 ^ { 1 + x } - 2 _ { 1 + x }', 'b', 4)
    people = People([written('x ^ { 2 } - x _ { 2 }'), longer])
    pairs = [exchange(people, 0, (slot, 'all'), 1) for slot in ('sup', 'sub')]
    found = arranged(people, 0, pairs)
    (_, base), *power, (_, dash), (_, other) = found[:6]
    lower = found[6:]
    assert [token for token, _ in power] == [token for token, _ in lower] == ['1', '+', 'x']
    assert max(edges[3] for _, edges in power) < base[3] and min(edges[1] for _, edges in power) < base[1]
    assert max(edges[3] for _, edges in lower) > other[3] and min(edges[1] for _, edges in lower) > other[1]
    assert power[-1][1][2] < dash[0] and other[2] < lower[0][1][0]


def test_a_formula_is_a_function_of_seed_and_index_and_its_size_is_known(given):
    source, again = composed(given, seed=3), pickle.loads(pickle.dumps(composed(given, seed=3)))
    rows = source.rows(range(60))
    other = again.rows([7, 3])
    assert [row.text for row in other] == [rows[7].text, rows[3].text]
    assert np.array_equal(other[0].image, rows[7].image) and np.array_equal(other[1].image, rows[3].image)
    assert source.labels(range(60)) == [(row.id, row.text) for row in rows]
    assert rows[3].id == 'train-000000003'
    assert source.ink_sizes(range(60)).tolist() == [list(row.image.shape) for row in rows]
    assert composed(given, seed=4).labels(range(20)) != source.labels(range(20))
    with pytest.raises(IndexError, match='composed:train has no formula -1'):
        source.rows([-1])


def test_formulas_are_new_in_the_normal_form_and_none_is_held_out(given):
    source = composed(given, shares=(0, 0, 1), tokens=(2, 30))
    texts = [text for _, text in source.labels(range(800))]
    assert all(normal_text(text) == text for text in texts[:200])
    assert all(2 <= len(text.split()) <= 30 for text in texts)
    assert len(set(texts) - set(TEXTS)) > 200
    assert not any(held_out(text) for text in texts)
    assert {text for _, text in composed(given, shares=(1, 0, 0)).labels(range(99))} <= set(TEXTS)


def hands(row):
    return {len(stroke) for stroke in row.strokes}


def test_a_formula_is_in_one_hand(given):
    for shares in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        every = [hands(row) for row in composed(given, shares=shares).rows(range(40))]
        assert {9} in every and {12} in every and {9, 12} not in every


def test_other_samples_make_other_pictures_and_other_parts_other_formulas(given):
    own = Given([each for each in given.written() if each.writer == 'a'])
    rows = composed(own, shares=(1, 0, 0)).rows(range(30))
    assert len({row.image.tobytes() for row in rows}) > 20 and {row.text for row in rows} <= set(TEXTS)
    parts_alone = composed(own, shares=(0, 1, 0)).rows(range(30))
    assert {row.text for row in parts_alone} - set(TEXTS)


def test_a_formula_whose_symbols_are_mixed_up_is_not_used():
    good = written(r'\sqrt { 1 + \frac { x } { 2 } } - 2')
    assert len(People([good]).formulas) == 1
    for one, other in ((1, 5), (4, 5), (5, 6)):  # 1 and 2 in the root, x and 2 of the fraction, 2 and -
        places = np.array(sorted(set(good.symbols)))
        swapped = {places[one]: places[other], places[other]: places[one]}
        mixed = np.array([swapped.get(place, place) for place in good.symbols])
        assert not People([good._replace(symbols=mixed)]).formulas


def test_dots_alone_have_a_size(given):
    dot = Written('.', 'a', [np.array([(5.0, 5.0)], np.float32)], np.array([0]))
    source = composed(Given([*given.written(), *[dot] * 20]), shares=(1, 0, 0))
    rows = [row for row in source.rows(range(60)) if row.text == '.']
    assert rows and all(row.image.shape == (26, 26) for row in rows)
    assert np.isfinite(source.people.sizes).all()


def test_what_is_held_out_or_has_no_symbols_is_refused(given):
    text = next(text for text in (f'x + {" ".join(str(number))}' for number in range(99)) if held_out(text))
    with pytest.raises(ConfigError, match='crohme:train has .* held out for validation'):
        composed(Given([*given.written(), written(text)]))
    with pytest.raises(ConfigError, match='crohme:train has no formula whose symbols are known'):
        composed(Given([written('1')._replace(symbols=np.zeros(0, int))]))
    with pytest.raises(ConfigError, match="split 'test' of composed must be train"):
        Composed(rule(), given, 'test', seed=0)
    with pytest.raises(ConfigError, match=r'config.composed.tokens=\(90, 96\), shares=.* no such formula'):
        composed(given, tokens=(90, 96))


def test_training_knows_the_sizes_and_that_there_is_ink(given):
    config = experiments.load(str(ROOT / 'experiments' / 'can.py') + ':composed', ['--config.train.batch=4'])
    source, vocab = composed(given), vocabulary.from_config(config.text)
    measured = measure(source, 60)
    assert measured.inked.all() and measured.sizes.shape == (60, 2)
    plan = make_plan(config, vocab, [source, source], 1)
    assert plan.given.tolist() == [*measured.sizes.tolist()] * 2
    batch = Batches(source, make_plan(config, vocab, [source], 1), np.arange, vocab, config, 2)[1]
    assert not unpack_notes(batch['notes']) and (batch['size'] <= batch['image'].shape[1:3]).all()


def test_with_weights_augmented_ink_still_fits_its_canvas(given):
    config = experiments.load(str(ROOT / 'experiments' / 'can.py') + ':composed', [
        '--config.train.batch=4', '--config.data.weights=(0.25,0.75)'])
    source, vocab = composed(given), vocabulary.from_config(config.text)
    made = make_plan(config, vocab, [source, source], 1)
    batches = Batches(joined([source, source]), made, np.arange, vocab, config, made.epoch)
    for step in (0, made.epoch - 1):
        batch = batches[step]
        assert not unpack_notes(batch['notes']) and (batch['size'] <= batch['image'].shape[1:3]).all()


def test_the_set_needs_crohme(tmp_path):
    config = recipe.base(name='crnn')
    with pytest.raises(ConfigError, match="set 'crohme:train' is not there"):
        open_set('composed:train', config, tmp_path)
    (tmp_path / 'crohme' / 'train').mkdir(parents=True)
    (tmp_path / 'crohme' / 'train' / 'labels.tsv').write_text('a.png\tx\n')
    with pytest.raises(ConfigError, match='made of the strokes of crohme:train, which .* does not have'):
        open_set('composed:train', config, tmp_path)


@pytest.mark.parametrize('override, said', [
    ('shares=(1.0,2.0)', 'must be 3 numbers'), ('shares=(0.0,0.0,0.0)', 'not all 0'),
    ('shares=(1.0,-1.0,1.0)', 'at least 0'), ('other_hand=2.0', 'between 0 and 1'), ('parts=0', 'at least 1'),
    ('count=0', 'at least 1'), ('tokens=(9,3)', 'fewest, most')])
def test_fields_out_of_bounds_are_refused(override, said):
    with pytest.raises(ConfigError, match=f'config.composed.{override.partition("=")[0]}=.*{said}'):
        experiments.load(str(ROOT / 'experiments' / 'can.py'), [f'--config.composed.{override}'])
