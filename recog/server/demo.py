"""`recog demo`: the demo recipes of every algorithm, trained where they are not yet, on one page."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from recog.errors import ConfigError

# Minutes of training on two CPU cores, as the README's table has them.
MINUTES = {'crnn': 6, 'rare': 10, 'srn': 12, 'can': 8, 'latex_ocr': 8}
BEAM = 5
DONE = 'results.json'  # written once training has ended


def trained(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """The workdirs of these demos; those that are missing are trained, having said how long it takes."""
    folders = {name: folder / f'demo-{name}' for name in names}
    missing = [name for name in names if not (folders[name] / DONE).is_file()]
    if missing:
        place = experiments()
        minutes = ', '.join(f'{name} about {MINUTES[name]} minutes' for name in missing)
        print(f'recog demo: to be trained, one after another, into {folder}, on two CPU cores: {minutes} '
              f'({sum(MINUTES[name] for name in missing)} in all). Ctrl-C stops; the same line goes on.', flush=True)
        for name in missing:
            train(place / f'{name}.py', folders[name])
    return {name: str(folders[name]) for name in names}


def experiments(checkout: Path = Path(__file__).parents[2]) -> Path:
    """The folder of recipes: here, or in the checkout that this package is part of."""
    for folder in (Path('experiments'), checkout / 'experiments'):
        if all((folder / f'{name}.py').is_file() for name in MINUTES):
            return folder
    raise ConfigError('the recipes are in the folder experiments of a checkout of recog, which is not here: run it there')


def train(recipe: Path, workdir: Path) -> None:
    """One demo, in a process of its own, which goes on where it was stopped."""
    print(f'recog demo: training {recipe}:demo into {workdir}', flush=True)
    command = [sys.executable, '-m', 'recog', 'train', '--config', f'{recipe}:demo', '--workdir', str(workdir)]
    if subprocess.run(command).returncode or not (workdir / DONE).is_file():
        raise ConfigError(f'the training of {workdir} did not come to its end; the same line goes on with it')
