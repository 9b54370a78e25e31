"""What a run says: the progress bar, log lines, metrics.jsonl, TensorBoard events and the list of rejected rows."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from recog.devices import processes
from recog.workdir import files


class Log:
    """Log lines of the first process, each also in metrics.jsonl and, if wanted, as TensorBoard events."""

    def __init__(self, workdir: Path, start: int, total: int, *, first: bool, tensorboard: bool):
        from tqdm import tqdm

        self.first, self._file, self._events = first, None, None
        if not first:
            return
        # What a killed run wrote beyond its last checkpoint will be written again.
        lines = [line for line in files.read_log(workdir) if line['step'] <= start]
        (workdir / files.LOG).write_text(''.join(json.dumps(line) + '\n' for line in lines))
        self._file = (workdir / files.LOG).open('a')
        self._bar = tqdm(total=total, initial=start, unit='step', disable=None, smoothing=0.05, dynamic_ncols=True)
        if tensorboard:
            from tensorboardX import SummaryWriter

            self._events = SummaryWriter(str(workdir / 'tensorboard'), purge_step=start + 1)

    def say(self, text: str) -> None:
        """A line for people."""
        if self.first:
            self._bar.write(text)

    def write(self, step: int, values: dict[str, float], line: str) -> None:
        """The values of a step, and how to say them."""
        if self._file is None:
            return
        self._file.write(json.dumps({'step': step, **values}) + '\n')
        self._file.flush()
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)
        self.say(line)

    def advance(self) -> None:
        """One step more on the progress bar."""
        if self.first:
            self._bar.update()

    def close(self) -> None:
        """Close files and bar."""
        if self.first:
            self._bar.close()
            self._file.close()  # type: ignore[union-attr]
            if self._events is not None:
                self._events.close()


class Clock:
    """Images per second and the share of time spent waiting for data, since last asked."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start again, for example after an evaluation."""
        self._start, self._waited, self._images = time.perf_counter(), 0.0, 0

    def waited(self, seconds: float) -> None:
        """A batch came after this wait."""
        self._waited += seconds

    def done(self, images: int) -> None:
        """A step over so many images ended."""
        self._images += images

    def read(self) -> dict[str, float]:
        """The two figures, starting again."""
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        figures = {'images_per_second': self._images / elapsed, 'data_wait': self._waited / elapsed}
        self.reset()
        return figures


class Rejections:
    """Rows that were changed or left out: counted by reason, each listed once in rejected.tsv (one file a process)."""

    def __init__(self, workdir: Path, process: int, counts: dict[str, int]):
        self.file = workdir / ('rejected.tsv' if process == 0 else f'rejected.{process}.tsv')
        self.before: Counter[str] = Counter(counts)
        self.counts: Counter[str] = Counter()
        lines = self.file.read_text(encoding='utf-8').splitlines()[1:] if self.file.is_file() else []
        self._listed = {tuple(line.split('\t')[:2]) for line in lines}

    def add(self, read: int, notes: list[tuple]) -> None:
        """Count a batch of `read` rows and list what is new of its notes (row, id, reason, text)."""
        self.counts['read'] += read
        new = []
        for row, name, reason, text in notes:
            self.counts[reason] += 1
            if (str(row), reason) not in self._listed:
                self._listed.add((str(row), reason))
                new.append('\t'.join(' '.join(str(field).split()) for field in (row, reason, name, text)) + '\n')
        if new:
            head = '' if self.file.is_file() else 'row\treason\tid\ttext\n'
            with self.file.open('a', encoding='utf-8') as out:
                out.write(head + ''.join(new))

    def total(self) -> dict[str, int]:
        """The counts of all processes since the run began; every process must ask."""
        total = Counter(self.before)
        for counts in processes.gather(dict(self.counts)):
            total.update(counts)
        return dict(total)


def concerns(values: dict[str, float]) -> list[str]:
    """What a person should know of a step's values, in words."""
    found = []
    if not values['rows']:
        found.append('every label of the batch was dropped; rejected.tsv names them and the reasons')
    elif not values['grad_norm']:
        found.append('the gradient is 0: nothing is learnt')
    if 'impossible' in values and values['impossible'] >= max(values['rows'], 1):
        found.append('every label of the batch is longer than the model can write')
    return found


def kept(counts: dict[str, int]) -> str:
    """'read 640: kept 630, changed 3, dropped 10 (too long 10)'."""
    reasons: dict[str, Any] = {key: value for key, value in counts.items() if key not in ('read', 'changed')}
    read, changed = counts.get('read', 0), counts.get('changed', 0)
    dropped = sum(reasons.values())
    why = f' ({", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))})' if reasons else ''
    return f'labels read {read}: kept {read - dropped}, {changed} of them changed, dropped {dropped}{why}'
