"""Writes a workdir as a published reader: rounds its weights, reads images with them, measures, and tells."""

import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from recog import __version__, models
from recog.config import recipe
from recog.data.rows import PackedSource
from recog.data.sets import open_set
from recog.data.shapes import canvases
from recog.devices import cost
from recog.devices.mesh import one_device, replicated
from recog.errors import ConfigError
from recog.evaluation import measurements
from recog.evaluation.measurements import Measurement
from recog.evaluation.sets import measure_sets
from recog.publish import card
from recog.reading.compiled import Compiled, searching
from recog.reading.read import Reading, read_source
from recog.reading.recognizer import Arrays
from recog.text.lexicon import Lexicon
from recog.workdir import files, lexicon, provenance, published
from recog.workdir.folder import drafted, is_remote
from recog.workdir.opened import Opened

CODE = 'Apache-2.0'  # recog's own licence
RANDOM = 16  # images of noise that are read besides the samples


class Asked(NamedTuple):
    """What the publisher says and asks for."""

    kind: str  # the type of the arrays
    licence_weights: str
    licence_data: str
    languages: str = ''
    sets: tuple[str, ...] = ()  # measured with the rounded weights; without, the workdir's results count
    weaknesses: Mapping[str, str] = {}  # sets that show a weakness, by what it is called
    root: str = '.'  # where sets are
    beam: int = 0  # with which the reader reads where none is asked for; 0: greedily, or that of its lexicon


def publish(opened: Opened, place: Path, asked: Asked) -> dict[str, Any]:
    """Write the folder `place`, or nothing if it fails; returns its manifest."""
    if files.is_published(opened.workdir):
        raise ConfigError(f'{opened.workdir} is a published reader already; publish its workdir')
    if opened.config.model.name not in models.names():
        raise ConfigError(f'config.model.name={opened.config.model.name!r} is a module of your own, which a '
                          'reader does not bring along; only models of recog are published')
    if asked.beam and opened.lexicon:
        raise ConfigError(f'--beam {asked.beam}: the lexicon of {opened.workdir} has a beam of its own')
    if asked.beam > lexicon.WIDEST:
        raise ConfigError(f'--beam {asked.beam} must be at most {lexicon.WIDEST}')
    if asked.beam > 1 and not opened.model.about.beam:
        raise ConfigError(f'--beam {asked.beam}: this model has no beam search')
    opened = opened._replace(own_beam=asked.beam)
    content, variables = published.encoded(opened.variables, asked.kind)
    rounded = opened._replace(variables=jax.device_put(variables, replicated(one_device())))
    with drafted(place) as draft:
        (draft / published.WEIGHTS).write_bytes(content)
        return _write(opened, rounded, draft, place.name, asked)


def _write(opened: Opened, rounded: Opened, draft: Path, name: str, asked: Asked) -> dict[str, Any]:
    """Write all files but the weights; returns the manifest."""
    (draft / files.CONFIG).write_text(recipe.to_json(opened.config) + '\n', encoding='utf-8')
    (draft / files.VOCAB).write_text(opened.vocab.to_json() + '\n', encoding='utf-8')
    if opened.lexicon:
        lexicon.copy(opened.workdir, draft)
    manifest = {
        'form': published.FORM, 'recog': __version__, 'model': opened.config.model.name, 'step': opened.step,
        'metrics': opened.metrics, 'imported': opened.imported, 'kind': asked.kind,
        'parameters': cost.parameters(opened.variables['params']), 'languages': asked.languages,
        'licences': {'code': CODE, 'weights': asked.licence_weights, 'data': asked.licence_data},
        'measured': bool(asked.sets or asked.weaknesses), 'weaknesses': dict(asked.weaknesses),
        **({'beam': asked.beam} if asked.beam else {}),
        **_read_alike(opened, rounded),
        **({'calibration': dict(opened.calibration)} if opened.calibration else {}),
        'provenance': card.provenance(opened.workdir, opened.config),
    }
    measured = _measured(opened, rounded, asked)
    _write_results(measured, draft)
    (draft / published.CARD).write_text(card.write(name, manifest, opened.vocab, measured, draft),
                                        encoding='utf-8')
    manifest['files'] = {each: published.described((draft / each).read_bytes())
                         for each in published.ALLOWED if (draft / each).is_file()}
    manifest['digest'] = published.digest(manifest)
    (draft / files.READER).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + '\n',
                                      encoding='utf-8')
    return manifest


def _measured(opened: Opened, rounded: Opened, asked: Asked) -> list[Measurement]:
    """The measurements that count: of the sets asked for, with the rounded weights, else the workdir's."""
    if not (asked.sets or asked.weaknesses):
        return [each for each in measurements.read(opened.workdir)
                if each.document.get('step', opened.step) == opened.step]
    config = opened.config.copy_and_resolve_references()
    config.eval.beam = opened.beam(config.eval.beam)
    # A weakness is one of what users give to `recog predict`, which adapts images.
    adapted = [name for name in asked.weaknesses.values() if config.image.ink and not isinstance(
        open_set(name, config, asked.root), PackedSource)]
    as_they_are = [name for name in (*asked.sets, *asked.weaknesses.values()) if name not in adapted]
    with tempfile.TemporaryDirectory(prefix='recog-') as folder:
        for sets, adapt in ((as_they_are, False), (adapted, True)):
            if sets:
                config.eval.report = tuple(dict.fromkeys(sets))
                measure_sets(rounded, config, one_device(), asked.root, Path(folder), adapt=adapt)
        return measurements.read(Path(folder))


def _write_results(measured: Sequence[Measurement], draft: Path) -> None:
    """results.json alone: no texts that were read, and so no labels of sets that are not ours to give."""
    if not measured:
        return
    found = [{name: value for name, value in each.document.items() if name != 'differences'}
             for each in measured]
    first, *more = found
    text = json.dumps({**first, **({'more': more} if more else {})}, indent=1)
    (draft / files.RESULTS).write_text(text + '\n', encoding='utf-8')


def _read_alike(opened: Opened, rounded: Opened) -> dict[str, Any]:
    """How many images are read alike with the weights as trained and rounded, and how long one takes."""
    config = opened.config.copy_and_resolve_references()
    with config.unlocked():
        config.data.workers = 0
    place = opened.workdir / files.SAMPLES
    given = {'samples': [] if is_remote(place) else sorted(map(str, place.glob('*.png'))),
             'images of noise': _noise(config)}
    mesh, image, several = one_device(), config.image, 'at most ' if config.data.buckets else ''
    decode, words = searching(opened, mesh, opened.beam())
    trained, _ = _readings(Compiled(decode, opened.variables, mesh), given, opened, config, words)
    engine = Compiled(decode, rounded.variables, mesh)
    read, _ = _readings(engine, given, opened, config, words)
    _, seconds = _readings(engine, given, opened, config, words)  # with all programs compiled
    found, start = {}, 0
    for what, images in given.items():
        pairs = list(zip(trained, read, strict=True))[start:start + len(images)]
        found[what] = {'images': len(images), 'alike': sum(one.text == other.text for one, other in pairs)}
        start += len(images)
    return {'rounding': found, 'speed': {
        'milliseconds': 1000 * seconds / len(read), 'size': several + f'{image.height} x {image.width}',
        'device': mesh.devices.flat[0].device_kind, 'host': provenance.host(),
        'cpus': len(os.sched_getaffinity(0))}}


def _readings(engine: Compiled, given: Mapping[str, list[Any]], opened: Opened,
              config: ConfigDict, words: Lexicon | None) -> tuple[list[Reading], float]:
    """What is read of all images, one at a time, and the seconds that it took."""
    source, began = Arrays([image for images in given.values() for image in images]), time.perf_counter()
    read = list(read_source(engine, source, opened.vocab, config, batch=1, lexicon=words, best=1))
    return read, time.perf_counter() - began


def _noise(config: ConfigDict) -> list[Any]:
    """Blots in a recipe's size; of several sizes in the middle one."""
    import cv2
    import numpy as np

    random, several = np.random.default_rng(0), canvases(config)
    height, width = several[len(several) // 2]
    return [cv2.resize(random.integers(0, 256, (8, 24, 3), np.uint8), (width, height),
                       interpolation=cv2.INTER_CUBIC) for _ in range(RANDOM)]
