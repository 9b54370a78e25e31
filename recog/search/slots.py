"""Where the trials of a search run, as many at a time as there is room for: here, or under Slurm."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from recog.sweep.here import Place, start
from recog.sweep.runs import SweepRun


class Slots(Protocol):
    """Runs started, watched and stopped."""

    def free(self) -> bool:
        """Whether another one may start."""

    def start(self, run: SweepRun) -> None:
        """Start a run."""

    def stop(self, run: SweepRun) -> None:
        """Let a run save and end."""

    def ended(self) -> list[tuple[SweepRun, int, float]]:
        """The runs that have ended since, with their status and their seconds."""

    def close(self) -> None:
        """Let all runs save and end, and wait for that as far as it can be waited for."""


class Here:
    """Runs on parts of this machine."""

    def __init__(self, places: Sequence[Place], lock: int):
        self._places, self._lock = places, lock
        self._working: dict[Place, tuple[SweepRun, subprocess.Popen, float]] = {}

    def free(self) -> bool:
        """Whether a part has no run."""
        return len(self._working) < len(self._places)

    def start(self, run: SweepRun) -> None:
        """Start a run in the first part that has none."""
        place = next(place for place in self._places if place not in self._working)
        self._working[place] = run, start(run, place, self._lock), time.monotonic()

    def stop(self, run: SweepRun) -> None:
        """Tell a run to save and end."""
        for each, process, _ in self._working.values():
            if each.name == run.name:
                process.terminate()

    def ended(self) -> list[tuple[SweepRun, int, float]]:
        """The runs that have ended since."""
        over = [place for place, (_, process, _) in self._working.items() if process.poll() is not None]
        found = []
        for place in over:
            run, process, begun = self._working.pop(place)
            found.append((run, process.returncode, time.monotonic() - begun))
        return found

    def close(self) -> None:
        """Tell all to save and end, and wait for them."""
        for _, process, _ in self._working.values():
            process.terminate()
        for _, process, _ in self._working.values():
            process.wait()


class Slurm:
    """Runs as jobs, `most` of them at a time."""

    def __init__(self, folder: Path, cluster: str, options: Sequence[str], most: int):
        from recog.sweep import slurm

        self._slurm, self._folder, self._most = slurm, folder, most
        self._executor, self._known = slurm.executor(folder, cluster, options)
        self._working: list[tuple[SweepRun, Any, float]] = []

    def free(self) -> bool:
        """Whether another job may be queued."""
        return len(self._working) < self._most

    def start(self, run: SweepRun) -> None:
        """Queue a job, or take the one that is still there since the search was stopped."""
        (_, job), = self._slurm.jobs([run], self._folder, self._executor, self._known)
        self._working.append((run, job, time.monotonic()))

    def stop(self, run: SweepRun) -> None:
        """Cancel a job."""
        for each, job, _ in self._working:
            if each.name == run.name:
                job.cancel(check=False)

    def ended(self) -> list[tuple[SweepRun, int, float]]:
        """The jobs that have ended since."""
        over = [item for item in self._working if item[1].done()]
        self._working = [item for item in self._working if item not in over]
        return [(run, 1 if job.exception() else job.result(), time.monotonic() - begun)
                for run, job, begun in over]

    def close(self) -> None:
        """Cancel all jobs."""
        for _, job, _ in self._working:
            job.cancel(check=False)
