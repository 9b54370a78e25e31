"""How the labels of a set are compared: two are the same if they are the same once folded."""

import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from recog.text.normal_form import Malformed, normal_text


class Fold(NamedTuple):
    """A form in which labels are compared, and what it is called in reports."""

    said: str
    make: Callable[[str], str]


def word(text: str) -> str:
    """The form of words: in NFKC and lower case, without white space."""
    return ''.join((text if text.isascii() else unicodedata.normalize('NFKC', text)).casefold().split())


def formula(text: str) -> str:
    """The form of formulas: tokens in the normal form, or the text without blanks if it is malformed."""
    try:
        return normal_text(text)
    except Malformed:
        return ''.join(text.split())


WORDS = Fold('NFKC, lower case, no white space', word)
FORMULAS = Fold('tokens in the normal form of LaTeX', formula)
