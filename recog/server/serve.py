"""`recog serve`: trained models behind HTTP, with a page to try them
on; needs the packages of recog[serve]."""

import asyncio
import functools
import importlib.util
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recog.config.values import SEVERAL
from recog.errors import ConfigError
from recog.reading.exported import is_exported
from recog.workdir.files import is_workdir
from recog.workdir.folder import workdir_path

NEEDED = {'starlette': 'starlette', 'uvicorn': 'uvicorn', 'prometheus_client': 'prometheus_client',
          'python_multipart': 'python-multipart'}
PATIENCE = 30  # seconds that requests have to end when the server is stopped
HURRY = 25  # seconds after which those that have not are refused
BACKLOG = 1024  # connections that the system holds until they are accepted


class Settings(NamedTuple):
    """How models read, and what the server refuses."""

    batch: int = 32
    beam: int = 0
    max_length: int = 0
    invert: str = 'auto'
    rotate: str = ''
    devices: str = ''
    engine: str = ''
    explain: bool = False
    most_bytes: int = 10_000_000  # of a request
    most_pixels: int = 16_000_000  # of an image
    queue: int = 256  # images that may wait
    timeout: float = 60.0  # seconds for a request to arrive, and again for its answer
    host: str = ''  # by which requests may call the server
    allow_host: tuple[str, ...] = ()  # further ones


def check(settings: Settings) -> None:
    """Refuse a limit or a token that is wrong, or name the packages that must be installed."""
    for field in ('batch', 'most_bytes', 'most_pixels', 'queue', 'timeout'):
        value = getattr(settings, field)
        if not value > 0:
            raise ConfigError(f'--{field.replace("_", "-")} {value} must be above 0')
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} is not installed: pip install 'recog[serve]'")
    from recog.server.desk import required_token

    required_token()


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
    from recog.server import connections, counters, desk, intake
    from recog.server.app import Server

    figures, token = counters.Counters(), desk.required_token()
    readers = [load(name, folder, beam(name, folder, settings.beam, len(named) > 1), settings, figures.batch)
               for name, folder in named.items()]
    limits = intake.Limits(settings.most_bytes, settings.most_pixels, settings.queue, settings.timeout)
    server = Server(readers, limits, token, figures, settings.host, settings.allow_host)
    door = connections.door(settings.queue, settings.timeout)
    stopped: list[int] = []  # signals that came
    # In place before anyone is told that the server is there; uvicorn takes them over, and raises them again
    # after a clean end.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda number, _: stopped.append(number))
    host, port = listening.getsockname()[:2]
    shown = f'[{host}]' if ':' in host else host
    print(f'recog serve: http://{shown}:{port}/ with {", ".join(named)}'
          + (f'; a token is needed ({desk.TOKEN})' if token else ''), file=sys.stderr, flush=True)
    asyncio.run(_watched(server, door, listening, stopped))
    failed = {reader.name: reader.failed for reader in readers if reader.failed}
    for name, reason in failed.items():
        print(f'recog serve: {name}: {reason}', file=sys.stderr)
    status = 1 if failed else 0
    if any(thread.name.startswith('recog-') and thread.is_alive() for thread in threading.enumerate()):
        # One that is deep in an image can neither be stopped nor waited for, as Python's own end would do.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


async def _watched(server: Any, door: Any, listening: socket.socket, stopped: Sequence[int]) -> None:
    """Serve, and end at a signal, or if a model could not be started."""
    import uvicorn

    from recog.server import connections

    # What clients do wrong is no line in the log, which they could fill.
    logging.getLogger('python_multipart').setLevel(logging.CRITICAL)
    protocol: Any = functools.partial(connections.Connection, door)
    config = uvicorn.Config(server.application, http=protocol, ws='none', log_level='error', access_log=False,
                            server_header=False, timeout_graceful_shutdown=PATIENCE,
                            backlog=connections.AT_ONCE)
    running = uvicorn.Server(config)

    async def watch() -> None:
        while not running.started:
            await asyncio.sleep(0.01)
        listening.listen(BACKLOG)
        while not (running.should_exit or stopped or any(each.failed for each in server.readers.values())):
            await asyncio.sleep(0.1)
        running.should_exit = True
        await asyncio.sleep(HURRY)
        server.hurry()

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
                               'invert': settings.invert, 'devices': settings.devices,
                               'rotate': settings.rotate, 'engine': settings.engine, 'lasting': True}
    recognizer = load_model(folder, batch=settings.batch, **options)
    explaining = load_model(folder, batch=1, explain=True, **options) if settings.explain else None
    sizes = canvases(recognizer)
    batch = together(recognizer.beam, sizes, settings.batch)
    return Reader(name, recognizer, explaining, batch=batch, canvases=sizes, watch=watch)


def together(beam: int, sizes: Sequence[tuple[int, int]], batch: int) -> int:
    """How many images are read at a time: one in a beam search of several sizes on a CPU, whose programs for
    each number of images and each size would take long to compile."""
    if beam < 2 or len(sizes) < 2:
        return batch
    import jax

    return 1 if jax.default_backend() == 'cpu' else batch


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
    if recognizer.about['form'] == 'onnx' or rule.fit not in SEVERAL:
        return [(rule.height, rule.width)]
    from recog.data import shapes

    return shapes.canvases(recognizer.config)
