"""Where a run's progress is written: the bar, log lines, metrics.jsonl, TensorBoard events, rejected rows."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import TextIO

from recog.devices import processes
from recog.train.events import Events
from recog.workdir import files
from recog.workdir.folder import write_whole


class Log:
    """Log lines of the first process, each also in metrics.jsonl and, if wanted, as TensorBoard events."""

    def __init__(self, workdir: Path, start: int, total: int, *, first: bool, tensorboard: bool):
        from tqdm import tqdm

        self._file: TextIO | None = None
        self._events: Events | None = None
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

    def say(self, text: str) -> None:
        """Print a line."""
        if self._file is not None:
            self._bar.write(text)

    def write(self, step: int, values: dict[str, float], line: str) -> None:
        """Write the values of a step, and print their line."""
        if self._file is None:
            return
        self._file.write(json.dumps({'step': step, **values}) + '\n')
        self._file.flush()
        if self._events is not None:
            self._events.write(step, values)
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
    """Rows that were changed or left out: counted by reason, and listed once, in a file of each process."""

    def __init__(self, workdir: Path, process: int, counts: dict[str, int]):
        """`counts` are those of all processes up to the checkpoint that the run goes on from."""
        self.file = workdir / ('rejected.tsv' if process == 0 else f'rejected.{process}.tsv')
        self._before: Counter[str] = Counter(counts)
        self._counts: Counter[str] = Counter()
        text = self.file.read_text(encoding='utf-8', errors='replace') if self.file.is_file() else ''
        lines = text.splitlines()[1:]
        self._listed = {tuple(line.split('\t')[:2]) for line in lines}

    def add(self, read: int, notes: list[tuple]) -> None:
        """Count a batch of `read` rows; list those of its notes (row, id, reason, text) that are new."""
        self._counts['read'] += read
        new = []
        for row, name, reason, text in notes:
            self._counts[reason] += 1
            if (str(row), reason) not in self._listed:
                self._listed.add((str(row), reason))
                fields = (' '.join(str(field).split()) for field in (row, reason, name, text))
                new.append('\t'.join(fields) + '\n')
        if new:
            head = '' if self.file.is_file() else 'row\treason\tid\ttext\n'
            with self.file.open('a', encoding='utf-8') as out:
                out.write(head + ''.join(new))

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
    reasons = {key: value for key, value in counts.items() if key not in ('read', 'changed')}
    read, changed = counts.get('read', 0), counts.get('changed', 0)
    dropped = sum(reasons.values())
    listed = ', '.join(f'{reason} {count}' for reason, count in sorted(reasons.items()))
    why = f' ({listed})' if reasons else ''
    return f'labels read {read}: kept {read - dropped}, {changed} of them changed, dropped {dropped}{why}'
