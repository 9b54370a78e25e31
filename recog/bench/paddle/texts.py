"""From the token at each position to texts."""

from collections.abc import Callable
from typing import Any

import paddle

from recog.bench.rivals.texts import Texts, texts

# What the function `found` of each rival returns: the tokens of all positions, their probabilities, and which
# of them belong to the text, [B, T] each. Only what comes after it needs Python.
Found = tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]


def read(found: Callable[..., Found], given: tuple[Any, ...], most: int) -> Texts:
    """The texts of at most `most` tokens that are found of these images, and their mean probability [B]."""
    with paddle.no_grad():
        tokens, probability, kept = (part.numpy() for part in found(*given))
    return texts(tokens, probability, kept, most)
