"""What every data set builder shares: records made by all cores, written in bounded memory, all or nothing.

TFDS's own writer keeps a split in memory or needs TensorFlow; here examples stream into ArrayRecord shards, and TFDS's
metadata is written beside them, so that the result opens like any other set of TFDS.
"""

import argparse
import contextlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer, splits

from recog.data import file_hashes
from recog.errors import ConfigError, nearest
from recog.images.read import Unreadable, read_image
from recog.prepare import shards, survey, workers
from recog.prepare.progress import Progress

CHUNK_BYTES = 4 << 20  # of tasks that go to a worker together


class Example(NamedTuple):
    """One record: the image is encoded; `size` (height, width) spares decoding it where it is certain."""

    id: str
    text: str
    image: bytes
    extra: Mapping[str, Any] = {}
    size: tuple[int, int] | None = None


class Rejected(NamedTuple):
    """Something that gives no record; `reason` is a category in a few words."""

    id: str
    reason: str
    detail: str = ''


class Noted(NamedTuple):
    """Something worth counting about what is recorded nevertheless."""

    id: str
    reason: str
    detail: str = ''


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A data set that is made of what the user has downloaded; a subclass says what its examples are."""

    VERSION = tfds.core.Version('1.0.0')
    name: str  # of the set's folder
    PLAIN = ''  # the config that has no folder of its own: `synthtext:train` is synthtext's `box`
    EXPECTED: Mapping[str, Mapping[str, int]] = {}
    CHUNK = 64  # tasks that go to a worker together

    def __init_subclass__(cls, **kwargs: Any):
        # A builder is used by its class; in TFDS's register of names it could only collide.
        kwargs['skip_registration'] = True
        super().__init_subclass__(**kwargs)

    def __init__(self, *, source: str | Path, data_dir: str | Path, config: str | None = None, workers: int = 0,
                 options: Mapping[str, Any] | None = None, name: str = ''):
        given: dict[str, Any] = {'source': str(source), 'data_dir': str(data_dir), 'config': config, 'workers': workers,
                                 'options': dict(options or {}), 'name': name}
        self.name = name or self.name
        if not re.fullmatch(r'[A-Za-z]\w*', self.name, re.ASCII):
            raise ConfigError(f'name {self.name!r} must be letters, digits and _, a letter first')
        names = [each.name for each in self.BUILDER_CONFIGS]
        if config and config not in names:
            allowed = f'{nearest(config, names)}; there are: {", ".join(names)}' if names else ': this set has none'
            raise ConfigError(f'config {config!r} does not exist{allowed}')
        self.source, self.workers, self.total = Path(source), workers, 0
        parser = argparse.ArgumentParser(add_help=False)
        self.arguments(parser)
        defaults = {action.dest: action.default for action in parser._actions}  # parse_args would ask for required ones
        self.options = {**defaults, **given['options']}
        super().__init__(data_dir=Path(data_dir), config=config or self.PLAIN or None, file_format='array_record')
        self._original_state = given  # what TFDS pickles instead of the builder

    @property
    def config_name(self) -> str:
        """The config's name, '' where there are none."""
        return self.builder_config.name if self.builder_config else ''

    @property
    def builder_config_name(self) -> str | None:
        """The config's folder."""
        return None if self.config_name in ('', self.PLAIN) else self.config_name

    @property
    def expected(self) -> Mapping[str, int]:
        """How many records each split of the release has, as far as known."""
        return self.EXPECTED[self.config_name] if self.config_name in self.EXPECTED else {}

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the set's own arguments; their values are `self.options`."""

    def extra_features(self) -> dict[str, Any]:
        """TFDS features besides image, text, id and size."""
        return {}

    def tasks(self) -> Iterator[tuple[str, Any]]:
        """Pairs of a split and what `examples` makes its examples of, lazily; may set `self.total`, how many there will be."""
        raise NotImplementedError

    def examples(self, task: Any) -> Iterator[Example | Rejected | Noted]:
        """What a task gives; called in worker processes."""
        raise NotImplementedError

    def bytes_needed(self) -> int:
        """About how much disk the result takes; 0 where nobody knows."""
        return self.source.stat().st_size if self.source.is_file() else 0

    def _info(self) -> tfds.core.DatasetInfo:
        features = {'image': tfds.features.Image(shape=(None, None, 3)), 'text': tfds.features.Text(),
                    'id': tfds.features.Text(), 'size': tfds.features.Tensor(shape=(2,), dtype=np.int32)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({**features, **self.extra_features()}))

    def _split_generators(self, *_):
        raise NotImplementedError('examples do not pass through the generators of TFDS; see prepare()')

    _generate_examples = _split_generators

    def download_and_prepare(self, **_: Any) -> None:
        """What TFDS calls it; its arguments concern downloads and mean nothing here."""
        self.prepare()

    def prepare(self, progress: bool = True, overwrite: bool = False) -> Path:
        """Write the set, or leave the one that is there; returns its folder."""
        folder = Path(self.data_dir)
        if (folder / 'dataset_info.json').is_file() and not overwrite:
            print(f'{folder} is there already: {_counts(self.info.splits)}; --overwrite prepares it anew')
            return folder
        if folder.exists() and not (folder / 'dataset_info.json').is_file():
            raise ConfigError(f'{folder} exists and is no prepared set: move it out of the way')
        if not self.source.exists():
            raise ConfigError(f'source {str(self.source)!r} does not exist')
        with shards.workplace(folder) as place:
            shards.check_space(place, self.bytes_needed())
            made = place / 'new' / 'set'  # so deep that nothing that was killed is found as a set, metadata and all
            made.mkdir(parents=True)
            self._finish(made, *self._write(made, progress))
            shards.replace(place, made, folder)
        self.info.read_from_directory(str(folder))
        return folder

    def _write(self, place: Path, progress: bool) -> tuple[dict[str, Any], survey.Survey]:
        """The records, as shards; returns what TFDS knows of each split, and what was seen."""
        written: dict[str, shards.Shards] = {}
        gathered = survey.Survey(place)
        with contextlib.ExitStack() as stack:
            stack.callback(shards.drop, written)
            stack.enter_context(contextlib.closing(gathered))
            bar = stack.enter_context(contextlib.closing(Progress(self.name, progress)))
            done = workers.ordered(_Work(self), _elsewhere(self), _chunks(self.tasks(), self.CHUNK), self.workers,
                                   preload=('recog.prepare', 'cv2'))
            for result in stack.enter_context(contextlib.closing(done)):
                for split, records in result.records.items():
                    if split not in written:
                        written[split] = shards.Shards(place, split)
                    written[split].write(records)
                gathered.add(result.tallies, result.problems)
                bar.advance(result.tasks, self.total or sum(self.expected.values()))
            names = [split for split in self.expected if split in written]
            names += [split for split in written if split not in names]
            return {split: written[split].finish(self.name, Path(self.data_dir)) for split in names}, gathered

    def _finish(self, place: Path, finished: dict[str, Any], gathered: survey.Survey) -> None:
        """What belongs beside the shards."""
        if not finished:
            raise ConfigError(f'{self.source} gives no record: {gathered.problem_line() or "nothing was found in it"}')
        self.info.set_splits(splits.SplitDict(list(finished.values())))
        self.info.write_to_directory(str(place))
        skip = {'image': tfds.decode.SkipDecoding()}
        reader = tfds.builder_from_directory(str(place))
        records = {split: reader.as_data_source(split, decoders=skip) for split in finished}
        gathered.check_ids(records)
        name = '/'.join(part for part in (self.name, self.builder_config_name) if part)
        for line in gathered.report(f'{name} {self.version}', self.expected, records):
            print(line, file=sys.stderr if line.startswith('WARNING') else sys.stdout)
        file_hashes.seal(place)


class _Result(NamedTuple):
    records: dict[str, list[bytes]]
    tallies: dict[str, survey.Tally]
    problems: list[tuple[str, str, str, str, str]]  # kind, split, id, reason, detail
    tasks: int


class _Work:
    """In a worker: tasks to serialised records."""

    def __init__(self, builder: Builder):
        self.builder = builder
        self.serializer = example_serializer.ExampleSerializer(builder.info.features.get_serialized_info())

    @classmethod
    def anew(cls, file: str, module: str, name: str, arguments: Mapping[str, Any]) -> '_Work':
        """In a process of its own: the builder is made again from its class's file."""
        import cv2

        cv2.setNumThreads(1)  # there is a worker for every core
        return cls(getattr(_load(file, module), name)(**arguments))

    def __call__(self, chunk: Sequence[tuple[str, Any]]) -> _Result:
        result = _Result({}, {}, [], len(chunk))
        for split, task in chunk:
            ready = isinstance(task, (Example, Rejected, Noted))
            for made in [task] if ready else self.builder.examples(task):
                if isinstance(made, Example):
                    made = self._record(result, split, made)
                if made is not None:
                    kind = 'rejected' if isinstance(made, Rejected) else 'noted'
                    result.problems.append((kind, split, *made))
        return result

    def _record(self, result: _Result, split: str, made: Example) -> Rejected | None:
        size = made.size
        try:
            (made.id + made.text).encode()
        except UnicodeEncodeError:
            return Rejected(made.id, 'id or text is no UTF-8', ascii(made.text))
        if size is None:
            try:
                size = read_image(made.image, made.id).shape[:2]
            except Unreadable as error:
                return Rejected(made.id, 'image cannot be decoded', error.reason)
        record = {'image': made.image, 'text': made.text, 'id': made.id, 'size': np.array(size, np.int32), **made.extra}
        encoded = self.builder.info.features.encode_example(record)
        # Deterministic: else the order of the features changes from process to process.
        serialized = self.serializer.get_tf_example(encoded).SerializeToString(deterministic=True)
        result.records.setdefault(split, []).append(serialized)
        result.tallies.setdefault(split, survey.Tally()).add(made.id, made.text, size)
        return None


def _elsewhere(builder: Builder) -> Callable[[], _Work] | None:
    """How another process comes by the builder; None for a class that was typed in or made in a function."""
    made = type(builder)
    try:
        file = inspect.getfile(made)
    except (TypeError, OSError):
        return None
    return None if '<locals>' in made.__qualname__ else partial(_Work.anew, file, made.__module__, made.__qualname__,
                                                                builder._original_state)


def _load(file: str, name: str) -> Any:
    """A builder's module by its file, known by the name that pickled tasks say: a script could not be imported by it."""
    if name != '__main__' and name in sys.modules:
        return sys.modules[name]
    # Under the name __main__ a script would start another preparation.
    spec = importlib.util.spec_from_file_location(name.replace('__main__', '__builder__'), file)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[name] = sys.modules[module.__name__] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _chunks(tasks: Iterator[tuple[str, Any]], count: int) -> Iterator[list[tuple[str, Any]]]:
    chunk: list[tuple[str, Any]] = []
    weight = 0
    for split, task in tasks:
        lost = isinstance(task, (Rejected, Noted)) and not split  # of no split
        if not lost and not re.fullmatch(r'\w+', split, re.ASCII):
            raise ConfigError(f'split {split!r} must be letters, digits and _')
        chunk.append((split, task))
        parts = task if isinstance(task, tuple) else [task]
        weight += sum(len(part) for part in parts if isinstance(part, bytes))
        if len(chunk) == count or weight > CHUNK_BYTES:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk


def _counts(splits: Mapping[str, Any]) -> str:
    return ', '.join(f'{name} {split.num_examples:,}' for name, split in splits.items())


def main(builder: type[Builder], argv: Sequence[str] | None = None) -> int:
    """The command line of a builder's script; the exit status is 0 only if a complete set is there."""
    parser = argparse.ArgumentParser(description=inspect.getdoc(builder), allow_abbrev=False)
    parser.add_argument('--source', required=True, metavar='PATH', help='what was downloaded: an archive, a file or a folder')
    parser.add_argument('--data', default=os.environ.get('RECOG_DATA', './data'), metavar='FOLDER',
                        help='root of prepared sets (default: $RECOG_DATA, else ./data)')
    names = [config.name for config in builder.BUILDER_CONFIGS]
    parser.add_argument('--config', metavar='NAME', help=f'one of: {", ".join(names)}' if names else argparse.SUPPRESS)
    parser.add_argument('--name', default='', help='what the set is called below the root (default: its own name)')
    parser.add_argument('--workers', type=int, default=0, help='processes (default: one a core)')
    parser.add_argument('--overwrite', action='store_true', help='prepare anew what is there already')
    common = set(vars(parser.parse_args(['--source', ''])))
    builder.arguments(parser)
    given = vars(parser.parse_args(argv))
    options = {name: value for name, value in given.items() if name not in common}
    try:
        if given['workers'] < 0:
            raise ConfigError(f'--workers {given["workers"]} must be above 0, or 0 for one a core')
        made = builder(source=given['source'], data_dir=given['data'], config=given['config'], workers=given['workers'],
                       options=options, name=given['name'])
        print(made.prepare(overwrite=given['overwrite']))
        return 0
    except ConfigError as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'{parser.prog}: interrupted; nothing was kept', file=sys.stderr)
        return 130
    except (OSError, workers.WorkerGone) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror and not error.filename else error
        print(f'{parser.prog}: {said}', file=sys.stderr)
        return 1
