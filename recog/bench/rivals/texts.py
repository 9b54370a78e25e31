"""From the token at each position to texts, and whether two forms of a rival read the same."""

from collections.abc import Callable, Mapping

import numpy as np

from recog.bench.rivals.equality import EQUAL

# Calls before a form is compared: some compilers still change a program in its first ones.
WARMING = 3
MOST = 200  # letters of the reason why a form is missing

Texts = tuple[list[list[int]], np.ndarray]
Call = Callable[[], Texts]


def texts(tokens: np.ndarray, probability: np.ndarray, kept: np.ndarray, most: int) -> Texts:
    """The first `most` of the kept tokens of each row of [B, T], and their mean probability [B]."""
    kept = kept & (kept.cumsum(1) <= most)
    found = [row[mask].tolist() for row, mask in zip(tokens, kept, strict=True)]
    return found, (probability * kept).sum(1) / kept.sum(1).clip(min=1)


def forms(makes: Mapping[str, Callable[[], Call]], wanted: Texts) -> tuple[dict[str, Call], dict[str, str]]:
    """The calls of the forms that can be made and read these texts, and why one is missing, in a line."""
    calls: dict[str, Call] = {}
    missing: dict[str, str] = {}
    for kind, make in makes.items():
        try:
            call = make()
            if all(_same(call(), wanted) for _ in range(WARMING)):
                calls[kind] = call
            else:
                missing[kind] = 'its texts are others'
        except Exception as error:  # whatever these compilers raise, the other forms are timed
            missing[kind] = ' '.join(f'{type(error).__name__}: {error}'.split())[:MOST]
    return calls, missing


def _same(got: Texts, wanted: Texts) -> bool:
    """Whether texts are the same, and their probabilities but for rounding."""
    return got[0] == wanted[0] and np.allclose(got[1], wanted[1], rtol=1e-3, atol=EQUAL)
