"""Signals, or a clock, that ask a process to end when it is ready to."""

import signal
import sys
import threading
from typing import Any


class Stop:
    """Whether one of these signals came; with `once`, a second one does what it would do without this.

    With `interrupt`, Ctrl-C asks as well and is answered with these words; a second one ends the process.
    """

    def __init__(self, *signals: signal.Signals, once: bool = False, interrupt: str = '') -> None:
        self.asked, self.why = False, 'a signal'
        self._once, self._interrupt = once, interrupt
        self._timer: threading.Timer | None = None
        self._before: list[tuple[signal.Signals, Any]] = []
        if threading.current_thread() is threading.main_thread():
            self._before = [(number, signal.signal(number, self._ask)) for number in signals]
            # What is ignored, as in a shell's background jobs, stays ignored.
            if interrupt and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
                self._before.append((signal.SIGINT, signal.signal(signal.SIGINT, self._ask)))

    def _over(self) -> None:
        self.asked, self.why = True, 'the clock'

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        if number == signal.SIGINT and self._interrupt:
            print(self._interrupt, file=sys.stderr, flush=True)
            signal.signal(signal.SIGINT, dict(self._before)[signal.SIGINT])
        elif self._once:
            self.close()

    def after(self, seconds: float) -> None:
        """Ask after so many seconds, too; 0 does not."""
        if seconds:
            self._timer = threading.Timer(seconds, self._over)
            self._timer.daemon = True  # a process that ends earlier does not wait for it
            self._timer.start()

    def close(self) -> None:
        """Give the signals back, and stop the clock."""
        if self._timer:
            self._timer.cancel()
        for number, handler in self._before:
            signal.signal(number, handler)
