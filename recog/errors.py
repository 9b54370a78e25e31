"""What the user did wrong, said in one line."""

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """Something the user asked for cannot be: one line that names it, its value and what is allowed."""


def one_line(error: object, most: int = 300) -> str:
    """What an error says, in one line of at most so many letters; its kind, if it says nothing."""
    return ' '.join(str(error).split())[:most] or type(error).__name__


def nearest(name: str, names: Iterable[str]) -> str:
    """' (did you mean X?)', or nothing where no name is near."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f' (did you mean {close[0]!r}?)' if close else ''


def chosen(flag: str, given: str, known: Iterable[str]) -> list[str]:
    """The names that a flag gives, separated by commas, each once; all, if it gives none."""
    every = list(known)
    names = [name.strip() for name in given.split(',')] if given else every
    for name in names:
        if name not in every:
            raise ConfigError(f'{flag} {name!r}{nearest(name, every)} must be of {", ".join(every)}')
    return list(dict.fromkeys(names))
