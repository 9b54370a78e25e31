"""No shared code knows an algorithm: recog names one only in its model and in its rival in PyTorch."""

import ast
import re
from collections.abc import Iterator

import pytest
from small import ROOT

from recog import models

# These names are also English words, which say something else: they count where they are a whole string, in
# quotes, in capitals, part of a path or of another name.
WORDS = ('can', 'rare')
# Paths of experiments serve as examples in help texts and errors; `latex_ocr/...` is a data set, and averages
# have the name of the authors who report them.
EXAMPLES = re.compile(r'experiments/\w+\.py|latex_ocr/\w+|PARSeq, [\d,]+ images')


def names_one(text: str, name: str) -> bool:
    """Whether a string names this algorithm."""
    if text == name:
        return True
    text = EXAMPLES.sub('', text)
    spelled = name.replace('_', '[-_ ]?')
    if name not in WORDS:
        return re.search(rf'(?<![^\W_]){spelled}(?![^\W_])', text, re.IGNORECASE) is not None
    joined = rf'''(?<![\w-]){spelled}(?=[-_./:]\w)|(?<=[-_./:'"`]){spelled}(?![\w-])'''
    return re.search(rf'\b{spelled.upper()}\b|{joined}', text) is not None


def written(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each string and each identifier of a module, docstrings left out, with its line."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented)
                  and ast.get_docstring(node, clean=False) is not None and isinstance(node.body[0], ast.Expr)}
    for node in ast.walk(tree):
        line = getattr(node, 'lineno', 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield line, node.value
        for field in ('id', 'attr', 'arg', 'name', 'asname', 'module'):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield line, value


def found(source: str) -> list[str]:
    """The lines of a module that name an algorithm."""
    return [f'line {line}: {text[:80]!r} names {name}' for line, text in written(ast.parse(source))
            for name in models.names() if names_one(text, name)]


def test_no_shared_code_names_an_algorithm():
    own = {ROOT / 'recog' / place / f'{name}.py' for place in ('models', 'bench/pytorch', 'bench/paddle')
           for name in models.names()}
    shared = sorted(set((ROOT / 'recog').rglob('*.py')) - own)
    wrong = [f'{file.relative_to(ROOT)}, {line}' for file in shared
             for line in found(file.read_text(encoding='utf-8'))]
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize('source', [
    "TABLE = {'crnn': 6}", "if name == 'can': pass", "x = f'{y} of crnn and rare'",
    "help('for CAN and others')",
    "help('LaTeX-OCR has none')", "from recog.models import srn", "import recog.models.can",
    "from recog.models.rare import build",
    'def crnn_rows(): pass', 'rows.can_beam = 1', "x = 'can-d28'", "x = 'rare.py'", 'def f(latex_ocr): pass',
    "f(srn=3)", 'x = """one of `can`"""', "match name:\n    case 'rare': pass"])
def test_whatever_names_an_algorithm_is_found(source):
    assert found(source)


@pytest.mark.parametrize('source', [
    '"""CRNN and CAN."""', 'def f():\n    """As in RARE."""', 'x = 1  # of crnn', "x = 'what can be read'",
    "x = 'rare words'",
    "x = 'e.g. experiments/crnn.py:demo'", "SET = 'latex_ocr/published:test'", "x = 'scanned'",
    'significant = True'])
def test_what_names_none_is_left_alone(source):
    assert not found(source)
