"""`recog pack`: a set fitted and encoded once, into the arrays of a packed set."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from recog.config.recipe import from_json, to_json
from recog.data import file_hashes, labels
from recog.data.batches import empty_batch
from recog.data.origin import origin
from recog.data.packed import MANIFEST, rule
from recog.data.rows import Source
from recog.data.sets import open_set
from recog.errors import ConfigError
from recog.images.fit import Canvases, channels
from recog.text import vocabulary

CHUNK = 4096  # rows that a worker does at a time
Chunk = tuple[int, dict[str, np.ndarray], list[tuple[int, str]], bytes, np.ndarray]


def pack(name: str, config: ConfigDict, root: Path, place: Path, workers: int) -> dict[str, Any]:
    """Pack a set below the root into the folder `place`, all of it or nothing; returns the manifest."""
    from tqdm import tqdm

    source = open_set(name, config, root)
    if place.exists():
        raise ConfigError(f'{place} exists already; remove it to pack the set again')
    part = place.with_name(f'{place.name}.incomplete')
    shutil.rmtree(part, ignore_errors=True)
    _check_space(part, len(source), config)
    part.mkdir(parents=True)
    try:
        manifest = {'set': name, 'origin': origin(name, config), 'rows': len(source),
                    'rule': rule(config)}
        with tqdm(total=len(source), unit='row', disable=None) as bar:
            manifest |= _write(source, name, config, root, part, workers, bar)
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1) + '\n', encoding='utf-8')
        file_hashes.seal(part)
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
        raise OSError(f'{part.parent}: no space left: '
                      f'{pixels / 1e9:,.1f} GB needed, {free / 1e9:,.1f} GB free')


def _write(source: Source, name: str, config: ConfigDict, root: Path, part: Path, workers: int,
           bar: Any) -> dict[str, Any]:
    """All arrays of a packed set; returns the reasons by code, and how many rows have each."""
    rows, length, image = len(source), config.text.max_length, config.image
    shapes = {'image': ((rows, image.height, image.width, channels(image)), np.uint8),
              'size': ((rows, 2), np.int32), 'tokens': ((rows, length), np.int32),
              'length': ((rows,), np.int32), 'code': ((rows,), np.uint8)}
    arrays = {key: _reserved(part / f'{key}.npy', shape, dtype) for key, (shape, dtype) in shapes.items()}
    offsets, reasons = np.zeros(rows + 1, np.int64), ['', labels.CHANGED]
    place = 0
    with (part / 'labels.bin').open('wb') as texts:
        for start, done, notes, blob, ends in _chunks(rows, name, config, root, workers):
            for key, values in done.items():
                arrays[key][start:start + len(values)] = values
            for row, reason in notes:
                if reason not in reasons:
                    reasons.append(reason)
                arrays['code'][row] = reasons.index(reason)
            texts.write(blob)
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
    """A mapped array with its space on the disk reserved: a disk that fills up later kills the process."""
    array = np.lib.format.open_memmap(file, 'w+', dtype, shape)
    if hasattr(os, 'posix_fallocate'):
        with file.open('rb+') as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return array


def _chunks(rows: int, name: str, config: ConfigDict, root: Path, workers: int) -> Iterator[Chunk]:
    """All rows in chunks, in order, a few of which are made at the same time."""
    arguments = (name, to_json(config), str(root))
    with ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'), _open, arguments) as pool:
        waiting: list[Any] = []
        for start in range(0, rows, CHUNK):
            waiting.append(pool.submit(_chunk, start, min(rows, start + CHUNK)))
            if len(waiting) > 2 * workers:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


_OPENED: dict[str, Any] = {}  # the source, vocabulary and recipe of this worker


def _open(name: str, recipe: str, root: str) -> None:
    import cv2

    cv2.setNumThreads(1)
    config = from_json(recipe)
    vocab = vocabulary.from_config(config.text)
    _OPENED.update(source=open_set(name, config, root), vocab=vocab, config=config)


def _chunk(start: int, stop: int) -> Chunk:
    """Arrays of the rows, the notes of some, their ids and texts in one piece, and where each ends in it."""
    config, vocab = _OPENED['config'], _OPENED['vocab']
    arrays, notes, pieces = empty_batch(stop - start, config.text.max_length), [], []
    fitted = Canvases(stop - start, config.image)
    for place, row in enumerate(_OPENED['source'].rows(range(start, stop))):
        label = labels.encode(vocab, row.text, config.text.max_length)
        labels.write(label, arrays, place)
        note = row.reason or label.reason or (labels.CHANGED if label.changed else '')
        if note:
            notes.append((start + place, note))
        if row.image is not None:
            fitted.put(place, row.image)
        pieces.append(f'{row.id}\t{row.text}'.encode())
    done = {'image': fitted.image, 'size': fitted.size, 'tokens': arrays['tokens'],
            'length': arrays['length']}
    return start, done, notes, b''.join(pieces), np.cumsum([len(piece) for piece in pieces])
