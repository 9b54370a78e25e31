"""The base class of all builders.

TFDS's own writer keeps a split in memory or needs TensorFlow; here examples stream into ArrayRecord shards,
and TFDS's metadata is written beside them, so that the result opens like any other set of TFDS.
"""

import argparse
import contextlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import splits

from recog.data import file_hashes
from recog.errors import ConfigError, nearest
from recog.prepare import regular, report, shards, workers
from recog.prepare.examples import Example, Noted, Rejected
from recog.prepare.folding import WORDS, Fold
from recog.prepare.progress import Progress
from recog.prepare.survey import Survey
from recog.prepare.work import Work, chunks, elsewhere


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A data set that is made of what the user has downloaded; a subclass says what its examples are."""

    VERSION = tfds.core.Version('1.0.0')
    name: str  # of the set's folder
    PLAIN = ''  # the config that has no folder of its own: `synthtext:train` is synthtext's `box_alnum`
    EXPECTED: Mapping[str, Mapping[str, int]] = {}
    CHUNK = 64  # tasks that go to a worker together
    fold: Fold = WORDS  # how the report compares the labels of splits

    def __init_subclass__(cls, **kwargs: Any):
        # A builder is used by its class; in TFDS's registry of names it could only collide.
        kwargs['skip_registration'] = True
        super().__init_subclass__(**kwargs)

    def __init__(self, *, source: str | Path, data_dir: str | Path, config: str | None = None,
                 workers: int = 0, options: Mapping[str, Any] | None = None, name: str = ''):
        given: dict[str, Any] = {'source': str(source), 'data_dir': str(data_dir), 'config': config,
                                 'workers': workers, 'options': dict(options or {}), 'name': name}
        self.name = name or self.name
        if not re.fullmatch(r'[A-Za-z]\w*', self.name, re.ASCII):
            raise ConfigError(f'name {self.name!r} must be letters, digits and _, a letter first')
        names = [each.name for each in self.BUILDER_CONFIGS]
        if config and config not in names:
            there = f'{nearest(config, names)}; there are: {", ".join(names)}'
            allowed = there if names else ': this set has none'
            raise ConfigError(f'config {config!r} does not exist{allowed}')
        self.source, self.workers, self.total = Path(source), workers, 0
        parser = argparse.ArgumentParser(add_help=False)
        self.arguments(parser)
        # parse_args would demand required options.
        defaults = {action.dest: action.default for action in parser._actions}
        self.options = {**defaults, **given['options']}
        super().__init__(data_dir=Path(data_dir), config=config or self.PLAIN or None,
                         file_format='array_record')
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
        """How many records each split should have, as far as known."""
        return self.EXPECTED[self.config_name] if self.config_name in self.EXPECTED else {}

    @classmethod
    def arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the set's own arguments; their values are `self.options`."""

    def extra_features(self) -> dict[str, Any]:
        """TFDS features besides image, text, id and size."""
        return {}

    def tasks(self) -> Iterator[tuple[str, Any]]:
        """Pairs of a split and a task, lazily; `examples` makes examples of a task. May
        set `self.total`, the number of tasks."""
        raise NotImplementedError

    def examples(self, task: Any) -> Iterator[Example | Rejected | Noted]:
        """The examples of a task; called in worker processes."""
        raise NotImplementedError

    def dealt(self, split: str, text: str) -> str:
        """The split of an example with this text, whose task is of this split; called in worker processes."""
        return split

    def bytes_needed(self) -> int:
        """About how much disk the result takes; 0 where that is unknown."""
        return self.source.stat().st_size if self.source.is_file() else 0

    def _info(self) -> tfds.core.DatasetInfo:
        features = {'image': tfds.features.Image(shape=(None, None, 3)), 'text': tfds.features.Text(),
                    'id': tfds.features.Text(), 'size': tfds.features.Tensor(shape=(2,), dtype=np.int32)}
        features = tfds.features.FeaturesDict({**features, **self.extra_features()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, *_):
        raise NotImplementedError('examples do not pass through the generators of TFDS; see prepare()')

    _generate_examples = _split_generators

    def download_and_prepare(self, **_: Any) -> None:
        """The name that TFDS knows; its arguments concern downloads and are ignored."""
        self.prepare()

    def prepare(self, progress: bool = True, overwrite: bool = False) -> Path:
        """Write the set, or leave the one that is there; returns its folder."""
        folder = Path(self.data_dir)
        if (folder / 'dataset_info.json').is_file() and not overwrite:
            counts = {name: split.num_examples for name, split in self.info.splits.items()}
            said = ', '.join(f'{name} {count:,}' for name, count in counts.items())
            print(f'{folder} is there already: {said}; --overwrite prepares it anew')
            _say(report.differences(counts, self.expected))
            return folder
        if folder.exists() and not (folder / 'dataset_info.json').is_file():
            raise ConfigError(f'{folder} exists and is no prepared set: move it out of the way')
        self.check_source()
        with shards.workplace(folder) as place:
            shards.check_space(place, self.bytes_needed())
            # Two folders deep, so that what a killed process leaves is not taken for a set.
            made = place / 'new' / 'set'
            made.mkdir(parents=True)
            self._finish(made, *self._write(made, progress))
            shards.replace(place, made, folder)
        self.info.read_from_directory(str(folder))
        return folder

    def check_source(self) -> None:
        """Refuse a source that cannot be one: a pipe would be waited for, a device may never end."""
        if not regular.is_source(self.source):
            raise ConfigError(f'source {str(self.source)!r} ' + ('is neither a folder nor a regular file'
                              if self.source.exists() else 'does not exist'))

    def _write(self, place: Path, progress: bool) -> tuple[dict[str, Any], Survey]:
        """Write the records as shards; returns TFDS's description of
        each split, and the survey of the set."""
        written: dict[str, shards.Shards] = {}
        gathered = Survey(place, self.fold)
        with contextlib.ExitStack() as stack:
            stack.callback(shards.drop, written)
            stack.enter_context(contextlib.closing(gathered))
            bar = stack.enter_context(contextlib.closing(Progress(self.name, progress)))
            done = workers.ordered(Work(self), elsewhere(self), chunks(self.tasks(), self.CHUNK),
                                   self.workers, preload=('recog.prepare', 'cv2'))
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

    def _finish(self, place: Path, finished: dict[str, Any], gathered: Survey) -> None:
        """Write what belongs beside the shards: metadata, report and hashes."""
        if not finished:
            raise ConfigError(f'{self.source} gives no record: '
                              f'{gathered.problem_line() or "nothing was found in it"}')
        self.info.set_splits(splits.SplitDict(list(finished.values())))
        self.info.write_to_directory(str(place))
        skip = {'image': tfds.decode.SkipDecoding()}
        reader = tfds.builder_from_directory(str(place))
        records = {split: reader.as_data_source(split, decoders=skip) for split in finished}
        gathered.check_ids(records)
        name = '/'.join(part for part in (self.name, self.builder_config_name) if part)
        _say(report.write(gathered, f'{name} {self.version}', self.expected, records))
        file_hashes.seal(place)


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr if line.startswith('WARNING') else sys.stdout)
