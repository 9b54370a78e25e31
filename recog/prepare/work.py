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
from recog.images.read import Unreadable, read_image
from recog.prepare import tally
from recog.prepare.examples import Example, Noted, Rejected
from recog.prepare.folding import Fold

CHUNK_BYTES = 4 << 20  # of tasks that go to a worker together


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
            ready = isinstance(task, (Example, Rejected, Noted))
            for made in [task] if ready else self.builder.examples(task):
                if isinstance(made, Example):
                    made = self._record(result, split, made)
                if made is not None:
                    kind = 'rejected' if isinstance(made, Rejected) else 'noted'
                    result.problems.append((kind, split, *made))
        return result

    def _record(self, result: Result, split: str, made: Example) -> Rejected | None:
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


def chunks(tasks: Iterator[tuple[str, Any]], count: int) -> Iterator[list[tuple[str, Any]]]:
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
