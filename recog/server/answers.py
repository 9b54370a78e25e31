"""The answer for a reading: JSON with text and probabilities, formulas drawn, where the model looked."""

import base64
import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from recog.metrics.formulas import Tokens, formula_tokens, well_formed
from recog.reading.read import Reading, Scored
from recog.reading.recognizer import text_facts
from recog.server.intake import Options
from recog.text.latex import to_latex
from recog.text.normal_form import Malformed, normal_tokens
from recog.text.written_mathml import to_mathml

SIZE = 28  # of drawn formulas, in points


def answer(reading: Any, recognizer: Any, options: Options, image: Any = None) -> dict[str, Any]:
    """The answer for one image. Drawing makes it slow, and matplotlib must draw in one thread."""
    formula = recognizer.about['formula']
    found = facts(reading, formula, draw=options.draw)
    if reading.reason:
        found['note'] = reading.reason
    if recognizer.rotate:
        found['turned'] = reading.turned
    if options.nbest > 1:
        found['nbest'] = [facts(other, formula, draw=options.draw)
                          for other in reading.others[:options.nbest]]
    if options.places:
        found['places'] = places(reading, recognizer, image)
    if options.explain:
        found['explanation'] = _encoded('image/png', explanation(reading, recognizer))
    return found


def facts(said: Scored | Reading, formula: bool, *, draw: bool = False) -> dict[str, Any]:
    """What `recog predict --json` gives for a text; for a well-formed
    formula also its drawing, if asked for."""
    found = text_facts(formula, said)
    return found | (set_formula(found['text'], found['well_formed']) if draw and formula else {})


def set_formula(text: str, sound: bool) -> dict[str, str]:
    """A formula as LaTeX without needless blanks; if it is well-formed also drawn, and as MathML."""
    tokens = formula_tokens(text)
    found = {'latex': to_latex(tokens)}
    if sound:
        found['svg'] = _encoded('image/svg+xml', svg(tokens))
        with contextlib.suppress(Malformed):  # of some LaTeX there is none
            found['mathml'] = to_mathml(normal_tokens(text))
    return found


def typed_formula(text: str) -> dict[str, Any]:
    """The answer for a formula that somebody has typed."""
    sound = well_formed(formula_tokens(text))
    return {'text': text, 'well_formed': sound, **set_formula(text, sound)}


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


def places(reading: Any, recognizer: Any, given: Any) -> dict[str, Any]:
    """The image as the model saw it, and of each token its confidence and where it was read from: weights
    from 0 to 255 of cells over that image, centre and box in the pixels of the one that was given."""
    import cv2

    from recog.reading.places import seen

    found = seen(reading, recognizer.opened.vocab, recognizer.config.image)
    image = cv2.imencode('.png', np.ascontiguousarray(found.image[..., ::-1]))[1].tobytes()
    places = recognizer.located(reading._replace(row=0), recognizer.source([given]))
    tokens = [{**place.facts(), 'weights': _levels(each.weights)}
              for place, each in zip(places, found.places, strict=True)]
    return {'image': _encoded('image/png', image), 'tokens': tokens}


def _levels(weights: np.ndarray) -> list[list[int]]:
    return np.rint(weights * (255 / max(float(weights.max()), 1e-9))).astype(int).tolist()


def as_address(png: bytes) -> str:
    """A PNG as a data: address."""
    return _encoded('image/png', png)


def _encoded(kind: str, data: bytes) -> str:
    return f'data:{kind};base64,{base64.b64encode(data).decode()}'
