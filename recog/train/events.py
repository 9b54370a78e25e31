"""The figures of a run as events for TensorBoard, written where they are given.

tensorboardX's own writer has a thread, which ends where the disk is full or the clock jumps; whoever gives it
more from then on waits for ever.
"""

import time
from collections.abc import Mapping
from pathlib import Path


class Events:
    """A new file of events; what an earlier one has beyond step `start` is not shown any more."""

    def __init__(self, folder: Path, start: int):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        self._event = Event
        self._file = EventsWriter(str(folder / 'events'))
        self._add(start + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step."""
        from tensorboardX.summary import scalar

        for name, value in values.items():
            self._add(step, summary=scalar(name, value))

    def _add(self, step: int, **content: object) -> None:
        self._file.write_event(self._event(step=step, wall_time=time.time(), **content))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()
