"""The programs of a recipe: inference and training step on images of noise, compiled."""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from recog import config as configs
from recog import cost, data, images, models, optimize, sharding, text
from recog import train as training


class Program(NamedTuple):
    """A compiled function, and how to call it once more on the same batch."""

    compiled: Any
    call: Callable[[], Any]
    flops: int
    figures: dict[str, Any]  # of its compilation
    at_length: Callable[[int], Any] | None = None  # of inference: the call for texts of so many tokens


def inference(model: models.Model, config: ConfigDict, mesh: Any, batch: int) -> Program:
    """From uint8 images to texts' tokens."""
    variables = jax.jit(model.init, out_shardings=sharding.replicated(mesh))(jax.random.key(0))
    arrays = random_batch(config, batch)
    picture, size = (jax.device_put(arrays[key], sharding.batches(mesh)) for key in ('image', 'size'))
    longest, decode = np.int32(config.text.max_length), partial(model.decode, beam=config.eval.beam)
    jitted = jax.jit(decode, compiler_options=sharding.compiler_options(mesh))
    compiled, figures = _compile(jitted, variables, picture, size, longest)

    def at_length(length: int) -> Any:
        return compiled(variables, picture, size, np.int32(length))

    flops = cost.flops(decode, variables, picture, size, longest)
    return Program(compiled, lambda: at_length(config.text.max_length), flops, figures, at_length)


def training_step(model: models.Model, config: ConfigDict, mesh: Any, batch: int) -> Program:
    """Forward, loss, backward and optimizer on a batch that is on the device."""
    step, jitted, make, layout = _step(model, config, mesh, batch)
    state = jax.jit(make, out_shardings=layout)(jax.random.key(0))
    arrays = jax.device_put(random_batch(config, batch), sharding.batches(mesh))
    compiled, figures = _compile(jitted, state, arrays)
    flops, box = cost.flops(step, state, arrays), [state]

    def once():
        box[0], metrics = compiled(box[0], arrays)
        return metrics

    return Program(compiled, once, flops, figures)


def _step(model: models.Model, config: ConfigDict, mesh: Any, batch: int) -> tuple[Callable, Any, Callable, Any]:
    """The step as training makes it, pure and under jit, and what makes its state and how that lies."""
    config = config.copy_and_resolve_references()
    config.train.batch = batch
    epoch = max(1, config.data.nominal // batch)
    total = max(2, configs.steps(config.train.length, batch=batch, epoch=epoch))
    rate = optimize.schedule(config, total, epoch)
    tx = optimize.optimizer(config, rate)
    make = partial(training.make_state, model, tx, config.train.ema)
    layout = sharding.state(mesh, jax.eval_shape(make, jax.random.key(0)))
    step = training.make_step(model, tx, rate, config, mesh)
    jitted = jax.jit(step, donate_argnums=0, in_shardings=(layout, sharding.batches(mesh)),
                     out_shardings=(layout, sharding.replicated(mesh)), compiler_options=sharding.compiler_options(mesh))
    return step, jitted, make, layout


def lowered_step(config: ConfigDict, batch: int) -> Any:
    """The training step for such a batch on the recipe's mesh of all devices, to be compiled; no array is made on them."""
    config = config.copy_and_resolve_references()
    # As many groups of rows as the recipe's batch has.
    config.train.norm_group = -(-config.train.norm_group * batch // config.train.batch)
    config.train.batch = batch
    mesh = sharding.make_mesh(config.mesh, jax.devices())
    sharding.check_batch(mesh, config)
    _, jitted, make, _ = _step(models.build(config, text.from_config(config.text)), config, mesh, batch)
    return jitted.lower(jax.eval_shape(make, jax.random.key(0)), random_batch(config, batch))


def random_batch(config: ConfigDict, batch: int) -> dict[str, np.ndarray]:
    """Images of noise with labels of random length."""
    random, rule = np.random.default_rng(0), config.image
    vocab = text.from_config(config.text)
    arrays = data.empty(batch, config.text.max_length)
    arrays['image'] = random.integers(0, 256, (batch, rule.height, rule.width, images.channels(rule)), np.uint8)
    arrays['size'] = np.tile(np.array([rule.height, rule.width], np.int32), (batch, 1))
    arrays['length'][:] = random.integers(1, min(9, config.text.max_length) + 1, batch)
    ids = random.integers(0, len(vocab), arrays['tokens'].shape)
    arrays['tokens'][:] = np.where(np.arange(config.text.max_length) < arrays['length'][:, None], ids, -1)
    return arrays


def _compile(function: Any, *args: Any) -> tuple[Callable, dict[str, float]]:
    """The compiled function, and what compiling took with an empty compilation cache and with a filled one."""
    from jax.experimental.compilation_cache import compilation_cache

    names = ('jax_persistent_cache_min_compile_time_secs', 'jax_persistent_cache_min_entry_size_bytes',
             'jax_compilation_cache_dir')
    kept = {name: getattr(jax.config, name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for name, value in zip(names, (0, -1, folder), strict=True):
            jax.config.update(name, value)
        begun = time.perf_counter()
        lowered = function.lower(*args)
        figures = {'trace_seconds': time.perf_counter() - begun}
        for name in ('compile_cold_seconds', 'compile_warm_seconds'):
            compilation_cache.reset_cache()
            begun = time.perf_counter()
            compiled = lowered.compile()
            figures[name] = time.perf_counter() - begun
            jax.clear_caches()
            lowered = function.lower(*args)
        for name, value in kept.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
    return compiled, figures
