"""Progress of long work: a bar with rate and time left on a terminal, else a line now and then."""

import sys
import time


class Progress:
    """A bar on a terminal, else lines on standard error."""

    EVERY = 30.0  # seconds between lines

    def __init__(self, name: str, wanted: bool):
        from tqdm import tqdm

        self.bar = tqdm(desc=name, unit=' tasks', unit_scale=True, disable=None if wanted else True,
                        dynamic_ncols=True)
        self.name, self.lines, self.done = name, wanted and self.bar.disable, 0
        self.start = self.said = time.monotonic()

    def advance(self, count: int, total: int) -> None:
        """Report `count` more tasks as done, of `total` if it is known."""
        self.done += count
        if not self.bar.disable and total and self.bar.total != total:
            self.bar.total = total
        self.bar.update(count)
        now = time.monotonic()
        if self.lines and now - self.said > self.EVERY:
            self.said, rate = now, self.done / (now - self.start)
            left = f', {(total - self.done) / rate / 60:.1f} min left' if total > self.done else ''
            print(f'{self.name}: {self.done:,}{f" of {total:,}" if total else ""}, {rate:,.0f}/s{left}',
                  file=sys.stderr)

    def close(self) -> None:
        """Close the bar."""
        self.bar.close()
