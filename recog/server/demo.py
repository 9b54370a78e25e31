"""`recog demo`: the demo recipes of all algorithms, trained if they are not yet, on one page."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from recog.config import experiments
from recog.config.experiments import Experiment
from recog.errors import ConfigError
from recog.workdir.files import RESULTS

BEAM = 5
VARIANT = 'demo'
DONE = RESULTS  # written once training has ended
PREFIX = 'demo-'  # of the names of their workdirs


def demos(folder: Path) -> dict[str, Experiment | None]:
    """The experiments that have a demo, by name; without the recipes, the demos that the folder holds."""
    try:
        experiments.files()
    except ConfigError:  # there are none here
        done = sorted(file.parent.name for file in folder.glob(f'{PREFIX}*/{DONE}'))
        if not done:
            raise
        return {name.removeprefix(PREFIX): None for name in done}
    return {each.name: each for each in experiments.every() if VARIANT in each.variants}


def trained(folder: Path, wanted: Mapping[str, Experiment | None]) -> dict[str, str]:
    """The workdirs of these demos; missing ones are trained, after a message that says how long it takes."""
    folders = {name: folder / f'{PREFIX}{name}' for name in wanted}
    missing = [each for each in wanted.values() if each and not (folders[each.name] / DONE).is_file()]
    if missing:
        wait = ', '.join(f'{each.name} about {each.minutes} minutes' if each.minutes else each.name
                         for each in missing)
        print(f'recog demo: to be trained, one after another, into {folder}, on two CPU cores: {wait} '
              f'({sum(each.minutes for each in missing)} in all). Ctrl-C stops; the same line goes on.',
              flush=True)
        for each in missing:
            train(each.file, folders[each.name])
    return {name: str(place) for name, place in folders.items()}


def train(recipe: Path, workdir: Path) -> None:
    """Train one demo in a process of its own, which resumes a run that was stopped."""
    print(f'recog demo: training {recipe}:{VARIANT} into {workdir}', flush=True)
    command = [sys.executable, '-m', 'recog', 'train', '--config', f'{recipe}:{VARIANT}', '--workdir',
               str(workdir)]
    if subprocess.run(command).returncode or not (workdir / DONE).is_file():
        raise ConfigError(f'the training of {workdir} did not come to its end; the same line goes on with it')
