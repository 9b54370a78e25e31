"""A recipe's network and its rival, the same network in another framework. They are checked to be equal, then
timed in turns in one run."""

import importlib
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from ml_collections import ConfigDict

from recog import models, onednn
from recog.bench import programs, recipe, timing
from recog.bench.asked import Asked
from recog.bench.rivals import equality
from recog.bench.rivals.frameworks import Framework
from recog.config.recipe import changed
from recog.devices import cost, measured
from recog.devices.mesh import make_mesh
from recog.errors import ConfigError
from recog.text import vocabulary
from recog.workdir import provenance

OURS = 'recog'
# Calls by form, and why a form is missing.
Calls = tuple[dict[str, Callable], dict[str, str]]


def run(framework: Framework, config: ConfigDict, asked: Asked, devices: list[jax.Device]) -> int:
    """Print images/s of both at the same batches, and the ratio of their times."""
    threads = len(os.sched_getaffinity(0))
    version = _started(framework, threads, devices)
    theirs, forms = _module(framework, 'equality'), _module(framework, 'forms')
    vocab = vocabulary.from_config(config.text)
    model, mesh = models.build(config, vocab), make_mesh(config.mesh, devices)
    # To see that both are equal.
    exact = models.build(changed(config.copy_and_resolve_references(), {'train.precision': 'float32'}), vocab)
    rival = _module(framework, config.model.name).build(config, len(vocab))
    worst = theirs.check(exact, rival, config)
    variables = model.init(jax.random.key(0))
    theirs.load(rival, model, variables)
    count = cost.parameters(jax.eval_shape(model.init, jax.random.key(0))['params'])
    print(f'{asked.recipe} equals its rival: {count:,} trainable parameters, the same texts, '
          f'logits within {worst:.0e}')
    by = onednn.products(devices[0], config.train.precision)
    print(f'{provenance.host()}, {threads} threads, {framework.name} {version}, jax {jax.__version__}'
          f'{by and f", {by}"}')
    widths = {kind: max(12, len(kind) + 3) for kind in (OURS, *forms.NAMES)}
    print(f'{"images/s":12}' + ''.join(f'{kind:>{width}}' for kind, width in widths.items())
          + f'    time of recog / time of the fastest {framework.name}', flush=True)
    figures: dict[str, Any] = {
        'config': asked.recipe, 'overrides': list(asked.overrides), 'processor': provenance.host(),
        'cpus': threads, framework.package: version, 'jax': jax.__version__,
        'precision': config.train.precision, **({'convolutions': by} if by else {}),
        'trainable_parameters': count}
    for name, make, turns, rows in _programs(framework, config, asked):
        program = programs.compiled(make(model, config, mesh, rows, variables))
        calls, missing = turns(program, exact, variables, rival, config, rows)
        seconds = timing.alternate(calls, asked.seconds)
        speed = {kind: rows / each for kind, each in seconds.items()}
        ratio = seconds[OURS] / min(each for kind, each in seconds.items() if kind != OURS)
        figures[name] = speed | {'ratio_of_times': ratio} | ({'missing': missing} if missing else {})
        said = (f'{speed[kind]:{width},.1f}' if kind in speed else f'{"-":>{width}}'
                for kind, width in widths.items())
        print(f'{name:12}{"".join(said)}    {ratio:.2f}', flush=True)
        for kind, why in missing.items():
            print(f'{"":12}no {kind}: {why}', flush=True)
    measured.keep(figures, asked.json)
    return 0


def _module(framework: Framework, name: str) -> Any:
    """A module of the framework's rivals, which can be imported once that has been started."""
    return importlib.import_module(f'recog.bench.{framework.folder}.{name}')


def _started(framework: Framework, threads: int, devices: list[jax.Device]) -> str:
    """The version of the framework, started with this many threads: one for each CPU that we may use."""
    if len(devices) > 1 or devices[0].platform != 'cpu':
        raise ConfigError(f'{framework.option} compares on one CPU, not on {len(devices)} x '
                          f'{devices[0].device_kind}; set JAX_PLATFORMS=cpu')
    try:
        return framework.start(threads)
    except ModuleNotFoundError:
        raise ConfigError(f'{framework.option} needs {framework.name}: '
                          f'pip install {framework.package}') from None


def _programs(framework: Framework, config: ConfigDict,
              asked: Asked) -> list[tuple[str, Callable, Callable, int]]:
    """The programs to compare: the name of each, the function that drafts ours, the one
    that makes the calls, and the batch size."""
    found: list[tuple[str, Callable, Callable, int]] = []
    if asked.wants('infer'):
        found += [(f'infer_{rows}', programs.inference, partial(_inference, framework), rows)
                  for rows in sorted({1, max(asked.batch, 1)})]
    if asked.wants('train'):
        rows = asked.train_batch or min(config.train.batch, recipe.CPU_TRAIN_BATCH)
        found.append((f'train_{rows}', programs.training_step, partial(_training, framework), rows))
    return found


def _inference(
    framework: Framework, program: programs.Program, model: models.Model, variables: models.Variables,
    rival: Any, config: ConfigDict, rows: int
) -> Calls:
    """The calls from images to tokens; ours also normalises the images."""
    batch = programs.random_batch(config, rows)
    calls, missing = _module(framework, 'forms').forms(rival, batch, config)
    return {OURS: lambda: jax.block_until_ready(program.call()), **calls}, missing


def _training(
    framework: Framework, program: programs.Program, model: models.Model, variables: models.Variables,
    rival: Any, config: ConfigDict, rows: int
) -> Calls:
    """The calls of forward, loss, backward and optimizer. Each rival must have our loss, in float32; with
    dropout, the losses without dropout are compared."""
    batch = programs.random_batch(config, rows)
    drawn = any(config.model.get(rate, 0) for rate in ('dropout', 'word_dropout', 'stochastic_depth'))
    first = not drawn and config.train.precision == 'float32'
    wanted = float(program.call()['loss']) if first else equality.loss(model, variables, batch)
    calls = _module(framework, 'training').steps(rival, model, config, batch, wanted)
    return {OURS: lambda: jax.block_until_ready(program.call()), **calls}, {}
