"""Files that a release has in several places: which of them is meant, and why the others are left out."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from recog.prepare.regular import Lost
from recog.prepare.trees import Tree

AGAIN, BARE, OLDER = ('the same file again', 'without {}, which another file of its name has',
                      'a later release has a file of its name')


class Place(NamedTuple):
    """A file of a tree, and its path as messages call it."""

    tree: Tree
    name: str
    path: str


class LeftOut(NamedTuple):
    """A file that is not meant, why, and the file that is; `reason` is '' where nothing decides."""

    place: Place
    reason: str
    meant: Place


class _Content(NamedTuple):
    """What decides between files: whether it has what is needed, its release's years, and its digest."""

    complete: bool
    years: list[str]
    digest: bytes


def settled(places: Sequence[Place], contents: Mapping[Place, _Content], needed: str) -> list[LeftOut]:
    """All but one of the places of a file: that which has what is needed, in the latest release, is meant."""
    meant = max(places, key=lambda place: contents[place][:2])
    left = []
    for place in places:
        own, best = contents[place], contents[meant]
        reason = (AGAIN if own.digest == best.digest else BARE.format(needed) if own.complete < best.complete
                  else OLDER if own.years < best.years else '')
        left += [] if place is meant else [LeftOut(place, reason, meant)]
    return left


def contents(places: Iterable[Place], needed: str) -> dict[Place, _Content]:
    """What decides between these files; `needed` is a word that a complete file has."""
    found = {}
    for place, content in read(places):
        if isinstance(content, Lost):  # like no other file
            complete, digest = False, place.path.encode('utf-8', 'surrogateescape')
        else:
            complete, digest = needed.encode() in content, hashlib.sha256(content).digest()
        found[place] = _Content(complete, re.findall(r'20\d\d', place.path), digest)
    return found


def read(places: Iterable[Place]) -> Iterator[tuple[Place, bytes | Lost]]:
    """These files with their contents, tree by tree, so that each archive is opened once."""
    trees: dict[Tree, dict[str, Place]] = {}
    for place in places:
        trees.setdefault(place.tree, {})[place.name] = place
    for tree, names in trees.items():
        yield from ((names[name], content) for name, content in tree.stream(list(names)))
