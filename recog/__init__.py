"""recog: text recognition in JAX, from prepared data to a reported accuracy.

    import recog

    recognizer = recog.load('runs/demo')  # a workdir, or an exported folder
    text, confidence = recognizer('word.png')  # a path, encoded bytes, an image of Pillow or an array
    for answer in recognizer(['one.png', 'two.png']):
        print(answer.text, answer.confidence)
"""

from typing import Any

__version__ = '0.1.0'


def load(path: Any, **how: Any) -> Any:
    """The recognizer of a workdir, an exported folder or a named reader: `recog.load(PATH)('word.png').text`.

    The arguments are those of `recog predict`: beam, max_length, batch, invert, width_rule, best, explain,
    step and devices.
    """
    from recog.reading import recognizer

    return recognizer.load(path, **how)
