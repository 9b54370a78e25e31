"""How long calls take; without JAX."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

LEAST = 3  # calls that are timed
ROUNDS = 4  # turns that each of several takes for a figure

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
    """The median seconds of a call of each, who take turns, as others may use the machine; each turn begins
    with one untimed."""
    times: dict[Name, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call()
            end = time.perf_counter() + seconds / ROUNDS
            begun = 0.0  # the first always counts
            while begun < end:
                begun = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(each) for name, each in times.items()}
