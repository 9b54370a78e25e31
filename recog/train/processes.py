"""The processes of one run: what they agree on, and how one that is lost ends the others."""

import functools
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict

from recog.config import values
from recog.devices import processes, signals
from recog.devices.mesh import batch_sharding, local_rows, replicated
from recog.errors import ConfigError
from recog.train import watchdog
from recog.workdir.folder import is_remote

# Seconds between signs of life. A bucket takes at most one change of a file a second.
BEAT, REMOTE_BEAT = 1.0, 5.0


def together(prepare: Callable[[], Any]) -> Any:
    """What `prepare` returns; if it raises a ConfigError on one process, all raise it instead of waiting."""
    result, problem = None, ''
    try:
        result = prepare()
    except ConfigError as error:
        problem = str(error)
    for process, theirs in enumerate(processes.gather(problem)):
        if theirs:
            raise ConfigError(theirs if jax.process_count() == 1 else f'process {process}: {theirs}')
    return result


def check_alike(config: ConfigDict, sets: Mapping[str, str]) -> None:
    """Refuse to start unless all processes have the same config, code and data."""
    mine = {f'config.{name}': repr(value) for name, value in values.flat(config).items()}
    mine |= {f'set {name}': found for name, found in sets.items()} | {'code of recog': code()}
    everyone = processes.gather(mine)
    for process, theirs in enumerate(everyone):
        for name in dict.fromkeys([*everyone[0], *theirs]):
            if everyone[0].get(name) != theirs.get(name):
                raise ConfigError(f'processes differ in {name}: process 0 has {everyone[0].get(name)}, '
                                  f'process {process} has {theirs.get(name)}')


def code() -> str:
    """A hash of recog's own source."""
    total = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].rglob('*.py')):
        total.update(file.read_bytes())
    return total.hexdigest()[:12]


def check_workdir(workdir: Path) -> None:
    """Refuse a workdir that some process cannot see."""
    token = workdir / f'.seen-by-all-{processes.gather(time.time_ns())[0]}'
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        token.touch()
    processes.gather(0)
    seen = processes.gather(token.exists())
    if jax.process_index() == 0:
        token.unlink()
    if not all(seen):
        blind = [str(process) for process, sees in enumerate(seen) if not sees]
        raise ConfigError(f'--workdir {workdir} of process 0 is not seen by process {", ".join(blind)}; '
                          'all processes need the same folder')


class Stop(signals.Stop):
    """Whether SIGTERM, SIGUSR1 or Ctrl-C came to any process; all of them learn it at the same step."""

    def __init__(self) -> None:
        super().__init__(signal.SIGTERM, signal.SIGUSR1,
                         interrupt='saving after this step; again to stop at once')

    def poll(self, mesh: Mesh) -> Callable[[], bool]:
        """Ask all processes; the devices compute the answer, for which the returned function waits."""
        if jax.process_count() == 1:
            asked = self.asked
            return lambda: asked
        mine = np.full(len(local_rows(mesh, mesh.size)), self.asked, np.int32)
        flags = jax.make_array_from_process_local_data(batch_sharding(mesh), mine, (mesh.size,))
        answer = _largest(replicated(mesh))(flags)
        return lambda: bool(answer)


@functools.cache
def _largest(everywhere: NamedSharding) -> Callable:
    return jax.jit(jnp.max, out_shardings=everywhere)


class Watch:
    """Signs of life in the workdir; the others end when a process gives none for `patience` seconds.

    When a process dies or freezes, collectives hang or fail without naming it; a normal exit hangs as well.
    """

    def __init__(self, workdir: Path, patience: float):
        self._index, self._count, self._patience = jax.process_index(), jax.process_count(), patience
        self._folder, self._over = workdir / '.processes', threading.Event()
        self._beat = REMOTE_BEAT if is_remote(workdir) else BEAT
        self._seen: dict[int, tuple[str, float]] = {}  # the last sign of each other process, and since when
        if self._count > 1:
            if self._index == 0:
                if self._folder.exists():
                    epath.Path(self._folder).rmtree()
                self._folder.mkdir(parents=True)
            processes.gather(0)
            self._sign('here')
            arguments = (self._folder, self._index, self._count, patience)
            self._watchdog = subprocess.Popen([sys.executable, watchdog.__file__, *map(str, arguments)],
                                              stdin=subprocess.PIPE)
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        beat, before = 0, time.monotonic()
        while not self._over.wait(self._beat):
            if time.monotonic() - before > max(self._patience / 2, 3 * self._beat):
                self._seen.clear()  # this process was frozen itself: the others have all their time again
            beat, before = beat + 1, time.monotonic()
            self._sign(str(beat))
            lost = self._lost()
            if lost:
                self._exit(lost)

    def _exit(self, why: str) -> None:
        """End this process, saying why."""
        self._sign('left' if 'failed' not in self._last else self._last)
        self._print(f'{why}; ending')
        os._exit(1)  # a normal exit would wait for the lost process

    def _print(self, text: str) -> None:
        print(f'recog train: process {self._index} of {self._count}: {text}', file=sys.stderr, flush=True)

    def _sign(self, sign: str) -> None:
        """Write this process's sign of life."""
        self._last = sign
        file = self._folder / str(self._index)
        if is_remote(file):
            file.write_text(sign)  # an object of a bucket is replaced in one go
            return
        file.with_suffix('.new').write_text(sign)
        file.with_suffix('.new').replace(file)

    def _lost(self) -> str:
        """Which process failed, or has been silent for too long; '' if none."""
        now = time.monotonic()
        for peer in set(range(self._count)) - {self._index}:
            sign = watchdog.last_sign(self._folder, str(peer))
            if sign.startswith('failed'):
                return f'process {peer} {sign}'
            if sign.startswith(('ended', 'left')):
                continue
            if sign != self._seen.get(peer, (None, 0))[0]:
                self._seen[peer] = sign, now
            elif now - self._seen[peer][1] > self._patience:
                return f'process {peer} gave no sign of life for {self._patience:.0f} s (dead or frozen)'
        return ''

    def failed(self, error: BaseException) -> None:
        """End this process after an error, and the others, which may not have met it, by its last sign."""
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())[:300]
        if isinstance(error, jax.errors.JaxRuntimeError) or 'Gloo' in reason:
            # Perhaps another process is gone: the thread will name it before long.
            self._print(reason)
            time.sleep(self._patience + 3 * self._beat)
        self._over.set()
        self._sign(f'failed: {reason}')
        self._exit(reason)

    def close(self) -> None:
        """Stop watching, and let the others know that this process ended as it should."""
        if self._count > 1:
            self._over.set()
            self._sign('ended')
            self._watchdog.communicate()
