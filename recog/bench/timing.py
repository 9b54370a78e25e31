"""How long calls take."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

LEAST = 3  # calls that are timed


def median(call: Callable[[], Any], seconds: float) -> float:
    """The median seconds of a call and of what it computes on devices, after one to warm up."""
    jax.block_until_ready(call())
    times: list[float] = []
    while len(times) < LEAST or sum(times) < seconds:
        begun = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - begun)
    return statistics.median(times)
