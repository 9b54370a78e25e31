"""The programs of a recipe, inference and training step, compiled for images of noise."""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from recog import models
from recog.config import values
from recog.data.batches import empty_batch
from recog.devices import cost
from recog.devices.mesh import (
    batch_sharding,
    check_batch,
    compiler_options,
    make_mesh,
    replicated,
    state_layout,
)
from recog.images.fit import channels
from recog.reading.compiled import packed, packs
from recog.text import vocabulary
from recog.train import optimizer
from recog.train.step import make_state, make_step


class Program(NamedTuple):
    """A compiled function, and how to call it once more on the same batch."""

    compiled: Any
    call: Callable[[], Any]
    flops: int
    figures: dict[str, Any]  # of its compilation, in seconds
    at_length: Callable[[int], Any] | None = None  # of inference: the call for texts of this many tokens


class Draft(NamedTuple):
    """A program that is not compiled yet: how to lower it, and how to call it once it is compiled."""

    lower: Callable[[], Any]
    flops: int
    calls: Callable[[Any], tuple[Callable[[], Any], Callable[[int], Any] | None]]

    def program(self, compiled: Any, figures: dict[str, Any]) -> Program:
        """The compiled program; its arrays are made here and not before."""
        call, at_length = self.calls(compiled)
        return Program(compiled, call, self.flops, figures, at_length)


def inference(model: models.Model, config: ConfigDict, mesh: Any, batch: int, variables: Any = None) -> Draft:
    """From uint8 images to tokens, with these variables or random ones."""
    arrays, shapes = random_batch(config, batch), jax.eval_shape(model.init, jax.random.key(0))
    longest, decode = np.int32(config.text.max_length), partial(model.decode, beam=config.eval.beam)
    places = replicated(mesh), *[batch_sharding(mesh)] * 2, replicated(mesh)
    abstract = shapes, arrays['image'], arrays['size'], longest
    run: Callable[..., Any] = decode
    prepared, weights = (lambda variables: variables), shapes
    if packs(batch):
        parts = packed(decode, *abstract)
        prepared, run, weights = jax.jit(parts.first), parts.rest, jax.eval_shape(parts.first, shapes)
    jitted = jax.jit(run, in_shardings=places, compiler_options=compiler_options(mesh))

    def calls(compiled: Any) -> tuple[Callable, Callable]:
        ready = prepared(drawn(shapes) if variables is None else variables)
        given = jax.device_put((ready, *abstract[1:3]), places[:3])

        def at_length(length: int) -> Any:
            return compiled(*given, np.int32(length))

        return lambda: at_length(config.text.max_length), at_length

    return Draft(lambda: jitted.lower(weights, *abstract[1:]), cost.flops(decode, *abstract), calls)


def training_step(model: models.Model, config: ConfigDict, mesh: Any, batch: int,
                  variables: Any = None) -> Draft:
    """Forward, loss, backward and optimizer, on a batch that is already on the device."""
    step, jitted, make, layout = _step(model, config, mesh, batch)
    arrays, shapes = random_batch(config, batch), jax.eval_shape(model.init, jax.random.key(0))
    state = jax.eval_shape(make, jax.random.key(0))

    def calls(compiled: Any) -> tuple[Callable, None]:
        given = drawn(shapes) if variables is None else variables
        box = [jax.jit(make, out_shardings=layout)(jax.random.key(0), given)]
        there = jax.device_put(arrays, batch_sharding(mesh))

        def once() -> Any:
            box[0], metrics = compiled(box[0], there)
            return metrics

        return once, None

    return Draft(lambda: jitted.lower(state, arrays), cost.flops(step, state, arrays), calls)


def compiled(draft: Draft) -> Program:
    """Compile a draft, timed with an empty compilation cache and with a filled one."""
    return draft.program(*_compile(draft.lower))


def drawn(shapes: Any) -> Any:
    """Random variables of these shapes. They are made by NumPy, because compiling
    a random initialisation takes seconds."""
    random = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        if leaf.ndim > 1:
            values = random.standard_normal(leaf.shape, np.float32) / np.prod(leaf.shape[:-1]) ** 0.5
        else:
            values = np.full(leaf.shape,
                             jax.tree_util.keystr(path[-1:], simple=True) in ('scale', 'variance'))
        return values.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def _step(model: models.Model, config: ConfigDict, mesh: Any,
          batch: int) -> tuple[Callable, Any, Callable, Any]:
    """The training step as `recog train` makes it, plain and jitted; the function that makes its
    state; and the sharding of the state."""
    config = config.copy_and_resolve_references()
    config.train.batch = batch
    epoch = max(1, config.data.nominal // batch)
    total = max(2, values.steps(config.train.length, batch=batch, epoch=epoch))
    rate = optimizer.schedule(config, total, epoch)
    tx = optimizer.optimizer(config, rate)
    make = partial(make_state, model, tx, values.averages(config))  # takes a key and, optionally, variables
    layout = state_layout(mesh, jax.eval_shape(make, jax.random.key(0)))
    step = make_step(model, tx, rate, config, mesh, optimizer.starts(config, total, epoch))
    jitted = jax.jit(step, donate_argnums=0, in_shardings=(layout, batch_sharding(mesh)),
                     out_shardings=(layout, replicated(mesh)), compiler_options=compiler_options(mesh))
    return step, jitted, make, layout


def lowered_step(config: ConfigDict, batch: int) -> Any:
    """The lowered training step for this batch size, on the recipe's mesh of
    all devices; it makes no array there."""
    config = config.copy_and_resolve_references()
    # As many groups of batch norm as in the recipe's batch.
    config.train.norm_group = -(-config.train.norm_group * batch // config.train.batch)
    config.train.batch = batch
    mesh = make_mesh(config.mesh, jax.devices())
    check_batch(mesh, config)
    _, jitted, make, _ = _step(models.build(config, vocabulary.from_config(config.text)), config, mesh, batch)
    return jitted.lower(jax.eval_shape(make, jax.random.key(0)), random_batch(config, batch))


def random_batch(config: ConfigDict, batch: int) -> dict[str, np.ndarray]:
    """Images of noise with labels of random length: at most nine letters for
    words, the maximum length for formulas."""
    random, rule = np.random.default_rng(0), config.image
    vocab, most = vocabulary.from_config(config.text), config.text.max_length
    arrays = empty_batch(batch, most)
    arrays['image'] = random.integers(0, 256, (batch, rule.height, rule.width, channels(rule)), np.uint8)
    arrays['size'] = np.tile(np.array([rule.height, rule.width], np.int32), (batch, 1))
    arrays['length'][:] = random.integers(1, (most if config.eval.protocol == 'latex' else min(9, most)) + 1,
                                          batch)
    ids = random.integers(0, len(vocab), arrays['tokens'].shape)
    arrays['tokens'][:] = np.where(np.arange(most) < arrays['length'][:, None], ids, -1)
    return arrays


def _compile(lower: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The compiled function, and the seconds of compiling with an empty
    compilation cache and with a filled one."""
    from jax.experimental.compilation_cache import compilation_cache

    names = ('jax_persistent_cache_min_compile_time_secs', 'jax_persistent_cache_min_entry_size_bytes',
             'jax_compilation_cache_dir')
    kept = {name: getattr(jax.config, name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for name, value in zip(names, (0, -1, folder), strict=True):
            jax.config.update(name, value)
        begun = time.perf_counter()
        lowered = lower()
        figures = {'trace_seconds': time.perf_counter() - begun}
        for name in ('compile_cold_seconds', 'compile_warm_seconds'):
            compilation_cache.reset_cache()
            begun = time.perf_counter()
            compiled = lowered.compile()
            figures[name] = time.perf_counter() - begun
            jax.clear_caches()
            lowered = lower()
        for name, value in kept.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
    return compiled, figures
