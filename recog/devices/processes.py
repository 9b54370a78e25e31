"""The processes of a run: how they join, and what they tell one another."""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from recog.devices.meeting import meet
from recog.errors import ConfigError, one_line


def join(coordinator: str = '', processes: int = 0, process: int = -1, cluster: bool = False,
         patience: float = 30.0, asked: Callable[[], bool] = lambda: False) -> None:
    """Join the other processes of the run: as the flags say, or as the cluster's environment does.

    They have ten times the patience to come, and a signal, if `asked`, ends the wait.
    """
    if not cluster and not coordinator:
        return
    if not cluster:
        meet(coordinator, processes, process, 10 * patience, asked)
    beat = int(100 + 10 * patience)  # signs of life in the workdir tell sooner who is lost
    try:
        if cluster:
            jax.distributed.initialize(heartbeat_timeout_seconds=beat)
        else:
            jax.distributed.initialize(coordinator, processes, process, heartbeat_timeout_seconds=beat)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f'the processes cannot be joined: {one_line(error)}') from None


def gather(value: Any) -> list[Any]:
    """What each process holds here, in order of the processes; `value` is anything JSON can hold."""
    if jax.process_count() == 1:
        return [value]
    from jax.experimental import multihost_utils

    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    longest = int(multihost_utils.process_allgather(np.int64(len(text))).max())
    padded = np.pad(text, (0, longest - len(text)), constant_values=ord(' '))
    return [json.loads(bytes(row)) for row in multihost_utils.process_allgather(padded)]
