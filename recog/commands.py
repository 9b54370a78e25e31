"""What each command does once its arguments are known to make sense; everything here may import jax."""

import argparse
import gc
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import cv2
import jax
from ml_collections import ConfigDict

from recog import __version__, models
from recog.bench import layer_table, programs
from recog.config import values
from recog.config.test_sets import GROUPS, is_test
from recog.data.rows import Source
from recog.data.sets import open_set
from recog.devices import cost, measured, setup
from recog.devices.mesh import make_mesh
from recog.devices.processes import join
from recog.errors import ConfigError
from recog.evaluation import averages, measure
from recog.metrics import words
from recog.reading.compiled import decoder
from recog.reading.read import set_length
from recog.report import pictures
from recog.text import vocabulary
from recog.train import processes
from recog.train.loop import NonFinite, train_to_end
from recog.train.overfit import run
from recog.train.run import Run, make_run
from recog.workdir import description, provenance
from recog.workdir.checkpoints import SaveFailed
from recog.workdir.description import is_workdir
from recog.workdir.folder import Mirror, is_occupied, is_remote, workdir_path
from recog.workdir.opened import Opened, open_workdir

SHOWN, KEPT = 32, 8  # sample words in the picture, and as files
STOPPED = 'stopped'  # a file in the workdir: a signal ended the run before its recipe was done; a scheduler may queue it again


def start(arguments: argparse.Namespace) -> list[jax.Device]:
    """Join the other processes, switch the compilation cache on, and find the devices."""
    # Tracing makes millions of objects that stay: looking through them for cycles again and again is a third of its time.
    gc.set_threshold(50_000, 20, 10)
    if hasattr(arguments, 'coordinator'):
        join(arguments.coordinator, arguments.processes, arguments.process, arguments.cluster)
    return setup.devices(arguments.devices)


def train(config: ConfigDict, workdir: Path, arguments: argparse.Namespace) -> int:
    """Train or resume, then measure and show what came of it."""
    stop = processes.Stop()  # a signal may come while everything is being set up
    vocab = vocabulary.from_config(config.text)
    changes: list[str] = []
    if is_workdir(workdir):
        changes = description.compare(workdir, config, vocab)
    elif is_occupied(workdir):
        raise ConfigError(f'--workdir {workdir} holds other things and no run of recog; choose another')
    devices = start(arguments)
    run = processes.together(lambda: make_run(config, vocab, arguments.data, devices))
    if not is_workdir(workdir):
        processes.together(run.initial)  # what it starts from is looked at before anything is written
    processes.check_workdir(workdir)
    processes.check_alike(config, {source.name: len(source) for source in [*run.source.sources, *run.validation]})
    if jax.process_index() == 0:
        for change in changes:
            print(f'changed since the last start: {change}')
        description.write(workdir, config, vocab)
        (workdir / STOPPED).unlink(missing_ok=True)
    watch = processes.Watch(workdir, arguments.patience)
    try:
        status = _train_and_measure(run, workdir, stop, arguments)
    except Exception as error:
        if jax.process_count() > 1:
            watch.failed(error)
        if isinstance(error, SaveFailed):
            print(f'recog train: {error}', file=sys.stderr, flush=True)
            os._exit(1)  # Orbax's threads would go on complaining
        raise
    watch.close()
    return status


def overfit(config: ConfigDict, arguments: argparse.Namespace) -> int:
    """Say whether the recipe can learn a few examples by heart."""
    vocab, devices = vocabulary.from_config(config.text), start(arguments)
    learns = run(config, arguments.overfit,
                 lambda changed: make_run(changed, vocab, arguments.data, devices))
    return 0 if learns else 1


def _train_and_measure(run: Run, workdir: Path, stop: processes.Stop, arguments: argparse.Namespace) -> int:
    try:
        if not train_to_end(run, workdir, stop):
            if jax.process_index() == 0:
                (workdir / STOPPED).touch()
            return 0
    except NonFinite as error:
        print(f'recog train: {error}', file=sys.stderr)
        return 1
    stop.close()  # all is saved; from here on a signal just ends the command
    config = run.config
    opened = open_workdir(workdir, mesh=run.mesh)
    results = _measure(opened, config, run.mesh, arguments, workdir)
    if jax.process_index() == 0:
        mirror = Mirror(workdir)
        pictures.curves(mirror.here)
        source = open_set(results[0].name, config, arguments.data)
        _show_samples(mirror.here, source, results[0])
        mirror.close()
        print(f'results in {workdir}: results.md, predictions.tsv, loss.png, samples.png; try: recog predict {workdir} '
              + ('IMAGES' if is_remote(workdir) else str(workdir / 'samples')))
    return 0


def evaluate_command(arguments: argparse.Namespace) -> int:
    """Measure a workdir on sets."""
    mesh = make_mesh(ConfigDict({'data': -1, 'fsdp': 1}), start(arguments))
    opened = open_workdir(arguments.workdir, arguments.step, mesh)
    config = opened.config.copy_and_resolve_references()
    config.unlock()
    if arguments.set:
        config.eval.report = tuple(arguments.set)
        for name in arguments.set:
            if name not in GROUPS:
                open_set(name, config, arguments.data)  # a set asked for by name must be there
    config.eval.protocol = arguments.protocol or config.eval.protocol
    config.eval.nfkd = arguments.nfkd or config.eval.nfkd
    words.identifier(config.eval.protocol, config.eval.nfkd)  # refuses what does not go together
    config.eval.batch = arguments.batch or config.eval.batch
    config.eval.beam = arguments.beam or config.eval.beam
    config.image.width_rule = arguments.width_rule or config.image.width_rule
    if arguments.max_length:
        set_length(config, opened.model.about.capacity, arguments.max_length)
    _measure(opened, config, mesh, arguments, workdir_path(arguments.out or arguments.workdir))
    return 0


def _measure(opened: Opened, config: ConfigDict, mesh: Any, arguments: argparse.Namespace,
             folder: Path) -> list[measure.Result]:
    """Measure the sets of eval.report, print and write the table; sets that are not there are listed as missing."""
    results: list[measure.Result] = []
    missing, reasons = [], []
    known = measure.trained(opened.config, arguments.data) if config.eval.protocol == 'latex' else ()
    decode = decoder(opened.model, mesh, config.eval.beam)
    wanted = averages.expanded(config.eval.report or config.eval.sets)
    instead = [name for name in config.eval.sets if name not in wanted]  # what was trained is measured on something
    for name in (*wanted, *instead):
        if name in instead and results:
            break
        try:
            source = open_set(name, config, arguments.data)
        except ConfigError as error:
            missing.append(name)
            reasons.append(str(error))
            continue
        results.append(measure.measure_set(decode, opened.variables, source, opened.vocab, config, mesh,
                                           progress=jax.process_index() == 0, known=known))
    if not results:
        raise ConfigError(reasons[0])
    if jax.process_index() == 0:
        mirror = Mirror(folder)
        print(measure.write(mirror.here, results, missing, _about(opened, config, mesh)))
        mirror.close()
        for result in results:
            for name, reason in result.unreadable:
                print(f'recog: left out: {name}: {reason}', file=sys.stderr)
            for name, reason in result.shrunk:
                print(f'recog: too large: {name}: {reason}', file=sys.stderr)
    return results


def _about(opened: Opened, config: ConfigDict, mesh: Any) -> dict[str, Any]:
    """Where results come from."""
    by_test = ' (a test set)' if any(map(is_test, opened.config.eval.sets)) else ''
    own = {stream: seed for stream, seed in config.seeds.items() if seed is not None}
    return {
        'model': opened.config.model.name, 'step': opened.step,
        'protocol': words.identifier(config.eval.protocol, config.eval.nfkd), 'beam': config.eval.beam,
        **({'imported from': opened.imported} if opened.imported else
           {'checkpoint chosen by': ', '.join(opened.config.eval.sets) + by_test}),
        'seed': config.seed, **({'seeds': own} if own else {}),
        'config': values.digest(config.to_dict()), 'recipe': provenance.recipe(config),
        'device': f'{mesh.size} x {mesh.devices.flat[0].device_kind}', 'host': provenance.host(),
        'versions': f'recog {__version__}, jax {jax.__version__}', 'commit': provenance.commit(),
        'command': shlex.join(['recog', *sys.argv[1:]]),
    }


def _show_samples(workdir: Path, source: Source, result: measure.Result) -> None:
    """samples.png, and the first few of its words as files with their labels."""
    count = min(SHOWN, len(result.predictions))
    rows = [row for row in source.rows(range(min(len(source), 2 * SHOWN))) if row.image is not None][:count]
    shown = result.predictions[:len(rows)]
    images = [row.image for row in rows if row.image is not None]
    pictures.sheet(images, [each.truth for each in shown], [each.text for each in shown],
                   [each.right for each in shown], workdir / 'samples.png')
    folder = workdir / 'samples'
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images[:KEPT]):
        cv2.imwrite(str(folder / f'{number}.png'), image)
    labels = [f'{number}.png\t{row.text}\n' for number, row in enumerate(rows[:KEPT])]
    (folder / 'labels.tsv').write_text(''.join(labels), encoding='utf-8')


def describe(config: ConfigDict, arguments: argparse.Namespace) -> int:
    """Print the parameters of a recipe and what it costs."""
    model = models.build(config, vocabulary.from_config(config.text))
    if arguments.layers:
        print('\n'.join(layer_table.lines(model, programs.random_batch(config, max(arguments.batch, 1)))))
        return 0
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    trainable, every = cost.parameters(shapes['params']), cost.parameters(shapes)
    print(f'\ntrainable parameters: {trainable:,} ({every:,} with statistics)')
    try:
        count = sum(len(open_set(name, config, arguments.data)) for name in config.data.train)
        print(f'images of an epoch: {count:,}')
    except ConfigError as error:
        count = config.data.nominal
        print(f'images of an epoch: {f"{count:,} (nominal)" if count else "not known"}: {error}')
    epoch = max(1, count // config.train.batch)
    if not count and 'epochs' in config.train.length:
        print(f'length: {config.train.length}')
        return 0
    steps = values.steps(config.train.length, batch=config.train.batch, epoch=epoch)
    images = steps * config.train.batch
    print(f'length: {config.train.length} = {steps / epoch:.4g} epochs = {steps:,} steps of {config.train.batch:,} '
          f'= {images:,} images')
    device = jax.devices()[0].device_kind
    speed = measured.recorded(config, device)
    if speed is None:
        print(f'device-hours: not known for {device}; measure with: recog bench --config {arguments.config}')
    else:
        print(f'device-hours: {images / speed / 3600:,.1f} on {device} at the {speed:,.0f} images/s that recog bench measured')
    return 0
