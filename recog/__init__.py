"""recog: text recognition in JAX, from prepared data to a reported accuracy.

    import recog

    recognizer = recog.load('words')  # or a workdir, or an exported folder
    text, confidence = recognizer('word.png')  # a path, encoded bytes, an image of Pillow or an array
    for answer in recognizer(['one.png', 'two.png']):
        print(answer.text, answer.confidence)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from recog.reading.recognizer import Recognizer

__version__ = '0.2.0'


def load(path: 'str | Path', *, beam: int = 0, max_length: int = 0, batch: int = 64, invert: str = 'auto',
         width_rule: str = '', best: int = 1, explain: bool = False, step: int | None = None,
         devices: str = '', channels: str = 'bgr', places: bool = False, rotate: str = '',
         engine: str = '') -> 'Recognizer':
    """The recognizer of a workdir, an exported folder or a named reader: `recog.load(PATH)('word.png').text`.

    `channels` is the order in arrays of colour: bgr, as OpenCV reads them, or rgb. All other arguments are
    those of `recog predict`, where `best` is --nbest: so many texts, for which the beam is as wide unless
    `beam` says otherwise. With `places` answers have the place of each character.
    """
    from recog.reading import recognizer

    return recognizer.load(path, beam=beam, max_length=max_length, batch=batch, invert=invert,
                           width_rule=width_rule, best=best, explain=explain, step=step, devices=devices,
                           channels=channels, places=places, rotate=rotate, engine=engine)
