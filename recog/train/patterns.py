"""Parameters chosen by patterns of their paths: 'transform/*' chooses 'transform/points/kernel'."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from recog.errors import ConfigError, nearest


def chosen(path: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns fits the path."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def multiplier(path: str, groups: Iterable[tuple[str, float]]) -> float | None:
    """What the last group whose pattern fits the path multiplies by; None if none fits."""
    fitting = [factor for pattern, factor in groups if fnmatchcase(path, pattern)]
    return fitting[-1] if fitting else None


def check(field: str, patterns: Iterable[str], paths: Sequence[str]) -> None:
    """Refuse a pattern of this field of the recipe that fits none of the paths."""
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in paths):
            parts = _parts(paths)
            raise ConfigError(f'{field}: {pattern!r} fits no parameter{nearest(pattern, [*parts, *paths])}; '
                              f'there are: {", ".join(parts)}')


def _parts(paths: Sequence[str]) -> list[str]:
    """The first names of the paths, each with `/*` where more follows."""
    return [f'{name}/*' if '/' in path else name
            for name, path in {path.partition('/')[0]: path for path in paths}.items()]
