"""InkML files of handwritten formulas as records: their ink drawn, their truth or MathML as tokens."""

from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np

from recog.images import ink
from recog.prepare import bitmaps, segmentation
from recog.prepare.examples import Example, Noted, Rejected
from recog.prepare.regular import Lost
from recog.text.latex import CROHME
from recog.text.mathml import from_mathml
from recog.text.normal_form import Malformed, normal_tokens

# Only nonsense has more: the largest file of CROHME has 61 kB, and its longest ink 5,400 pixels.
LARGEST = 1 << 20  # bytes
LONGEST = 1 << 18  # pixels along all strokes


def drawn(name: str, content: bytes | Lost) -> Iterator[Example | Rejected | Noted]:
    """The record of a file, drawn from its ink."""
    if isinstance(content, Lost):
        yield Rejected(name, *content)
        return
    if not content.strip():
        yield Rejected(name, 'file is empty')
        return
    if len(content) > LARGEST:
        yield Rejected(name, 'file is too large', f'{len(content):,} bytes')
        return
    try:
        root = ElementTree.fromstring(content)
        strokes = ink.whole([ink.trace(trace.text or '') for trace in root.findall('.//{*}trace')])
    except (ElementTree.ParseError, LookupError) as error:  # an unknown encoding is a LookupError
        yield Rejected(name, 'file is no XML that can be read', str(error))
        return
    except ValueError as error:
        yield Rejected(name, 'ink cannot be read', str(error))
        return
    if not strokes:
        yield Rejected(name, 'there is no ink')
        return
    length = sum(float(np.abs(np.diff(stroke, axis=0)).max(1).sum()) for stroke in ink.pixels(strokes))
    if length > LONGEST:
        yield Rejected(name, 'ink is too long', f'{length:,.0f} pixels along its strokes')
        return
    truth = next((note.text for note in root.findall('{*}annotation') if note.get('type') == 'truth'
                  and note.text), '')
    text, problem = caption(truth, root.find('.//{*}math'))
    if not text:
        yield Rejected(name, problem, truth)
        return
    if problem:
        yield Noted(name, problem, truth)
    picture = ink.draw(strokes)
    points, lengths = ink.joined(strokes)
    extra = {'truth': truth, 'points': points, 'strokes': lengths, 'writer': segmentation.writer(root, name),
             'symbols': segmentation.tokens_of_strokes(root, text.split())}
    yield Example(name, text, bitmaps.png(picture), extra, (picture.shape[0], picture.shape[1]))


def caption(truth: str, math: ElementTree.Element | None) -> tuple[str, str]:
    """A formula's tokens, separated by blanks, and a remark on their source; no tokens if none can be read.

    The truth is right more often than the MathML, which is used only if the
    truth is malformed or has unknown tokens.
    """
    try:
        found = normal_tokens(truth)
        problem = '' if found and set(found) <= set(CROHME) else 'truth has unknown tokens'
    except Malformed:
        found, problem = (), 'truth is malformed'
    if not problem:
        return ' '.join(found), ''
    try:
        other = () if math is None else from_mathml(math)
    except Malformed:
        other = ()
    if other and (not found or set(other) <= set(CROHME)):
        return ' '.join(other), f'{problem}, MathML used' if truth.strip() else 'no truth, MathML used'
    return ' '.join(found), problem if truth.strip() else 'there is no truth'
