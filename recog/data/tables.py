"""Sets that Hugging Face's library `datasets` reads: those of its Hub, and Parquet and WebDataset shards.

The library keeps a set as Arrow files in its own cache, from which any row is read as fast as any other.
"""

import hashlib
import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from recog.data import bucket, file_hashes
from recog.data.files import read_row
from recog.data.prepared import meant_split
from recog.data.rows import Row
from recog.errors import ConfigError, nearest, one_line

HUB = 'hf'  # hf:OWNER/NAME[/CONFIG][@REVISION][:SPLIT]
KINDS = {'.parquet': 'parquet', '.tar': 'webdataset'}  # what the library calls the shards
IDS = ('id', '__key__')
_NAME = re.compile(r'hf:([\w.-]+/[\w.-]+)(?:/([\w.-]+))?(?:@([\w./-]+))?(?::([\w.+]+))?')


class Table:
    """Rows of a column with images and one with texts."""

    def __init__(self, name: str, rows: Any, split: str, files: Sequence[str], config: ConfigDict):
        self.name, self.files, self._split = name, files, split
        self._image = _column(name, rows, 'image_columns', config, _is_image)
        self._text = _column(name, rows, 'text_columns', config, _is_text)
        self._id = next((each for each in IDS if each in rows.features and _is_text(rows.features[each])), '')
        labels = [self._text, *([self._id] if self._id else [])]
        if _kind(rows.features[self._image]) == 'Image':  # its bytes as they are
            rows = rows.cast_column(self._image, type(rows.features[self._image])(decode=False))
        self._rows, self._labels = rows.select_columns([self._image, *labels]), rows.select_columns(labels)

    def __len__(self) -> int:
        return len(self._rows)

    def labels(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        return self._named(self._labels[[int(i) for i in indices]], indices)

    def rows(self, indices: Sequence[int]) -> Iterator[Row]:
        read = self._rows[[int(i) for i in indices]]
        return (read_row(*label, _encoded(image))
                for label, image in zip(self._named(read, indices), read[self._image], strict=True))

    def _named(self, read: Mapping[str, list], indices: Sequence[int]) -> list[tuple[str, str]]:
        names = read[self._id] if self._id else [f'{self._split}/{i}' for i in indices]
        return [(name, text or '') for name, text in zip(names, read[self._text], strict=True)]

    def fingerprint(self) -> str:
        """The hash of the names of its files, which on the Hub have the commit in them, and of its size."""
        content = json.dumps([self.files, len(self), self._image, self._text])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def of_hub(name: str, config: ConfigDict) -> Table:
    """The set hf:OWNER/NAME[/CONFIG][@REVISION][:SPLIT] of the Hub."""
    parts = _NAME.fullmatch(name)
    if not parts:
        raise ConfigError(f'set {name!r} must be hf:OWNER/NAME[/CONFIG][@REVISION][:SPLIT]')
    place, inner, revision, split = parts.groups()
    datasets = _library(name)
    if Path(place).exists():  # which the library would read instead
        raise ConfigError(f'set {name!r} of the Hub is hidden by {Path(place).resolve()}; run it elsewhere')
    try:
        builder = datasets.load_dataset_builder(place, inner, revision=revision)
        found = builder.config.data_files or builder.info.splits or {}
        split = _checked(name, split or '', {str(each): None for each in found})
        files = [str(file) for part in split.split('+') for file in (builder.config.data_files or {})[part]]
        builder.download_and_prepare()
        rows = builder.as_dataset(split=split)
    except ConfigError:
        raise
    except Exception as error:  # of the network, the Hub or a damaged file: the library raises all kinds
        raise ConfigError(f'set {name!r} cannot be read: {one_line(error)}') from None
    return Table(name, rows, split, files, config)


def of_shards(name: str, folder: Path, config: ConfigDict) -> Table:
    """The Parquet or WebDataset shards of a split in a folder, in the order of their names."""
    datasets = _library(name)
    file_hashes.check_sizes(folder)
    splits: dict[str, list[str]] = {}
    for file in sorted(bucket.sizes(folder) or map(str, _inside(folder))):
        if file.endswith(tuple(KINDS)):
            splits.setdefault(_split_of(file), []).append(file)
    split = _checked(name, name.partition(':')[2], splits)
    files = [file for part in split.split('+') for file in splits[part]]
    kinds = {KINDS[Path(file).suffix] for file in files}
    if len(kinds) > 1:
        raise ConfigError(f'set {name!r} has both Parquet and WebDataset shards in {folder}')
    bucket.bring(folder, files)
    try:
        paths = {'train': [str(folder / file) for file in files]}
        rows = datasets.load_dataset(kinds.pop(), data_files=paths, split='train')
    except Exception as error:  # whatever a damaged file makes the library raise
        raise ConfigError(f'set {name!r}: the shards in {folder} cannot be read: {one_line(error)}') from None
    return Table(name, rows, split, files, config)


def has_shards(folder: Path) -> bool:
    """Whether a folder holds shards, or folders of its splits that do."""
    return any(file.suffix in KINDS for file in _inside(folder))


def _inside(folder: Path) -> Iterator[Path]:
    """The shards in a folder and in those within it, by their paths from it."""
    for kind in KINDS:
        for pattern in (f'*{kind}', f'*/*{kind}'):
            yield from (file.relative_to(folder) for file in folder.glob(pattern))


def _split_of(file: str) -> str:
    """The split of a shard: its folder, if that is not `data`, or what its name begins with up to a dash."""
    folder, _, name = file.rpartition('/')
    return folder if folder not in ('', 'data') else re.split('[-.]', name)[0]


def _library(name: str) -> Any:
    try:
        library = importlib.import_module('datasets')
        library.load_dataset_builder  # noqa: B018  # where it is missing, a folder of that name may be found
    except (ModuleNotFoundError, AttributeError):
        raise ConfigError(f"set {name!r} needs datasets: pip install 'recog[datasets]'") from None
    if not sys.stderr.isatty():
        library.disable_progress_bars()
    return library


def _checked(name: str, split: str, splits: Mapping[str, Any]) -> str:
    """The split, or several with + between, each of which must be there."""
    parts = split.split('+') if split else [meant_split(name, list(splits))]
    for part in parts:
        if part not in splits:
            raise ConfigError(f'set {name!r}: split {part!r} does not exist{nearest(part, splits)}; '
                              f'there are: {", ".join(splits)}')
    return '+'.join(parts)


def _column(name: str, rows: Any, field: str, config: ConfigDict, fits: Any) -> str:
    """The first of the columns of a field of the recipe that a set has."""
    for column in config.data[field]:
        if column in rows.features and fits(rows.features[column]):
            return column
    there = ', '.join(f'{column} ({_kind(feature)})' for column, feature in rows.features.items())
    raise ConfigError(f'set {name!r} has none of config.data.{field}={tuple(config.data[field])} of that '
                      f'kind; it has: {there}')


def _kind(feature: Any) -> str:
    return getattr(feature, 'dtype', '') if type(feature).__name__ == 'Value' else type(feature).__name__


def _is_image(feature: Any) -> bool:
    """An image, its bytes, or as Parquet has it where nothing says that it is one."""
    return _kind(feature) in ('Image', 'binary', 'large_binary') or isinstance(feature, Mapping) \
        and 'bytes' in feature


def _is_text(feature: Any) -> bool:
    return _kind(feature) in ('string', 'large_string')


def _encoded(image: Any) -> Any:
    """The bytes of an image, or its path; no bytes where there is none."""
    if isinstance(image, Mapping):
        image = image.get('bytes') or image.get('path')
    return image or b''
