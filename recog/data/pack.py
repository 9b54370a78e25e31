"""`recog pack`: a set fitted and encoded once, into the arrays of a packed set."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from recog.config.recipe import from_json, to_json
from recog.config.values import SEVERAL
from recog.data import file_hashes, labels
from recog.data.batches import empty_batch
from recog.data.growing import Growing
from recog.data.origin import origin
from recog.data.packed import MANIFEST, rule
from recog.data.rows import Row, Source
from recog.data.sets import open_set
from recog.errors import ConfigError
from recog.images import ink
from recog.images.fit import Canvases, channels
from recog.text import vocabulary

CHUNK = 4096  # rows that a worker does at a time


class Chunk(NamedTuple):
    """What a worker made of some rows."""

    start: int
    rows: dict[str, np.ndarray]  # arrays with an element for each row
    flat: dict[str, np.ndarray]  # arrays of which each row has as many elements as it needs
    notes: list[tuple[int, str]]  # row and reason
    ends: np.ndarray  # where the id and text of each row end in `labels`


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
    """Refuse canvases that have no room on the disk; how much images of any size take is not known before."""
    part.parent.mkdir(parents=True, exist_ok=True)
    pixels = rows * config.image.height * config.image.width * channels(config.image)
    free = shutil.disk_usage(part.parent).free
    if free < pixels * 1.05 and config.image.fit not in SEVERAL:
        raise OSError(f'{part.parent}: no space left: '
                      f'{pixels / 1e9:,.1f} GB needed, {free / 1e9:,.1f} GB free')


def _write(source: Source, name: str, config: ConfigDict, root: Path, part: Path, workers: int,
           bar: Any) -> dict[str, Any]:
    """All arrays of a packed set; returns the reasons by code, and how many rows have each."""
    rows, image = len(source), config.image
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        'size': ((rows, 2), np.int32), 'tokens': ((rows, config.text.max_length), np.int32),
        'length': ((rows,), np.int32), 'code': ((rows,), np.uint8)}
    if image.fit in SEVERAL:
        shapes |= {'planes': ((rows,), np.uint8), 'grey': ((rows,), np.bool_), 'inked': ((rows,), np.int32)}
    else:
        shapes['image'] = (rows, image.height, image.width, channels(image)), np.uint8
    arrays = {key: _reserved(part / f'{key}.npy', shape, dtype) for key, (shape, dtype) in shapes.items()}
    flat, offsets, reasons = Growing(part), np.zeros(rows + 1, np.int64), ['', labels.CHANGED]
    for chunk in _chunks(rows, name, config, root, workers):
        for key, values in chunk.rows.items():
            arrays[key][chunk.start:chunk.start + len(values)] = values
        for row, reason in chunk.notes:
            if reason not in reasons:
                reasons.append(reason)
            arrays['code'][row] = reasons.index(reason)
        for key, values in chunk.flat.items():
            flat.add(key, values)
        offsets[chunk.start + 1:chunk.start + 1 + len(chunk.ends)] = offsets[chunk.start] + chunk.ends
        bar.update(len(chunk.ends))
    flat.close()
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
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'), _open, arguments) as pool:
            waiting: list[Any] = []
            for start in range(0, rows, CHUNK):
                waiting.append(pool.submit(_chunk, start, min(rows, start + CHUNK)))
                if len(waiting) > 2 * workers:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()
    except RuntimeError as error:  # an interrupt while it starts, after which it cannot be shut down
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise


_OPENED: dict[str, Any] = {}  # the source, vocabulary and recipe of this worker


def _open(name: str, recipe: str, root: str) -> None:
    import cv2

    cv2.setNumThreads(1)
    config = from_json(recipe)
    vocab = vocabulary.from_config(config.text)
    _OPENED.update(source=open_set(name, config, root), vocab=vocab, config=config)


def _chunk(start: int, stop: int) -> Chunk:
    """These rows fitted and encoded."""
    config, vocab = _OPENED['config'], _OPENED['vocab']
    arrays, notes, pieces = empty_batch(stop - start, config.text.max_length), [], []
    ragged, rows = config.image.fit in SEVERAL, []
    fitted = Canvases(0 if ragged else stop - start, config.image)
    for place, row in enumerate(_OPENED['source'].rows(range(start, stop))):
        label = labels.encode(vocab, row.text, config.text.max_length)
        labels.write(label, arrays, place)
        note = row.reason or label.reason or (labels.CHANGED if label.changed else '')
        if note:
            notes.append((start + place, note))
        if ragged:
            rows.append(row)
        elif row.image is not None:
            fitted.put(place, row.image)
        pieces.append(f'{row.id}\t{row.text}'.encode())
    flat = {'labels': np.frombuffer(b''.join(pieces), np.uint8)}
    if ragged:
        flat |= _as_read(rows, arrays)
    else:
        arrays |= {'image': fitted.image, 'size': fitted.size}
    for key in ('weight', 'index'):
        del arrays[key]
    return Chunk(start, arrays, flat, notes, np.cumsum([len(piece) for piece in pieces]))


def _as_read(rows: list[Row], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All pixels, points and lengths of strokes of the rows; what tells them apart goes into the arrays."""
    images = [row.image if row.image is not None else np.zeros((0, 0), np.uint8) for row in rows]
    images = [image[:, :, None] if image.ndim == 2 else image for image in images]
    grey = [(image == image[:, :, :1]).all() for image in images]
    arrays['size'] = np.array([image.shape[:2] for image in images], np.int32)
    arrays['planes'] = np.array([image.shape[2] for image in images], np.uint8)
    arrays['grey'] = np.array(grey)
    arrays['inked'] = np.array([len(row.strokes) for row in rows], np.int32)
    strokes = [stroke for row in rows for stroke in row.strokes]
    points, lengths = ink.joined(strokes)
    stored = [image[:, :, :1] if alike else image for image, alike in zip(images, grey, strict=True)]
    return {'image': np.concatenate([image.ravel() for image in stored]), 'points': points.ravel(),
            'strokes': lengths}
