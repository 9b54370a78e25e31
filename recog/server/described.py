"""What clients may know of a model, in words and figures, and images to try it with, drawn here."""

import string
from collections.abc import Sequence
from typing import Any

from recog.errors import ConfigError

EXAMPLES = 4
# Examples are taken from the first rows of the set that are small enough to be looked at.
LOOKED_AT, WIDEST, LONGEST = 40, 400, 20
KINDS = {'digits': string.digits, 'small letters': string.ascii_lowercase,
         'capital letters': string.ascii_uppercase, 'punctuation': string.punctuation}


def described(reader: Any) -> dict[str, Any]:
    """What clients may know of a model: all but its path."""
    about = reader.recognizer.about
    told = ('model', 'form', 'formula', 'beam', 'max_length', 'protocol', 'ink', 'trained_on')
    return {'name': reader.name, **{key: about[key] for key in told},
            'explain': reader.explaining is not None, 'reads': reads(about)}


def reads(about: dict[str, Any]) -> str:
    """What a model reads, in words."""
    most, tokens = about['max_length'], set(about['tokens'])
    if about['formula']:
        return f'one formula of up to {most} LaTeX tokens, of {len(tokens)} different ones'
    kinds = [name for name, members in KINDS.items() if tokens >= set(members)]
    partly = len(tokens - {' '}.union(*(set(KINDS[name]) for name in kinds)))
    others = [f'{partly} other character' + 's' * (partly > 1)] if partly else []
    what = 'one line' if ' ' in tokens else 'one word'
    return f'{what} of up to {most} characters: {joined([*kinds, *others])}'


def joined(parts: Sequence[str]) -> str:
    """Parts of a list as in a sentence."""
    return ' and '.join([', '.join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def examples(recognizer: Any) -> list[bytes]:
    """Images as PNG for a page to offer: rendered words, or formulas, which were in no training."""
    import cv2

    from recog.data.sets import open_set

    try:
        source = open_set('formulas:test' if recognizer.about['formula'] else 'rendered:test',
                          recognizer.config, '')
    except ConfigError:  # fonts or word lists of the recipe are not on this machine
        return []
    few = [row.image for row in source.rows(range(LOOKED_AT))
           if row.image is not None and row.image.shape[1] <= WIDEST and len(row.text) <= LONGEST]
    # Formulas are drawn light on dark; models whose recipes name their ink read them either way.
    turned = recognizer.about['formula'] and recognizer.about['ink']
    shown = [255 - image if turned else image for image in few[:EXAMPLES]]
    return [cv2.imencode('.png', image)[1].tobytes() for image in shown]
