"""The answer for a reading: JSON with text and probabilities, formulas drawn as SVG,
pictures of where the model looked."""

import base64
import io
import tempfile
from pathlib import Path
from typing import Any

from recog.metrics.formulas import Tokens, formula_tokens
from recog.reading.read import Reading, Scored
from recog.reading.recognizer import text_facts
from recog.server.intake import Options
from recog.text.latex import to_latex

SIZE = 28  # of drawn formulas, in points


def answer(reading: Any, recognizer: Any, options: Options) -> dict[str, Any]:
    """The answer for one image. Drawing makes it slow, and matplotlib must draw in one thread."""
    formula = recognizer.about['formula']
    found = facts(reading, formula, draw=options.draw)
    if reading.reason:
        found['note'] = reading.reason
    if options.nbest > 1:
        found['nbest'] = [facts(other, formula, draw=options.draw)
                          for other in reading.others[:options.nbest]]
    if options.explain:
        found['explanation'] = _encoded('image/png', explanation(reading, recognizer))
    return found


def facts(said: Scored | Reading, formula: bool, *, draw: bool = False) -> dict[str, Any]:
    """What `recog predict --json` gives for a text; for a well-formed
    formula also its drawing, if asked for."""
    found = text_facts(formula, said)
    if draw and formula and found['well_formed']:
        found['svg'] = _encoded('image/svg+xml', svg(formula_tokens(found['text'])))
    return found


def svg(tokens: Tokens) -> bytes:
    """A well-formed formula as mathtext sets it: black on a transparent background, letters as outlines."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser

    font, text, file = FontProperties(size=SIZE), f'${to_latex(tokens, limits=False)}$', io.BytesIO()
    width, height, depth = MathTextParser('path').parse(text, 72, font)[:3]
    around = SIZE / 4
    figure = Figure(figsize=((width + 2 * around) / 72, (height + 2 * around) / 72))
    figure.text(around / (width + 2 * around), (depth + around) / (height + 2 * around), text,
                fontproperties=font)
    with rc_context({'svg.fonttype': 'path', 'svg.hashsalt': 'recog'}):
        figure.savefig(file, format='svg', transparent=True, metadata={'Date': None})
    return file.getvalue()


def explanation(reading: Any, recognizer: Any) -> bytes:
    """The picture that `recog predict --explain` draws."""
    from recog.reading import explain

    with tempfile.TemporaryDirectory(prefix='recog-') as folder:
        file = Path(folder) / 'explanation.png'
        explain.draw(reading, recognizer.opened.vocab, recognizer.config.image, file)
        return file.read_bytes()


def _encoded(kind: str, data: bytes) -> str:
    return f'data:{kind};base64,{base64.b64encode(data).decode()}'
