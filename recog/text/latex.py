r"""LaTeX of formulas: raw LaTeX and MathML to tokens in a normal form, and tokens to LaTeX that compiles.

The normal form is that of CROHME's captions: one way to write what looks the same, tokens parted by blanks, as in
`\sum _ { i = 1 } ^ { n } \frac { 1 } { 2 }`. All its rules stand in the tables below.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

VOCABULARIES = Path(__file__).parent / 'vocabularies'

# The rules of the normal form.
# 1. These say nothing of the formula and are dropped: mathematics on and off, blanks, sizes, styles.
IGNORED = frozenset((r'$ \( \) \[ \] ~ \, \: \; \! \> \left \right \middle \big \bigl \bigr \Big \Bigl \Bigr \bigg \biggl \biggr '
                     r'\Bigg \Biggl \Biggr \displaystyle \textstyle \scriptstyle \nolimits \quad \qquad \thinspace \rm \it \bf '
                     r'\cal \mathstrut').split()) | {'\\ ', '\\\n', '\\/'}
# 2. Names for the same thing; MathML's and Unicode's names too.
SYNONYMS = {other: name for name, others in {
    r'\rightarrow': r'\to \rarr →', r'\leq': r'\le ≤', r'\geq': r'\ge ≥', r'\neq': r'\ne ≠', '<': r'\lt', '>': r'\gt',
    '[': r'\lbrack', ']': r'\rbrack', r'\{': r'\lbrace', r'\}': r'\rbrace', '|': r'\vert \mid \lvert \rvert ∣',
    r'\ldots': r'\dots \hellip \dotsc …', r'\cdots': r'\ctdot \dotsb ⋯', r'\infty': r'\infin ∞', r'\exists': r'\exist ∃',
    r'\frac': r'\dfrac \tfrac \cfrac', r'\times': '×', r'\div': '÷', r'\pm': '±', r'\cdot': '· ⋅', '-': '− –', r'\in': '∈',
    r'\forall': '∀', r'\sum': '∑', r'\int': '∫', r'\prime': '′', '/': '∕', r'\alpha': 'α', r'\beta': 'β', r'\gamma': 'γ',
    r'\theta': 'θ', r'\lambda': 'λ', r'\mu': 'μ µ', r'\pi': 'π', r'\sigma': 'σ', r'\phi': r'φ ϕ', r'\Delta': 'Δ ∆'}.items()
    for other in others.split()}
# 3. What only sets the letters goes, what it is applied to stays; a star belongs to it.
UNWRAPPED = frozenset((r'\mbox \hbox \text \textrm \textit \textbf \mathrm \mathit \mathbf \mathsf \mathtt \mathcal \mathbb '
                       r'\mathfrak \boldsymbol \operatorname \mathop \mathord \mathbin \mathrel \mathopen \mathclose').split())
# 4. An argument stands in braces, also that of _ and ^; all other braces go. So many arguments have these:
ARGUMENTS = {r'\frac': 2, r'\sqrt': 1, r'\binom': 2, r'\overset': 2, r'\underset': 2, r'\stackrel': 2, **dict.fromkeys(
    (r'\overline \underline \overrightarrow \overleftarrow \overbrace \underbrace \widehat \widetilde \hat \bar \vec \dot \ddot '
     r'\tilde \check \acute \grave \breve \boxed \not \phantom').split(), 1)}
# 5. The subscript stands before the superscript; one with nothing in it goes.
# 6. \limits stays after \int alone: sums and limits have theirs there anyway.
# 7. Functions whose letters stand one by one are their command: l o g is \log.
SPELLED = ('log', 'lim', 'sin', 'cos', 'tan')

NESTED = 100  # braces within braces; more is nonsense
# \ltN is `<` and N without the blank between: CROHME has some. An environment's begin and end are a token each.
_PIECE = re.compile(r'\\[lg]t(?=[A-Za-z](?![A-Za-z]))|\\(?:begin|end)\s*\{\s*\w+\*?\s*\}|\\[A-Za-z]+|\\.|\S', re.DOTALL)
# MathML's elements of several parts: the order of parts and tokens in LaTeX.
_LAYOUTS: dict[str, tuple[int | str, ...]] = {
    'mfrac': (r'\frac', 0, 1), 'msub': (0, '_', 1), 'munder': (0, '_', 1), 'msup': (0, '^', 1), 'mover': (0, '^', 1),
    'msubsup': (0, '_', 1, '^', 2), 'munderover': (0, '_', 1, '^', 2)}
_MATHML = {'im': r'\lim', '{': r'\{', '}': r'\}'}  # CROHME's MathML has im, and bare braces


class Malformed(ValueError):
    """LaTeX or MathML that cannot be read: braces that do not match, arguments that are missing."""


def vocabularies() -> list[str]:
    """The names of the references' lists of tokens, without those that belong to a model: the files of `vocabularies`."""
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
_COMMANDS = frozenset(CROHME) | frozenset(SYNONYMS)


def tokens(text: str) -> tuple[str, ...]:
    """Raw LaTeX as tokens in the normal form; `Malformed` says what is wrong."""
    return _normal([re.sub(r'\s', '', piece) if len(piece) > 2 else piece for piece in _PIECE.findall(text)])


def normal(text: str) -> str:
    """Raw LaTeX in the normal form, tokens parted by blanks; `Malformed` says what is wrong."""
    return ' '.join(tokens(text))


def from_mathml(element: Element) -> tuple[str, ...]:
    """Presentation MathML as tokens in the normal form; `Malformed` where elements are missing."""
    return _normal(_mathml(element))


def latex(tokens: Iterable[str], limits: bool = True) -> str:
    """Tokens as LaTeX that compiles if their braces match: no needless blanks, no double scripts.

    \\limits stays where it may stand, or nowhere: mathtext does not know it.
    """
    parts: list[str] = []
    scripts: list[set[str]] = [set()]  # of what stands last, in each open group
    before = ''
    for token in tokens:
        if token == r'\limits' and not (limits and before in (r'\int', r'\sum', r'\lim', r'\prod')):
            continue
        if token in ('_', '^'):
            if token in scripts[-1]:
                parts.append('{}')  # another script of the same kind hangs on nothing
                scripts[-1].clear()
            scripts[-1].add(token)
        elif before not in ('_', '^') and token != '}':
            scripts[-1].clear()
        if token == '{':
            scripts.append(set())
        elif token == '}' and len(scripts) > 1:
            scripts.pop()
        if before[:1] == '\\' and before[-1:].isalpha() and token[:1].isalpha():
            parts.append(' ')
        parts.append(token)
        before = token
    return ''.join(parts)


def ocr_tokens(text: str, commands: Iterable[str] | None = None) -> tuple[str, ...]:
    """LaTeX-OCR's tokens, as its notebook cuts them: characters and commands, no blanks but one after a command.

    Commands that are not among `commands` (None: all are) are cut into characters, as the reference does.
    Unlike its package, which knows no command but the backslash.
    """
    known = None if commands is None else frozenset(commands)
    clean = re.sub(r'(\\[a-zA-Z]+) ', '\\1\0', text).replace(' ', '').replace('\0', ' ')
    found: list[str] = []
    for piece in re.findall(r'\\[^\W\d_]*|.', clean, re.DOTALL):
        found.extend([piece] if known is None or piece in known else piece)
    return tuple(found)


def ocr_latex(tokens: Iterable[str]) -> str:
    """LaTeX of LaTeX-OCR's tokens, which hold the blanks that it needs."""
    return ''.join(tokens)


def _normal(pieces: Sequence[str]) -> tuple[str, ...]:
    kept: list[str] = []
    opened = False
    if '\\' in pieces:
        raise Malformed('a backslash stands at the end')
    for piece in pieces:
        # \left. is a bracket that is not there.
        idle = piece == '.' and opened or piece == r'\limits' and kept[-1:] != [r'\int'] or piece in IGNORED
        if not idle:
            kept.append(SYNONYMS.get(piece, piece))
        opened = piece in (r'\left', r'\right')
    return _spelled(_Reader(kept).sequence())


def _spelled(found: list[str]) -> tuple[str, ...]:
    line = ''.join(token if len(token) == 1 else '\0' for token in found)
    for match in reversed(list(re.finditer('|'.join(SPELLED), line))):
        found[match.start():match.end()] = ['\\' + match.group()]
    return tuple(found)


class _Reader:
    """Reads pieces of LaTeX once, from left to right, into the normal form."""

    def __init__(self, pieces: Sequence[str]):
        self.pieces, self.place, self.depth = pieces, 0, 0

    def next(self) -> str:
        """The next piece, '' at the end."""
        return self.pieces[self.place] if self.place < len(self.pieces) else ''

    def take(self, what: str) -> str:
        """The next piece, left behind; `what` is missing if there is none."""
        piece = self.next()
        if not piece:
            raise Malformed(f'{what} is missing at the end')
        self.place += 1
        return piece

    def sequence(self, end: str = '') -> list[str]:
        """All up to `end`, which is left behind too."""
        self.depth += 1
        if self.depth > NESTED:
            raise Malformed(f'groups are nested more than {NESTED} deep')
        found: list[str] = []
        while self.next() != end:
            if self.next() in ('}', ''):
                raise Malformed(f'{end} is missing' if end else '} closes nothing')
            found += self.scripts() if self.next() in ('_', '^') else self.item()
        self.place += bool(end)
        self.depth -= 1
        return found

    def item(self) -> list[str]:
        """A token with its arguments, or what stands in braces."""
        piece = self.take('an argument')
        while piece in UNWRAPPED:
            self.place += self.next() == '*'
            if self.next() in ('', '}', '_', '^'):
                return []
            piece = self.take('an argument')
        if piece == '{':
            return self.sequence('}')
        if piece in ('}', '_', '^'):
            raise Malformed(f'an argument is missing before {piece}')
        option = ['[', *self._option(), ']'] if piece == r'\sqrt' and self.next() == '[' else []
        found = [piece, *option]
        for _ in range(ARGUMENTS.get(piece, 0)):
            found += self.argument()
        # Nobody knows whether the braces behind an unknown command are its argument: they stay.
        while self.next() == '{' and piece[0] == '\\' and piece[1:].isalpha() and piece not in _COMMANDS | ARGUMENTS.keys():
            found += self.argument()
        return found

    def argument(self) -> list[str]:
        """One argument, in braces."""
        self.depth += 1
        if self.depth > NESTED:
            raise Malformed(f'arguments are nested more than {NESTED} deep')
        found = ['{', *self.item(), '}']
        self.depth -= 1
        return found

    def scripts(self) -> list[str]:
        """All scripts that stand here, subscripts first."""
        found: dict[str, list[str]] = {'_': [], '^': []}
        while self.next() in ('_', '^'):
            kind = self.take('a script')
            argument = self.argument()
            if len(argument) > 2:
                found[kind] += [kind, *argument]
        return found['_'] + found['^']

    def _option(self) -> list[str]:
        self.place += 1
        return self.sequence(']')


def _mathml(element: Element) -> list[str]:
    """MathML as pieces of LaTeX."""
    kind = element.tag.rpartition('}')[2] if isinstance(element.tag, str) else ''
    if kind in ('mi', 'mn', 'mo', 'mtext'):
        return _symbol((element.text or '').strip())
    if kind in ('annotation', 'annotation-xml', 'mspace', ''):
        return []
    parts = [_mathml(child) for child in element]
    if kind in _LAYOUTS:
        order = _LAYOUTS[kind]
        if len(parts) != sum(isinstance(place, int) for place in order):
            raise Malformed(f'{kind} has {len(parts)} parts')
        return [piece for place in order for piece in (['{', *parts[place], '}'] if isinstance(place, int) else [place])]
    if kind == 'mroot' and len(parts) == 2:
        return [r'\sqrt', '[', *parts[1], ']', '{', *parts[0], '}']
    pieces = [piece for part in parts for piece in part]
    return [r'\sqrt', '{', *pieces, '}'] if kind == 'msqrt' else pieces


def _symbol(text: str) -> list[str]:
    """The text of a MathML element: a command with or without its backslash, else characters."""
    if text in _MATHML:
        return [_MATHML[text]]
    if len(text) > 1 and '\\' + text in _COMMANDS:
        return ['\\' + text]
    return _PIECE.findall(text)
