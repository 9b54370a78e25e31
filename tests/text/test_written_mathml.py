"""Formulas as MathML: the forms of each kind of token, well-formed XML, and what has no form."""

import xml.etree.ElementTree

import numpy as np
import pytest

from recog.config import recipe
from recog.data.drawn.formulas import Formulas
from recog.text.latex import CROHME
from recog.text.mathml import from_mathml
from recog.text.normal_form import Malformed, normal_tokens
from recog.text.written_mathml import to_mathml


def inside(text):
    """The MathML of LaTeX, without the outermost element."""
    found = to_mathml(normal_tokens(text))
    xml.etree.ElementTree.fromstring(found)
    return found.partition('>')[2].removesuffix('</math>')


@pytest.mark.parametrize('text, expected', [
    ('x^2', '<msup><mi>x</mi><mn>2</mn></msup>'),
    ('a_i^2', '<msubsup><mi>a</mi><mi>i</mi><mn>2</mn></msubsup>'),
    (r'\frac{1}{2.5}', '<mfrac><mn>1</mn><mn>2.5</mn></mfrac>'),
    (r'\sqrt[3]{x}', '<mroot><mi>x</mi><mn>3</mn></mroot>'),
    (r'\sum_{i}^{n}', '<munderover><mo>∑</mo><mi>i</mi><mi>n</mi></munderover>'),
    (r'\int\limits_0', '<munder><mo>∫</mo><mn>0</mn></munder>'),
    (r'\int_0', '<msub><mo>∫</mo><mn>0</mn></msub>'),
    (r'\Omega\le\theta', '<mrow><mi>Ω</mi><mo>≤</mo><mi>θ</mi></mrow>'),
    (r'\sin x', '<mrow><mrow><mi>sin</mi><mo>&#x2061;</mo></mrow><mi>x</mi></mrow>'),
    ('a<b', '<mrow><mi>a</mi><mo>&lt;</mo><mi>b</mi></mrow>'),
    (r'\bar{x}', '<mover accent="true"><mi>x</mi><mo>¯</mo></mover>')])
def test_each_kind_of_token_has_its_element(text, expected):
    assert inside(text) == expected


def test_every_formula_of_crohmes_symbols_is_well_formed_or_refused():
    dice = np.random.default_rng(0)
    written = 0
    for _ in range(300):
        try:
            written += bool(inside(' '.join(dice.choice(CROHME, 6))))
        except Malformed:
            pass
    assert written > 50


@pytest.mark.parametrize('text', [r'\begin{array} x \end{array}', r'\phantom{x}'])
def test_what_has_no_form_is_refused(text):
    with pytest.raises(Malformed, match='no form'):
        inside(text)


def test_rendered_formulas_come_back_the_same_as_they_are_read_from_mathml():
    rule = recipe.base(name='can').formulas
    # MathML does not say \limits.
    for _, text in Formulas(rule, 'test', seed=0).labels(range(100)):
        tokens = tuple(token for token in normal_tokens(text) if token != r'\limits')
        assert from_mathml(xml.etree.ElementTree.fromstring(to_mathml(tokens))) == tokens
