"""How long training steps take to start: from a new process to the compiled program.

Run as a program (`python -m recog.bench.startup`), it compiles one recipe's
training step and prints how long that took.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from recog.config import experiments
from recog.devices import measured
from recog.errors import ConfigError

CACHES = ('cold', 'warm')
PARTS = ('import', 'trace', 'compile', 'whole')  # of a start, in seconds


def recipes(given: Sequence[str]) -> list[str]:
    """FILE:VARIANT for each recipe; a file stands for all of its variants."""
    found = []
    for recipe in given:
        path, colon, _ = recipe.partition(':')
        found += [recipe] if colon else [f'{path}:{name}'
                                         for name in experiments.experiment_module(path).VARIANTS]
    return found


def run(given: Sequence[str], overrides: Sequence[str], json_file: str) -> int:
    """Print how the training step of each recipe starts, with an empty compilation cache and with the filled
    one."""
    every = recipes(given)
    for recipe in every:
        experiments.load(recipe, overrides)  # report a mistake before the first one starts
    width = max(map(len, every))
    print(f'{"seconds":{width}}' + ''.join(f' {f"{kind} {part}":>12}' for kind in CACHES for part in PARTS),
          flush=True)
    figures: dict[str, Any] = {}
    for recipe in every:
        with tempfile.TemporaryDirectory() as folder:
            figures[recipe] = {kind: _start(recipe, overrides, folder) for kind in CACHES}
        seconds = [found and found[part] for found in figures[recipe].values() for part in PARTS]
        cells = ('failed' if each is None else f'{each:.2f}' for each in seconds)
        print(f'{recipe:{width}}' + ''.join(f' {cell:>12}' for cell in cells), flush=True)
    measured.keep(figures, json_file)
    return 0 if all(found for kinds in figures.values() for found in kinds.values()) else 1


def _start(recipe: str, overrides: Sequence[str], folder: str) -> dict[str, float] | None:
    """The figures of a new process that uses this compilation cache; None if it failed."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, '-m', 'recog.bench.startup', recipe, *overrides],
                          stdout=subprocess.PIPE, text=True,
                          env=os.environ | {'JAX_COMPILATION_CACHE_DIR': folder})
    if done.returncode:
        return None
    return json.loads(done.stdout.splitlines()[-1]) | {'whole': time.perf_counter() - begun}


def main(recipe: str, *overrides: str) -> None:
    """Compile the recipe's training step and print as JSON what that took."""
    begun = time.perf_counter()
    from recog.bench import programs

    config = experiments.load(recipe, overrides)
    imported = time.perf_counter()
    try:
        lowered = programs.lowered_step(config, config.train.batch)
    except ConfigError as error:
        sys.exit(f'{recipe}: {error}')
    traced = time.perf_counter()
    lowered.compile()
    print(json.dumps({'import': imported - begun, 'trace': traced - imported,
                      'compile': time.perf_counter() - traced}))


if __name__ == '__main__':
    main(*sys.argv[1:])
