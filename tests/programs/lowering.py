"""The training step of every variant of every experiment, traced at full size and lowered for GPUs and TPUs,
which need not be here; nothing is compiled.

    python tests/programs/lowering.py [RECIPE ...]

A RECIPE is 'crnn.py:r34'; without one, all. Ends with status 1 if a step does not lower, or changes a shape
or a type of the state.
"""

import gc
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
from full_size import kinds, recipes, shapes

from recog.train.step import make_step


def fault(recipe: str) -> str:
    """What is wrong with the step of a recipe; '': nothing."""
    config, model, rate, tx, state, batch = shapes(recipe)
    traced = jax.jit(make_step(model, tx, rate, config)).trace(state, batch)
    after, metrics = traced.out_info
    if kinds(state) != kinds(after):
        return 'the state after a step has other shapes or types'
    if {leaf.dtype for leaf in jax.tree.leaves(after.params)} != {jnp.dtype('float32')}:
        return 'parameters are not float32'
    if metrics['loss'].shape != () or metrics['loss'].dtype != jnp.float32:
        return f'the loss is {metrics["loss"]}'
    module = traced.lower(lowering_platforms=('cuda', 'tpu')).compiler_ir('stablehlo')
    return '' if module is not None else 'nothing was lowered'


def timed_fault(recipe: str) -> tuple[str, float]:
    """What is wrong with a recipe, and how many seconds it took to see."""
    start = time.perf_counter()
    try:
        wrong = fault(recipe)
    except Exception as error:  # the others are looked at all the same
        wrong = f'{type(error).__name__}: {error}'
    return wrong, time.perf_counter() - start


def main() -> int:
    """The status: 0 if all is well."""
    named, failed = sys.argv[1:] or recipes(), 0
    # Two at a time, as the suite runs: tracing keeps one thread busy.
    with ProcessPoolExecutor(2, get_context('spawn'), gc.set_threshold, (50_000, 20, 10)) as pool:
        for recipe, (wrong, seconds) in zip(named, pool.map(timed_fault, named), strict=True):
            failed += bool(wrong)
            print(f'{recipe:24} {seconds:6.1f} s  {wrong or "lowered"}', flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
