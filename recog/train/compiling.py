"""The shapes of a run, compiled side by side before its first step."""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Drafts = Mapping[Any, Callable[[], Any]]  # what lowers the program of a shape


def side_by_side(training: Drafts, evaluation: Drafts, say: Callable[[str], None]) -> dict[Any, Any]:
    """The compiled programs of training by their shapes; those of evaluation are kept by JAX.

    Where neither has several, a single one is compiled when it is needed.
    """
    if max(len(training), len(evaluation)) < 2:
        say('compiling; the first step follows')
        return {}
    what = f'{len(training)} shapes of training and {len(evaluation)} of evaluation'
    say(f'compiling {what}')
    begun = time.perf_counter()
    # XLA compiles a program by several threads already, and this one traces the next meanwhile.
    with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)) // 2)) as pool:
        waiting = [pool.submit(lower().compile) for lower in (*training.values(), *evaluation.values())]
        compiled = [each.result() for each in waiting]
    say(f'compiled {what} in {time.perf_counter() - begun:.0f} s')
    return dict(zip(training, compiled[:len(training)], strict=True))
