"""The loggers of `config.log.to`, opened for a run; a resumed run goes on in what it began.

Which run of theirs is this one stands in the workdir, in loggers.json.
"""

import contextlib
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
from ml_collections import ConfigDict

from recog.data.rows import Source
from recog.errors import ConfigError, one_line
from recog.evaluation.results import Result
from recog.train.loggers.examples import Example, examples, name
from recog.workdir import files
from recog.workdir.checkpoints import FOLDER, Checkpoints
from recog.workdir.folder import is_remote, workdir_path, write_whole

FILE = 'loggers.json'
# The module of each logger, and the package that it needs.
MODULES = {'wandb': 'weights_and_biases', 'mlflow': 'to_mlflow'}


class Best(NamedTuple):
    """The best checkpoint of a run, as files by the names under which they make a workdir."""

    step: int
    files: Mapping[str, Path]
    folder: Path  # of the checkpoint itself
    place: str  # its name in a workdir


class Logger(Protocol):
    """What a logger does."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step."""

    def show(self, step: int, table: str, shown: Sequence[Example]) -> None:
        """Write a table of images and what was read of them."""

    def report(self, figures: Mapping[str, float], best: Best) -> None:
        """Write what was measured at the end, and keep the best checkpoint."""

    def close(self, ended: str) -> None:
        """Finish; the run has finished, was stopped or failed."""


def check(names: Sequence[str]) -> None:
    """Refuse loggers whose packages are not installed."""
    for each in names:
        if each in MODULES and importlib.util.find_spec(each) is None:
            raise ConfigError(f"config.log.to has {each!r}, which is not installed: "
                              f"pip install 'recog[{each}]'")


class Loggers:
    """Several loggers as one. One that fails is left out from then on, which is said: training goes on."""

    def __init__(self) -> None:
        self._opened: dict[str, Logger] = {}
        self.ended = 'failed'  # until it is known how

    def add(self, which: str, logger: Logger) -> None:
        """Write to this one, too."""
        self._opened[which] = logger

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step."""
        self._each(lambda logger: logger.write(step, {name([key]): value for key, value in values.items()}))

    def show(self, step: int, source: Source, result: Result) -> None:
        """Write the first examples of a set that was measured."""
        if self._opened:
            shown = examples(source, result)
            self._each(lambda logger: logger.show(step, name([result.name, 'predictions']), shown))

    def report(self, results: Sequence[Result], workdir: Any) -> None:
        """Write what was measured at the end, and keep the best checkpoint."""
        if self._opened:
            figures = {name(['reported', result.name, key]): float(value)
                       for result in results for key, value in result.figures.items()}
            with _best(workdir) as best:
                self._each(lambda logger: logger.report(figures, best))

    def close(self) -> None:
        """Finish all of them."""
        self._each(lambda logger: logger.close(self.ended))

    def _each(self, call: Callable[[Logger], None]) -> None:
        for each, logger in list(self._opened.items()):
            try:
                call(logger)
            # A server that is down raises nearly anything, and must not end a training.
            except Exception as error:
                del self._opened[each]
                print(f'recog train: warning: {each} failed and is left out from here on; {files.LOG} has '
                      f'all figures: {one_line(error)}', file=sys.stderr, flush=True)


@contextlib.contextmanager
def opened(config: ConfigDict, workdir: Any) -> Iterator[Loggers]:
    """The loggers that the recipe names besides TensorBoard, of the first process; closed at the end."""
    wanted = [each for each in config.log.to if each in MODULES] if jax.process_index() == 0 else []
    loggers = Loggers()
    try:
        for each in wanted:
            loggers.add(each, _start(each, config, workdir))
        yield loggers
    finally:
        loggers.close()


def _start(which: str, config: ConfigDict, workdir: Any) -> Logger:
    """The logger, on the run that the workdir knows, else on a new one."""
    known = _known(workdir)
    module = importlib.import_module(f'recog.train.loggers.{MODULES[which]}')
    try:
        logger, about = module.start(config, workdir, known.get(which))
    except module.ERRORS as error:
        again = f'; without {workdir / FILE} another run of it is begun' if which in known else ''
        raise ConfigError(f'config.log.to: {which} cannot be used: {one_line(error)}{again}') from None
    write_whole(workdir / FILE, json.dumps({**known, which: about}, indent=2) + '\n')
    return logger


def _known(workdir: Any) -> dict[str, Any]:
    """What the workdir says of its runs in other programs."""
    file = workdir / FILE
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text(encoding='utf-8')))
    except (ValueError, TypeError):
        raise ConfigError(f'{file} is damaged; without it other runs are begun') from None


@contextlib.contextmanager
def _best(workdir: Any) -> Iterator[Best]:
    """The best checkpoint as local files."""
    folder = workdir_path(workdir)
    saved = Checkpoints(folder, writing=False)
    try:
        step = saved.best()
    finally:
        saved.close()
    place = f'{FOLDER}/{step}'
    with contextlib.ExitStack() as closing:
        if is_remote(folder):
            folder = _copied(folder, (files.CONFIG, files.VOCAB, place), closing)
        texts = {each: folder / each for each in (files.CONFIG, files.VOCAB)}
        yield Best(step, texts, folder / place, place)


def _copied(folder: Any, names: Sequence[str], closing: contextlib.ExitStack) -> Path:
    """Files and folders of a bucket in a temporary folder."""
    import tempfile

    here = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix='recog-')))
    for each in names:
        found = [folder / each] if (folder / each).is_file() else (folder / each).rglob('*')
        for file in (file for file in found if file.is_file()):
            place = here / file.relative_to(folder).as_posix()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return here
