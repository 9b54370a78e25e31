"""`recog serve`: trained models behind HTTP, with a page to try them
on; needs the packages of recog[serve]."""

import asyncio
import importlib.util
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recog.errors import ConfigError
from recog.reading.exported import is_exported
from recog.workdir.files import is_workdir
from recog.workdir.folder import workdir_path

NEEDED = {'starlette': 'starlette', 'uvicorn': 'uvicorn', 'prometheus_client': 'prometheus_client',
          'python_multipart': 'python-multipart'}
TOKEN = 'RECOG_TOKEN'
PATIENCE = 30  # seconds that requests have to end when the server is stopped


class Settings(NamedTuple):
    """How models read, and what the server refuses."""

    batch: int = 32
    beam: int = 0
    max_length: int = 0
    invert: str = 'auto'
    devices: str = ''
    explain: bool = False
    most_bytes: int = 10_000_000  # of a request
    most_pixels: int = 16_000_000  # of an image
    queue: int = 256  # images that may wait
    timeout: float = 60.0  # seconds for a request to arrive, and again for its answer


def check(settings: Settings) -> None:
    """Refuse a limit that is wrong, or name the packages that must be installed."""
    for field in ('batch', 'most_bytes', 'most_pixels', 'queue', 'timeout'):
        value = getattr(settings, field)
        if not value > 0:
            raise ConfigError(f'--{field.replace("_", "-")} {value} must be above 0')
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} is not installed: pip install 'recog[serve]'")


def names(given: Sequence[str]) -> dict[str, str]:
    """Folders by the names of their models: NAME=FOLDER, or the folder's own
    name, with a number if that is taken."""
    found: dict[str, str] = {}
    for each in given:
        named = re.fullmatch(r'([\w.-]+)=(.+)', each, re.ASCII)
        name, folder = named.groups() if named else ('', each)
        if name in found:
            raise ConfigError(f'{each}: another model is called {name} already')
        own = name or re.sub(r'[^\w.-]+', '-', Path(folder).resolve().name, flags=re.ASCII) or 'model'
        tries = [own, *(f'{own}-{number}' for number in range(2, len(given) + 2))]
        found[next(one for one in tries if one not in found)] = folder
    return found


def listen(host: str, port: int) -> socket.socket:
    """The socket of the server, taken before anything is loaded."""
    if not 0 <= port <= 65535:
        raise ConfigError(f'--port {port} must be from 0 (any that is free) to 65535')
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f'--host {host}: {error.strerror}') from None
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise ConfigError(f'--port {port} of {host}: {(error.strerror or str(error)).lower()}; choose '
                          'another') from None
    return listening


def serve(named: dict[str, str], listening: socket.socket, settings: Settings) -> int:
    """Load the models and answer until a signal comes; requests that came before it are still answered."""
    import uvicorn

    from recog.server import counters, intake
    from recog.server.app import Server

    figures = counters.Counters()
    readers = [load(name, folder, beam(name, folder, settings.beam, len(named) > 1), settings, figures.batch)
               for name, folder in named.items()]
    limits = intake.Limits(settings.most_bytes, settings.most_pixels, settings.queue, settings.timeout)
    token = os.environ[TOKEN] if TOKEN in os.environ else ''
    server = Server(readers, limits, token, figures)
    config = uvicorn.Config(server.application, log_level='warning', access_log=False, server_header=False,
                            timeout_graceful_shutdown=PATIENCE, limit_concurrency=4 * settings.queue + 64)
    running = uvicorn.Server(config)
    host, port = listening.getsockname()[:2]
    shown = f'[{host}]' if ':' in host else host
    print(f'recog serve: http://{shown}:{port}/ with {", ".join(named)}'
          + (f'; a token is needed ({TOKEN})' if token else ''), file=sys.stderr, flush=True)
    # uvicorn raises these signals again after a clean end; then they must do nothing.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: None)
    asyncio.run(_watched(running, server, listening))
    failed = {reader.name: reader.failed for reader in readers if reader.failed}
    for name, reason in failed.items():
        print(f'recog serve: {name}: {reason}', file=sys.stderr)
    return 1 if failed else 0


async def _watched(running: Any, server: Any, listening: socket.socket) -> None:
    """Serve, and end if a model could not be started."""
    async def watch() -> None:
        while not any(reader.failed for reader in server.readers.values()):
            await asyncio.sleep(0.5)
        running.should_exit = True

    watching = asyncio.create_task(watch())
    await running.serve([listening])
    watching.cancel()


def load(name: str, folder: str, beam: int, settings: Settings, watch: Callable[[str, int], None]) -> Any:
    """A model and its thread; explanations come from a second copy of it,
    which also returns the attention maps."""
    from recog.reading.recognizer import load as load_model
    from recog.server.batching import Reader

    print(f'recog serve: {name}: loading', file=sys.stderr, flush=True)
    options: dict[str, Any] = {'beam': beam, 'best': 0, 'max_length': settings.max_length,
                               'invert': settings.invert, 'devices': settings.devices}
    recognizer = load_model(folder, batch=settings.batch, **options)
    explaining = load_model(folder, batch=1, explain=True, **options) if settings.explain else None
    return Reader(name, recognizer, explaining, batch=settings.batch, canvases=canvases(recognizer),
                  watch=watch)


def beam(name: str, folder: str, wanted: int, others: bool) -> int:
    """The beam of a model; if it is served beside others and has no beam search, it is served without one."""
    if wanted < 2 or not others:
        return wanted
    place = workdir_path(folder)
    if not is_workdir(place):
        if is_exported(place):
            print(f'recog serve: {name}: an export keeps the beam it was made with, so --beam {wanted} does '
                  'not count for it',
                  file=sys.stderr, flush=True)
        return 0
    from recog import models
    from recog.workdir.description import read_config, read_vocab

    if models.build(read_config(place), read_vocab(place)).about.beam:
        return wanted
    print(f'recog serve: {name}: this model has no beam search, so it gives one text', file=sys.stderr,
          flush=True)
    return 0


def canvases(recognizer: Any) -> list[tuple[int, int]]:
    """Heights and widths of images that have compiled programs."""
    rule = recognizer.config.image
    if recognizer.about['form'] == 'onnx' or rule.fit != 'none':
        return [(rule.height, rule.width)]
    from recog.data import shapes

    return shapes.canvases(recognizer.config)
