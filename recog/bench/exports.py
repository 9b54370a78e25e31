"""`recog bench FOLDER`: images per second of exported folders, of their workdir, and of the same network in
PyTorch if there is one; all take turns. A published reader is measured as a workdir is."""

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from recog.bench import onnx_convolutions, timing
from recog.bench.rivals import listed
from recog.bench.rivals.frameworks import PYTORCH
from recog.data.batches import Steps
from recog.devices import measured
from recog.errors import ConfigError
from recog.export.parity import random_images
from recog.reading import engines
from recog.reading.exported import Folder, is_exported, open_folder
from recog.reading.recognizer import Arrays
from recog.workdir import lexicon
from recog.workdir.description import read_config
from recog.workdir.files import SAMPLES, is_published, is_workdir
from recog.workdir.published import read_manifest

WIDTH = 24
PARTS = 50  # each convolution is timed for this fraction of the time, as there are dozens

Form = Callable[[tuple], Callable[[], Any]]  # from the inputs to the call that is timed


class Subject(NamedTuple):
    """A trained model that is measured in all its forms."""

    source: str  # its workdir, or the reader
    step: int
    beam: int
    config: ConfigDict
    devices: str
    folders: list[Folder]  # that were exported of it


def run(given: Sequence[str], devices: str, engine: str, batch: int, seconds: float, json_file: str) -> int:
    """Measure exported folders together with their workdir, and readers alone, on the same
    images; print a line for each, and ratios."""
    subjects = _subjects(given, devices, engine)
    sizes = sorted({1, max(batch, 1)})
    print(f'{"form":{WIDTH}}' + ''.join(f'{f"images/s at {size}":>18}' for size in sizes) + '   path',
          flush=True)
    found = [figures for subject in subjects for figures in _measure(subject, sizes, seconds)]
    measured.keep(found, json_file)
    return 0


def _subjects(given: Sequence[str], devices: str, engine: str) -> list[Subject]:
    """The models of these folders; exports of the same stand together."""
    neither = [name for name in given if not is_exported(name) and not is_published(Path(name))]
    if neither:
        raise ConfigError(f'folder {neither[0]!r} is no export (no manifest.json) and no published reader; '
                          'a recipe is measured with --config')
    found: dict[Any, Subject] = {}
    for each in (_subject(name, devices, engine) for name in given):
        found.setdefault(each[:3], each._replace(folders=[])).folders.extend(each.folders)
    return list(found.values())


def _subject(name: str, devices: str, engine: str) -> Subject:
    if not is_exported(name):
        place = Path(name).resolve()
        words, facts = lexicon.read(place), read_manifest(place)
        beam = words.beam if words else facts.get('beam') or 1
        return Subject(str(place), facts['step'], beam, read_config(place), devices, [])
    folder = open_folder(name, devices, engine)
    source, step, beam = (folder.manifest[fact] for fact in ('source', 'step', 'beam'))
    return Subject(source, step, beam, folder.config, devices, [folder])


def _measure(subject: Subject, sizes: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    """Measure a model in all its forms; prints the figures and returns them."""
    folders, forms = subject.folders, _opened(subject)
    if not forms:
        print(f'{"workdir":{WIDTH + 18 * len(sizes)}}   {subject.source} '
              f'(step {subject.step} is not there any more, not measured)')
    own = {folder: _bound(folder) for folder in folders}
    for bound in own.values():
        forms |= bound
    took: dict[tuple[str, str], dict[int, float]] = {name: {} for name in forms}
    for size in sizes:
        given = _batch(subject, size)
        for name, each in timing.alternate({name: form(given) for name, form in forms.items()},
                                           seconds).items():
            took[name][size] = each
        for folder in folders:
            if folder.form == 'onnx':
                alone = onnx_convolutions.alone(folder.path / 'model.onnx', given,
                                                partial(_median, seconds=seconds / PARTS))
                if alone:
                    took.setdefault(('convolutions', f'{folder.path}: its convolutions, each run alone'),
                                    {})[size] = alone
    for (form, path), spent in took.items():
        print(f'{form:{WIDTH}}' + ''.join(f'{size / spent[size]:18,.1f}' for size in sizes) + f'   {path}',
              flush=True)
    for folder, bound in own.items():
        for name in bound:
            _compare(folder, name[0], took, sizes)
    return [{'form': form, 'path': path, 'beam': subject.beam,
             **{f'images_per_second_{size}': size / spent[size] for size in sizes}}
            for (form, path), spent in took.items()]


def _compare(folder: Folder, form: str, took: dict[tuple[str, str], dict[int, float]],
             sizes: Sequence[int]) -> None:
    """Print a folder's time as a multiple of the others' times."""
    mine, words = took[form, str(folder.path)], []
    for kind in ('workdir', 'PyTorch', 'convolutions'):
        others = [spent for (form, path), spent in took.items()
                  if form.startswith(kind) and (kind != 'convolutions'
                                                or path.startswith(f'{folder.path}: '))]
        if others:
            words.append(f'{kind} ' + ' / '.join(f'{mine[size] / min(spent[size] for spent in others):.2f}'
                                                 for size in sizes))
    if words:
        print(f'{folder.path}: {form} takes as a multiple of {"; ".join(words)}', flush=True)


def _bound(folder: Folder) -> dict[tuple[str, str], Form]:
    """The exported folder itself, run by its engine: a file of ONNX by all engines that are installed, or by
    the one that was asked for. onnxruntime's form is called onnx."""
    names = [''] if folder.form != 'onnx' else [folder.engine_name] if folder.engine_name else \
        engines.installed()
    found: dict[tuple[str, str], Form] = {}
    for name in names:
        run = folder.engine(name=name).run
        form = name if name == 'openvino' else folder.form
        found[form, str(folder.path)] = partial(lambda run, given: partial(run, *given), run)
    return found


def _opened(subject: Subject) -> dict[tuple[str, str], Form]:
    """The workdir, if it still has the exported step, and the same network in PyTorch, if PyTorch is
    installed and there is such a network."""
    source, beam = subject.source, subject.beam
    if not is_workdir(Path(source)):
        return {}
    import jax

    from recog.devices import setup
    from recog.devices.mesh import compiler_options, one_device
    from recog.reading.compiled import packs, with_packed
    from recog.workdir.opened import open_workdir

    device = setup.start(subject.devices)[0]
    try:
        opened = open_workdir(source, subject.step)
    except ConfigError:
        if not subject.folders:
            raise
        return {}
    variables, mesh = jax.device_put(opened.variables, device), one_device()
    decode = partial(opened.model.decode, beam=beam)
    compiled = partial(jax.jit(decode, compiler_options=compiler_options(mesh)), variables)

    def workdir(given: tuple) -> Callable[[], Any]:
        read = with_packed(decode, variables, mesh, *given) if packs(len(given[0])) else compiled
        return lambda: jax.device_get(read(*given))

    found: dict[tuple[str, str], Form] = {('workdir', source): workdir}
    if beam == 1 and listed.reads(PYTORCH, subject.config) and importlib.util.find_spec('torch'):
        from recog.bench.pytorch.readers import readers

        reading = readers(subject.config, len(opened.vocab), opened.model, opened.variables)
        found |= {(kind, f'{source}: the same network'): reader for kind, reader in reading.items()}
    return found


def _batch(subject: Subject, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The workdir's sample images, or random ones if it has none, on the recipe's largest canvas."""
    source_samples = (Path(subject.source) / SAMPLES).glob('*.png')
    samples: list[Any] = sorted(map(str, source_samples))
    images = samples or random_images(subject.config.image)
    source = Arrays([images[number % len(images)] for number in range(rows)])
    config = subject.config.copy_and_resolve_references()
    config.data.buckets, config.data.pixels = (), 0
    batch = Steps(source, np.arange, rows, config, 0)[0]
    return batch['image'], batch['size'], np.asarray(config.text.max_length, np.int32)


def _median(call: Callable, given: tuple, seconds: float) -> float:
    return timing.median(partial(call, *given), seconds)
