"""Who may ask: requests that call the server by a name of its own, and pages that came from it.

A page from elsewhere could otherwise have this machine's browser ask in its place: by posting to it, or by
giving its own name this machine's address (DNS rebinding).
"""

import re
from collections.abc import Iterable

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from recog.server.intake import Refused

LOCAL = ('localhost', '127.0.0.1', '::1')
HOST = re.compile(r'(?:\[([0-9a-f:.]+)\]|([^\[\]:@/\s]+))(?::\d{1,5})?')


class Visitors:
    """The application for those who may ask; all others get 403.

    `host` is the name by which the server was started, `others` are further ones, such as a proxy's.
    """

    def __init__(self, application: ASGIApp, host: str = '', others: Iterable[str] = ()):
        self._application = application
        self._others = {name.lower() for name in others}
        self._names = {*LOCAL, *self._others, host.lower()} - {''}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from recog.server.desk import refusal

        if scope['type'] == 'http':
            try:
                self.check(Request(scope))
            except Refused as error:
                await refusal(error)(scope, receive, send)
                return
        await self._application(scope, receive, send)

    def check(self, request: Request) -> None:
        """Refuse a request to another host, or one that changes something for a page of another origin."""
        said = request.headers['host'] if 'host' in request.headers else None
        # Browsers always name the host; the address that a connection came to is no name that anyone made up.
        if said is not None and _name(said) not in self._names | {(request.scope['server'] or [''])[0]}:
            raise Refused(403, f'host {said[:60]!r} is none of this server, which is '
                          f'{", ".join(sorted(self._names))}; --allow-host adds others')
        origin = request.headers['origin'] if 'origin' in request.headers else None
        if origin is None or request.method in ('GET', 'HEAD'):
            return
        place = origin.partition('://')[2].lower()
        if place != (said or '').lower() and _name(place) not in self._others:
            raise Refused(403, f'origin {origin[:60]!r} is not this server; --allow-host adds others')


def _name(place: str) -> str | None:
    """The host of HOST:PORT; None if it is none."""
    found = HOST.fullmatch(place.lower())
    return found and (found[1] or found[2])
