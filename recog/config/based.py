"""Experiment files that change a recipe of another file: `BASE = 'crnn.py:demo'`, and VARIANTS of changes.

Such a file may stand anywhere. A variant that names another algorithm gives all its fields as `model`.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from recog.config.recipe import changed
from recog.config.values import flat
from recog.errors import ConfigError, nearest

MODEL = 'model'  # the one group of fields that a variant may replace whole
EXPERIMENTS = Path('experiments')


def complete(module: ModuleType, path: str, load: Callable[[str], ModuleType],
             within: Sequence[Path]) -> None:
    """Give a file with BASE what every experiment file defines.

    `load` opens the other file; `within` are the files that are based on this one.
    """
    base = vars(module)['BASE']
    if not isinstance(base, str):
        raise ConfigError(f'experiment file {path!r}: BASE={base!r} must be FILE:VARIANT')
    file, _, variant = base.partition(':')
    origin = load(str(place(file, path, within)))
    variant = variant or next(iter(origin.VARIANTS))
    if variant not in origin.VARIANTS:
        raise ConfigError(f'experiment file {path!r}: BASE={base!r}: variant {variant!r} is not known'
                          f'{nearest(variant, origin.VARIANTS)}; there are: {", ".join(origin.VARIANTS)}')
    variants: Mapping[str, Mapping[str, Any]] = getattr(module, 'VARIANTS', {variant: {}})
    own = getattr(module, 'ALLOWED', {})

    def get_config(name: str = next(iter(variants))) -> ConfigDict:
        return _changed(origin.get_config(variant), variants[name], f'{path}:{name}')

    other = any(MODEL in changes for changes in variants.values())
    inherited = {field: choices for field, choices in origin.ALLOWED.items()
                 if not (other and field.startswith(f'{MODEL}.'))}
    vars(module).update(VARIANTS=variants, ALLOWED={**inherited, **own}, get_config=get_config)


def place(file: str, path: str, within: Sequence[Path] = ()) -> Path:
    """The file of a BASE: beside the file at `path`, which names it, or of recog's own recipes."""
    checkout = Path(__file__).parents[2]
    places = [folder / file for folder in (Path(path).parent, EXPERIMENTS, checkout / EXPERIMENTS)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ConfigError(f'experiment file {path!r}: BASE: {file!r} is neither beside it nor in '
                          f'{checkout / EXPERIMENTS}')
    if found.resolve() in (*within, Path(path).resolve()):
        raise ConfigError(f'experiment file {path!r}: BASE: {file!r} is based on this file')
    return found


def _changed(config: ConfigDict, changes: Mapping[str, Any], name: str) -> ConfigDict:
    """A recipe with the changes of a variant, each of which must be a field."""
    rest = dict(changes)
    if MODEL in rest:
        with config.unlocked():
            config.model = ConfigDict(copy.deepcopy(rest.pop(MODEL)))
    known = flat(config)
    for field, value in rest.items():
        if field not in known:
            raise ConfigError(f'{name}: config.{field} is not a field{nearest(field, known)}')
        try:
            changed(config, {field: value})
        except TypeError:
            raise ConfigError(f'{name}: config.{field}={value!r} must be of type '
                              f'{type(known[field]).__name__}') from None
    return config
