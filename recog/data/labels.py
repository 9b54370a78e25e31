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


def encode(vocab: Vocab, text: str, max_length: int, room: int | None = None) -> Label:
    """The label of a text of at most `max_length` tokens, of which `room` ids at most are left.

    Tokens that the vocabulary lacks count in the length, as in the reference, but take no room.
    """
    try:
        encoding = vocab.encode(text, max_length=max_length)
    except Unencodable as error:
        return Label((), error.reason)
    if room is not None and len(encoding.ids) > room:
        return Label((), 'too long')
    return Label(encoding.ids, changed=bool(encoding.dropped))


def write(label: Label, batch: dict[str, np.ndarray], place: int) -> None:
    """Put the ids into this row of the batch's `tokens` and `length`."""
    batch['length'][place] = len(label.ids)
    batch['tokens'][place, :len(label.ids)] = label.ids
