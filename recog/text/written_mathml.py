"""Formulas as MathML, from their tokens in the normal form."""

import html
import unicodedata
from collections.abc import Sequence

from recog.text.normal_form import ARGUMENTS, SYNONYMS, Malformed

SIGNS = {name: other for other, name in SYNONYMS.items() if len(other) == 1 and not other.isascii()} | {
    '-': '−', r'\{': '{', r'\}': '}', '*': '∗'}
FUNCTIONS = frozenset(r'\sin \cos \tan \log \ln \lim \exp \max \min \sec \csc \cot \det \arg'.split())
STACKED = frozenset((r'\sum', r'\prod', r'\lim'))  # their scripts stand below and above
ABOVE = {r'\overline': '¯', r'\bar': '¯', r'\hat': '^', r'\widehat': '^', r'\vec': '→', r'\dot': '˙',
         r'\ddot': '¨', r'\tilde': '~', r'\widetilde': '~', r'\overrightarrow': '→'}
PLACED = {r'\overset': 'mover', r'\stackrel': 'mover', r'\underset': 'munder'}


def to_mathml(tokens: Sequence[str]) -> str:
    """Tokens in the normal form as a `math` element; raises `Malformed` where MathML has no form for one."""
    writer = _Writer(tokens)
    body = writer.row('')
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">{body}</math>'


class _Writer:
    """Reads tokens once, from left to right, and writes elements."""

    def __init__(self, tokens: Sequence[str]):
        self._tokens, self._place = tokens, 0

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ''

    def _after(self) -> str:
        return self._tokens[self._place + 1] if self._place + 1 < len(self._tokens) else ''

    def _take(self, wanted: str = '') -> str:
        token = self._peek()
        if not token or (wanted and token != wanted):
            raise Malformed(f'{wanted or "a token"} is missing')
        self._place += 1
        return token

    def row(self, end: str) -> str:
        """All items up to `end`, as one element."""
        found: list[str] = []
        while self._peek() != end:
            found.append(self._scripted())
        if end:
            self._take(end)
        return found[0] if len(found) == 1 else f'<mrow>{"".join(found)}</mrow>'

    def _argument(self) -> str:
        self._take('{')
        return self.row('}')

    def _scripted(self) -> str:
        """An item with its scripts."""
        stacked = self._peek() in STACKED
        base = '<mrow></mrow>' if self._peek() in ('_', '^') else self._item()
        if self._peek() == r'\limits':
            self._take()
            stacked = True
        scripts: dict[str, str] = {}
        while self._peek() in ('_', '^') and self._peek() not in scripts:
            kind = self._take()
            scripts[kind] = self._argument()
        below, above = ('munder', 'mover') if stacked else ('msub', 'msup')
        if len(scripts) == 2:
            both = 'munderover' if stacked else 'msubsup'
            return f'<{both}>{base}{scripts["_"]}{scripts["^"]}</{both}>'
        if not scripts:
            return base
        (kind, script), = scripts.items()
        name = below if kind == '_' else above
        return f'<{name}>{base}{script}</{name}>'

    def _item(self) -> str:
        """A token with its arguments."""
        token = self._take()
        if token == '{':
            return self.row('}')
        if token == r'\sqrt':
            return self._root()
        if token in (r'\frac', r'\binom'):
            flat = ' linethickness="0"' if token == r'\binom' else ''
            found = f'<mfrac{flat}>{self._argument()}{self._argument()}</mfrac>'
            return f'<mrow><mo>(</mo>{found}<mo>)</mo></mrow>' if flat else found
        if token in ABOVE:
            return f'<mover accent="true">{self._argument()}<mo>{ABOVE[token]}</mo></mover>'
        if token in PLACED:
            script, base = self._argument(), self._argument()
            return f'<{PLACED[token]}>{base}{script}</{PLACED[token]}>'
        if token in ARGUMENTS or token == '}' or token.startswith((r'\begin', r'\end')):
            raise Malformed(f'MathML has no form for {token} here')
        return self._leaf(token)

    def _root(self) -> str:
        if self._peek() != '[':
            return f'<msqrt>{self._argument()}</msqrt>'
        self._take('[')
        index = self.row(']')
        return f'<mroot>{self._argument()}{index}</mroot>'

    def _leaf(self, token: str) -> str:
        if token.isdigit():
            while self._peek().isdigit() or (self._peek() == '.' and self._after().isdigit()):
                token += self._take()
            return f'<mn>{token}</mn>'
        sign = SIGNS.get(token) or _greek(token) or token.removeprefix('\\')
        if token in FUNCTIONS:
            applied = f'<mrow><mi>{sign}</mi><mo>&#x2061;</mo></mrow>'
            return f'<mo>{sign}</mo>' if token in STACKED else applied
        kind = 'mi' if all(each.isalpha() for each in sign) else 'mo'
        return f'<{kind}>{html.escape(sign)}</{kind}>'


def _greek(command: str) -> str:
    """The letter that a command names, '' if none."""
    name = command.removeprefix('\\').removeprefix('var')
    size = 'CAPITAL' if name[:1].isupper() else 'SMALL'
    try:
        return unicodedata.lookup(f'GREEK {size} LETTER {name.upper()}') if command[0] == '\\' else ''
    except KeyError:
        return ''
