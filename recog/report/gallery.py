"""The images behind the predictions, from the sets that are available, and how the model reads them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from recog import models
from recog.config.test_sets import expanded
from recog.data.rows import Source
from recog.data.sets import open_set
from recog.reading.read import Reading
from recog.reading.recognizer import Arrays, Recognizer
from recog.report.record import Judged
from recog.workdir.opened import Opened

BATCH = 16


class Pictured(NamedTuple):
    """An example, its image from the set, and a new reading of it if that was asked for."""

    example: Judged
    image: np.ndarray
    reading: Reading | None = None


class Gallery:
    """Finds the images of examples; `absent` maps a set whose images are not available to the reason."""

    def __init__(self, config: ConfigDict, root: str | Path, sets: Mapping[str, Mapping[str, Any]]):
        self.absent: dict[str, str] = {}
        self._config, self._root, self._sets = config, root, sets
        self._sources: dict[str, Source | None] = {}

    def pictured(self, examples: Sequence[Judged]) -> list[Pictured]:
        """The examples whose images are available."""
        found = []
        for example in examples:
            try:
                image = self._image(example)
            except OSError as error:  # the set is damaged
                image, self.absent[example.set] = None, str(error)
            if image is not None:
                found.append(Pictured(example, image))
        return found

    def heights(self, examples: Sequence[Judged]) -> list[tuple[Judged, int]]:
        """The examples whose images are available, with the heights of these."""
        measured = ((example, self._image(example)) for example in examples)  # one image at a time
        return [(example, image.shape[0]) for example, image in measured if image is not None]

    def first(self, names: Sequence[str], count: int) -> list[Judged]:
        """The first examples of the first available set, without
        results; for a run that was not evaluated."""
        for name in expanded(names):
            source = self._source(name)
            if source is not None:
                labels = source.labels(range(min(count, len(source))))
                return [Judged(name, place, label, truth, '', 0.0, False, (), ())
                        for place, (label, truth) in enumerate(labels)]
        return []

    def _source(self, name: str) -> Source | None:
        if name not in self._sources:
            try:
                self._sources[name] = open_set(name, self._config, self._root)
            except (ValueError, OSError) as error:  # the page says so, and is made without these images
                self._sources[name] = None
                self.absent[name] = str(error)
        return self._sources[name]

    def _image(self, example: Judged) -> np.ndarray | None:
        source = self._source(example.set)
        if source is None:
            return None
        # Unreadable images give no example, so the row may be further
        # on, by as many rows as there are of them.
        figures = self._sets[example.set] if example.set in self._sets else {}
        spare = int(figures['unreadable']) if 'unreadable' in figures else 0
        rows = range(example.place, min(example.place + spare + 1, len(source)))
        for row, label in zip(rows, source.labels(rows), strict=True):
            if label == (example.id, example.truth):
                return next(iter(source.rows([row]))).image
        self.absent[example.set] = (f'set {example.set!r} is not what it was when it was measured: '
                                    f'{example.id!r} has moved or changed')
        return None


def read(opened: Opened, pictured: Sequence[Pictured], beam: int, mesh: Any) -> list[Pictured]:
    """The same examples, each with a reading that holds the maps."""
    if not pictured:
        return []
    recognizer = Recognizer(opened, mesh, batch=BATCH, beam=beam, details=True)
    readings = recognizer.read(Arrays([each.image for each in pictured]))
    return [each._replace(reading=reading) for each, reading in zip(pictured, readings, strict=True)]


def features(opened: Opened, reading: Reading) -> dict[str, np.ndarray]:
    """The feature maps [h, w, C] of an image by stage, and the rectified image, if there is one."""
    details = reading.details or {}
    apply = jax.jit(opened.model.apply)
    stages, _ = apply(opened.variables, {'image': details['image'][None], 'size': details['size'][None]})
    shown = {*opened.model.about.features, models.RECTIFIED} & set(stages)
    return {name: np.asarray(stages[name][0], np.float32) for name in sorted(shown)}
