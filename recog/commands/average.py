"""`recog average`: a model between what it is and what it started from."""

import argparse
import json
import shutil
from pathlib import Path

from recog.buckets import is_remote, refuse_remote
from recog.commands.fitting import add_validation, own_workdir, validation_sets
from recog.commands.options import Command, add_data, add_devices, add_workdir, refuse_negative, start
from recog.errors import ConfigError


def add(average: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_workdir(average)
    average.add_argument('folder', help='where the workdir of the mean is written; must not be there yet')
    add_validation(average, 'by which the shares are found')
    add_data(average)
    add_devices(average)


def run(arguments: argparse.Namespace) -> int:
    """Find the shares, write the workdir, and print what they change."""
    refuse_negative(arguments, 'batch')
    folder, place = own_workdir(arguments, 'average its workdir'), Path(arguments.folder)
    refuse_remote('folder', arguments.folder)
    if place.exists():
        raise ConfigError(f'folder {place} is there already; choose another')

    from recog.config import values
    from recog.devices.mesh import data_mesh
    from recog.evaluation import averaged
    from recog.evaluation.terminal import shown
    from recog.publish import card
    from recog.reading import named
    from recog.workdir import description
    from recog.workdir.checkpoints import Checkpoints
    from recog.workdir.files import AVERAGED, SAMPLES
    from recog.workdir.folder import drafted
    from recog.workdir.opened import open_workdir

    mesh = data_mesh(start(arguments.devices))
    opened = open_workdir(folder, arguments.step, mesh)
    config = opened.config.copy_and_resolve_references()
    if not config.init:
        raise ConfigError(f'{arguments.workdir} did not start from another model (config.init is empty)')
    config.eval.batch = arguments.batch or config.eval.batch
    sources = validation_sets(tuple(arguments.set) or config.eval.sets, config, arguments.data)
    began = open_workdir(named.find(config.init), None, mesh)
    variables, record = averaged.fitted(opened, began, sources, config, mesh)
    record['provenance'] = card.provenance(folder, opened.config)
    with drafted(place) as draft:
        description.write(draft, opened.config, opened.vocab)
        (draft / AVERAGED).write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
        if not is_remote(folder) and (folder / SAMPLES).is_dir():
            shutil.copytree(folder / SAMPLES, draft / SAMPLES)
        checkpoints = Checkpoints(draft)
        try:
            state = {**variables, 'ema': variables} if values.averages(opened.config) else variables
            checkpoints.save(opened.step, {'variables': state},
                             description.record(opened.config, opened.vocab, opened.step, {}, {}), {})
        finally:
            checkpoints.close()
    print(shown(averaged.described(record)))
    print(f'\nkept in {place}; try: recog evaluate {place}')
    return 0


COMMAND = Command('average', 'Average the weights of a model with those it started from: the shares are '
                  'found on validation. What was known before is lost less, what was learnt mostly stays.',
                  add, run)
