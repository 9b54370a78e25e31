"""`recog bench --pytorch`: a recipe's network and its rival, the same network in PyTorch. They are checked to
be equal, then timed in turns in one run."""

import copy
import importlib
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from ml_collections import ConfigDict

from recog import models
from recog.bench import programs, recipe, timing
from recog.bench.asked import Asked
from recog.config import values
from recog.devices import cost, measured
from recog.devices.mesh import make_mesh
from recog.errors import ConfigError
from recog.text import vocabulary
from recog.train import patterns
from recog.workdir import provenance

OURS = 'recog'
# Calls by form, and why a form is missing.
Calls = tuple[dict[str, Callable], dict[str, str]]


def run(config: ConfigDict, asked: Asked, devices: list[jax.Device]) -> int:
    """Print images/s of both at the same batches, and the ratio of their times."""
    torch = _torch(devices)
    from recog.bench.pytorch import equality, forms

    vocab = vocabulary.from_config(config.text)
    model, mesh = models.build(config, vocab), make_mesh(config.mesh, devices)
    rival = importlib.import_module(f'recog.bench.pytorch.{config.model.name}').build(config, len(vocab))
    worst = equality.check(model, rival, config)
    variables = model.init(jax.random.key(0))
    equality.load(rival, model, variables)
    count = cost.parameters(jax.eval_shape(model.init, jax.random.key(0))['params'])
    print(f'{asked.recipe} equals its rival: {count:,} trainable parameters, the same texts, '
          f'logits within {worst:.0e}')
    print(f'{provenance.host()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}, '
          f'jax {jax.__version__}')
    widths = {kind: max(12, len(kind) + 3) for kind in (OURS, *forms.NAMES)}
    print(f'{"images/s":12}' + ''.join(f'{kind:>{width}}' for kind, width in widths.items())
          + '    time of recog / time of the fastest PyTorch', flush=True)
    figures: dict[str, Any] = {
        'config': asked.recipe, 'overrides': list(asked.overrides), 'processor': provenance.host(),
        'cpus': torch.get_num_threads(), 'torch': torch.__version__, 'jax': jax.__version__,
        'trainable_parameters': count}
    for name, make, turns, rows in _programs(config, asked):
        program = programs.compiled(make(model, config, mesh, rows, variables))
        calls, missing = turns(program, model, variables, rival, config, rows)
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


def _torch(devices: list[jax.Device]) -> Any:
    """PyTorch, with one thread for each CPU that we may use."""
    if len(devices) > 1 or devices[0].platform != 'cpu':
        raise ConfigError(f'--pytorch compares on one CPU, not on {len(devices)} x {devices[0].device_kind}; '
                          'set JAX_PLATFORMS=cpu')
    try:
        import torch
    except ModuleNotFoundError:
        raise ConfigError('--pytorch needs PyTorch: pip install torch') from None
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    return torch


def _programs(config: ConfigDict, asked: Asked) -> list[tuple[str, Callable, Callable, int]]:
    """The programs to compare: the name of each, the function that drafts ours, the one
    that makes the calls, and the batch size."""
    found: list[tuple[str, Callable, Callable, int]] = []
    if asked.wants('infer'):
        found += [(f'infer_{rows}', programs.inference, _inference, rows)
                  for rows in sorted({1, max(asked.batch, 1)})]
    if asked.wants('train'):
        rows = asked.train_batch or min(config.train.batch, recipe.CPU_TRAIN_BATCH)
        found.append((f'train_{rows}', programs.training_step, _training, rows))
    return found


def _inference(
    program: programs.Program, model: models.Model, variables: models.Variables, rival: Any,
    config: ConfigDict, rows: int
) -> Calls:
    """The calls from images to tokens; ours also normalises the images."""
    from recog.bench.pytorch import forms

    calls, missing = forms.forms(rival, programs.random_batch(config, rows), config)
    return {OURS: lambda: jax.block_until_ready(program.call()), **calls}, missing


def _training(
    program: programs.Program, model: models.Model, variables: models.Variables, rival: Any,
    config: ConfigDict, rows: int
) -> Calls:
    """The calls of forward, loss, backward and optimizer, in each memory layout. Each rival must have the
    loss of our first step; with dropout, the losses without dropout are compared."""
    from recog.bench.pytorch import equality, forms

    batch, calls = programs.random_batch(config, rows), {OURS: lambda: jax.block_until_ready(program.call())}
    drawn = any(config.model.get(rate, 0) for rate in ('dropout', 'word_dropout', 'stochastic_depth'))
    wanted = equality.loss(model, variables, batch) if drawn else float(program.call()['loss'])
    for kind, layout in forms.LAYOUTS.items():
        network = copy.deepcopy(rival).to(memory_format=layout).train()
        given = *equality.given(rival, batch, config, layout), *equality.labels(batch)
        equality.check_loss(network, given, wanted)
        calls[kind] = partial(_step, network, _optimizer(network, model, config), config.optimizer, given)
    return calls, {}


def _optimizer(network: Any, model: models.Model, config: ConfigDict) -> Any:
    """The recipe's optimizer, fused."""
    import torch

    rule, groups = config.optimizer, _groups(network, model, config)
    if rule.name == 'momentum':
        return torch.optim.SGD(groups, momentum=rule.momentum, nesterov=rule.nesterov,
                               weight_decay=rule.decay, fused=True)
    return torch.optim.Adam(groups, betas=(rule.b1, rule.b2), eps=rule.eps, weight_decay=rule.decay,
                            fused=True)


def _step(network: Any, optimizer: Any, rule: ConfigDict, given: tuple[Any, ...]) -> None:
    import torch

    optimizer.zero_grad()
    network.loss(*given).backward()
    for parameter in network.parameters() if rule.clip_tensor else ():
        torch.nn.utils.clip_grad_norm_(parameter, rule.clip_tensor)
    if rule.clip_norm:
        torch.nn.utils.clip_grad_norm_(network.parameters(), rule.clip_norm)
    optimizer.step()


def _groups(network: Any, model: models.Model, config: ConfigDict) -> list[dict[str, Any]]:
    """The rival's parameters, grouped by learning rate as `config.optimizer.groups` says."""
    from recog.bench.pytorch import equality

    rules = [values.parse_group(group) for group in config.optimizer.groups]
    found: dict[float, list[Any]] = {}
    for name, parameter in network.named_parameters():
        path = '/'.join(model.peers[equality.published(name, model.peers)].path[1:])
        multiplier = patterns.multiplier(path, rules)
        found.setdefault(1.0 if multiplier is None else multiplier, []).append(parameter)
    return [{'params': parameters, 'lr': config.optimizer.rate * multiplier}
            for multiplier, parameters in found.items()]
