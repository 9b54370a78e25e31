"""The metrics of a run's steps: each read while the next step runs, checked, and logged if a line is due."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from recog.train.advance import Dispatched
from recog.train.forecast import duration
from recog.train.log import Clock, Log, Rejections, clock, concerns, kept
from recog.train.loggers.opened import Loggers
from recog.train.run import Run

WAITS = 0.2  # the share of the time that may be spent waiting for data before a line says so
SHOWN = 8  # rows named where a step went wrong
EMPTY = 10  # batches without any label, one after another, that end a run


class Broken(RuntimeError):
    """There is no use in going on."""


class NonFinite(Broken):
    """The loss or the gradient is no number any more."""


class Progress:
    """What is said of a run: the metrics that are waited for, and where they are written."""

    def __init__(self, run: Run, folder: Path, position: int, rows: dict[str, int],
                 latest: Callable[[], int | None], loggers: Loggers):
        """`folder` is where files are written, `latest` gives the step of the last checkpoint."""
        self.run, self._latest = run, latest
        process = jax.process_index()
        self.log = Log(folder, position, run.total, first=process == 0,
                       tensorboard='tensorboard' in run.config.log.to, loggers=loggers)
        self.rejections = Rejections(folder, process, rows)
        self._clock = Clock()
        self._began = time.perf_counter() - self.log.before  # had all its pieces been one
        self._pending: tuple[int, Dispatched] | None = None
        self._said: set[str] = set()  # reasons for which rows were dropped or changed
        self._empty = 0  # batches in a row of which every label was dropped

    def add(self, position: int, sent: Dispatched) -> None:
        """Steps were dispatched at this position; the metrics of those before are read now."""
        self._clock.waited(sent.waited)
        self.rejections.add(sent.read, sent.notes)
        self.read()
        self._pending = position, sent

    def read(self) -> None:
        """Wait for the pending metrics: `Broken` if they make no sense, a log line where one is due."""
        if self._pending is None:
            return
        (before, sent), self._pending = self._pending, None
        found = jax.device_get(sent.metrics)
        self._clock.done(sent.rows * sent.steps)
        speed: dict[str, float] = {}  # of all the steps: they came at once
        for number in range(sent.steps):
            position = before + number + 1
            values = {name: float(np.ravel(value)[number]) for name, value in found.items()}
            if not (math.isfinite(values['loss']) and math.isfinite(values['grad_norm'])):
                raise _non_finite(self.run, position, values, self._latest())
            self._empty = 0 if values['rows'] else self._empty + 1
            if self._empty == EMPTY:
                raise Broken(f'step {position}: {EMPTY} batches one after another had no row that can be '
                             f'used; rejected.tsv names the reasons; last checkpoint: step {self._latest()}')
            self.log.advance()
            if position % self.run.config.log.every == 0 or position in (1, self.run.total):
                speed = speed or self._speed(sent.flops)
                self._write(position, values | speed | {'seconds': time.perf_counter() - self._began})

    def restart_clock(self) -> None:
        """Leave out of the speed what was done between steps, such as an evaluation."""
        self._clock.reset()

    def say_rejections(self, workdir: Path) -> None:
        """The rows that were read, changed and dropped; every process must ask."""
        names = ' and '.join(file.name for file in self.rejections.files)
        self.log.say(kept(self.rejections.total()) + (f'; {names} in {workdir}' if names else ''))

    def _speed(self, flops: float) -> dict[str, float]:
        speed = self._clock.read()
        return {**speed, 'flops_per_second': speed['images_per_second'] * flops}

    def _write(self, position: int, values: dict[str, float]) -> None:
        counts = self.rejections.total()
        values['images'] = counts.get('read', 0)
        self.log.write(position, values, _line(self.run, position, values))
        if new := set(counts) - {'read'} - self._said:
            self._said |= new
            self.log.say(f'step {position}: {kept(counts)}')
        for concern in concerns(values):
            self.log.say(f'step {position}: warning: {concern}')


def _line(run: Run, position: int, values: dict[str, float]) -> str:
    """The log line of a step; metrics.jsonl has all its values."""
    speed = values['images_per_second']
    left = (run.total - position) * run.plan.average / max(speed, 1e-9)
    # The first step has compiled, too.
    rest = [f'{speed:,.0f} images/s', f'{duration(left)} left'] if 1 < position < run.total else []
    wait = [f'data wait {values["data_wait"]:.0%}'] if values['data_wait'] > WAITS else []
    return '  '.join([clock(), f'step {position}/{run.total}', f'{position / run.total:.0%}',
                      f'loss {values["loss"]:.4g}', f'rate {values["rate"]:.1e}', *rest, *wait])


def _non_finite(run: Run, position: int, values: dict[str, float], last: int | None) -> NonFinite:
    """The error of a step whose loss or gradient is no number."""
    rows, _ = run.plan.rows(position - 1)
    names = [name for name, _ in run.source.labels(rows[:SHOWN].tolist())]
    more = f' and {len(rows) - SHOWN} more' if len(rows) > SHOWN else ''
    return NonFinite(f'step {position}: loss {values["loss"]}, gradient norm {values["grad_norm"]}; '
                     f'rows {", ".join(map(str, rows[:SHOWN]))}{more} ({", ".join(names)}{more}); '
                     f'last good checkpoint: ' + (f'step {last}' if last is not None else 'none yet'))
