"""The processes of one run: what they agree on before and while they train, and how one that is lost ends the others."""

import functools
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
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

BEAT, REMOTE_BEAT = 1.0, 5.0  # seconds between signs of life; in a bucket, which takes one change of a file a second at most


def together(prepare: Callable[[], Any]) -> Any:
    """What `prepare` gives; if it is refused on one process, all refuse, instead of waiting for that one."""
    answer, problem = None, ''
    try:
        answer = prepare()
    except ConfigError as error:
        problem = str(error)
    for process, said in enumerate(processes.gather(problem)):
        if said:
            raise ConfigError(said if jax.process_count() == 1 else f'process {process}: {said}')
    return answer


def check_alike(config: ConfigDict, sets: dict[str, int]) -> None:
    """Refuse to start unless all processes have the same config, code and data."""
    mine = {f'config.{name}': repr(value) for name, value in values.flat(config).items()}
    mine |= {f'set {name}': f'{length} examples' for name, length in sets.items()} | {'code of recog': code()}
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
    """Refuse a workdir that not all processes see."""
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
    """Whether SIGTERM or SIGUSR1 came to any process; all of them learn it at the same step."""

    def __init__(self) -> None:
        super().__init__(signal.SIGTERM, signal.SIGUSR1)

    def poll(self, mesh: Mesh) -> Callable[[], bool]:
        """Ask all processes; the answer can be waited for later, when the devices have come to it."""
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
    """Signs of life in the workdir; a process that gives none for `patience` seconds is named, and the others end.

    Collectives hang, or fail without a name, when a process dies or freezes; and leaving normally would hang as well.
    """

    def __init__(self, workdir: Path, patience: float):
        self._index, self._count, self._patience = jax.process_index(), jax.process_count(), patience
        self._folder, self._over = workdir / '.processes', threading.Event()
        self._beat = REMOTE_BEAT if is_remote(workdir) else BEAT
        self._heard: dict[int, tuple[str, float]] = {}
        if self._count > 1:
            if self._index == 0:
                if self._folder.exists():
                    epath.Path(self._folder).rmtree()
                self._folder.mkdir(parents=True)
            processes.gather(0)
            self._say('here')
            line = [sys.executable, watchdog.__file__, str(self._folder), str(self._index), str(self._count), str(patience)]
            self._beside = subprocess.Popen(line, stdin=subprocess.PIPE)
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        beat = 0
        while not self._over.wait(self._beat):
            beat += 1
            self._say(str(beat))
            lost = self._lost()
            if lost:
                self._leave(lost)

    def _leave(self, why: str) -> None:
        self._say('left' if 'failed' not in self._last else self._last)
        print(f'recog train: process {self._index} of {self._count}: {why}; ending', file=sys.stderr, flush=True)
        os._exit(1)  # leaving normally would wait for the lost one

    def _say(self, word: str) -> None:
        self._last = word
        file = self._folder / str(self._index)
        if is_remote(file):
            file.write_text(word)  # an object of a bucket is replaced at once
            return
        file.with_suffix('.new').write_text(word)
        file.with_suffix('.new').replace(file)

    def _lost(self) -> str:
        """Which process failed, or has been silent for too long; '' if none."""
        now = time.monotonic()
        for peer in set(range(self._count)) - {self._index}:
            word = watchdog.word(self._folder, str(peer))
            if word.startswith('failed'):
                return f'process {peer} {word}'
            if word.startswith(('ended', 'left')):
                continue
            if word != self._heard.get(peer, (None, 0))[0]:
                self._heard[peer] = word, now
            elif now - self._heard[peer][1] > self._patience:
                return f'process {peer} gave no sign of life for {self._patience:.0f} s (dead or frozen)'
        return ''

    def failed(self, error: BaseException) -> None:
        """End this process, and through its last word the others, after an error that only some of them may have met."""
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())[:300]
        if isinstance(error, jax.errors.JaxRuntimeError) or 'Gloo' in reason:
            # Perhaps another process is gone: the thread will name it before long.
            print(f'recog train: process {self._index} of {self._count}: {reason}', file=sys.stderr, flush=True)
            time.sleep(self._patience + 3 * self._beat)
        self._over.set()
        self._say(f'failed: {reason}')
        self._leave(reason)

    def close(self) -> None:
        """This process ends as it should."""
        if self._count > 1:
            self._over.set()
            self._say('ended')
            self._beside.communicate()
