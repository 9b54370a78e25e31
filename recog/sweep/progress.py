"""How far a sweep is and how long it will take, in a line now and then."""

import re
import time
from collections.abc import Sequence

from recog.sweep.runs import SweepRun
from recog.workdir.files import is_done

EVERY = 60.0  # seconds between lines
TAIL = 8_192  # bytes of a log that are looked at
_STEP = re.compile(rb'step (\d+)/(\d+) ')


class Progress:
    """The runs of a sweep from where it goes on: `runs` are all, `waiting` those that were not done."""

    def __init__(self, runs: Sequence[SweepRun], waiting: Sequence[SweepRun]):
        self._waiting, self._all = waiting, len(runs)
        self._began = self._said = time.monotonic()
        self._before = sum(map(share, waiting))  # of what earlier sweeps trained

    def look(self) -> None:
        """Say how far it is, if that has not been said for a while."""
        if time.monotonic() - self._said >= EVERY:
            self.say()

    def say(self) -> None:
        """Say how far it is."""
        self._said = time.monotonic()
        print(self.line(self._said - self._began), flush=True)

    def line(self, seconds: float) -> str:
        """How far it is after so many seconds, in words."""
        shares = {run.name: share(run) for run in self._waiting}
        undone = {name: part for name, part in shares.items() if part < 1}
        begun = [f'{name} {part:.0%}' for name, part in undone.items() if part]
        trained = sum(shares.values()) - self._before
        to_do = sum(1 - part for part in undone.values())
        left = [f'about {minutes(to_do * seconds / trained)} left'.replace('about less', 'less')] \
            if trained > 0 and undone else []
        done = f'{self._all - len(undone)} of {self._all} runs done'
        return ', '.join([done, *begun, f'{minutes(seconds)} so far', *left])


def share(run: SweepRun) -> float:
    """How much of a run is trained, by the last step in its log."""
    if is_done(run.workdir):
        return 1.0
    if not run.log.is_file():
        return 0.0
    with run.log.open('rb') as log:
        log.seek(max(0, run.log.stat().st_size - TAIL))
        steps = _STEP.findall(log.read())
    # What is trained is to be measured yet.
    return min(int(steps[-1][0]) / max(int(steps[-1][1]), 1), 0.99) if steps else 0.0


def minutes(seconds: float) -> str:
    """A time in words, to the minute."""
    hours, rest = divmod(round(seconds / 60), 60)
    if hours:
        return f'{hours} h {rest} min'
    return f'{rest} min' if rest else 'less than a minute'
