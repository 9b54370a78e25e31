"""The options and images of a request, checked against the limits before anything is decoded."""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from recog.images.read import FORMATS, NO_IMAGE, TOO_MANY, image_size, read_image
from recog.images.unreadable import Unreadable

YES, NO = ('1', 'true', 'yes', 'on'), ('', '0', 'false', 'no', 'off')
BODIES = 16  # of the largest size that may be in memory
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
    """An image as it came: the name that the client gave it, its bytes, and whether these are strokes."""

    name: str
    data: bytes
    drawn: bool = False


class Options(NamedTuple):
    """What an answer is to contain besides text and confidence."""

    nbest: int = 1
    explain: bool = False
    draw: bool = False  # formulas as SVG, MathML and LaTeX without blanks
    places: bool = False  # where each character was read from


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


def limited(request: Request, most: int, take: Callable[[int], None]) -> Request:
    """The same request, refused if it declares itself too large, or once too many bytes have arrived."""
    said = request.headers['content-length'] if 'content-length' in request.headers else ''
    # Of a number of more digits Python might make none.
    length = int(said[:18]) if said.isascii() and said.isdigit() else 0
    too_large = Refused(413, f'the request is too large (at most {most:,} bytes)')
    come, refused = 0, length > most

    async def receive() -> Any:
        nonlocal come, refused
        if length > RECEIVED * most:
            raise too_large
        while True:
            message = await request.receive()
            part = len(message['body']) if 'body' in message else 0
            come += part
            refused = refused or come > most
            if not refused:
                take(part)
                return message
            # Most clients read no answer before they have sent everything,
            # so the rest is received, up to a limit.
            if come > RECEIVED * most or message['type'] != 'http.request' or not message['more_body']:
                raise too_large
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


class _Form(MultiPartParser):
    """A form whose files stay in memory, which is limited, and take no descriptors."""

    spool_max_size = max_file_size = sys.maxsize  # the second name is an older Starlette's


async def _received(request: Request, most: int) -> tuple[list[Given], bool, dict[str, str]]:
    """The images, whether they came as a form, and its other fields."""
    kind = request.headers['content-type'] if 'content-type' in request.headers else ''
    if not kind.startswith('multipart/form-data'):
        data = await request.body()
        if not data:
            raise Refused(400,
                          'the request is empty: send the bytes of an image, strokes as application/json, or '
                          'files as multipart/form-data')
        return [Given('image', data, kind.startswith('application/json'))], False, {}
    _, parameters = parse_options_header(kind)
    if parameters.get(b'charset', b'utf-8').lower() not in (b'utf-8', b'utf8'):
        raise Refused(400, 'the form cannot be read: its charset must be UTF-8')  # Python knows odd ones
    parser = _Form(request.headers, request.stream(), max_files=most, max_fields=16)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(400, f'the form cannot be read: {error.message}') from None
    given = [Given(name_of(file), await file.read())
             for _, file in form.multi_items() if isinstance(file, UploadFile)]
    if not given:
        raise Refused(400, 'the form holds no file')
    told = {name: value for name, value in form.multi_items() if isinstance(value, str)}
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
    if not re.fullmatch('[1-9][0-9]{0,8}', nbest) or int(nbest) > beam:
        raise Refused(400, f'nbest {nbest[:40]!r} must be a number from 1 to {beam}, the beam of this model'
                      if beam > 1
                      else f'nbest {nbest[:40]!r}: this model was started, or exported, without a beam '
                           '(--beam)')
    asked = Options(int(nbest), *(_flag(name, given[name] if name in given else '')
                                 for name in ('explain', 'draw', 'places')))
    for name in ('explain', 'places'):
        if getattr(asked, name) and not explains:
            raise Refused(400, f'{name}: this server was started without --explain')
    return asked


def _flag(name: str, value: str) -> bool:
    if value.lower() not in YES + NO:
        raise Refused(400, f'{name} {value[:40]!r} must be 1 or 0')
    return value.lower() in YES


def pixels(given: Given, most: int) -> int:
    """The number of pixels that the bytes announce, before anything is decoded; unknown is the limit."""
    try:
        size = image_size(given.data, 'image')
    except Unreadable as error:
        raise _refused(error) from None
    if size and size[0] * size[1] > most:
        raise Refused(413, f'the image {TOO_MANY} ({size[1]} x {size[0]}, at most {most:,})')
    return size[0] * size[1] if size else most


def decode(given: Given, most: int) -> np.ndarray:
    """The image itself, uint8 [H, W, 3]."""
    try:
        return read_image(given.data, 'image', most)
    except Unreadable as error:
        raise _refused(error) from None


def _refused(error: Unreadable) -> Refused:
    if error.reason == NO_IMAGE:
        return Refused(415, f'this is no image that can be read ({", ".join(FORMATS)})')
    return Refused(413 if error.reason.startswith(TOO_MANY) else 422, f'the image {error.reason}')
