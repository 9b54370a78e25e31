"""The recipe: loading an experiment file with its variant and overrides, its JSON text, and the units of its fields."""

import contextlib
import copy
import hashlib
import importlib.util
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict, config_dict

from recog.errors import ConfigError, nearest
from recog.fields import FIELDS


def base(**model: Any) -> ConfigDict:
    """The fields every recipe has, with their defaults; the arguments are the algorithm's own, `name` among them."""
    config = ConfigDict(copy.deepcopy(FIELDS))
    config.model.update(model)
    for stream in FIELDS['seeds']:
        config.seeds[stream] = config_dict.placeholder(int)
    return config.lock()


def variant(config: ConfigDict, variants: Mapping[str, Mapping[str, Any]], name: str) -> ConfigDict:
    """The recipe with the flat, dotted changes of one variant."""
    if name not in variants:
        raise ConfigError(f'variant {name!r} is not known{nearest(name, variants)}; there are: {", ".join(variants)}')
    return changed(config, variants[name])


def changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """The config with these fields, given by their dotted paths, set."""
    for path, value in changes.items():
        parent, field = _parent(config, path)
        parent[field] = value
    return config


def load(recipe: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """The checked config of FILE[:VARIANT] with `--config.field=value` overrides."""
    from recog import checks

    path, _, name = recipe.partition(':')
    module = experiment(path)
    variants = module.VARIANTS
    name = name or next(iter(variants))
    if name not in variants:
        raise ConfigError(f'{path}: variant {name!r} is not known{nearest(name, variants)}; there are: {", ".join(variants)}')
    config = override(module.get_config(name), overrides)
    checks.check(config, module.ALLOWED)
    return config


def published(file: str | Path) -> tuple[str, ...]:
    """The variants of an experiment file of which the reference has published weights."""
    module = experiment(str(file))
    return tuple(module.PUBLISHED) if hasattr(module, 'PUBLISHED') else ()


def override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """The config with `--config.field=value` (or `--config.field value`) strings applied by ml-collections' own parser."""
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    arguments = ['recog', *(_argument(config, text) for text in overrides)]
    try:
        config_flags.DEFINE_config_dict('config', config, flag_values=values, lock_config=True, sys_argv=arguments)
        rest = values(arguments)[1:]
    except flags.IllegalFlagValueError as error:
        field, _, given = str(error).removeprefix('flag --config.').partition('=')
        kind = config.get_type(field) if '.' not in field else _parent(config, field)[0].get_type(field.split('.')[-1])
        raise ConfigError(f'config.{field}={given.partition(":")[0]} must be of type {kind.__name__}') from None
    except (flags.Error, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        line = str(error).splitlines()[0].replace('flag --config', 'config')
        raise ConfigError(line) from None
    if rest:
        raise ConfigError(f'argument {rest[0]!r} is not understood; overrides look like --config.train.batch=64')
    return values.config


def flat(config: ConfigDict | Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Every field by its dotted path."""
    fields: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, (ConfigDict, Mapping)):
            fields.update(flat(value, f'{prefix}{key}.'))
        else:
            fields[f'{prefix}{key}'] = value
    return fields


def to_json(config: ConfigDict) -> str:
    """The config as JSON text; `from_json` gives it back."""
    return json.dumps(config.to_dict(), indent=2)


def from_json(text: str) -> ConfigDict:
    """The config that `to_json` wrote, lists being tuples again.

    Fields that are newer than the file have their defaults, under which everything is as it was without them.
    """
    def restore(value):
        if isinstance(value, dict):
            return {key: restore(item) for key, item in value.items()}
        return tuple(value) if isinstance(value, list) else value

    def completed(fields, defaults):
        missing = {name: copy.deepcopy(value) for name, value in defaults.items() if name not in fields}
        return {name: completed(value, defaults[name]) if isinstance(value, dict) and name in defaults else value
                for name, value in (fields | missing).items()}
    return ConfigDict(completed(restore(json.loads(text)), FIELDS)).lock()


def seed(config: ConfigDict, stream: str) -> int:
    """The seed of one stream (init, data, augment or dropout): its own, or the one made from `seed`."""
    own = config.seeds[stream]
    return own if own is not None else config.seed * 4 + ('init', 'data', 'augment', 'dropout').index(stream)


def steps(length: str, *, batch: float, epoch: int, total: int = 0) -> int:
    """Optimizer steps of a length: '72 epochs' of `epoch` steps, '5000 steps', '51200 images', or '5 %' of the `total`."""
    number, unit = parse_length(length, 'length')
    return round(number * {'epochs': epoch, 'steps': 1, 'images': 1 / batch, '%': total / 100}[unit])


def digest(fields: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for these fields."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def cache() -> Path:
    """Where compiled programs and bench results are kept: $RECOG_CACHE, else ~/.cache/recog."""
    return Path(os.environ.get('RECOG_CACHE') or '~/.cache/recog').expanduser()


def parse_length(length: str, field: str) -> tuple[float, str]:
    """Number and unit (epochs, steps, images or %) of a length."""
    words = length.split()
    with contextlib.suppress(ValueError):
        if len(words) == 2 and words[1] in ('epochs', 'steps', 'images', '%') and float(words[0]) >= 0:
            return float(words[0]), words[1]
    raise ConfigError(f"{field}={length!r} must be a length such as '72 epochs', '5000 steps', '51200 images' or '5 %'")


def parse_bucket(bucket: str, longest: int) -> tuple[int, int, int]:
    """Height, width and tokens of one of `data.buckets`; without tokens, the longest."""
    with contextlib.suppress(ValueError):
        sizes = [int(size) for size in bucket.split('x')]
        if len(sizes) in (2, 3) and min(sizes) > 0:
            return sizes[0], sizes[1], (*sizes, longest)[2]
    raise ConfigError(f"config.data.buckets: {bucket!r} must be HEIGHTxWIDTH or HEIGHTxWIDTHxTOKENS, such as '64x256'")


def parse_group(group: str) -> tuple[str, float]:
    """Pattern and multiplier of one of `optimizer.groups`."""
    pattern, equals, number = group.rpartition('=')
    with contextlib.suppress(ValueError):
        if pattern and equals and 0 <= float(number) < math.inf:
            return pattern, float(number)
    raise ConfigError(f"config.optimizer.groups: {group!r} must be a pattern of parameters and a multiplier of at least 0, "
                      "such as 'transform/*=0.1'")


def experiment(path: str) -> ModuleType:
    """The experiment file as a module, loaded by path."""
    if not Path(path).is_file():
        folder = Path(path).parent
        files = [str(file) for file in folder.glob('*.py')] if folder.is_dir() else []
        raise ConfigError(f'experiment file {path!r} does not exist{nearest(path, files)}; '
                          f'there are: {", ".join(sorted(files)) or f"none in {folder}"}')
    spec = importlib.util.spec_from_file_location(f'recog_experiment_{Path(path).stem}', path)
    if spec is None or spec.loader is None:
        raise ConfigError(f'experiment file {path!r} must be a Python file')
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ConfigError(f'experiment file {path}, line {error.lineno}: {error.msg}') from None
    for name in ('VARIANTS', 'ALLOWED', 'get_config'):
        if not hasattr(module, name):
            raise ConfigError(f'experiment file {path!r} must define {name}; see experiments/crnn.py')
    return module


def _argument(config: ConfigDict, text: str) -> str:
    """One override as ml-collections wants it; unknown fields and whole groups (which its lock lets through) are refused."""
    if not text.startswith('-'):
        return text
    option, equals, value = text.lstrip('-').partition('=')
    name = option.removeprefix('no') if option.startswith('noconfig.') else option
    path = name.removeprefix('config.')
    if not name.startswith('config.'):
        raise ConfigError(f'option --{option} is not known; overrides look like --config.train.batch=64')
    fields = flat(config)
    children = [field for field in fields if field.startswith(f'{path}.')]
    if children:
        raise ConfigError(f'--config.{path} is a group of fields and cannot be replaced whole; set one of: '
                          + ', '.join(f'config.{child}' for child in children))
    if path not in fields:
        raise ConfigError(f'config.{path} is not a field{nearest(path, fields)}')
    if equals and isinstance(fields[path], tuple) and not value.startswith('('):
        return f'--{option}={tuple(_literal(item.strip()) for item in value.split(",") if item.strip())}'
    return text


def _literal(text: str) -> Any:
    """A number where the text is one, else the text."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _parent(config: ConfigDict, path: str) -> tuple[ConfigDict, str]:
    *parents, field = path.split('.')
    for name in parents:
        config = config[name]
    return config, field
