"""The data of a row made ready: every set there, whole, of the size that its recipe counts, and packed."""

import os
import sys
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from recog.config.test_sets import expanded
from recog.data import file_hashes, pack
from recog.data.drawn.words import Words
from recog.data.origin import check_origin
from recog.data.sets import DRAWN, open_set, set_folder
from recog.errors import ConfigError

PACKED = 'packed'  # the folder below the root of prepared sets in which packed training data stands


def check_data(config: ConfigDict, root: str) -> dict[str, dict[str, Any]]:
    """Images and hash of each set that the recipe trains on, validates and reports.

    Sets for training and validation must be there, and of those to report at least one; the others are named.
    """
    needed = (*config.data.train, *config.eval.sets)
    found: dict[str, dict[str, Any]] = {}
    missing = {}
    whole: set[Path] = set()  # splits of a set share its files
    for name in dict.fromkeys((*needed, *expanded(config.eval.report))):
        try:
            found[name] = _described(name, config, root, whole)
        except ConfigError as error:
            if name in needed:
                raise
            missing[name] = error
    if config.eval.report and not set(expanded(config.eval.report)) & set(found):
        raise next(iter(missing.values()))
    for name in missing:
        print(f'recog reproduce: {name} is not there and will not be measured', file=sys.stderr)
    _check_count(config, sum(found[name]['images'] for name in config.data.train))
    return found


def _described(name: str, config: ConfigDict, root: str, whole: set[Path]) -> dict[str, Any]:
    """Size of a set, and the hash of the list of its files' hashes, once every byte has been compared.

    `whole` are the folders of which that has been done.
    """
    source = open_set(name, config, root)
    if name.partition(':')[0] in DRAWN:
        return {'images': len(source), **(source.drawn_from() if isinstance(source, Words) else {})}
    images = len(source)
    folder = set_folder(name, root)
    if not (folder / file_hashes.SEAL).is_file():
        raise ConfigError(f'{folder}: nothing is recorded of its files, so nobody can tell that it is whole; '
                          f'record them: recog check {folder} --seal')
    problems = [] if folder in whole else file_hashes.check_hashes(folder)
    if problems:
        raise ConfigError(f'{folder}: {problems[0]}; prepare the set again')
    whole.add(folder)
    print(f'{name}: {images:,} images, whole', flush=True)
    return {'images': images, 'sha256': file_hashes.digest(folder)}


def _check_count(config: ConfigDict, images: int) -> None:
    if config.data.nominal and images != config.data.nominal:
        raise ConfigError(f'{" and ".join(config.data.train)} hold {images:,} images; '
                          f'the recipe counts {config.data.nominal:,}')


def packed(name: str, config: ConfigDict, root: str) -> ConfigDict:
    """The recipe on packed copies of its training sets, which are made where they are not there yet."""
    config = config.copy_and_resolve_references()
    places = []
    for number, source in enumerate(config.data.train):
        place = f'{PACKED}/{name}' + (f'-{number}' if number else '')
        folder = Path(root) / place
        if folder.exists():
            check_origin(folder, source, config)
        else:
            print(f'packing {source} into {folder}', flush=True)
            pack.pack(source, config, Path(root), folder, len(os.sched_getaffinity(0)))
        places.append(place)
    config.data.train = tuple(places)
    return config
