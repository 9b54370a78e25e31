"""The runs of a sweep: which they are, and what came of them."""

import contextlib
import os
import signal
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from recog.config import experiments, recipe, values
from recog.devices.signals import Stop
from recog.errors import ConfigError, nearest
from recog.text import vocabulary
from recog.workdir import files
from recog.workdir.description import read_config
from recog.workdir.folder import refuse_other_things

POLL = 0.2  # seconds between looks at the runs
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # end a sweep
DEMO = 'demo'  # the variant that `all` leaves out: it is no row of an ablation table


class SweepRun(NamedTuple):
    """One recipe with one seed."""

    name: str
    variant: str  # of one file; of several, FILE:VARIANT
    config: ConfigDict
    workdir: Path
    log: Path
    command: list[str]


def plan(given: Sequence[str], root: Path, data: str, overrides: Sequence[str], *, variants: str,
         seeds: str) -> list[SweepRun]:
    """The runs of a sweep, recipes and workdirs checked: all recipes with one seed, then with the next."""
    recipes = chosen_recipes(given, variants)
    runs = []
    for seed in chosen_seeds(seeds):
        for row, place in recipes.items():
            name, option = f'{row.replace(":", "-")}-seed{seed}', f'--config.seed={seed}'
            command = [sys.executable, '-m', 'recog', 'train', '--config', place, option,
                       '--workdir', str(root / name), '--data', data, *overrides]
            config = _loaded(place, [option, *overrides])
            runs.append(SweepRun(name, row, config, root / name, root / f'{name}.log', command))
    for each in runs:
        check_workdir(each)
    return runs


def chosen_recipes(given: Sequence[str], variants: str) -> dict[str, str]:
    """The recipes FILE:VARIANT by the names of their rows; a FILE alone stands for its `--variants`."""
    chosen = [(file, variant) for file, _, variant in (each.partition(':') for each in given)]
    if variants != 'all' and all(variant for _, variant in chosen):
        raise ConfigError(f'--variants {variants} is of files without a variant; here all have one: '
                          f'{", ".join(given)}')
    files = {Path(file).stem: file for file, _ in chosen}
    for file, _ in chosen:
        if files[Path(file).stem] != file:
            raise ConfigError(f'{file} and {files[Path(file).stem]} have one name, and so would their runs; '
                              'rename one')
    found = {}
    for file, variant in chosen:
        for name in chosen_variants(file, variant or variants):
            found[name if len(files) == 1 else f'{Path(file).stem}:{name}'] = f'{file}:{name}'
    return found


def chosen_variants(file: str, chosen: str) -> list[str]:
    """The variants of a file with these names; `all` is all but the demo, which is said."""
    known = list(experiments.experiment_module(file).VARIANTS)
    if chosen == 'all':
        names = [name for name in known if name != DEMO]
        if DEMO in known:
            print(f'recog sweep: all variants of {file} but {DEMO}: {", ".join(names)}', file=sys.stderr)
    else:
        names = list(dict.fromkeys(name.strip() for name in chosen.split(',') if name.strip()))
    for name in names:
        if name not in known:
            raise ConfigError(f'variant {name!r} is not in {file}{nearest(name, known)}; '
                              f'there are: all, {", ".join(known)}')
    if not names:
        raise ConfigError(f'--variants {chosen!r} names none; there are: {", ".join(known)}')
    return names


def chosen_seeds(chosen: str) -> list[int]:
    """The seeds of `--seeds`: '3' is 0, 1 and 2; '0,3,7' are these, '7,' is 7 alone."""
    with contextlib.suppress(ValueError):
        numbers = [int(number) for number in chosen.split(',') if number.strip()]
        if ',' in chosen and numbers and min(numbers) >= 0:
            return list(dict.fromkeys(numbers))
        if ',' not in chosen and numbers and numbers[0] > 0:
            return list(range(numbers[0]))
    raise ConfigError(f'--seeds {chosen!r} must be how many, above 0, or the seeds themselves, such as '
                      "'0,3,7'")


def headline(run: SweepRun) -> str:
    """The accuracy of a run that is done, in words."""
    sets = files.read_results(run.workdir)['sets']
    mean = statistics.fmean(figures['accuracy'] for figures in sets.values())
    of = f'of {next(iter(sets))}' if len(sets) == 1 else f'(mean of {len(sets)} sets)'
    return f'accuracy {mean:.2%} {of}'


def last_line(file: Path) -> str:
    """The last line of a log that says something, '' without one."""
    lines = file.read_text(encoding='utf-8', errors='replace').splitlines() if file.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), '')


def finish(run: SweepRun, status: int, seconds: float) -> None:
    """Say in one line how a run ended."""
    if status == 0 and files.is_done(run.workdir):
        print(f'{run.name}: {headline(run)}, {seconds / 60:.1f} minutes', flush=True)
        return
    how = 'was stopped before its end' if status == 0 else 'failed' if status > 0 else \
        f'ended by {signal.Signals(-status).name}'
    print(f'recog sweep: {run.name} {how}: {last_line(run.log)} ({run.log})', file=sys.stderr, flush=True)


def stop_at(*signals: signal.Signals) -> Stop:
    """Whether a signal asked the sweep to end; a second one ends it at once."""
    # What is ignored, as nohup does it, stays ignored.
    return Stop(*(number for number in signals if signal.getsignal(number) != signal.SIG_IGN), once=True)


def environment() -> dict[str, str]:
    """What a run finds in its environment: as the sweep does, and its log is written at once."""
    return {**os.environ, 'PYTHONUNBUFFERED': '1'}


def _loaded(recipe: str, overrides: Sequence[str]) -> ConfigDict:
    """The checked recipe; a mistake in it names the variant."""
    try:
        config = experiments.load(recipe, overrides)
        vocabulary.from_config(config.text)
    except ConfigError as error:
        raise ConfigError(f'{recipe}: {error}') from None
    except (KeyError, AttributeError, TypeError) as error:  # a variant sets a field that the recipe has not
        raise ConfigError(f'{recipe} cannot be loaded: {" ".join(str(error).split())}') from None
    return config


def check_workdir(run: SweepRun) -> None:
    """Refuse a workdir that holds something else."""
    refuse_other_things(run.workdir, resumes=True, named=False)
    if not files.is_workdir(run.workdir):
        return
    try:
        recorded = values.flat(read_config(run.workdir))
    except ValueError as error:
        raise ConfigError(f'{run.workdir / files.CONFIG} is damaged ({error}); '
                          f'remove {run.workdir} to train {run.name} again') from None
    wanted = values.flat(recipe.from_json(recipe.to_json(run.config)))
    for field in dict.fromkeys([*recorded, *wanted]):
        if recorded.get(field) != wanted.get(field) and not field.startswith(values.CARRIED_OUT):
            raise ConfigError(f'{run.workdir} holds another experiment: config.{field}: '
                              f'{recorded.get(field)!r} -> {wanted.get(field)!r}; choose another --workdir')
