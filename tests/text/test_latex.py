"""LaTeX of formulas: the normal form, MathML, LaTeX that compiles, and the references' lists of tokens."""

from xml.etree import ElementTree

import pytest
from matplotlib.mathtext import MathTextParser

from recog.text.latex import CROHME, ocr_tokens, to_latex, vocabulary
from recog.text.mathml import from_mathml
from recog.text.normal_form import Malformed, normal_text, normal_tokens

NORMAL = [
    # braces
    (r'x^2', 'x ^ { 2 }'),
    (r'\frac 1 {{x}}', r'\frac { 1 } { x }'),
    (r'\frac {\sqrt x} 2', r'\frac { \sqrt { x } } { 2 }'),
    (r'{ { \sqrt { 3 } } } ^ { H }', r'\sqrt { 3 } ^ { H }'),
    (r'e^\frac12', r'e ^ { \frac { 1 } { 2 } }'),
    (r'\sqrt[3]{x}', r'\sqrt [ 3 ] { x }'),
    (r'\overline {a b} c', r'\overline { a b } c'),
    (r'\foo {a} {b}', r'\foo { a } { b }'),
    (r'\pi {a}', r'\pi a'),
    # scripts
    (r'\sum^n_{i=1} i', r'\sum _ { i = 1 } ^ { n } i'),
    (r'x^{2}_{}', 'x ^ { 2 }'),
    (r'a_{b_c}', 'a _ { b _ { c } }'),
    (r'x^a_b^c', 'x _ { b } ^ { a } ^ { c }'),
    # synonyms, and tokens that are dropped
    (r'$x \to 0$', r'x \rightarrow 0'),
    (r'\left\{ a \right.', r'\{ a'),
    (r'a . b', 'a . b'),
    (r'\Bigg( a\;b \Bigg)', '( a b )'),
    (r'M\ltN', 'M < N'),
    (r'a \lt b \gt c \leq d', r'a < b > c \leq d'),
    ('a × b − c', r'a \times b - c'),
    # letters
    (r'\mbox { y } _ { \phi }', r'y _ { \phi }'),
    (r'k_\mathrm{e}', 'k _ { e }'),
    (r'{ { v } + { \mathrm { ~ k ~ } } }', 'v + k'),
    (r'\operatorname * { l i m } _ { x } f', r'\lim _ { x } f'),
    (r'2 l o g ( x )', r'2 \log ( x )'),
    (r'dx', 'd x'),
    # limits
    (r'\int\limits_0^1', r'\int \limits _ { 0 } ^ { 1 }'),
    (r'\sum \limits ^ {n} _ {k}', r'\sum _ { k } ^ { n }'),
    (r'\begin{matrix} a & b \\ c \end {matrix}', r'\begin{matrix} a & b \\ c \end{matrix}'),
    ('', ''),
]


@pytest.mark.parametrize('raw, wanted', NORMAL)
def test_raw_latex_becomes_its_normal_form(raw, wanted):
    assert normal_text(raw) == wanted


@pytest.mark.parametrize('raw, wanted', NORMAL)
def test_the_normal_form_stays_as_it_is_through_latex_and_back(raw, wanted):
    assert normal_tokens(to_latex(normal_tokens(raw))) == normal_tokens(wanted) == tuple(wanted.split())


@pytest.mark.parametrize('raw', [
    r'\frac{a}', '{a', 'a}', 'x^', 'x^^2', r'\sqrt[3', r'\sqrt[{]}', r'\frac^ab', 'a\\',
    '{' * 5000, r'\frac' * 5000])
def test_malformed_latex_is_refused(raw):
    with pytest.raises(Malformed):
        normal_tokens(raw)


@pytest.mark.parametrize('tokens, wanted', [
    (r'\sin x y', r'\sin xy'),
    (r'\sin 2', r'\sin2'),
    (r'\frac { 1 } { x }', r'\frac{1}{x}'),
    (r'x ^ { a } ^ { b }', r'x^{a}{}^{b}'),
    (r'x _ { a } ^ { b } y _ { c }', 'x_{a}^{b}y_{c}'),
    (r'x _ { a _ { b } } ^ { c }', 'x_{a_{b}}^{c}'),
    (r'\int \limits _ { 0 } x \limits', r'\int\limits_{0}x'),
])
def test_tokens_are_written_as_latex(tokens, wanted):
    assert to_latex(tokens.split()) == wanted


@pytest.mark.parametrize('raw', [
    raw for raw, _ in NORMAL if 'foo' not in raw and 'matrix' not in raw and raw])
def test_the_latex_that_is_written_compiles(raw):
    MathTextParser('path').parse(f'${to_latex(normal_tokens(raw), limits=False)}$')


def mathml(inner):
    return ElementTree.fromstring(f'<math xmlns="http://www.w3.org/1998/Math/MathML">{inner}</math>')


@pytest.mark.parametrize('inner, wanted', [
    ('<mrow><msub><mi>x</mi><mi>k</mi></msub><mo>+</mo><mn>12</mn></mrow>', 'x _ { k } + 1 2'),
    ('<mfrac><mn>1</mn><msqrt><mi>x</mi><mo>-</mo><mn>1</mn></msqrt></mfrac>',
     r'\frac { 1 } { \sqrt { x - 1 } }'),
    ('<mroot><mi>x</mi><mn>3</mn></mroot>', r'\sqrt [ 3 ] { x }'),
    ('<munderover><mo>sum</mo><mi>i</mi><mi>infin</mi></munderover><mi>\\theta</mi>',
     r'\sum _ { i } ^ { \infty } \theta'),
    ('<munder><mo>im</mo><mi>n</mi></munder>', r'\lim _ { n }'),
    ('<mo>{</mo><mi>sin</mi><mo>}</mo>', r'\{ \sin \}'),
    ('<semantics><mi>a</mi><annotation>b</annotation></semantics><mo>ctdot</mo>', r'a \cdots'),
    ('<msup><mrow><mi>a</mi><mi>b</mi></mrow><mn>2</mn></msup>', 'a b ^ { 2 }'),
])
def test_mathml_gives_the_same_tokens(inner, wanted):
    assert ' '.join(from_mathml(mathml(inner))) == wanted


@pytest.mark.parametrize('inner', [
    '<mfrac><mn>1</mn></mfrac>', '<msub><mi>a</mi></msub>', '<msubsup><mi>a</mi><mi>b</mi></msubsup>'])
def test_mathml_without_a_part_is_refused(inner):
    with pytest.raises(Malformed, match='parts'):
        from_mathml(mathml(inner))


def test_the_references_lists_are_as_their_checkpoints_need_them():
    can, ocr = vocabulary('can'), vocabulary('latex_ocr')
    assert (len(can), can[0], can[-4:]) == (109, '!', ('{', '}', '^', '_'))
    assert (len(ocr), ocr[0], ocr[-1]) == (133, ' ', '~')
    assert len(CROHME) == len(set(CROHME)) == 110


@pytest.mark.parametrize('text, wanted', [
    (r'\sin x + 1', [r'\sin', ' ', 'x', '+', '1']),
    (r'\frac   { 1 } { x }', [r'\frac', ' ', '{', '1', '}', '{', 'x', '}']),
    (r'\{ a \}', ['\\', '{', 'a', '\\', '}']),
    (r'a \leq', ['a', r'\leq']),
    (r'\left ( { \mathrm { ~ k ~ } } \right )',
     [r'\left', ' ', '(', '{', r'\mathrm', ' ', '{', '~', 'k', '~', '}', '}', r'\right', ' ', ')']),
])
def test_latex_ocr_cuts_as_its_notebook_does(text, wanted):
    found = ocr_tokens(text)
    assert list(found) == wanted
    assert ocr_tokens(''.join(found)) == found


def test_a_command_that_latex_ocr_does_not_know_becomes_characters():
    assert ocr_tokens(r'\frac12\foo', vocabulary('latex_ocr')) == (r'\frac', '1', '2', '\\', 'f', 'o', 'o')
