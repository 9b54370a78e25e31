"""The options and images of a request, checked against the limits before anything is decoded."""

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from recog.images.read import FORMATS, Unreadable, read_image

YES, NO = ('1', 'true', 'yes', 'on'), ('', '0', 'false', 'no', 'off')
BODIES, PICTURES = 16, 16  # bodies and images of the largest size that may be in memory
RECEIVED = 10  # a request that is too large is received up to this many times the limit


class Refused(Exception):
    """A request, or one of its images, that is refused: the HTTP status and the reason in one line."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


class Limits(NamedTuple):
    """The limits of one server."""

    request: int = 10_000_000  # bytes of a request
    pixels: int = 16_000_000  # of an image
    queue: int = 256  # images that wait or are being read, of all requests
    seconds: float = 60.0  # for a request to arrive, and for its answer


class Given(NamedTuple):
    """An image as it came: the name that the client gave it, and its bytes."""

    name: str
    data: bytes


class Options(NamedTuple):
    """What an answer is to contain besides text and confidence."""

    nbest: int = 1
    explain: bool = False
    draw: bool = False  # formulas as SVG


class Budget:
    """A resource with a limit on what is in use at a time; what would exceed it is refused with 429."""

    def __init__(self, most: int, reason: str):
        self.most, self.used, self.reason = most, 0, reason

    @contextlib.contextmanager
    def hold(self, amount: int = 0) -> Iterator[Callable[[int], None]]:
        """Use this amount, and what the block takes later, until the block ends; a
        block that is alone may exceed the limit."""
        held = 0

        def take(amount: int) -> None:
            nonlocal held
            if self.used > held and self.used + amount > self.most:
                raise Refused(429, f'{self.reason}; try again later')
            self.used, held = self.used + amount, held + amount

        take(amount)
        try:
            yield take
        finally:
            self.used -= held


class Budgets:
    """The budgets for all that requests hold while they wait."""

    def __init__(self, limits: Limits):
        self.bytes = Budget(BODIES * limits.request, 'too many requests are arriving')
        self.images = Budget(limits.queue, f'{limits.queue} images wait already')
        self.pixels = Budget(PICTURES * limits.pixels, 'too many large images wait already')


def limited(request: Request, most: int, take: Callable[[int], None]) -> Request:
    """The same request, refused if it declares itself too large, or once too many bytes have arrived."""
    said = request.headers['content-length'] if 'content-length' in request.headers else ''
    come, refused = 0, said.isascii() and said.isdigit() and int(said) > most

    async def receive() -> Any:
        nonlocal come, refused
        while True:
            message = await request.receive()
            length = len(message['body']) if 'body' in message else 0
            come += length
            refused = refused or come > most
            if not refused:
                take(length)
                return message
            # Most clients read no answer before they have sent everything,
            # so the rest is received, up to a limit.
            if come > RECEIVED * most or message['type'] != 'http.request' or not message['more_body']:
                raise Refused(413, f'the request is too large (at most {most:,} bytes)')
    return Request(request.scope, receive)


async def read(request: Request, limits: Limits, take: Callable[[int], None], beam: int,
               explains: bool) -> tuple[list[Given], bool, Options]:
    """The images of a request, whether they came as a form, and the options,
    from the query or from fields of the form.

    `take` is called with the number of bytes of each part that arrives.
    """
    try:
        given, several, told = await _received(limited(request, limits.request, take), limits.queue)
    except ClientDisconnect:
        raise Refused(400, 'the client has left') from None
    return given, several, options({**request.query_params, **told}, beam, explains)


async def _received(request: Request, most: int) -> tuple[list[Given], bool, dict[str, str]]:
    """The images, whether they came as a form, and its other fields."""
    kind = request.headers['content-type'] if 'content-type' in request.headers else ''
    if not kind.startswith('multipart/form-data'):
        data = await request.body()
        if not data:
            raise Refused(400,
                          'the request is empty: send the bytes of an image, or files as multipart/form-data')
        return [Given('image', data)], False, {}
    try:
        async with request.form(max_files=most, max_fields=16) as form:
            given = [Given(name_of(file), await file.read())
                     for _, file in form.multi_items() if isinstance(file, UploadFile)]
            told = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    except (MultiPartException, HTTPException) as error:
        reason = error.detail if isinstance(error, HTTPException) else error.message
        raise Refused(400, f'the form cannot be read: {reason}') from None
    if not given:
        raise Refused(400, 'the form holds no file')
    return given, True, told


def name_of(file: UploadFile) -> str:
    """What the client calls a file, without its folders."""
    return (file.filename or 'image').replace('\\', '/').rpartition('/')[2] or 'image'


def options(given: dict[str, str], beam: int, explains: bool) -> Options:
    """What a query or a form asks for, refused where the model cannot do it."""
    unknown = sorted(set(given) - set(Options._fields))
    if unknown:
        raise Refused(400, f'field {unknown[0][:40]!r} is not known; there are: {", ".join(Options._fields)}')
    nbest = given['nbest'] if 'nbest' in given else '1'
    if not nbest.isascii() or not nbest.isdigit() or not 1 <= int(nbest[:9]) <= beam:
        raise Refused(400, f'nbest {nbest[:40]!r} must be a number from 1 to {beam}, the beam of this model'
                      if beam > 1
                      else f'nbest {nbest[:40]!r}: this model was started, or exported, without a beam '
                           '(--beam)')
    asked = Options(int(nbest), *(_flag(name, given[name] if name in given else '')
                                 for name in ('explain', 'draw')))
    if asked.explain and not explains:
        raise Refused(400, 'explain: this server was started without --explain')
    return asked


def _flag(name: str, value: str) -> bool:
    if value.lower() not in YES + NO:
        raise Refused(400, f'{name} {value[:40]!r} must be 1 or 0')
    return value.lower() in YES


def pixels(given: Given, most: int) -> int:
    """The number of pixels by the header of an image; 0 if it is no image, which `decode` reports."""
    try:
        with Image.open(io.BytesIO(given.data), formats=FORMATS) as opened:
            count = opened.width * opened.height
    except Image.DecompressionBombError:
        count = most + 1
    except Exception:  # broken files make Pillow raise nearly anything; `decode` reports them
        return 0
    if count > most:
        raise Refused(413, f'the image has too many pixels (at most {most:,})')
    return count


def decode(given: Given) -> np.ndarray:
    """The image itself, uint8 [H, W, 3]."""
    try:
        return read_image(given.data, 'image')
    except Unreadable as error:
        if error.reason == 'is not an image':
            raise Refused(415, f'this is no image that can be read ({", ".join(FORMATS)})') from None
        raise Refused(422, f'the image {error.reason}') from None
