"""Signals that ask a process to end when it is ready to."""

import signal
import threading
from typing import Any


class Stop:
    """Whether one of these signals came; with `once`, a second one does what it would do without this."""

    def __init__(self, *signals: signal.Signals, once: bool = False) -> None:
        self.asked = False
        self._once = once
        self._before: list[tuple[signal.Signals, Any]] = []
        if threading.current_thread() is threading.main_thread():
            self._before = [(number, signal.signal(number, self._ask)) for number in signals]

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        if self._once:
            self.close()

    def close(self) -> None:
        """Give the signals back."""
        for number, handler in self._before:
            signal.signal(number, handler)
