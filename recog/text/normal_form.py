r"""The normal form of LaTeX: formulas that look the same are written the same way.

It is that of CROHME's captions, with a space between tokens: `\sum _ { i = 1 } ^ { n } \frac { 1 } { 2 }`.
The tables below hold all of its rules.
"""

import re
from collections.abc import Sequence

from recog.text.latex import CROHME

# 1. Tokens without meaning for the formula are dropped: mathematics on and off, spaces, sizes, styles.
IGNORED = frozenset((
    r'$ \( \) \[ \] ~ \, \: \; \! \> \quad \qquad \thinspace \left \right \middle \big \bigl \bigr \Big '
    r'\Bigl \Bigr \bigg \biggl \biggr \Bigg \Biggl \Biggr \displaystyle \textstyle \scriptstyle \nolimits '
    r'\rm \it \bf \cal \mathstrut').split()) | {'\\ ', '\\\n', '\\/', '\u2061'}
# 2. Names for the same thing, those of MathML and Unicode among them, become one.
SYNONYMS = {other: name for name, others in {
    r'\rightarrow': r'\to \rarr →', r'\leq': r'\le ≤', r'\geq': r'\ge ≥', r'\neq': r'\ne ≠',
    '<': r'\lt', '>': r'\gt', '[': r'\lbrack', ']': r'\rbrack', r'\{': r'\lbrace', r'\}': r'\rbrace',
    '|': r'\vert \mid \lvert \rvert ∣', '-': '− –', '/': '∕', r'\cdot': '· ⋅', r'\times': '×', r'\div': '÷',
    r'\pm': '±', r'\in': '∈', r'\forall': '∀', r'\exists': r'\exist ∃', r'\sum': '∑', r'\int': '∫',
    r'\infty': r'\infin ∞', r'\prime': '′', r'\frac': r'\dfrac \tfrac \cfrac',
    r'\ldots': r'\dots \hellip \dotsc …', r'\cdots': r'\ctdot \dotsb ⋯', r'\alpha': 'α', r'\beta': 'β',
    r'\gamma': 'γ', r'\theta': 'θ', r'\lambda': 'λ', r'\mu': 'μ µ', r'\pi': 'π', r'\sigma': 'σ',
    r'\phi': r'φ ϕ', r'\Delta': 'Δ ∆'}.items()
    for other in others.split()}
# 3. Commands that only set the type of letters are dropped, also their starred forms; their argument stays.
UNWRAPPED = frozenset((
    r'\mbox \hbox \text \textrm \textit \textbf \mathrm \mathit \mathbf \mathsf \mathtt \mathcal \mathbb '
    r'\mathfrak \boldsymbol \operatorname \mathop \mathord \mathbin \mathrel \mathopen \mathclose').split())
# 4. Every argument stands in braces, also that of _ and ^; all other braces are dropped. How many arguments:
ARGUMENTS = {r'\frac': 2, r'\sqrt': 1} | dict.fromkeys(
    r'\binom \overset \underset \stackrel'.split(), 2) | dict.fromkeys((
        r'\overline \underline \overrightarrow \overleftarrow \overbrace \underbrace \widehat \widetilde '
        r'\hat \bar \vec \dot \ddot \tilde \check \acute \grave \breve \boxed \not \phantom').split(), 1)
# 5. The subscript stands before the superscript; an empty one is dropped.
# 6. \limits stays after \int only: sums and limits have theirs above and below anyway.
# 7. A function spelled in single letters becomes its command: l o g is \log.
SPELLED = ('log', 'lim', 'sin', 'cos', 'tan')

DEEPEST = 100  # nesting of groups and arguments
# \ltN is `<` and N without the space between, as in some captions of CROHME.
# \begin{...} and \end{...} are a token each.
_PIECE = re.compile(
    r'\\[lg]t(?=[A-Za-z](?![A-Za-z]))|\\(?:begin|end)\s*\{\s*\w+\*?\s*\}|\\[A-Za-z]+|\\.|\S', re.DOTALL)
COMMANDS = frozenset(CROHME) | frozenset(SYNONYMS)


class Malformed(ValueError):
    """LaTeX or MathML that cannot be read: braces that do not match, arguments that are missing."""


def normal_tokens(text: str) -> tuple[str, ...]:
    """Raw LaTeX as tokens in the normal form; raises `Malformed`."""
    return from_pieces([re.sub(r'\s', '', piece) if len(piece) > 2 else piece for piece in pieces_of(text)])


def normal_text(text: str) -> str:
    """Raw LaTeX in the normal form, with spaces between the tokens; raises `Malformed`."""
    return ' '.join(normal_tokens(text))


def pieces_of(text: str) -> list[str]:
    """Raw LaTeX cut into commands, escaped characters and single characters, without spaces."""
    return _PIECE.findall(text)


def from_pieces(pieces: Sequence[str]) -> tuple[str, ...]:
    """Pieces of raw LaTeX as tokens in the normal form; raises `Malformed`."""
    kept: list[str] = []
    after_size = False
    if '\\' in pieces:
        raise Malformed('a backslash stands at the end')
    for piece in pieces:
        is_no_bracket = piece == '.' and after_size  # \left. and \right. are brackets that are not drawn
        is_needless_limits = piece == r'\limits' and kept[-1:] != [r'\int']
        if not (is_no_bracket or is_needless_limits or piece in IGNORED):
            kept.append(SYNONYMS.get(piece, piece))
        after_size = piece in (r'\left', r'\right')
    return _joined(_Reader(kept).sequence())


def _joined(tokens: list[str]) -> tuple[str, ...]:
    """The tokens, with each function that is spelled in letters as its command."""
    line = ''.join(token if len(token) == 1 else '\0' for token in tokens)
    for match in reversed(list(re.finditer('|'.join(SPELLED), line))):
        tokens[match.start():match.end()] = ['\\' + match.group()]
    return tuple(tokens)


class _Reader:
    """Reads the pieces of a formula once, from left to right, and gives them in the normal form."""

    def __init__(self, pieces: Sequence[str]):
        self.pieces, self.position, self.depth = pieces, 0, 0

    def peek(self) -> str:
        """The next piece, '' at the end."""
        return self.pieces[self.position] if self.position < len(self.pieces) else ''

    def take(self, what: str) -> str:
        """Step over the next piece and return it; at the end, `what` is missing."""
        piece = self.peek()
        if not piece:
            raise Malformed(f'{what} is missing at the end')
        self.position += 1
        return piece

    def sequence(self, end: str = '') -> list[str]:
        """Everything up to `end`, which is stepped over, too."""
        self.descend('groups')
        found: list[str] = []
        while self.peek() != end:
            if self.peek() in ('}', ''):
                raise Malformed(f'{end} is missing' if end else '} closes nothing')
            found += self.scripts() if self.peek() in ('_', '^') else self.item()
        self.position += bool(end)
        self.depth -= 1
        return found

    def item(self) -> list[str]:
        """A token with its arguments, or the content of a group."""
        piece = self.take('an argument')
        while piece in UNWRAPPED:
            self.position += self.peek() == '*'
            if self.peek() in ('', '}', '_', '^'):
                return []
            piece = self.take('an argument')
        if piece == '{':
            return self.sequence('}')
        if piece in ('}', '_', '^'):
            raise Malformed(f'an argument is missing before {piece}')
        option = self.option() if piece == r'\sqrt' else []
        return [piece, *option, *self.arguments(piece)]

    def option(self) -> list[str]:
        """The argument in brackets, if there is one."""
        if self.peek() != '[':
            return []
        self.position += 1
        return ['[', *self.sequence(']'), ']']

    def arguments(self, piece: str) -> list[str]:
        """All arguments of a command, in braces."""
        found = [token for _ in range(ARGUMENTS.get(piece, 0)) for token in self.argument()]
        # The braces after an unknown command stay: whether they hold an argument of it is not known.
        is_command = piece[0] == '\\' and piece[1:].isalpha()
        while self.peek() == '{' and is_command and piece not in COMMANDS and piece not in ARGUMENTS:
            found += self.argument()
        return found

    def argument(self) -> list[str]:
        """One argument, in braces."""
        self.descend('arguments')
        found = ['{', *self.item(), '}']
        self.depth -= 1
        return found

    def scripts(self) -> list[str]:
        """All scripts at this position, subscripts first."""
        found: dict[str, list[str]] = {'_': [], '^': []}
        while self.peek() in ('_', '^'):
            kind = self.take('a script')
            argument = self.argument()
            if len(argument) > 2:
                found[kind] += [kind, *argument]
        return found['_'] + found['^']

    def descend(self, what: str) -> None:
        """Count one more level of nesting."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise Malformed(f'{what} are nested more than {DEEPEST} deep')
