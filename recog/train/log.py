"""Where a run's progress is written: the bar, log lines, metrics.jsonl, loggers, rejected rows."""

import json
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import TextIO

from recog.data.labels import CHANGED
from recog.devices import processes
from recog.train.events import Events
from recog.train.loggers.opened import Loggers
from recog.workdir import files
from recog.workdir.folder import write_whole

COLUMNS = 110  # of a line


class Log:
    """Log lines of the first process, each also in metrics.jsonl and, if wanted, as TensorBoard events."""

    def __init__(self, workdir: Path, start: int, total: int, *, first: bool, tensorboard: bool,
                 loggers: Loggers | None = None):
        from tqdm import tqdm

        self._file: TextIO | None = None
        self._events: Events | None = None
        self._loggers = loggers or Loggers()
        self.before = 0.0  # seconds that the run took up to where it goes on
        if not first:
            return
        # What a killed run wrote beyond its last checkpoint will be written again.
        lines = [line for line in files.read_log(workdir) if line['step'] <= start]
        self.before = max((line['seconds'] for line in lines if 'seconds' in line), default=0.0)
        write_whole(workdir / files.LOG, ''.join(json.dumps(line) + '\n' for line in lines))
        self._file = (workdir / files.LOG).open('a')
        self._bar = tqdm(total=total, initial=start, unit='step', disable=None, smoothing=0.05,
                         dynamic_ncols=True)
        if tensorboard:
            self._events = Events(workdir / 'tensorboard', start)

    def say(self, text: str, command: str = '') -> None:
        """Print lines of at most COLUMNS, and below them a command to copy as it is."""
        if self._file is not None:
            for line in text.split('\n'):
                self._bar.write(textwrap.fill(line, COLUMNS, subsequent_indent='  ', break_long_words=False,
                                              break_on_hyphens=False))
            if command:
                self._bar.write(f'  {command}')

    def write(self, step: int, values: dict[str, float], line: str) -> None:
        """Write the values of a step, and print their line."""
        if self._file is None:
            return
        self._file.write(json.dumps({'step': step, **values}) + '\n')
        self._file.flush()
        if self._events is not None:
            self._events.write(step, values)
        self._loggers.write(step, values)
        self.say(line)

    def advance(self) -> None:
        """Move the progress bar on by one step."""
        if self._file is not None:
            self._bar.update()

    def close(self) -> None:
        """Close files and bar."""
        if self._file is not None:
            self._bar.close()
            self._file.close()
            if self._events is not None:
                self._events.close()


def clock() -> str:
    """The time of day, with which lines begin."""
    return time.strftime('%H:%M:%S')


class Clock:
    """Images per second, and the share of time spent waiting for data, since the last `read`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start anew, for example after an evaluation."""
        self._start, self._waited, self._images = time.perf_counter(), 0.0, 0

    def waited(self, seconds: float) -> None:
        """Add the wait for a batch."""
        self._waited += seconds

    def done(self, images: int) -> None:
        """Add a step over so many images."""
        self._images += images

    def read(self) -> dict[str, float]:
        """The two figures; the clock starts anew."""
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        figures = {'images_per_second': self._images / elapsed, 'data_wait': self._waited / elapsed}
        self.reset()
        return figures


class Rejections:
    """Rows that were left out or changed: counted by reason, and listed once, in a file each."""

    def __init__(self, workdir: Path, process: int, counts: dict[str, int]):
        """`counts` are those of all processes up to the checkpoint that the run goes on from."""
        self._rejected, self._changed = (
            workdir / (f'{name}.tsv' if process == 0 else f'{name}.{process}.tsv')
            for name in ('rejected', 'changed'))
        self._before: Counter[str] = Counter(counts)
        self._counts: Counter[str] = Counter()
        # An older version listed all rows in the first file.
        self._listed = {tuple(line.split('\t')[:2]) for file in self.files
                        for line in file.read_text(encoding='utf-8', errors='replace').splitlines()[1:]}

    @property
    def files(self) -> list[Path]:
        """The files that list something."""
        return [file for file in (self._rejected, self._changed) if file.is_file()]

    def add(self, read: int, notes: list[tuple]) -> None:
        """Count a batch of `read` rows; list those of its notes (row, id, reason, text) that are new."""
        self._counts['read'] += read
        new: dict[Path, list[str]] = {self._rejected: [], self._changed: []}
        for row, name, reason, text in notes:
            self._counts[reason] += 1
            if (str(row), reason) not in self._listed:
                self._listed.add((str(row), reason))
                fields = (' '.join(str(field).split()) for field in (row, reason, name, text))
                new[self._changed if reason == CHANGED else self._rejected].append('\t'.join(fields) + '\n')
        for file, lines in new.items():
            if lines:
                head = '' if file.is_file() else 'row\treason\tid\ttext\n'
                with file.open('a', encoding='utf-8') as out:
                    out.write(head + ''.join(lines))

    def total(self) -> dict[str, int]:
        """The counts of all processes since the run began; every process must call this."""
        total = Counter(self._before)
        for counts in processes.gather(dict(self._counts)):
            total.update(counts)
        return dict(total)


def concerns(values: dict[str, float]) -> list[str]:
    """Warnings about a step's values."""
    found = []
    if not values['rows']:
        found.append('every label of the batch was dropped; rejected.tsv names them and the reasons')
    elif not values['grad_norm']:
        found.append('the gradient is 0: nothing is learnt')
    if 'impossible' in values and values['impossible'] >= max(values['rows'], 1):
        found.append('every label of the batch is longer than the model can write')
    return found


def kept(counts: dict[str, int]) -> str:
    """'labels read 640: kept 630, 3 of them changed, dropped 10 (too long 10)'."""
    reasons = {key: value for key, value in counts.items() if key not in ('read', CHANGED)}
    read, changed = counts.get('read', 0), counts.get(CHANGED, 0)
    dropped = sum(reasons.values())
    listed = ', '.join(f'{reason} {count}' for reason, count in sorted(reasons.items()))
    why = f' ({listed})' if reasons else ''
    return f'labels read {read}: kept {read - dropped}, {changed} of them changed, dropped {dropped}{why}'
