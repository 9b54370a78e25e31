"""Which recipes have a rival: the same network in a framework, which `recog bench` times beside ours.

A rival is the file in the framework's folder with the name of its algorithm. It has
`build(config, tokens)`, and a literal `FIELDS` with the values that it supports. This file needs no
framework, unlike the networks and what compares and times them.
"""

import ast
import functools
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from recog import models
from recog.bench.rivals.frameworks import PYTORCH, Framework
from recog.config import experiments
from recog.errors import ConfigError

BFLOAT16 = 'bfloat16'  # in training alone, with PyTorch

# Dotted field -> the values that a network or its training step supports. Sizes are free.
Fields = dict[str, tuple[Any, ...]]
ALL: Fields = {
    'eval.beam': (1,), 'train.precision': ('float32', BFLOAT16), 'train.accumulate': (1,),
    'train.norm_group': (0,), 'train.ema': (0,), 'swa.start': ('0 steps',),
    'optimizer.name': ('adam', 'adamw', 'momentum'), 'optimizer.decay_vectors': (True,),
}


@functools.cache
def fields(framework: Framework, name: str) -> Fields | None:
    """The `FIELDS` of an algorithm's rival, read without the framework; None if there is no rival."""
    file = Path(__file__).parents[1] / framework.folder / f'{name}.py'
    if name not in models.names() or not file.is_file():
        return None
    for node in ast.parse(file.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'FIELDS':
            return ast.literal_eval(node.value)
    return None


def reads(framework: Framework, config: ConfigDict) -> bool:
    """Whether there is a rival that decodes as the network of this recipe does."""
    known = fields(framework, config.model.name)
    return known is not None and not _other(config, known)


def check(framework: Framework, config: ConfigDict, *, trained: bool = False) -> None:
    """Refuse a recipe that has no rival; trained: only training is compared."""
    known = fields(framework, config.model.name)
    other = 'model.name' if known is None else _other(config, known | ALL)
    if not other and config.optimizer.decay and config.optimizer.decay_kind != 'coupled':
        other = 'optimizer.decay_kind'
    rounded = config.train.precision == BFLOAT16
    if not other and rounded and not (trained and framework is PYTORCH):
        raise ConfigError(f'{framework.option}: config.train.precision={BFLOAT16!r} has a rival in training '
                          'alone, in PyTorch: --pytorch --only train')
    if other:
        section, name = other.split('.')
        raise ConfigError(f'{framework.option}: config.{other}={config[section][name]!r} has no rival; '
                          f'{_those_that_have_one(framework)}')


def _other(config: ConfigDict, known: Fields) -> str:
    """The first field with a value that the rival does not support; '' if there is none."""
    pairs = ((field, *field.split('.')) for field in known)
    return next((field for field, section, name in pairs if config[section][name] not in known[field]), '')


def _those_that_have_one(framework: Framework) -> str:
    """The recipes that have a rival, as a part of a sentence."""
    having = [name for name in models.names() if fields(framework, name) is not None]
    alike: dict[tuple[str, ...], list[str]] = {}
    try:
        for each in experiments.every():
            if each.name in having:
                alike.setdefault(each.published, []).append(each.name)
    except ConfigError:  # no recipes here to name
        return f'there is one for recipes of {", ".join(having)}'
    said = ' and for '.join(f'{" and ".join(variants)} of {" and ".join(names)}'
                            for variants, names in alike.items())
    return f'there is one for {said}, and what differs from them in sizes alone'
