"""LaTeX of formulas: the references' token lists, LaTeX from tokens, and tokens as LaTeX-OCR cuts them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

VOCABULARIES = Path(__file__).parent / 'vocabularies'


def vocabularies() -> list[str]:
    """The names of the references' lists of tokens: the files of `vocabularies`,
    without the special tokens of a model."""
    return sorted(file.stem for file in VOCABULARIES.glob('*.txt'))


def vocabulary(name: str) -> tuple[str, ...]:
    """The tokens of one of these lists."""
    return tuple((VOCABULARIES / f'{name}.txt').read_text(encoding='utf-8').removesuffix('\n').split('\n'))


def separator(tokens: Sequence[str]) -> str:
    """What stands between such tokens in a label: a blank, unless the blank is one of them."""
    return '' if ' ' in tokens else ' '


# What CROHME's captions use.
CROHME = tuple((
    r"! ' ( ) + , - . / 0 1 2 3 4 5 6 7 8 9 < = > A B C E F G H I L M N P R S T V X Y [ \Delta \alpha "
    r'\beta \cdot \cdots \cos \div \exists \forall \frac \gamma \geq \in \infty \int \lambda \ldots \leq '
    r'\lim \log \mu \neq \phi \pi \pm \prime \rightarrow \sigma \sin \sqrt \sum \tan \theta \times ] a b c '
    r'd e f g h i j k l m n o p q r s t u v w x y z \{ | \} { } ^ _ \limits'
).split())

# Of these, what no ink stands for.
UNDRAWN = frozenset(('{', '}', '_', '^', r'\limits'))


def to_latex(tokens: Iterable[str], limits: bool = True) -> str:
    """Tokens as LaTeX that compiles if their braces match: no needless spaces, no double scripts.

    \\limits is kept where LaTeX allows it. Without `limits` it is dropped, because mathtext does not know it.
    """
    parts: list[str] = []
    scripts: list[set[str]] = [set()]  # those of the last item in each open group
    previous = ''
    for token in tokens:
        if token == r'\limits' and not (limits and previous in (r'\int', r'\sum', r'\lim', r'\prod')):
            continue
        if token in ('_', '^'):
            if token in scripts[-1]:
                parts.append('{}')  # a second script of the same kind needs a base of its own
                scripts[-1].clear()
            scripts[-1].add(token)
        elif previous not in ('_', '^') and token != '}':
            scripts[-1].clear()
        if token == '{':
            scripts.append(set())
        elif token == '}' and len(scripts) > 1:
            scripts.pop()
        if previous[:1] == '\\' and previous[-1:].isalpha() and token[:1].isalpha():
            parts.append(' ')
        parts.append(token)
        previous = token
    return ''.join(parts)


def ocr_tokens(text: str, commands: Iterable[str] | None = None) -> tuple[str, ...]:
    """LaTeX-OCR's tokens as its notebook cuts them: characters, and commands with one space after them.

    Commands that are not in `commands` are cut into characters, as in the reference; None keeps all commands.
    (The reference's package, unlike its notebook, cuts every command into characters.)
    """
    known = None if commands is None else frozenset(commands)
    clean = re.sub(r'(\\[a-zA-Z]+) ', '\\1\0', text).replace(' ', '').replace('\0', ' ')
    found: list[str] = []
    for piece in re.findall(r'\\[^\W\d_]*|.', clean, re.DOTALL):
        found.extend([piece] if known is None or piece in known else piece)
    return tuple(found)
