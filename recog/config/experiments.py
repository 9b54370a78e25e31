"""Experiment files: where they are, how a recipe is loaded from one, and what a file declares besides its
recipes."""

import ast
import functools
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from recog.config import based
from recog.config.recipe import override
from recog.errors import ConfigError, nearest

FOLDER = Path('experiments')
NEEDED = ('VARIANTS', 'ALLOWED', 'get_config')  # what every experiment file defines


class Bench(NamedTuple):
    """How `recog bench --all` measures the published recipes of an experiment: `BENCH` in its file, as a
    dict."""

    rows: int = 256  # images of a training step on an accelerator; the recipe's own may leave it idle
    beam: bool = False  # whether the beam search is measured, too
    on_cpu: Mapping[str, Any] = {}  # fields of the recipe that are changed on a CPU,
    elsewhere: Mapping[str, Any] = {}  # and on accelerators


class Reported(NamedTuple):
    """A row of the table of results: `RESULTS` in an experiment's file has one, as a dict, by its variant."""

    title: str  # what is trained, in words
    published: str = ''  # what the reference reports of it
    pack: bool = False  # whether reproducing it packs its training data first


class Experiment(NamedTuple):
    """What an experiment file declares besides its recipes; `name` is that of the file."""

    name: str
    file: Path
    variants: tuple[str, ...]
    published: tuple[str, ...]  # PUBLISHED: variants of which the reference has published weights
    minutes: int  # DEMO_MINUTES: how long the variant `demo` trains on two CPU cores; 0 if it is not known
    bench: Bench
    narrow: Mapping[str, Any]  # NARROW: fields of the first variant that make it small enough for tests
    formulas: bool  # whether it reads formulas; else words
    results: Mapping[str, Reported]  # RESULTS: the variants that have a row in the table of results


def load(recipe: str, overrides: Sequence[str] = (),
         complete: Callable[[ConfigDict], ConfigDict] | None = None) -> ConfigDict:
    """The checked config of FILE[:VARIANT] with `--config.field=value` overrides.

    `complete` may change it; the overrides hold nevertheless.
    """
    from recog.config import checks

    path, _, name = recipe.partition(':')
    module = experiment_module(path)
    variants = module.VARIANTS
    name = name or next(iter(variants))
    if name not in variants:
        raise ConfigError(f'{path}: variant {name!r} is not known{nearest(name, variants)}; '
                          f'there are: {", ".join(variants)}')
    config = override(module.get_config(name), overrides)
    if complete:
        config = override(complete(config), overrides)
    checks.check(config, module.ALLOWED)
    return config


def declared(file: str | Path) -> Experiment:
    """What an experiment file declares; what it leaves out has its default."""
    module = experiment_module(str(file))
    bench = _fields(file, 'BENCH', getattr(module, 'BENCH', {}), Bench)
    results = {}
    for variant, given in getattr(module, 'RESULTS', {}).items():
        if variant not in module.VARIANTS:
            raise ConfigError(f'experiment file {str(file)!r}: RESULTS has {variant!r}'
                              f'{nearest(variant, module.VARIANTS)}, which is no variant')
        results[variant] = _fields(file, f'RESULTS[{variant!r}]', given, Reported)
    return Experiment(Path(file).stem, Path(file), tuple(module.VARIANTS),
                      tuple(getattr(module, 'PUBLISHED', ())),
                      getattr(module, 'DEMO_MINUTES', 0), bench, getattr(module, 'NARROW', {}),
                      module.get_config().eval.protocol == 'latex', results)


def _fields(file: str | Path, name: str, given: Mapping[str, Any], form: Any) -> Any:
    """A dict of an experiment file as the tuple that it describes."""
    unknown = sorted(set(given) - set(form._fields))
    if unknown:
        raise ConfigError(f'experiment file {str(file)!r}: {name} has {unknown[0]!r}'
                          f'{nearest(unknown[0], form._fields)}; it may have {", ".join(form._fields)}')
    try:
        return form(**given)
    except TypeError as error:
        raise ConfigError(f'experiment file {str(file)!r}: {name}: {error}') from None


def every() -> list[Experiment]:
    """All experiments, those that read words first."""
    return sorted(map(declared, files()), key=lambda each: (each.formulas, each.name))


def files(checkout: Path = Path(__file__).parents[2]) -> list[Path]:
    """The experiment files: of the folder `experiments` here, else of the checkout that this package is part
    of."""
    for folder in (FOLDER, checkout / FOLDER):
        found = [file for file in sorted(folder.glob('*.py')) if _is_experiment(file)]
        if found:
            return found
    raise ConfigError(f'the recipes are in the folder {FOLDER} of a checkout of recog, '
                      'which is not here: run it there')


def _is_experiment(file: Path) -> bool:
    """Whether a Python file defines what an experiment does; it is not run."""
    try:
        tree = ast.parse(file.read_text(encoding='utf-8'))
    except (SyntaxError, UnicodeDecodeError):
        return False
    defined = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)
               and isinstance(node.ctx, ast.Store)}
    defined |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return set(NEEDED) <= defined


def origin(path: str) -> str:
    """The file whose recipe an experiment file changes in the end; itself if it has no BASE."""
    module = experiment_module(path)
    if not hasattr(module, 'BASE'):
        return path
    return origin(str(based.place(module.BASE.partition(':')[0], path)))


def experiment_module(path: str, within: Sequence[Path] = ()) -> ModuleType:
    """The experiment file as a module, loaded by path; `within` are files that are based on it."""
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
    if hasattr(module, 'BASE'):
        inner = functools.partial(experiment_module, within=(*within, Path(path).resolve()))
        based.complete(module, path, inner, within)
    for name in NEEDED:
        if not hasattr(module, name):
            raise ConfigError(f'experiment file {path!r} must define {name}, or BASE; '
                              'see experiments/README.md')
    return module
