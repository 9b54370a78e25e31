"""The answer of a recognizer for an image: a pair of text and confidence that knows more."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from recog.reading.located import Located
from recog.reading.read import Reading, Scored


class Answer(NamedTuple('Answer', [('text', str | None), ('confidence', float)])):
    """A text and its probability.

    Of an image that could not be read, the text is None, and `error` says why.
    """

    score: float = -math.inf  # the text's log-probability
    mean_token: float = 0.0  # the mean probability of its tokens, which references call its confidence
    others: tuple['Answer', ...] = ()  # the beam's best, this one first, if they were asked for
    error: str = ''
    places: tuple[Located, ...] = ()  # of each token in the image, if they were asked for
    turned: int = 0  # degrees by which the image was turned to the left to read it, with rotate='auto'

    @classmethod
    def of(cls, said: Reading | Scored, places: Sequence[Located] = ()) -> 'Answer':
        """What was read in an image, or one of its texts."""
        answer = cls(said.text, said.confidence)
        answer.score, answer.mean_token = said.score, said.mean_token
        if isinstance(said, Reading):
            answer.others = tuple(map(cls.of, said.others))
            answer.error = said.reason if said.text is None else ''
            answer.places, answer.turned = tuple(places), said.turned
        return answer
