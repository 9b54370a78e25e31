"""Experiment files: found, loaded by path, and what they declare."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from recog.config.recipe import override
from recog.errors import ConfigError, nearest


def load(recipe: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """The checked config of FILE[:VARIANT] with `--config.field=value` overrides."""
    from recog.config import checks

    path, _, name = recipe.partition(':')
    module = experiment_module(path)
    variants = module.VARIANTS
    name = name or next(iter(variants))
    if name not in variants:
        raise ConfigError(f'{path}: variant {name!r} is not known{nearest(name, variants)}; there are: {", ".join(variants)}')
    config = override(module.get_config(name), overrides)
    checks.check(config, module.ALLOWED)
    return config


def published(file: str | Path) -> tuple[str, ...]:
    """The variants of an experiment file of which the reference has published weights."""
    module = experiment_module(str(file))
    return tuple(module.PUBLISHED) if hasattr(module, 'PUBLISHED') else ()


def experiment_module(path: str) -> ModuleType:
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
