"""How good the checkpoints of a workdir are, and which of them are kept for it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from recog.workdir import files
from recog.workdir.description import measure, parse_config


class Score(NamedTuple):
    """The accuracy of a checkpoint, and what measured it: accuracies of different sets are not compared."""

    measure: str
    accuracy: float


def score(record: Mapping[str, Any]) -> Score | None:
    """The score of a checkpoint by its record; None if nothing was measured, or no number came of it."""
    accuracy = record.get('metrics', {}).get('accuracy', -math.inf)
    return Score(measure(parse_config(record['config'])), accuracy) if math.isfinite(accuracy) else None


def ranked(scores: Mapping[int, Score], by: str = '') -> list[int]:
    """The steps measured in one way, without `by` as the newest was: the best first, of equals the later."""
    by = by or (scores[max(scores)].measure if scores else '')
    alike = [step for step in scores if scores[step].measure == by]
    return sorted(alike, key=lambda step: (scores[step].accuracy, step), reverse=True)


class Kept:
    """The preservation policy of Orbax that keeps the best checkpoints, and the one whose results stand."""

    def __init__(self, workdir: Any, scores: Mapping[int, Score], count: int):
        self._workdir, self._scores, self._count = workdir, scores, count

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Whether each of these is kept."""
        kept = {*ranked(self._scores)[:self._count], files.reported_step(self._workdir)}
        return [checkpoint.step in kept for checkpoint in checkpoints]
