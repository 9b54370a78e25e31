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

OURS, PLAIN, LAST = 'recog', 'PyTorch', 'PyTorch, channels last'


def run(config: ConfigDict, asked: Asked, devices: list[jax.Device]) -> int:
    """Print images/s of both at the same batches, and the ratio of their times."""
    torch = _torch(devices)
    from recog.bench.pytorch import equality

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
    print(f'{"images/s":12}{OURS:>12}{PLAIN:>12}{LAST:>26}    time of recog / time of the faster PyTorch',
          flush=True)
    figures: dict[str, Any] = {
        'config': asked.recipe, 'overrides': list(asked.overrides), 'processor': provenance.host(),
        'cpus': torch.get_num_threads(), 'torch': torch.__version__, 'jax': jax.__version__,
        'trainable_parameters': count}
    for name, make, turns, rows in _programs(config, asked):
        program = programs.compiled(make(model, config, mesh, rows, variables))
        calls = turns(program, model, variables, rival, config, rows)
        seconds = timing.alternate(calls, asked.seconds)
        speed = {kind: rows / each for kind, each in seconds.items()}
        ratio = seconds[OURS] / min(seconds[PLAIN], seconds[LAST])
        figures[name] = speed | {'ratio_of_times': ratio}
        print(f'{name:12}{speed[OURS]:12,.1f}{speed[PLAIN]:12,.1f}{speed[LAST]:26,.1f}    {ratio:.2f}',
              flush=True)
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
) -> dict[str, Callable]:
    """The calls from images to tokens; ours also normalises the images."""
    import torch

    from recog.bench.pytorch import equality

    batch, calls = programs.random_batch(config, rows), {OURS: lambda: jax.block_until_ready(program.call())}
    for kind, layout in layouts(torch):
        network = copy.deepcopy(rival).to(memory_format=layout).eval()
        read = torch.inference_mode()(network.read)
        calls[kind] = partial(read, equality.pixels(batch, config, layout), config.text.max_length)
    return calls


def _training(
    program: programs.Program, model: models.Model, variables: models.Variables, rival: Any,
    config: ConfigDict, rows: int
) -> dict[str, Callable]:
    """The calls of forward, loss, backward and optimizer. Each rival must have the loss of our first step;
    with dropout, the losses without dropout are compared."""
    import torch

    from recog.bench.pytorch import equality

    batch, calls = programs.random_batch(config, rows), {OURS: lambda: jax.block_until_ready(program.call())}
    rule = config.optimizer
    given = torch.tensor(batch['tokens'], dtype=torch.long), torch.tensor(batch['length'], dtype=torch.long)
    drawn = config.model.get('dropout', 0)
    wanted = equality.loss(model, variables, batch) if drawn else float(program.call()['loss'])
    for kind, layout in layouts(torch):
        network = copy.deepcopy(rival).to(memory_format=layout).train()
        image = equality.pixels(batch, config, layout)
        equality.check_loss(network, (image, *given), wanted)
        optimizer = torch.optim.Adam(_groups(network, model, config), betas=(rule.b1, rule.b2), eps=rule.eps,
                                     weight_decay=rule.decay, fused=True)
        calls[kind] = partial(_step, network, optimizer, rule.clip_tensor, image, *given)
    return calls


def layouts(torch: Any) -> tuple[tuple[str, Any], ...]:
    """The memory layouts of images, by name."""
    return (PLAIN, torch.contiguous_format), (LAST, torch.channels_last)


def _step(network: Any, optimizer: Any, limit: float, image: Any, tokens: Any, length: Any) -> None:
    import torch

    optimizer.zero_grad()
    network.loss(image, tokens, length).backward()
    for parameter in network.parameters() if limit else ():
        torch.nn.utils.clip_grad_norm_(parameter, limit)
    optimizer.step()


def _groups(network: Any, model: models.Model, config: ConfigDict) -> list[dict[str, Any]]:
    """The rival's parameters, grouped by learning rate as `config.optimizer.groups` says."""
    from recog.bench.pytorch import equality

    rules = [values.parse_group(group) for group in config.optimizer.groups]
    found: dict[float, list[Any]] = {}
    for name, parameter in network.named_parameters():
        path = '/'.join(model.peers[equality.published(name)].path[1:])
        multiplier = patterns.multiplier(path, rules)
        found.setdefault(1.0 if multiplier is None else multiplier, []).append(parameter)
    return [{'params': parameters, 'lr': config.optimizer.rate * multiplier}
            for multiplier, parameters in found.items()]
