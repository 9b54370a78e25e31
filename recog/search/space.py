"""The ranges that a search goes over: 'optimizer.rate=log(1e-4,3e-3)'."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from recog.config import experiments
from recog.errors import ConfigError, nearest
from recog.text import vocabulary
from recog.workdir.description import MEASURE

FORM = ("FIELD=KIND(...), such as 'optimizer.rate=log(1e-4,3e-3)'; the kinds are log(a,b), uniform(a,b), "
        'int(a,b) and choice(a,b,...)')
KINDS = ('log', 'uniform', 'int', 'choice')
OWN = ('seed', 'eval.report', *MEASURE)  # what all trials must share to be compared


class Range(NamedTuple):
    """A field, and what it may be: from `low` to `high`, or one of `choices`."""

    field: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    def ends(self) -> tuple[str, ...]:
        """The values that a recipe must take for the range to be right."""
        return self.choices or (text(self, self.low), text(self, self.high))

    def __str__(self) -> str:
        return f'{self.field}={self.kind}({",".join(self.ends())})'


def text(each: Range, value: object) -> str:
    """A value of a range as it stands in a command."""
    if isinstance(value, float):
        return str(int(value)) if each.kind == 'int' else f'{value:.12g}'
    return str(value)


def parse(given: str) -> Range:
    """One --space."""
    found = re.fullmatch(r'\s*(?:config\.)?([\w.]+)\s*=\s*(\w+)\s*\((.*)\)\s*', given)
    if not found:
        raise ConfigError(f'--space {given!r} must be {FORM}')
    field, kind, inside = found.groups()
    if kind not in KINDS:
        raise ConfigError(f'--space {given!r}: {kind!r}{nearest(kind, KINDS)} must be one of '
                          f'{", ".join(KINDS)}')
    values = _split(inside)
    if kind == 'choice':
        if len(set(values)) < 2 or len(set(values)) != len(values):
            raise ConfigError(f'--space {given!r}: choice needs at least two different values')
        return Range(field, kind, choices=tuple(values))
    try:
        low, high = (float(int(value) if kind == 'int' else value) for value in values)
    except ValueError:
        what = 'whole numbers' if kind == 'int' else 'numbers'
        raise ConfigError(f'--space {given!r}: {kind} needs two {what}, the lower first') from None
    if not low < high or kind == 'log' and low <= 0 or high == float('inf'):
        above = ' above 0' if kind == 'log' else ''
        raise ConfigError(f'--space {given!r}: {kind} needs two numbers{above}, the lower first')
    return Range(field, kind, low, high)


def space(given: Sequence[str], recipe: str, overrides: Sequence[str]) -> list[Range]:
    """All of them, checked against the recipe: each end and each choice must be a value of its field."""
    if not given:
        raise ConfigError(f'--space {FORM} is needed')
    ranges = [parse(each) for each in given]
    set_too = {override.lstrip('-').partition('=')[0].removeprefix('config.') for override in overrides}
    for each in ranges:
        if [other.field for other in ranges].count(each.field) > 1 or each.field in set_too:
            raise ConfigError(f'--space {str(each)!r}: config.{each.field} is given twice')
        if each.field in OWN:
            raise ConfigError(f'--space {str(each)!r}: config.{each.field} is the same in all trials, which '
                              'could not be compared otherwise')
        for end in each.ends():
            try:
                config = experiments.load(recipe, [*overrides, f'--config.{each.field}={end}'])
                vocabulary.from_config(config.text)
            except ConfigError as error:
                raise ConfigError(f'--space {str(each)!r}: {error}') from None
    return ranges


def _split(inside: str) -> list[str]:
    """The values between the brackets; commas within brackets do not part them."""
    values, depth = [''], 0
    for letter in inside:
        depth += (letter in '([') - (letter in ')]')
        if letter == ',' and not depth:
            values.append('')
        else:
            values[-1] += letter
    return [value.strip().strip('\'"') for value in values]
