"""From the token at each position to texts."""

from collections.abc import Callable
from typing import Any

import torch

from recog.bench.rivals.texts import Texts, texts

# What the function `found` of each rival returns: the tokens of all positions, their probabilities, and which
# of them belong to the text, [B, T] each. Only what comes after it needs Python.
Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@torch.inference_mode()
def read(found: Callable[..., Found], given: tuple[Any, ...], most: int) -> Texts:
    """The texts of at most `most` tokens that are found of these images, and their mean probability [B]."""
    tokens, probability, kept = (part.numpy() for part in found(*given))
    return texts(tokens, probability, kept, most)


def greedy(step: Callable[[torch.Tensor, int], torch.Tensor], last: torch.Tensor, written: torch.Tensor,
           end: int, offset: int, steps: int) -> Found:
    """The steps of greedy decoding, at most `steps`, until all texts have ended.

    step(last, number) gives the logits [B, K] of the class after `last` [B]; `written` [K] is 1 for classes
    that may be chosen, and a token is its class less `offset`.
    """
    ended, chosen = torch.zeros_like(last, dtype=torch.bool), []
    for number in range(steps):
        probability, last = (step(last, number).softmax(-1) * written).max(-1)
        ended = ended | (last == end)
        chosen.append((last - offset, probability, ~ended))
        if bool(ended.all()):
            break
    tokens, probability, kept = (torch.stack(parts, 1) for parts in zip(*chosen, strict=True))
    return tokens, probability, kept
