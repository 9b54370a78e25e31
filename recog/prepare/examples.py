"""What a builder gives: examples, and what is rejected or noted."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Example(NamedTuple):
    """One record: the image is encoded; `size` (height, width) spares decoding it where it is certain."""

    id: str
    text: str
    image: bytes
    extra: Mapping[str, Any] = {}
    size: tuple[int, int] | None = None


class Rejected(NamedTuple):
    """Something that gives no record; `reason` is a category in a few words."""

    id: str
    reason: str
    detail: str = ''


class Noted(NamedTuple):
    """Something worth counting about what is recorded nevertheless."""

    id: str
    reason: str
    detail: str = ''
