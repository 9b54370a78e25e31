"""`recog config`: a recipe with all its fields, its parameters, and what it costs."""

import argparse
from typing import TYPE_CHECKING

from recog.commands.options import Command, add_data, recipe, refuse_negative
from recog.errors import ConfigError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from recog.data.plan import Plan


def add(config: argparse.ArgumentParser) -> None:
    """The arguments."""
    config.add_argument('--layers', action='store_true', help='print a table of the layers instead')
    config.add_argument('--explain', action='store_true',
                        help='print every field with its meaning instead; * marks what differs from its '
                        'default')
    config.add_argument('--batch', type=int, default=1, help='images of that table (default 1)')
    config.add_argument('recipe', nargs='?', metavar='FILE:VARIANT', help='the same as --config')
    add_data(config)


def run(arguments: argparse.Namespace) -> int:
    """Print the recipe, or the table of its layers."""
    if arguments.recipe and arguments.recipe.startswith('-'):
        raise ConfigError(f'option {arguments.recipe} is not known')
    arguments.config = arguments.config or arguments.recipe
    config = recipe(arguments)
    refuse_negative(arguments, 'batch')
    if arguments.layers and arguments.explain:
        raise ConfigError('--layers and --explain print two things; choose one')
    if arguments.explain:
        from recog.config import explained

        print('\n'.join(explained.lines(config, arguments.config)))
        return 0
    if arguments.layers:
        return _print_layers(config, max(arguments.batch, 1))
    from recog.config import values

    for field, value in values.flat(config).items():
        print(f'{field} = {value!r}')
    return _print_costs(config, arguments.config, arguments.data)


def _print_layers(config: 'ConfigDict', batch: int) -> int:
    from recog import models
    from recog.bench import layer_table, programs
    from recog.text import vocabulary

    model = models.build(config, vocabulary.from_config(config.text))
    print('\n'.join(layer_table.lines(model, programs.random_batch(config, batch))))
    return 0


def _print_costs(config: 'ConfigDict', recipe: str, root: str) -> int:
    """Parameters, images and steps, and hours on this device where its speed was measured."""
    import jax

    from recog import models
    from recog.config import values
    from recog.data.planning import make_plan
    from recog.data.sets import open_set
    from recog.devices import cost, measured
    from recog.text import vocabulary

    vocab = vocabulary.from_config(config.text)
    model = models.build(config, vocab)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    trainable, every = cost.parameters(shapes['params']), cost.parameters(shapes)
    print(f'\ntrainable parameters: {trainable:,} ({every:,} with statistics)')
    batch: float = config.train.batch
    try:
        opened = [open_set(name, config, root) for name in config.data.train]
    except ConfigError as error:
        count = config.data.nominal
        print(f'images of an epoch: {f"{count:,} (nominal)" if count else "not known"}: {error}')
        epoch = max(1, count // config.train.batch)
    else:
        count = sum(map(len, opened))
        plan = make_plan(config, vocab, opened, config.train.accumulate)
        batch, epoch = plan.average, plan.epoch
        print(f'images of an epoch: {count:,} in {epoch:,} steps of {batch:.4g}')
        _print_padding(plan, model.about.stride)
    if not count and 'epochs' in config.train.length:
        print(f'length: {config.train.length}')
        return 0
    steps = values.steps(config.train.length, batch=batch, epoch=epoch)
    images = round(steps * batch)
    print(f'length: {config.train.length} = {steps / epoch:.4g} epochs = {steps:,} steps of '
          f'{batch:.4g} = {images:,} images')
    device = jax.devices()[0].device_kind
    speed = measured.recorded(config, device)
    if speed is None:
        print(f'device-hours: not known for {device}; measure with: recog bench --config {recipe}')
    else:
        print(f'device-hours: {images / speed / 3600:,.1f} on {device} at the {speed:,.0f} images/s that '
              'recog bench measured')
    return 0


def _print_padding(plan: 'Plan', stride: tuple[int, int]) -> None:
    """What an image takes by itself and in the batches of a plan of several shapes."""
    from recog.data.bucketed import Bucketed
    from recog.data.planning import work

    if isinstance(plan, Bucketed):
        alone, padded = work(plan, stride)
        print(f'an image, in the mean: {alone.pixels:,.0f} pixels, in its batch {padded.pixels:,.0f}; '
              f'{alone.tokens:.1f} tokens, in its batch {padded.tokens:.1f}; '
              f'{alone.cells:,.0f} cell-steps of the decoder, in its batch {padded.cells:,.0f}')


COMMAND = Command('config', 'Print the resolved recipe, its parameters, and what it costs.', add, run,
                  recipe=True, overridable=True)
