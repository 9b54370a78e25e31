"""What a set is to all that reads it: rows, asked for by number."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np


class Row(NamedTuple):
    """One example as read; without an image, `reason` says why."""

    id: str
    text: str
    image: np.ndarray | None
    reason: str = ''
    strokes: Sequence[np.ndarray] = ()  # the ink that the image was drawn from, where the set has it


class Source(Protocol):
    """Random access to examples: rendered, prepared by TFDS, a folder, or given files."""

    name: str

    def __len__(self) -> int: ...

    def rows(self, indices: Sequence[int]) -> list[Row]:
        """The examples at these places, decoded."""

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        """Id and text of the examples at these places, without their pixels."""
