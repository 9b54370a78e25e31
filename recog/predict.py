"""Prediction: a trained model reads images, through the same code as evaluation."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from recog import checkpoint, evaluate, images, sharding, sources
from recog.config import ConfigError

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.ppm', '.pgm')


class Arrays:
    """Images given as arrays, encoded bytes or paths, as a source."""

    name = 'images'

    def __init__(self, given: Sequence[Any]):
        self.given = given

    def __len__(self) -> int:
        return len(self.given)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return [(str(i), '') for i in indices]

    def rows(self, indices: Sequence[int]) -> list[sources.Row]:
        return [sources.Row(str(i), '', self.given[i]) if isinstance(self.given[i], np.ndarray)
                else sources.read_row(str(i), '', self.given[i]) for i in indices]


class Recognizer:
    """A trained model that reads images: paths, encoded bytes or uint8 BGR arrays."""

    def __init__(self, opened: checkpoint.Opened, mesh: Mesh | None = None, *, batch: int = 64, beam: int = 1,
                 width_rule: str = '', max_length: int = 0, details: bool = False, best: int = 1):
        self.opened, self.batch = opened, batch
        self.mesh = mesh or sharding.one_device()
        self.config = opened.config.copy_and_resolve_references()
        if width_rule:
            self.config.image.width_rule = width_rule
        if max_length:
            evaluate.set_length(self.config, opened.model, max_length)
        if best > beam:
            raise ConfigError(f'--nbest {best} needs --beam {best} or more')
        self._decode = evaluate.decoder(opened.model, self.mesh, beam, details, best)

    def read(self, source: sources.Source) -> Iterator[evaluate.Reading]:
        """What stands in each image of a source, in its order."""
        opened = self.opened
        return evaluate.read(self._decode, opened.variables, source, opened.vocab, self.config, self.mesh, batch=self.batch)

    def __call__(self, given: Sequence[Any]) -> list[tuple[str, float]]:
        """Text and confidence of each image; an unreadable one raises images.Unreadable."""
        answers = []
        for reading in self.read(Arrays(given)):
            if reading.text is None:
                raise images.Unreadable(f'image {reading.row}', reading.reason)
            answers.append((reading.text, reading.confidence))
        return answers


def find(names: Iterable[str]) -> list[str]:
    """The image files that files, folders and patterns stand for, in the order given (folders sorted)."""
    files: list[str] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = sorted(str(file) for file in path.rglob('*') if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise ConfigError(f'folder {name} holds no image ({", ".join(SUFFIXES)})')
            files += inside
        elif path.is_file():
            files.append(name)
        else:
            matches = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []
            if not matches:
                raise ConfigError(f'image {name} does not exist')
            files += [match for match in matches if Path(match).is_file()]
    return files
