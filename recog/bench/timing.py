"""How long calls take; without JAX."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

LEAST = 3  # least number of calls that are timed
ROUNDS = 4  # turns of each call in `alternate`

Name = TypeVar('Name', bound=Hashable)


def median(call: Callable[[], Any], seconds: float) -> float:
    """The median seconds of a call, after one to warm up."""
    call()
    times: list[float] = []
    while len(times) < LEAST or sum(times) < seconds:
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def alternate(calls: Mapping[Name, Callable[[], Any]], seconds: float) -> dict[Name, float]:
    """The median seconds of each call. The calls take turns, so that other load on the machine affects all of
    them; each turn begins with an untimed call."""
    times: dict[Name, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call()
            end = time.perf_counter() + seconds / ROUNDS
            begun = 0.0  # at least one call is timed
            while begun < end:
                begun = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(each) for name, each in times.items()}
