"""Packed sets: every row fitted and encoded once, in memory-mapped arrays, so that reading a batch is one copy.

Rows keep their numbers, so training on a packed set takes the same batches as on the set it was made from. It belongs to
one rule of fitting and one vocabulary, which its manifest carries; a recipe that differs is refused.
"""

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from recog import data, seal, sources
from recog.config.recipe import from_json, to_json
from recog.errors import ConfigError
from recog.images.fit import channels, fit_batch
from recog.text import vocabulary

MANIFEST = 'packed.json'
RULE = ('height', 'width', 'channels', 'fit')  # of config.image: what decides the pixels
LABEL = ('case', 'unknown', 'max_length')      # of config.text, besides the vocabulary: what decides the tokens
CHUNK = 4096  # rows that a worker does at a time
PLAIN, CHANGED = 0, 1  # codes of what was said of a row; further ones are reasons why it cannot be used


class Packed:
    """A packed set as a source; `arrays` gives whole batches."""

    def __init__(self, name: str, folder: Path, config: ConfigDict):
        seal.check_sizes(folder)
        self.name, self.folder = name, folder
        manifest = json.loads((folder / MANIFEST).read_text(encoding='utf-8'))
        mine = rule(config)
        for field, value in manifest['rule'].items():
            if mine[field] != value:
                raise ConfigError(f'set {name!r} was packed with {field}={value!r}, the recipe has {mine[field]!r}; '
                                  f'pack it again: recog pack {manifest["set"]} --config FILE:VARIANT')
        self._length, self._reasons = manifest['rows'], manifest['reasons']
        self._arrays: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_arrays': {}}  # a process that reads maps the files itself

    def _array(self, part: str) -> np.ndarray:
        if part not in self._arrays:
            self._arrays[part] = np.load(self.folder / f'{part}.npy', mmap_mode='r')
        return self._arrays[part]

    def arrays(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Image, size, tokens, length and weight of these rows, and the code of what was said of them when they were packed."""
        batch = {part: self._taken(part, rows) for part in ('image', 'size', 'tokens', 'length')}
        code = self.codes(rows)
        return {**batch, 'weight': (code <= CHANGED).astype(np.float32), 'code': code}

    def codes(self, rows: np.ndarray) -> np.ndarray:
        """What was said of these rows."""
        return self._taken('code', rows)

    def _taken(self, part: str, rows: np.ndarray) -> np.ndarray:
        """A copy of these rows; those that follow one another are read in one piece, four times as fast."""
        if len(rows) > 1 and (np.diff(rows) == 1).all():
            return np.array(self._array(part)[int(rows[0]) : int(rows[-1]) + 1])
        return self._array(part)[rows]

    def notes(self, rows: np.ndarray, code: np.ndarray) -> list[tuple]:
        """(row, id, reason, text) of the rows that were changed or cannot be used."""
        return [(int(row), *self._text(row)[:1], self._reasons[code], self._text(row)[1])
                for row, code in zip(rows, code.tolist(), strict=True) if code != PLAIN]

    def _text(self, row: int) -> tuple[str, str]:
        start, end = self._array('offsets')[row:row + 2]
        name, _, label = bytes(self._array('labels')[start:end]).decode().partition('\t')
        return name, label  # an id holds no tab

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return [self._text(int(row)) for row in indices]

    def rows(self, indices: Sequence[int]) -> list[sources.Row]:
        found = []
        for row in indices:
            height, width = self._array('size')[row]
            name, label = self._text(int(row))
            # A row whose label cannot be used may have an image all the same.
            reason = '' if height else self._reasons[self._array('code')[row]]
            found.append(sources.Row(name, label, None if reason else self._array('image')[row, :height, :width], reason))
        return found


def rule(config: ConfigDict) -> dict[str, Any]:
    """What must be the same where a set is packed and where it is read."""
    fields = {f'config.image.{name}': config.image[name] for name in RULE}
    fields |= {f'config.text.{name}': config.text[name] for name in LABEL}
    return {**fields, 'vocabulary': vocabulary.from_config(config.text).hash}


def pack(name: str, config: ConfigDict, root: Path, place: Path, workers: int) -> dict[str, Any]:
    """Pack a set below the root into the folder `place`; returns the manifest. What is not complete is never left there."""
    from tqdm import tqdm

    source = sources.open_set(name, config, root)
    if place.exists():
        raise ConfigError(f'{place} exists already; remove it to pack the set again')
    part = place.with_name(f'{place.name}.incomplete')
    shutil.rmtree(part, ignore_errors=True)
    _check_space(part, len(source), config)
    part.mkdir(parents=True)
    try:
        manifest = {'set': name, 'rows': len(source), 'rule': rule(config)}
        with tqdm(total=len(source), unit='row', disable=None) as bar:
            manifest |= _write(source, name, config, root, part, workers, bar)
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1) + '\n', encoding='utf-8')
        seal.seal(part)
        part.rename(place)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return manifest


def _check_space(part: Path, rows: int, config: ConfigDict) -> None:
    part.parent.mkdir(parents=True, exist_ok=True)
    pixels = rows * config.image.height * config.image.width * channels(config.image)
    free = shutil.disk_usage(part.parent).free
    if free < pixels * 1.05:
        raise OSError(f'{part.parent}: no space left: {pixels / 1e9:,.1f} GB needed, {free / 1e9:,.1f} GB free')


def _write(source: sources.Source, name: str, config: ConfigDict, root: Path, part: Path, workers: int,
           bar: Any) -> dict[str, Any]:
    """All arrays of a packed set; returns the reasons by code, and how many rows have each."""
    rows, length, image = len(source), config.text.max_length, config.image
    shapes = {'image': ((rows, image.height, image.width, channels(image)), np.uint8), 'size': ((rows, 2), np.int32),
              'tokens': ((rows, length), np.int32), 'length': ((rows,), np.int32), 'code': ((rows,), np.uint8)}
    arrays = {key: _reserved(part / f'{key}.npy', shape, dtype) for key, (shape, dtype) in shapes.items()}
    offsets, reasons = np.zeros(rows + 1, np.int64), ['', 'changed']
    place = 0
    with (part / 'labels.bin').open('wb') as labels:
        for start, done, said, blob, ends in _chunks(rows, name, config, root, workers):
            for key, values in done.items():
                arrays[key][start:start + len(values)] = values
            for row, reason in said:
                if reason not in reasons:
                    reasons.append(reason)
                arrays['code'][row] = reasons.index(reason)
            labels.write(blob)
            offsets[start + 1:start + 1 + len(ends)] = place + ends
            place += len(blob)
            bar.update(len(ends))
    np.save(part / 'labels.npy', np.fromfile(part / 'labels.bin', np.uint8))
    (part / 'labels.bin').unlink()
    np.save(part / 'offsets.npy', offsets)
    counts = np.bincount(arrays['code'], minlength=len(reasons)).tolist()
    for array in arrays.values():
        array.flush()
    return {'reasons': reasons, 'counts': dict(zip(['kept', *reasons[1:]], counts, strict=True))}


def _reserved(file: Path, shape: tuple[int, ...], dtype: Any) -> np.memmap:
    """A mapped array whose space on the disk is taken at once: a disk that fills up later would kill the process."""
    array = np.lib.format.open_memmap(file, 'w+', dtype, shape)
    if hasattr(os, 'posix_fallocate'):
        with file.open('rb+') as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return array


def _chunks(rows: int, name: str, config: ConfigDict, root: Path, workers: int) -> Iterator[tuple]:
    """What `_chunk` gives for all rows, in order, a few chunks being under way at a time."""
    arguments = (name, to_json(config), str(root))
    with ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'), _open, arguments) as pool:
        waiting: list[Any] = []
        for start in range(0, rows, CHUNK):
            waiting.append(pool.submit(_chunk, start, min(rows, start + CHUNK)))
            if len(waiting) > 2 * workers:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


_OPENED: dict[str, Any] = {}  # what this worker reads


def _open(name: str, recipe: str, root: str) -> None:
    import cv2

    cv2.setNumThreads(1)
    config = from_json(recipe)
    _OPENED.update(source=sources.open_set(name, config, root), vocab=vocabulary.from_config(config.text), config=config)


def _chunk(start: int, stop: int) -> tuple[int, dict[str, np.ndarray], list[tuple[int, str]], bytes, np.ndarray]:
    """Arrays of the rows, what is to be said of some, their ids and texts in one piece, and where each ends in it."""
    config, vocab = _OPENED['config'], _OPENED['vocab']
    rows = _OPENED['source'].rows(range(start, stop))
    arrays, said = data.empty(len(rows), config.text.max_length), []
    for place, row in enumerate(rows):
        try:
            encoding = vocab.encode(row.text, max_length=config.text.max_length)
        except vocabulary.Unencodable as error:
            said.append((start + place, row.reason or error.reason))
            continue
        arrays['length'][place] = len(encoding.ids)
        arrays['tokens'][place, :len(encoding.ids)] = encoding.ids
        if row.reason or encoding.dropped:
            said.append((start + place, row.reason or 'changed'))
    arrays['image'], arrays['size'] = fit_batch([row.image for row in rows], config.image)
    pieces = [f'{row.id}\t{row.text}'.encode() for row in rows]
    done = {key: arrays[key] for key in ('image', 'size', 'tokens', 'length')}
    return start, done, said, b''.join(pieces), np.cumsum([len(piece) for piece in pieces])
