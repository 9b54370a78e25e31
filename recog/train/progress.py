"""The metrics of a run's steps: each read while the next step runs, checked, and logged if a line is due."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from recog.devices import cost
from recog.train.advance import Dispatched
from recog.train.log import Clock, Log, Rejections, concerns, kept
from recog.train.run import Run

# The metrics of every model; what a line says of a step besides is the model's own.
KNOWN = ('loss', 'grad_norm', 'rate', 'rows', 'images_per_second', 'data_wait', 'flops_per_second',
         'images', 'seconds')
SHOWN = 8  # rows named where a step went wrong
EMPTY = 10  # batches without any label, one after another, that end a run


class Broken(RuntimeError):
    """There is no use in going on."""


class NonFinite(Broken):
    """The loss or the gradient is no number any more."""


class Progress:
    """What is said of a run: the metrics that are waited for, and where they are written."""

    def __init__(self, run: Run, folder: Path, position: int, rows: dict[str, int],
                 latest: Callable[[], int | None]):
        """`folder` is where files are written, `latest` gives the step of the last checkpoint."""
        self.run, self._latest = run, latest
        process = jax.process_index()
        self.log = Log(folder, position, run.total, first=process == 0,
                       tensorboard=run.config.log.tensorboard)
        self.rejections = Rejections(folder, process, rows)
        self._clock = Clock()
        self._began = time.perf_counter() - self.log.before  # had all its pieces been one
        self._pending: tuple[int, Dispatched] | None = None
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
        counts = self.rejections.total()
        listed = f'; listed in {workdir / self.rejections.file.name}' if set(counts) - {'read'} else ''
        self.log.say(kept(counts) + listed)

    def _speed(self, flops: float) -> dict[str, float]:
        speed = self._clock.read()
        return {**speed, 'flops_per_second': speed['images_per_second'] * flops}

    def _write(self, position: int, values: dict[str, float]) -> None:
        counts = self.rejections.total()
        values['images'] = counts.get('read', 0)
        self.log.write(position, values, _line(self.run, position, values, counts))
        for concern in concerns(values):
            self.log.say(f'step {position}: warning: {concern}')


def _line(run: Run, position: int, values: dict[str, float], counts: dict[str, int]) -> str:
    """The log line of a step."""
    words = [f'step {position}/{run.total}', f'epoch {position / run.plan.epoch:.2f}',
             f'loss {values["loss"]:.4f}', f'rate {values["rate"]:.2e}',
             f'gradient {values["grad_norm"]:.2f}', f'{values["images_per_second"]:.0f} images/s',
             f'data wait {values["data_wait"]:.0%}',
             cost.share_of_peak(values['flops_per_second'], run.mesh)]
    words += [f'{name} {value:.0f}' for name, value in values.items() if name not in KNOWN and value]
    return '  '.join(words + ([kept(counts)] if set(counts) - {'read'} else []))


def _non_finite(run: Run, position: int, values: dict[str, float], last: int | None) -> NonFinite:
    """The error of a step whose loss or gradient is no number."""
    rows, _ = run.plan.rows(position - 1)
    names = [name for name, _ in run.source.labels(rows[:SHOWN].tolist())]
    more = f' and {len(rows) - SHOWN} more' if len(rows) > SHOWN else ''
    return NonFinite(f'step {position}: loss {values["loss"]}, gradient norm {values["grad_norm"]}; '
                     f'rows {", ".join(map(str, rows[:SHOWN]))}{more} ({", ".join(names)}{more}); '
                     f'last good checkpoint: ' + (f'step {last}' if last is not None else 'none yet'))
