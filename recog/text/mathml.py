"""Presentation MathML to LaTeX tokens in the normal form."""

from xml.etree.ElementTree import Element

from recog.text.normal_form import COMMANDS, DEEPEST, SYNONYMS, Malformed, from_pieces, pieces_of

SYMBOLS = ('mi', 'mn', 'mo', 'mtext')
NOTHING = ('annotation', 'annotation-xml', 'mspace', '')
# Elements of several parts: the order of the parts and of the tokens between them in LaTeX.
LAYOUTS: dict[str, tuple[int | str, ...]] = {
    'mfrac': (r'\frac', 0, 1), 'msub': (0, '_', 1), 'msup': (0, '^', 1), 'msubsup': (0, '_', 1, '^', 2),
    'munder': (0, '_', 1), 'mover': (0, '^', 1), 'munderover': (0, '_', 1, '^', 2)}
# Errors of CROHME's MathML: `im` for `lim`, and braces that are symbols but not escaped.
CORRECTED = {'im': r'\lim', '{': r'\{', '}': r'\}'}


def from_mathml(element: Element) -> tuple[str, ...]:
    """Presentation MathML as tokens in the normal form; raises `Malformed` if parts are missing."""
    return from_pieces(_pieces(element, DEEPEST))


def symbols(element: Element, depth: int = DEEPEST) -> list[tuple[str, str]]:
    """What is drawn of Presentation MathML, in the order of LaTeX: token, and xml:id ('' if it has none).

    The token of a fraction's bar is its command, and so is that of a root's sign. Raises `Malformed` if
    elements are nested deeper than `depth`.
    """
    kind, own = _kind(element), element.get('{http://www.w3.org/XML/1998/namespace}id', '')
    if kind in SYMBOLS:
        return [(token_of(element.text or ''), own)]
    if kind in NOTHING:
        return []
    parts = [symbols(child, _deeper(depth)) for child in element]
    if kind == 'mroot':
        parts = parts[::-1]  # the index stands first in LaTeX
    sign = {'mfrac': r'\frac', 'msqrt': r'\sqrt', 'mroot': r'\sqrt'}.get(kind)
    return [*([(sign, own)] if sign else []), *(symbol for part in parts for symbol in part)]


def token_of(text: str) -> str:
    """The token of a symbol's name in MathML or in the segmentation of ink."""
    return ' '.join(SYNONYMS.get(piece, piece) for piece in _symbol(text.strip()))


def _kind(element: Element) -> str:
    return element.tag.rpartition('}')[2] if isinstance(element.tag, str) else ''


def _deeper(depth: int) -> int:
    """How many levels are left below this one."""
    if not depth:
        raise Malformed(f'elements are nested more than {DEEPEST} deep')
    return depth - 1


def _pieces(element: Element, depth: int) -> list[str]:
    """MathML as pieces of raw LaTeX."""
    kind = _kind(element)
    if kind in SYMBOLS:
        return _symbol((element.text or '').strip())
    if kind in NOTHING:
        return []
    parts = [_pieces(child, _deeper(depth)) for child in element]
    if kind in LAYOUTS:
        return _laid_out(kind, parts)
    if kind == 'mroot' and len(parts) == 2:
        return [r'\sqrt', '[', *parts[1], ']', '{', *parts[0], '}']
    pieces = [piece for part in parts for piece in part]
    return [r'\sqrt', '{', *pieces, '}'] if kind == 'msqrt' else pieces


def _laid_out(kind: str, parts: list[list[str]]) -> list[str]:
    """The parts of an element in LaTeX's order, each in braces."""
    layout = LAYOUTS[kind]
    if len(parts) != sum(isinstance(place, int) for place in layout):
        raise Malformed(f'{kind} has {len(parts)} parts')
    return [piece for place in layout
            for piece in (['{', *parts[place], '}'] if isinstance(place, int) else [place])]


def _symbol(text: str) -> list[str]:
    """The text of an element as pieces: a command, with or without its backslash, or characters."""
    if text in CORRECTED:
        return [CORRECTED[text]]
    if len(text) > 1 and '\\' + text in COMMANDS:
        return ['\\' + text]
    return pieces_of(text)
