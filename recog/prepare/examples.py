"""What a builder yields: examples, and what is rejected or noted."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Example(NamedTuple):
    """One record: the image is encoded; `size` (height, width), if it is known, saves decoding it."""

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
    """A remark on an example that is recorded all the same, to be counted."""

    id: str
    reason: str
    detail: str = ''
