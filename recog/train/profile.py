"""`recog train --profile STEPS`: some steps of a training recorded by JAX's profiler."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

SKIPPED = 3  # calls of a step before the first that is recorded: they compile, and fill queues


class Profile:
    """Records `steps` steps, once the first calls are done; 0 records none."""

    def __init__(self, folder: Path, steps: int, say: Callable[[str], None]):
        self._folder, self._left, self._say = folder, steps if jax.process_index() == 0 else 0, say
        self._calls, self._recording = 0, False

    def before(self) -> None:
        """A call follows."""
        if self._left > 0 and self._calls >= SKIPPED and not self._recording:
            jax.profiler.start_trace(str(self._folder))
            self._recording = True
        self._calls += 1

    def after(self, state: Any, steps: int) -> None:
        """A call was made, of so many steps."""
        if self._recording:
            self._left -= steps
            if self._left <= 0:
                jax.block_until_ready(state)
                self.close()

    def close(self) -> None:
        """End the recording, and say how to look at it."""
        if not self._recording:
            return
        jax.profiler.stop_trace()
        self._recording = False
        traces = sorted(self._folder.rglob('*.trace.json.gz')) or [self._folder]
        self._say(f'steps recorded in {self._folder}. To look at them: open {traces[-1]} at '
                  'https://ui.perfetto.dev; or pip install xprof, then: xprof --logdir ' + str(self._folder))
