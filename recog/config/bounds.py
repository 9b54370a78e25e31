"""What the value of a field may be: bounds that stand beside the fields."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from recog.config.values import LENGTHS, parse_length
from recog.errors import ConfigError, nearest


class Bound(NamedTuple):
    """What a value has to be, and the words for it that follow `config.field=value`."""

    holds: Callable[[Any], bool]
    words: str
    choices: tuple[Any, ...] = ()  # of which the nearest is proposed

    def check(self, field: str, value: Any) -> None:
        """Refuse a value that is not so."""
        if not self.holds(value):
            hint = nearest(str(value), map(str, self.choices))
            raise ConfigError(f'config.{field}={value!r} {self.words}{hint}')


def at_least(least: int) -> Bound:
    """No less than this; a field without a value is right."""
    return Bound(lambda value: value is None or not value < least, f'must be at least {least}')


def at_most(most: float) -> Bound:
    """No more than this."""
    return Bound(lambda value: not value > most, f'must be at most {most}')


def share() -> Bound:
    """Between 0 and 1, both included."""
    return Bound(lambda value: 0 <= value <= 1, 'must be between 0 and 1')


def above_zero() -> Bound:
    """More than 0."""
    return Bound(lambda value: value > 0, 'must be above 0')


def below_one() -> Bound:
    """From 0 to 1, without 1."""
    return Bound(lambda value: 0 <= value < 1, 'must be at least 0 and below 1')


def one_of(*choices: Any) -> Bound:
    """One of these values."""
    return Bound(lambda value: value in choices, f'is not one of {", ".join(map(repr, choices))}', choices)


def each_of(*choices: Any) -> Bound:
    """A tuple of these values, each at most once."""
    return Bound(lambda values: set(values) <= {*choices} and len(set(values)) == len(values),
                 f'may hold, each once, {", ".join(map(repr, choices))}')


def tuple_of(*kinds: type) -> Bound:
    """A tuple of values of these types."""
    return Bound(lambda values: all(isinstance(value, kinds) for value in values),
                 f'must hold values of type {" or ".join(kind.__name__ for kind in kinds)}')


def not_empty(what: str) -> Bound:
    """A tuple with at least one thing in it."""
    return Bound(bool, f'must name at least one {what}')


def ordered_pair(words: str) -> Bound:
    """Two numbers from 1 on, the second no less than the first."""
    return Bound(lambda pair: len(pair) == 2 and 1 <= pair[0] <= pair[1], f'must be {words}')


def shares(words: str, count: int) -> Bound:
    """So many numbers that are not below 0, and not all 0."""
    return Bound(lambda values: len(values) == count and min(values) >= 0 and sum(values) > 0,
                 f'must be {count} numbers of at least 0, not all 0: {words}')


def length() -> Bound:
    """A length such as '72 epochs' or '5 %'."""
    def holds(value: str) -> bool:
        with contextlib.suppress(ConfigError):
            return bool(parse_length(value, ''))
        return False
    return Bound(holds, f'must be {LENGTHS}')


def no_percentage() -> Bound:
    """A length that says by itself how long it is."""
    return Bound(lambda value: '%' not in value, 'must be in epochs, steps or images')
