"""The symbols of InkML files: which strokes draw which token, and who wrote them."""

import re
from collections import Counter
from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np

from recog.text.latex import UNDRAWN
from recog.text.mathml import symbols, token_of
from recog.text.normal_form import Malformed

BARS = {r'\frac': '-'}  # how segmentations call a fraction's bar
# Tokens that truth, MathML and segmentation call now so, now so, and one of them in three dots.
ALIKE = {r'\ldots': r'\cdots', r'\cdot': '.', r'\prime': "'"}
DOTS, DOT = r'\cdots', '.'
XML_ID = '{http://www.w3.org/XML/1998/namespace}id'
UNKNOWN = ('', 'Unknown')  # writers that are several people
SESSION = re.compile(r'(\d+-\d+)-\d+')  # files of MathBrush: one person's session, and a number


def tokens_of_strokes(root: Element, tokens: Sequence[str]) -> np.ndarray:
    """For each stroke the place of its token, -1 if it belongs to none.  -> int32 [S]

    It is empty if the file does not say it of every symbol, or if truth, MathML and segmentation disagree.
    """
    nothing = np.zeros(0, np.int32)
    math, groups = root.find('.//{*}math'), _groups(root)
    if math is None or groups is None:
        return nothing
    try:
        found = [(ALIKE.get(token, token), own) for token, own in symbols(math)]
    except Malformed:
        return nothing
    names = [own for _, own in found]
    places = _matched([token for token, _ in found], tokens)
    labels = {own: BARS.get(token, token) for token, own in found}
    if not places or len(labels) < len(names) or labels != {own: label for own, (label, _) in groups.items()}:
        return nothing
    ids = [trace.get('id', trace.get(XML_ID, '')) for trace in root.findall('.//{*}trace')]
    owner = {stroke: place for place, own in zip(places, names, strict=True) for stroke in groups[own][1]}
    if not owner.keys() <= set(ids) or len(set(ids)) < len(ids):
        return nothing
    return np.array([owner.get(each, -1) for each in ids], np.int32)


def writer(root: Element, name: str) -> str:
    """Who wrote a file: its annotation, the session it is from, or the file itself where nobody is named."""
    said = next((note.text for note in root.findall('{*}annotation') if note.get('type') == 'writer'), '')
    known = (said or '').strip()
    if known not in UNKNOWN:
        return known
    session = SESSION.fullmatch(name)
    return session[1] if session else name


def _matched(names: Sequence[str], tokens: Sequence[str]) -> list[int]:
    """The place of the token that each symbol of the MathML is of; empty if they differ."""
    places: list[int] = []
    for place in _drawn_places(tokens):
        token, here = ALIKE.get(tokens[place], tokens[place]), names[len(places):len(places) + 3]
        count = 3 if token == DOTS and here == [DOT] * 3 else 1
        if count == 1 and here[:1] != [token]:
            return []
        places += [place] * count
    return places if len(places) == len(names) else []


def _drawn_places(tokens: Sequence[str]) -> list[int]:
    """The places of the tokens that are drawn: the brackets of a root's index are not."""
    places, opened = [], 0
    for place, token in enumerate(tokens):
        if token == '[' and tokens[place - 1:place] == [r'\sqrt']:
            opened += 1
        elif token == ']' and opened and tokens[place + 1:place + 2] == ['{']:
            opened -= 1
        elif token not in UNDRAWN:
            places.append(place)
    return places


def _groups(root: Element) -> dict[str, tuple[str, list[str]]] | None:
    """Label and strokes of each group by the xml:id of its symbol; None if two share an id or a stroke."""
    found: dict[str, tuple[str, list[str]]] = {}
    used: Counter[str] = Counter()
    for group in root.findall('.//{*}traceGroup'):
        strokes = [view.get('traceDataRef', '') for view in group.findall('{*}traceView')]
        if not strokes:
            continue
        label = next((note.text for note in group.findall('{*}annotation')
                      if note.get('type') == 'truth'), '')
        own = next((each.get('href', '') for each in group.findall('{*}annotationXML')), '')
        if own in found:
            return None
        token = token_of(label or '')
        found[own] = (BARS.get(token, ALIKE.get(token, token)), strokes)
        used.update(strokes)
    return None if any(count > 1 for count in used.values()) else found
