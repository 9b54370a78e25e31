"""What every set offers: rows, asked for by their numbers."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np


class Row(NamedTuple):
    """One example as read; without an image, `reason` says why."""

    id: str
    text: str
    image: np.ndarray | None
    reason: str = ''
    strokes: Sequence[np.ndarray] = ()  # the ink that the image was drawn from, where the set has it


class Measured(NamedTuple):
    """Heights and widths of images [N, 2], 1 where one cannot be read, and which have their strokes [N]."""

    sizes: np.ndarray
    inked: np.ndarray


class Written(NamedTuple):
    """An example's text, who wrote it, its strokes, and the place of the token that each of these draws.

    The place is -1 where a stroke draws none; there are no places where they are not known.
    """

    text: str
    writer: str
    strokes: Sequence[np.ndarray]
    symbols: np.ndarray


class Source(Protocol):
    """Random access to examples: drawn, prepared by TFDS, a folder, or files that were named."""

    name: str

    def __len__(self) -> int: ...

    def rows(self, indices: Sequence[int]) -> Iterable[Row]:
        """The examples at these places, each decoded when it is taken: many may not fit into memory."""

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        """Id and text of the examples at these places, without their pixels."""


@runtime_checkable
class PackedSource(Source, Protocol):
    """A source whose rows are fitted and encoded already: it gives whole batches."""

    def arrays(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Image, size, tokens, length and weight of these rows, and their codes."""

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """What packing found wrong with each of these rows: 0 is nothing."""

    def notes(self, rows: np.ndarray, code: np.ndarray) -> list[tuple]:
        """(row, id, reason, text) of the rows that were changed or cannot be used."""


@runtime_checkable
class SizedSource(Source, Protocol):
    """A source that knows the sizes of its images without decoding them."""

    def sizes(self, indices: Sequence[int]) -> np.ndarray:
        """Heights and widths [N, 2] that the images at these places do not exceed."""


class WrittenSource(Protocol):
    """A set that says which strokes draw which symbol."""

    name: str

    def written(self) -> list[Written]:
        """The ink of all examples with the symbols that it draws."""


@runtime_checkable
class InkSource(Source, Protocol):
    """A source of nothing but ink, whose sizes can be had without drawing it."""

    def ink_sizes(self, indices: Sequence[int]) -> np.ndarray:
        """Heights and widths [N, 2] of the images at these places."""


@runtime_checkable
class RaggedSource(Source, Protocol):
    """A packed source of images of any size."""

    def measured(self) -> Measured:
        """The sizes of all images, and which have their strokes."""

    def image(self, row: int) -> np.ndarray:
        """An image [H, W, C] as it was read; without any pixels if it could not be."""

    def labelled(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Size, tokens, length and weight of these rows."""

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """What packing found wrong with each of these rows: 0 is nothing."""

    def notes(self, rows: np.ndarray, code: np.ndarray) -> list[tuple]:
        """(row, id, reason, text) of the rows that were changed or cannot be used."""
