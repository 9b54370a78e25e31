"""A recipe as a ConfigDict: made, changed, written and read."""

import contextlib
import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict, config_dict

from recog.config.fields import FIELDS
from recog.config.values import flat
from recog.errors import ConfigError, nearest


def base(**model: Any) -> ConfigDict:
    """A recipe of defaults; the arguments are the algorithm's own fields, `name` among them."""
    config = ConfigDict(copy.deepcopy(FIELDS))
    config.model.update(model)
    for stream in FIELDS['seeds']:
        config.seeds[stream] = config_dict.placeholder(int)
    return config.lock()


def variant(config: ConfigDict, variants: Mapping[str, Mapping[str, Any]], name: str) -> ConfigDict:
    """The recipe with the flat, dotted changes of one variant."""
    if name not in variants:
        raise ConfigError(f'variant {name!r} is not known{nearest(name, variants)}; '
                          f'there are: {", ".join(variants)}')
    return changed(config, variants[name])


def changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
    """The config with these fields, given by their dotted paths, set."""
    for path, value in changes.items():
        parent, field = _parent(config, path)
        parent[field] = value
    return config


def evaluated(config: ConfigDict) -> ConfigDict:
    """The recipe with the precision of evaluation."""
    precision = config.eval.precision or config.train.precision
    return changed(config.copy_and_resolve_references(), {'train.precision': precision})


def override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """The config with `--config.field=value` strings (or `--config.field`, `value`) applied."""
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    texts = [_argument(config, text) for text in overrides]
    # Of what is given twice the last value counts; ml_collections would join those of a tuple.
    last = {text.partition('=')[0]: place for place, text in enumerate(texts)}
    arguments = ['recog', *(text for place, text in enumerate(texts)
                            if not text.startswith('-') or '=' not in text
                            or last[text.partition('=')[0]] == place)]
    try:
        config_flags.DEFINE_config_dict('config', config, flag_values=values, lock_config=True,
                                        sys_argv=arguments)
        rest = values(arguments)[1:]
    except flags.IllegalFlagValueError as error:
        field, _, given = str(error).removeprefix('flag --config.').partition('=')
        parent, name = _parent(config, field)
        raise ConfigError(f'config.{field}={given.partition(":")[0]} must be of type '
                          f'{parent.get_type(name).__name__}') from None
    except (flags.Error, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        line = str(error).splitlines()[0].replace('flag --config', 'config')
        raise ConfigError(line) from None
    if rest:
        raise ConfigError(f'argument {rest[0]!r} is not understood; '
                          'overrides look like --config.train.batch=64')
    return values.config


def to_json(config: ConfigDict) -> str:
    """The config as JSON text; `from_json` gives it back."""
    return json.dumps(config.to_dict(), indent=2)


def from_json(text: str) -> ConfigDict:
    """The config that `to_json` wrote, lists being tuples again.

    Fields that are newer than the file have their defaults, under which everything is as it was without them.
    """
    def restore(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: restore(item) for key, item in value.items()}
        return tuple(value) if isinstance(value, list) else value

    def completed(fields: dict[str, Any], defaults: Mapping[str, Any],
                  above: str = 'config') -> dict[str, Any]:
        for name, value in fields.items():
            if name in defaults and not _fits(value, defaults[name]):
                raise ValueError(f'{above}.{name} cannot be {str(value)[:60]!r}')
        missing = {name: copy.deepcopy(value) for name, value in defaults.items() if name not in fields}
        return {name: completed(value, defaults[name], f'{above}.{name}')
                if isinstance(value, dict) and name in defaults else value
                for name, value in (fields | missing).items()}
    found = restore(json.loads(text))
    model = found.get('model') if isinstance(found, dict) else None
    if not isinstance(model, dict) or 'name' not in model:
        raise ValueError('it names no algorithm')
    json.dumps(found, ensure_ascii=False).encode()  # refuses halves of characters
    log = found.get('log')
    if isinstance(log, dict) and 'tensorboard' in log:  # an older version had no log.to
        log.setdefault('to', ('tensorboard',) if log.pop('tensorboard') else ())
    return ConfigDict(completed(found, FIELDS)).lock()


def _fits(value: Any, default: Any) -> bool:
    """Whether a value that a file holds is of the kind of its field's default."""
    if default is None:
        return not isinstance(value, (dict, tuple))
    if isinstance(default, (bool, str, dict)):
        return isinstance(value, type(default))
    if isinstance(default, (int, float)):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, (tuple, str))


def _argument(config: ConfigDict, text: str) -> str:
    """One override as ml-collections wants it.

    Unknown fields are refused, and whole groups, which its lock would let through.
    """
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
