"""Layout trees and their differences are those of the tools that made CoMER's published figures."""

import json

import pytest
from golden import GOLDENS

from recog.metrics.layout_trees import Tree, difference, layout_figures, tree
from recog.text.normal_form import Malformed

GOLDEN = json.loads((GOLDENS / 'data_modern_maths.json').read_text(encoding='utf-8'))
SAME = {'⋅': r'\cdot', 'Π': r'\Pi'}  # characters that their converter writes for commands


def found(text):
    try:
        return tree(text.split())
    except Malformed:
        return None


@pytest.mark.parametrize('golden', GOLDEN['symlg'], ids=lambda golden: golden['latex'])
def test_a_tree_is_the_references(golden):
    nodes = {}
    for path, label in golden['nodes']:
        nodes.setdefault(path, set()).add(SAME.get(label, label))
    edges = frozenset(map(tuple, golden['edges']))
    assert found(golden['latex']) == (Tree(nodes, edges) if golden['converts'] else None)


@pytest.mark.parametrize('golden', GOLDEN['lgeval_pairs'],
                         ids=lambda golden: f'{golden["prediction"]} for {golden["truth"]}')
def test_a_verdict_is_the_references(golden):
    differs = difference(found(golden['truth']), found(golden['prediction']))
    assert (differs.nodes, differs.edges, differs.structure, not differs.errors) == tuple(
        golden[name] for name in ('node_errors', 'edge_errors', 'structure', 'equal'))


def test_rates_are_the_references_and_malformed_answers_are_wrong():
    pairs = GOLDEN['lgeval_pairs']
    figures = layout_figures([each['truth'].split() for each in pairs],
                             [each['prediction'].split() for each in pairs])
    assert [round(share * len(pairs)) for share in figures.values()] == GOLDEN['lgeval_cumulated'][:3]
    assert set(layout_figures([['{'], []], [['{'], ['}']]).values()) == {0.0, 1.0}  # one error each
    with pytest.raises(Malformed):
        tree(['{'] * 500 + ['x'] + ['}'] * 500)
    with pytest.raises(Malformed):
        tree(['x', *['^', 'x'] * 500])


@pytest.mark.parametrize(('one', 'other'), [
    (r'\sqrt [ x', r'\sqrt { [ } x'), ('{ } ^ { 2 }', '^ { 2 }'), ("f '", r'f \prime'),
    (r'\frac [ a ] b', r'\frac a b'), (r'{ x ^ 2 } ^ 3', 'x ^ 3'),
    (r'x ^ \frac 1 2 y', 'x ^ { \\frac { 1 } 2 } y')])
def test_what_is_written_otherwise_is_the_same(one, other):
    assert not difference(found(one), found(other)).errors
