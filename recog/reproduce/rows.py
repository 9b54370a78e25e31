"""The rows of the table of results: which recipes they are, and what their papers report."""

from typing import NamedTuple

from recog.config import experiments
from recog.config.experiments import Reported
from recog.errors import ConfigError, nearest


class Row(NamedTuple):
    """A row of the results; its name is EXPERIMENT-VARIANT."""

    name: str
    recipe: str  # FILE:VARIANT
    formulas: bool
    reported: Reported


def rows() -> list[Row]:
    """All rows, in the order of the table."""
    return [Row(f'{each.name}-{variant}', f'{each.file}:{variant}', each.formulas, reported)
            for each in experiments.every() for variant, reported in each.results.items()]


def row(name: str) -> Row:
    """The row of this name."""
    known = {each.name: each for each in rows()}
    if name not in known:
        raise ConfigError(f'{name!r} is no row of the results{nearest(name, known)}; '
                          f'there are: {", ".join(known)}')
    return known[name]
