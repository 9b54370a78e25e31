"""Patience with evaluations that do not get better: the rate is reduced, and training ends before its length.

What is counted follows from the evaluations alone and stands in every checkpoint, so that a run that goes on
does what it would have done.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict


class Patience(NamedTuple):
    """What the evaluations of a run have come to."""

    best: float = -1.0  # accuracy
    since: int = 0  # evaluations after the best one
    waited: int = 0  # of these, after the last reduction
    reductions: int = 0

    def after(self, accuracy: float, config: ConfigDict) -> 'Patience':
        """What they have come to after one more."""
        if accuracy > self.best:
            return Patience(accuracy, 0, 0, self.reductions)
        patience, waited = config.schedule.plateau.patience, self.waited + 1
        reduced = bool(patience) and waited >= patience
        return Patience(self.best, self.since + 1, 0 if reduced else waited, self.reductions + reduced)

    def scale(self, config: ConfigDict) -> float:
        """What the rate of the schedule is multiplied by."""
        rule = config.schedule.plateau
        return max(rule.factor ** self.reductions, rule.least)

    def is_over(self, config: ConfigDict) -> bool:
        """Whether training is to end."""
        return bool(config.train.patience) and self.since >= config.train.patience


def restored(record: Mapping[str, Any]) -> Patience:
    """What stands in the record of a checkpoint; of a recipe without patience nothing does."""
    return Patience(**record.get('patience', {}))


def is_used(config: ConfigDict) -> bool:
    """Whether a recipe has any patience."""
    return bool(config.train.patience or config.schedule.plateau.patience)
