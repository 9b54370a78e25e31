"""Makes serialised records of tasks, in worker processes."""

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from tensorflow_datasets.core import example_serializer

from recog.errors import ConfigError
from recog.images.read import Unreadable, check_size, read_image
from recog.prepare import regular, tally
from recog.prepare.examples import Example, Noted, Rejected
from recog.prepare.folding import Fold

CHUNK_BYTES = 4 << 20  # of tasks that go to a worker together
LONGEST = 60  # letters by which a task without a name is called


class Maker(Protocol):
    """The parts of a builder that are needed to make records."""

    info: Any
    fold: Fold
    _original_state: Mapping[str, Any]

    def examples(self, task: Any) -> Iterator[Example | Rejected | Noted]:
        """The examples of a task."""

    def dealt(self, split: str, text: str) -> str:
        """The split of an example with this text, whose task is of this split."""


class Result(NamedTuple):
    """The results of a chunk of tasks."""

    records: dict[str, list[bytes]]
    tallies: dict[str, tally.Tally]
    problems: list[tuple[str, str, str, str, str]]  # kind, split, id, reason, detail
    tasks: int


class Work:
    """Makes serialised records of tasks, in a worker."""

    def __init__(self, builder: 'Maker'):
        self.builder = builder
        self.serializer = example_serializer.ExampleSerializer(builder.info.features.get_serialized_info())

    @classmethod
    def anew(cls, file: str, module: str, name: str, arguments: Mapping[str, Any]) -> 'Work':
        """In a new process: makes the builder again, from the file of its class."""
        import cv2

        cv2.setNumThreads(1)  # there is a worker for every core
        return cls(getattr(_load(file, module), name)(**arguments))

    def __call__(self, chunk: Sequence[tuple[str, Any]]) -> Result:
        result = Result({}, {}, [], len(chunk))
        for split, task in chunk:
            for made in self._made(split, task):
                problem = self._record(result, split, made) if isinstance(made, Example) else made
                if problem is not None:
                    kind = 'rejected' if isinstance(problem, Rejected) else 'noted'
                    result.problems.append((kind, split, *problem))
        return result

    def _made(self, split: str, task: Any) -> Iterator[Example | Rejected | Noted]:
        """The examples of a task; what fails is one that is rejected, so that it does not end the others."""
        if isinstance(task, (Example, Rejected, Noted)):
            yield task
            return
        try:
            yield from self.builder.examples(task)
        except ConfigError:
            raise
        except Exception as error:
            name = next((part for part in _parts(task) if isinstance(part, str)), repr(task)[:LONGEST])
            yield Rejected(name, *regular.lost(f'cannot be read: {type(error).__name__}', error))

    def _record(self, result: Result, split: str, made: Example) -> Rejected | None:
        size = made.size
        try:
            ''.join([made.id, made.text, *(each for each in made.extra.values() if isinstance(each, str))]
                    ).encode()
        except UnicodeEncodeError:
            return Rejected(made.id, 'id or text is no UTF-8', ascii(made.text))
        try:
            size = size or read_image(made.image, made.id).shape[:2]
            check_size(*size, made.id)
        except Unreadable as error:
            return Rejected(made.id, 'image cannot be decoded', error.reason)
        record = {'image': made.image, 'text': made.text, 'id': made.id, 'size': np.array(size, np.int32),
                  **made.extra}
        encoded = self.builder.info.features.encode_example(record)
        # Deterministic: otherwise the order of the features changes from process to process.
        serialized = self.serializer.get_tf_example(encoded).SerializeToString(deterministic=True)
        split = self.builder.dealt(split, made.text)
        result.records.setdefault(split, []).append(serialized)
        result.tallies.setdefault(split, tally.Tally()).add(made.id, made.text, size, self.builder.fold)
        return None


def elsewhere(builder: 'Maker') -> Callable[[], Work] | None:
    """How another process makes the builder; None if its class was typed in or made in a function."""
    made = type(builder)
    try:
        file = inspect.getfile(made)
    except (TypeError, OSError):
        return None
    if '<locals>' in made.__qualname__:
        return None
    return partial(Work.anew, file, made.__module__, made.__qualname__, builder._original_state)


def _load(file: str, name: str) -> Any:
    """Load a builder's module from its file, under the name that pickled tasks
    use; a script cannot be imported by it."""
    if name != '__main__' and name in sys.modules:
        return sys.modules[name]
    # Under the name __main__ a script would start another preparation.
    spec = importlib.util.spec_from_file_location(name.replace('__main__', '__builder__'), file)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[name] = sys.modules[module.__name__] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _parts(task: Any) -> Sequence[Any]:
    """What a task consists of."""
    return task if isinstance(task, tuple) else [task]


def chunks(tasks: Iterator[tuple[str, Any]], count: int) -> Iterator[list[tuple[str, Any]]]:
    chunk: list[tuple[str, Any]] = []
    weight = 0
    for split, task in tasks:
        lost = isinstance(task, (Rejected, Noted)) and not split  # of no split
        if not lost and not re.fullmatch(r'\w+', split, re.ASCII):
            raise ConfigError(f'split {split!r} must be letters, digits and _')
        chunk.append((split, task))
        weight += sum(len(part) for part in _parts(task) if isinstance(part, bytes))
        if len(chunk) == count or weight > CHUNK_BYTES:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk
