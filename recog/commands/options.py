"""What several commands share: the form of a command, groups of options, and how they are read."""

import argparse
import os
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from recog.errors import ConfigError

if TYPE_CHECKING:
    import jax
    from ml_collections import ConfigDict


class Command(NamedTuple):
    """What a command says of itself, who adds its arguments, and what runs it."""

    name: str
    description: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    recipe: bool = False  # it takes --config FILE:VARIANT
    overridable: bool = False  # and --config.field=value
    epilog: str = ''


def add_data(parser: argparse.ArgumentParser) -> None:
    """--data."""
    parser.add_argument('--data', default=data_root(), metavar='FOLDER',
                        help='root of sets, a folder here or in a bucket: gs://, s3://, az:// '
                        '(default: $RECOG_DATA, else ./data)')


def data_root() -> str:
    """Where prepared sets are looked for."""
    return os.environ.get('RECOG_DATA', './data')


def add_devices(parser: argparse.ArgumentParser) -> None:
    """--devices."""
    parser.add_argument('--devices', default='', metavar='0,1',
                        help='numbers of the devices to use (default: all)')


def add_workdir(parser: argparse.ArgumentParser, several: str = '') -> None:
    """A workdir, or several, and the step."""
    parser.add_argument('workdir', nargs='+' if several else None,
                        help=f'folder of a trained model, or the name of a reader{several}')
    parser.add_argument('--step', type=int,
                        help='a checkpoint (default: the best by accuracy, else the newest)')


def add_engine(parser: argparse.ArgumentParser) -> None:
    """--engine."""
    parser.add_argument('--engine', default='', choices=('onnxruntime', 'openvino'),
                        help='what runs an export to ONNX (default: the faster of those installed, which is '
                        'measured once)')


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """How images are read."""
    parser.add_argument('--beam', type=int, default=0,
                        help='width of the beam search; 1 is greedy '
                        "(default: of a model with a lexicon that of the lexicon, which then counts from 2 "
                        "on, and of a reader that with which it was published; of others, evaluate the "
                        "recipe's, predict 1)")
    parser.add_argument('--max-length', type=int, default=0, metavar='N',
                        help="tokens at most (default: the recipe's)")
    parser.add_argument('--width-rule', default='', choices=('', 'fixed', 'widest'),
                        help='width of the batch: fixed, or widest as PaddleOCR predicts '
                        "(default: the recipe's)")


def add_listening(parser: argparse.ArgumentParser) -> None:
    """Where a server listens, and what it refuses."""
    parser.add_argument('--host', default='127.0.0.1',
                        help='address to listen on (default 127.0.0.1: this machine alone)')
    parser.add_argument('--port', type=int, default=8000,
                        help='port to listen on (default 8000); 0: any that is free')
    parser.add_argument('--invert', default='auto', choices=('yes', 'no', 'auto'),
                        help='as of predict (default auto)')
    parser.add_argument('--allow-host', action='append', default=[], metavar='NAME',
                        help='a further name by which requests may call the server, such as that of a proxy; '
                        'localhost, 127.0.0.1, --host and the address that is called are allowed anyway')
    limits = parser.add_argument_group(
        'limits', 'what goes beyond is refused with 413, 429 or 503 and the reason')
    limits.add_argument('--most-bytes', type=int, default=10_000_000, metavar='N',
                        help='of a request (default 10 million)')
    limits.add_argument('--most-pixels', type=int, default=16_000_000, metavar='N',
                        help='of an image (default 16 million)')
    limits.add_argument('--queue', type=int, default=256, metavar='N',
                        help='images that may wait (default 256)')
    limits.add_argument('--timeout', type=float, default=60.0, metavar='SECONDS',
                        help='for a request to arrive, and again for its answer (default 60)')


def recipe(arguments: argparse.Namespace) -> 'ConfigDict':
    """The recipe of --config with its overrides, and with what it takes over from where it starts."""
    from recog.config import experiments
    from recog.train import origin

    if not arguments.config:
        raise ConfigError('--config FILE:VARIANT is needed, e.g. --config experiments/crnn.py:demo')
    return experiments.load(arguments.config, arguments.overrides, origin.completed)


def refuse_negative(arguments: argparse.Namespace, *names: str) -> None:
    """Refuse numbers below 0 (and 0 seconds)."""
    for name in names:
        value = getattr(arguments, name.replace('-', '_'))
        if value < 0 or value == 0 and name == 'seconds':
            raise ConfigError(f'--{name} {value} must be above 0')


def model_folder(name: str) -> str:
    """The folder of a trained model that a name on the command line stands for: a path, or a reader's."""
    from recog.reading.named import find

    return str(find(name))


def existing_workdir(name: str) -> Any:
    """The workdir of this name, which may be a reader's; what is none is refused."""
    from recog.reading.recognizer import needs_workdir
    from recog.workdir.folder import workdir_path

    folder = workdir_path(model_folder(name))
    needs_workdir(folder)
    return folder


def beside(name: str, folder: Any, ending: str) -> str:
    """'' for a workdir, which takes what comes of it; for a published reader, which stays as it is, a name in
    the current folder."""
    from recog.workdir.files import is_published

    return re.sub(r'[^\w.-]+', '-', name.strip('/')) + ending if is_published(folder) else ''


def start_for(folders: Iterable[str], devices: str = '') -> None:
    """Make this process ready for the models of these folders; those that need no JAX do not import it."""
    from recog.reading.exported import needs_jax

    if any(needs_jax(folder) for folder in folders):
        start(devices)


def start(devices: str = '') -> 'list[jax.Device]':
    """The devices of a command, once this process is made ready for it."""
    from recog.devices import setup

    return setup.start(devices)
