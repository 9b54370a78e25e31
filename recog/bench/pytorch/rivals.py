"""The same networks in plain PyTorch, which `recog bench --pytorch` times beside ours; only `race` and the networks need it."""

from typing import Any

from ml_collections import ConfigDict

from recog.errors import ConfigError

# What the networks and their training step can do: dotted field -> its values. Sizes are free.
Fields = dict[str, tuple[Any, ...]]
ALL: Fields = {
    'eval.beam': (1,), 'train.precision': ('float32',), 'train.accumulate': (1,), 'train.norm_group': (0,), 'train.ema': (0,),
    'optimizer.name': ('adam',), 'optimizer.clip_norm': (0,), 'optimizer.decay_vectors': (True,),
}
BACKBONES: Fields = {'model.backbone': ('resnet34_vd', 'mobilenet_v3')}
RIVALS: dict[str, Fields] = {
    'crnn': BACKBONES,
    'rare': BACKBONES | {'model.teaching': ('own',), 'model.shifted': (False,), 'model.skip_ends': (True,)},
    'srn': {'model.semantic': (True,), 'model.branches': ('both',), 'model.fusion': ('gate',), 'model.positions': ('fixed',),
            'model.dropout_rule': ('downscale',), 'model.average': (False,), 'model.skip_ends': (False,)},
}


def reads(config: ConfigDict) -> bool:
    """Whether the network of a recipe has a rival that reads as it does."""
    name = config.model.name
    return name in RIVALS and all(config[section][field] in values for section, field, values in (
        (*dotted.split('.'), values) for dotted, values in RIVALS[name].items()))


def check(config: ConfigDict) -> None:
    """Refuse a recipe that has no rival."""
    there = 'there is one for r34 and mv3 of crnn and rare and for r50 of srn, and what differs from them in sizes alone'
    if config.model.name not in RIVALS:
        raise ConfigError(f'--pytorch: config.model.name={config.model.name!r} has no rival; {there}')
    for field, values in (RIVALS[config.model.name] | ALL).items():
        section, name = field.split('.')
        if config[section][name] not in values:
            raise ConfigError(f'--pytorch: config.{field}={config[section][name]!r} has no rival; {there}')
    if config.optimizer.decay and config.optimizer.decay_kind != 'coupled':
        raise ConfigError(f'--pytorch: config.optimizer.decay_kind={config.optimizer.decay_kind!r} has no rival; {there}')
