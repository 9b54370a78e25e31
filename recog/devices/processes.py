"""The processes of a run: how they join, and what they tell one another."""

import json
from typing import Any

import jax
import numpy as np


def join(coordinator: str = '', processes: int = 0, process: int = -1, cluster: bool = False) -> None:
    """Join the other processes of the run: as the flags say, or as the cluster's environment does."""
    if cluster:
        jax.distributed.initialize()
    elif coordinator:
        jax.distributed.initialize(coordinator, processes, process)


def gather(value: Any) -> list[Any]:
    """What each process holds here, in order of the processes; `value` is anything JSON can hold."""
    if jax.process_count() == 1:
        return [value]
    from jax.experimental import multihost_utils

    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    longest = int(multihost_utils.process_allgather(np.int64(len(text))).max())
    padded = np.pad(text, (0, longest - len(text)), constant_values=ord(' '))
    return [json.loads(bytes(row)) for row in multihost_utils.process_allgather(padded)]
