"""The routes of `recog serve`: reading images, the list of models, health, metrics, and the page."""

import contextlib
import functools
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from recog.looks.markup import STYLE
from recog.server import counters
from recog.server.batching import Reader
from recog.server.described import described
from recog.server.desk import Desk, refusal
from recog.server.intake import Limits, Refused
from recog.server.visitors import Visitors

LAST = 2.0  # seconds that a model has for its last batch, once no request waits for it
PAGE = Path(__file__).parent / 'page'
# By the path of their addresses.
FILES = {'/': PAGE / 'index.html', '/style.css': STYLE,
         **{f'/{file.name}': file for kind in ('*.js', 'page.css') for file in sorted(PAGE.glob(kind))}}
# The page loads nothing from other places, and no other page may embed it.
SAFE = {'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' "
                                   "data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'cache-control': 'no-cache'}


class Server:
    """The models, the limits of requests, and the application that answers."""

    def __init__(self, readers: Sequence[Reader], limits: Limits | None = None, token: str = '',
                 figures: counters.Counters | None = None, host: str = '', others: Sequence[str] = ()):
        self.readers = {reader.name: reader for reader in readers}
        self.figures = figures or counters.Counters()
        self._desk = Desk(limits or Limits(), token)
        self._stopping = False
        pages = [Route(path, functools.partial(_page, file=file)) for path, file in FILES.items()]
        self.application = Starlette(
            routes=[*pages, Route('/health', self._health), Route('/metrics', self._metrics),
                    Route('/v1/models', self._models),
                    Route('/v1/models/{name}/read', self._read, methods=['POST']),
                    Route('/v1/models/{name}/examples', self._examples),
                    Route('/v1/formula', self._formula, methods=['POST'])],
            exception_handlers={Refused: _refused, HTTPException: _refused, Exception: _failed},
            middleware=[Middleware(Visitors, host, others)], lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, application: Starlette) -> AsyncIterator[None]:
        for reader in self.readers.values():
            reader.start()
        try:
            yield
        finally:
            self._stopping = True
            for reader in self.readers.values():
                await anyio.to_thread.run_sync(reader.close, LAST)
            self._desk.close()

    def hurry(self) -> None:
        """Give up the requests that are not answered yet."""
        self._desk.hurry()

    async def _health(self, request: Request) -> Response:
        ready = all(reader.ready for reader in self.readers.values()) and not self._stopping
        models = {name: 'ready' if reader.ready else reader.failed or 'warming up'
                  for name, reader in self.readers.items()}
        return JSONResponse({'ready': ready, 'models': models}, 200 if ready else 503)

    async def _metrics(self, request: Request) -> Response:
        self._desk.check_token(request)
        return Response(self.figures.page(self.readers.values()), media_type=counters.KIND)

    async def _models(self, request: Request) -> Response:
        self._desk.check_token(request)
        return JSONResponse({'models': [{**described(reader), 'ready': reader.ready}
                                        for reader in self.readers.values()]})

    async def _examples(self, request: Request) -> Response:
        self._desk.check_token(request)
        return await self._desk.examples(self._reader(request))

    async def _formula(self, request: Request) -> Response:
        self._desk.check_token(request)
        return await self._desk.formula(request)

    def _reader(self, request: Request) -> Reader:
        """The model that the path names."""
        name = request.path_params['name']
        if name not in self.readers:
            raise Refused(404, f'there is no model {name[:40]!r}; there are: {", ".join(self.readers)}')
        return self.readers[name]

    async def _read(self, request: Request) -> Response:
        self._desk.check_token(request)
        reader = self._reader(request)
        started, status = time.monotonic(), 500
        try:
            response = await self._desk.answer(request, reader)
            status = response.status_code
            return response
        except Refused as error:
            status = error.status
            raise
        finally:
            self.figures.request(reader.name, status, time.monotonic() - started)


async def _page(request: Request, file: Path) -> Response:
    return FileResponse(file, headers=SAFE)


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({'error': error.detail}, error.status_code, error.headers)
    return refusal(error) if isinstance(error, Refused) else await _failed(request, error)


async def _failed(request: Request, error: Exception) -> Response:
    """The reason is only in the log, to which uvicorn writes it."""
    return JSONResponse({'error': 'the server failed to answer; its log says why'}, 500)
