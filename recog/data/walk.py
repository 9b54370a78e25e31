"""What lies below a folder: each folder is visited once, whatever links lead to it."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from recog.errors import ConfigError

DEEP = '**'  # the part of a pattern that stands for any folders


def folders(root: str | Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder at and below the root, once, with the names of all in it that is no folder, in order.

    Links are followed, after the folders themselves. The names may be those of pipes and devices.
    """
    seen: set[tuple[int, int]] = set()
    waiting, links = [os.fspath(root)], list[str]()
    while waiting or links:
        folder = (waiting or links).pop()
        try:
            facts = os.stat(folder or '.')
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            with os.scandir(folder or '.') as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise ConfigError(f'folder {folder} cannot be read ({error.strerror})') from None
        inner = {entry.name for entry in found if os.path.isdir(os.path.join(folder, entry.name))}
        for entry in reversed(found):
            if entry.name in inner:
                (links if entry.is_symlink() else waiting).append(os.path.join(folder, entry.name))
        yield folder, [entry.name for entry in found if entry.name not in inner]


def files(root: str | Path) -> Iterator[str]:
    """The paths of all that is no folder, at and below the root."""
    for folder, names in folders(root):
        yield from (os.path.join(folder, name) for name in names)


def matching(pattern: str) -> list[str]:
    """The paths that a pattern of `glob` stands for, sorted; as there, `**` means no hidden folders."""
    parts = pattern.split('/')
    if DEEP not in parts:
        return sorted(glob.glob(pattern))
    place = parts.index(DEEP)
    head, rest = '/'.join(parts[:place]), '/'.join(parts[place + 1:]) or '*'
    bases = [base for base in matching(head) if os.path.isdir(base)] if head else ['/' if place else '']
    found: set[str] = set()
    for base in bases:
        for folder, _ in folders(base):
            if not any(part.startswith('.') for part in folder[len(base):].split('/')):
                found.update(matching(os.path.join(glob.escape(folder), rest)))
    return sorted(found)
