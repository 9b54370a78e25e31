"""Labels as the rows of a batch: the ids of a text, or the reason why it has none."""

from typing import NamedTuple

import numpy as np

from recog.text.vocabulary import Unencodable, Vocab

CHANGED = 'changed'  # the note of a label of which characters were dropped


class Label(NamedTuple):
    """The ids of a text; without any, `reason` says why it cannot be used."""

    ids: tuple[int, ...]
    reason: str = ''
    changed: bool = False  # whether characters were dropped


def encode(vocab: Vocab, text: str, max_length: int) -> Label:
    """The label of at most so many ids."""
    try:
        encoding = vocab.encode(text, max_length=max_length)
    except Unencodable as error:
        return Label((), error.reason)
    return Label(encoding.ids, changed=bool(encoding.dropped))


def write(label: Label, batch: dict[str, np.ndarray], place: int) -> None:
    """Put the ids into this row of the batch's `tokens` and `length`."""
    batch['length'][place] = len(label.ids)
    batch['tokens'][place, :len(label.ids)] = label.ids
