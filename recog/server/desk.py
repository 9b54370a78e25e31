"""From a request to its answer; images are read by a thread of `recog serve` or by a replica of Ray Serve."""

import asyncio
import functools
import hmac
import os
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from recog.errors import ConfigError
from recog.reading.drawings import Drawing
from recog.server import answers, described, hints, intake, strokes
from recog.server.decoders import Decoders
from recog.server.intake import Budgets, Given, Limits, Refused

TOKEN = 'RECOG_TOKEN'
MOST_TYPED = 1_000  # bytes of a formula that somebody types
HEADERS = {401: {'www-authenticate': 'Bearer'}, 429: {'retry-after': '1'}, 503: {'retry-after': '5'}}


class Reads(Protocol):
    """A model that reads images of many requests together."""

    name: str
    recognizer: Any
    explaining: Any  # the same with explanations, or None

    async def read(self, images: list[np.ndarray | Drawing], explain: bool) -> list[Any]:
        """The readings of images and drawings, in their order."""


class Desk:
    """Accepts requests within the limits, has their images read, and writes the answers."""

    def __init__(self, limits: Limits, token: str = ''):
        self.limits, self._token = limits, token.encode()
        self._budgets = Budgets(limits)
        self._decoders = Decoders()
        self._waits: set[asyncio.Timeout] = set()
        self._stopping = False
        self._examples: dict[str, list[str]] = {}  # by model, as data: addresses
        self._drawing = ThreadPoolExecutor(1, 'recog-drawing')  # mathtext's parser is not thread-safe

    def close(self) -> None:
        """Let the threads end; those that are deep in an image are not waited for."""
        self._decoders.close()
        self._drawing.shutdown(wait=False, cancel_futures=True)

    def hurry(self) -> None:
        """Give up all requests that are not answered yet."""
        self._stopping = True
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(0)

    def check_token(self, request: Request) -> None:
        """Refuse a request without the token, where one is set."""
        if not self._token:
            return
        said = request.headers['authorization'] if 'authorization' in request.headers else ''
        kind, _, given = said.partition(' ')
        if kind.lower() != 'bearer':
            raise Refused(401, 'a token is needed: Authorization: Bearer TOKEN')
        if not hmac.compare_digest(given.strip().encode(), self._token):
            raise Refused(401, 'the token is wrong')

    async def answer(self, request: Request, reader: Reads) -> Response:
        """Answer one image, or several sent as a form; each gets its answer, in their order."""
        with self._budgets.bytes.hold() as take:
            came = intake.read(request, self.limits, take, reader.recognizer.about['beam'],
                               reader.explaining is not None)
            given, several, options = await self._in_time(came, 408, 'the request did not arrive')
            with self._budgets.images.hold(len(given)):
                work = asyncio.gather(*(self._one(reader, one, options) for one in given),
                                      return_exceptions=several)
                found = await self._in_time(work, 503, 'there was no answer')
        if not several:
            return JSONResponse({'model': reader.name, **found[0]})
        for error in found:
            if isinstance(error, BaseException) and not isinstance(error, Refused):
                raise error
        told = [{'name': one.name,
                 **({'error': str(said), 'status': said.status} if isinstance(said, Refused) else said)}
                for one, said in zip(given, found, strict=True)]
        refused = [one.status for one in found if isinstance(one, Refused)]
        return JSONResponse({'model': reader.name, 'answers': told},
                            refused[0] if len(refused) == len(given) else 200)

    async def _in_time(self, work: Awaitable, status: int, what: str) -> Any:
        try:
            async with asyncio.timeout(0 if self._stopping else self.limits.seconds) as wait:
                self._waits.add(wait)
                return await work
        except TimeoutError:
            if self._stopping:
                raise Refused(503, 'the server is stopping') from None
            raise Refused(status, f'{what} within {self.limits.seconds:g} seconds') from None
        finally:
            self._waits.discard(wait)

    async def _one(self, reader: Reads, given: Given, options: intake.Options) -> dict[str, Any]:
        """The answer for one image."""
        most, run, hint = self.limits.pixels, self._decoders.run, ''
        drawing = await run(strokes.parsed, given.data) if given.drawn else None
        count = await (run(strokes.size, drawing, most) if drawing else run(intake.pixels, given, most))
        async with self._decoders.room(count):
            image = drawing or await run(intake.decode, given, most, pixels=count)
            if not drawing:
                hint = await run(hints.hint, image, reader.recognizer.about, pixels=count)
            reading, = await reader.read([image], options.explain or options.places)
        if reading.text is None:
            raise Refused(422, f'the image {reading.reason}')
        work = functools.partial(answers.answer, reading, reader.recognizer, options,
                                 image if options.places else None)
        plain = not reader.recognizer.about['formula'] and not options.explain
        found = work() if plain else await self._drawn(work)
        return found | ({'hint': hint} if hint else {})

    async def _drawn(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._drawing, work)

    async def formula(self, request: Request) -> Response:
        """A formula that somebody has typed, drawn and as MathML."""
        with self._budgets.bytes.hold() as take, self._budgets.images.hold(1):
            body = await self._in_time(intake.limited(request, MOST_TYPED, take).body(), 408,
                                       'the request did not arrive')
            work = functools.partial(answers.typed_formula, body.decode('utf-8', 'replace'))
            return JSONResponse(await self._in_time(self._drawn(work), 503, 'there was no answer'))

    async def examples(self, reader: Reads) -> Response:
        """Images to try a model with; they are drawn when they are first asked for."""
        if reader.name not in self._examples:
            found = await self._drawn(functools.partial(described.examples, reader.recognizer))
            self._examples[reader.name] = [answers.as_address(each) for each in found]
        return JSONResponse({'examples': self._examples[reader.name]})


def required_token() -> str:
    """The token in the environment, or '' where none is set."""
    if TOKEN not in os.environ:
        return ''
    if not re.fullmatch('[!-~]+', os.environ[TOKEN]):  # it is not printed
        raise ConfigError(f'{TOKEN} must be letters, digits and signs of ASCII without blanks, at least one')
    return os.environ[TOKEN]


def refusal(error: Refused) -> Response:
    """The response to a refused request: its reason in one line."""
    headers = HEADERS[error.status] if error.status in HEADERS else None
    return JSONResponse({'error': str(error)}, error.status, headers)
