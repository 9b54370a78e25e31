"""Writes records to ArrayRecord shards in bounded memory, and makes the folder
of a set appear complete or not at all."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recog.errors import ConfigError

SHARD = 512 << 20  # bytes of records after which a new shard is begun
SPARE = 64 << 20   # bytes that must stay free on the disk


class Shards:
    """The shards of one split. Their names contain the number of shards, so they are named at the end."""

    def __init__(self, place: Path, split: str):
        self.place, self.split = place, split
        self.lengths: list[int] = []
        self.bytes = self._filled = 0
        self._writer: Any = None

    def write(self, records: Sequence[bytes]) -> None:
        """Append records, into a new shard where the last one is full."""
        from array_record.python.array_record_module import ArrayRecordWriter

        check_space(self.place)
        for record in records:
            if self._writer is None or self._filled > SHARD:
                self._close()
                self._writer = ArrayRecordWriter(str(self._part(len(self.lengths))), 'group_size:1')
                self.lengths.append(0)
                self._filled = 0
            with _disk_errors(self.place):
                self._writer.write(record)
            self.lengths[-1] += 1
            self._filled += len(record)
            self.bytes += len(record)

    def finish(self, dataset: str, folder: Path) -> Any:
        """Close and name the shards; returns TFDS's description of the split as it will be in `folder`."""
        from tensorflow_datasets.core import naming, splits

        self._close()
        template = naming.ShardedFileTemplate(dataset_name=dataset, split=self.split,
                                              filetype_suffix='array_record', data_dir=folder)
        for number in range(len(self.lengths)):
            name = os.path.basename(str(template.sharded_filepath(shard_index=number,
                                                                  num_shards=len(self.lengths))))
            self._part(number).rename(self.place / name)
        return splits.SplitInfo(name=self.split, shard_lengths=self.lengths, num_bytes=self.bytes,
                                filename_template=template)

    def _close(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with _disk_errors(self.place):
                writer.close()

    def _part(self, number: int) -> Path:
        return self.place / f'{self.split}.part{number}'


def drop(written: Mapping[str, Shards]) -> None:
    """Close what is left open; the files are no longer wanted."""
    for each in written.values():
        with contextlib.suppress(OSError):
            each._close()


@contextlib.contextmanager
def _disk_errors(place: Path) -> Iterator[None]:
    """Turn the writer's RuntimeErrors into OSErrors."""
    try:
        yield
    except RuntimeError as error:
        full = 'No space left' in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, _full(place) if full
                      else str(error).partition(';')[0]) from None


def check_space(place: Path, needed: int = 0) -> None:
    """Raise an error if the disk is almost full, or has no room for the bytes that are still needed."""
    if shutil.disk_usage(place).free < needed + SPARE:
        raise OSError(errno.ENOSPC, _full(place, needed + SPARE if needed else 0))


def _full(place: Path, needed: int = 0) -> str:
    what = f'about {needed / 1e9:.2f} GB are needed' if needed else 'the disk is full'
    return f'{what}: {shutil.disk_usage(place).free / 1e9:.2f} GB are free at {place}; nothing was kept'


@contextlib.contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """A temporary folder beside the set's own, always removed at the end, with the folders that it was made
    in if nothing else came into them. What a killed process left in it is removed first."""
    place = folder.with_name(f'{folder.name}.incomplete')
    absent = [parent for parent in place.parents if not parent.exists()]
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        with _held(place):
            if (place / 'old').exists() and not folder.exists():
                (place / 'old').rename(folder)  # killed between the two renames of `replace`
            shutil.rmtree(place)
    place.mkdir()
    with _held(place):
        try:
            yield place
        finally:
            shutil.rmtree(place)
            with contextlib.suppress(OSError):
                for parent in absent:
                    parent.rmdir()


def replace(place: Path, made: Path, folder: Path) -> None:
    """Move the finished set from the temporary folder to its own."""
    if folder.exists():
        folder.rename(place / 'old')
    made.rename(folder)


@contextlib.contextmanager
def _held(place: Path) -> Iterator[None]:
    """Hold an exclusive lock on the folder."""
    handle = os.open(place, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f'{place.with_suffix("")} is being prepared by another process') from None
        yield
    finally:
        os.close(handle)
