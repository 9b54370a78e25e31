"""Connections under limits: a deadline for whatever each one does, and room for those who come next.

A connection that waits for a request gives its place to a new one, the longest wait first. Where all are
busy, a few more are taken that may only ask for /health.
"""

import asyncio
import contextlib
import ipaddress
import os
import resource
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from recog.errors import ConfigError
from recog.server.desk import refusal
from recog.server.intake import Refused

HEAD = 10.0  # seconds until the head of a request is complete
SPARE = 16  # connections beyond the limit, for /health
AT_ONCE = 8  # connections that are accepted before the limits are looked at
FILES = 16  # descriptors for all else that a server opens


class Door:
    """The connections of a server: `most` in all, `each` of one client, `seconds` for a request."""

    def __init__(self, most: int, each: int, seconds: float):
        self.most, self.each, self.seconds = most, each, seconds
        self._inside: dict[Connection, str] = {}  # and their clients
        self._spare: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}  # for a request, the longest wait first

    def enter(self, came: 'Connection') -> bool:
        """Whether a new connection may stay, in the place of another one if it has to be."""
        client = _client(came.client)
        mine = [each for each, whose in self._inside.items() if whose == client] \
            if len(self._inside) >= self.each else []
        full = len(self._inside) >= self.most
        if len(mine) >= self.each or full:
            narrow = set(mine) if len(mine) >= self.each else self._inside.keys()
            if not self._send_away(narrow):
                if len(self._spare) >= SPARE and not self._send_away(self._spare):
                    return False
                self._spare.add(came)
        if came not in self._spare:
            self._inside[came] = client
        return True

    def crowded(self, came: 'Connection') -> bool:
        """Whether a connection may only ask for /health."""
        return came in self._spare

    def waits(self, connection: 'Connection', waiting: bool) -> None:
        """Note that a connection begins to wait for a request, or has one."""
        self._waiting.pop(connection, None)
        if waiting and (connection in self._inside or connection in self._spare):
            self._waiting[connection] = None

    def leave(self, connection: 'Connection') -> None:
        """Forget a connection."""
        self._inside.pop(connection, None)
        self._spare.discard(connection)
        self._waiting.pop(connection, None)

    def _send_away(self, some: Any) -> bool:
        """End the connection of these that has waited longest for a request, if any waits."""
        found = next((each for each in self._waiting if each in some), None)
        if found is None:
            return False
        self.leave(found)
        found.transport.abort()
        return True


class Connection(H11Protocol):
    """uvicorn's connection, which ends when what it does takes too long."""

    def __init__(self, door: Door, **given: Any):
        super().__init__(**given)
        self._door = door
        self._timer: asyncio.TimerHandle | None = None
        self._request: Any = None  # the one that is being received or answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Stay, or leave at once."""
        super().connection_made(transport)
        if not self._door.enter(self):
            transport.abort()
            return
        if self._door.crowded(self):
            self.app = _Crowded(self.app)
        self._begin(HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        super().connection_lost(exc)
        self._door.leave(self)
        if self._timer:
            self._timer.cancel()

    def handle_events(self) -> None:
        """Go on with what has arrived."""
        super().handle_events()
        self._follow()

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        super().on_response_complete()
        self._follow()

    def _follow(self) -> None:
        going = None if self.cycle is None or self.cycle.response_complete else self.cycle
        if going is not self._request:
            self._request = going
            # To receive it, to answer, and to send the answer.
            self._begin(HEAD if going is None else 2 * self._door.seconds + HEAD)

    def _begin(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._door.waits(self, self._request is None)
        self._timer = asyncio.get_running_loop().call_later(seconds, self.transport.abort)


class _Crowded:
    """The application where there is room for /health alone."""

    def __init__(self, application: ASGIApp):
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['path'] == '/health':
            await self._application(scope, receive, send)
        else:
            response = refusal(Refused(503, 'too many connections'))
            response.headers['connection'] = 'close'
            await response(scope, receive, send)


def door(queue: int, seconds: float) -> Door:
    """The limits of a server whose queue has so many places, as far as this process may have descriptors."""
    used = len(os.listdir('/dev/fd')) + SPARE + 2 * AT_ONCE + FILES
    wanted = 4 * queue + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < used + wanted:
        soft = used + wanted if hard == resource.RLIM_INFINITY else min(hard, used + wanted)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft - used)
    if most < 1:
        raise ConfigError(f'this process may open {soft} files and needs more than {used}; see ulimit -n')
    return Door(most, min(queue + 64, most), seconds)


def _client(address: tuple[str, int] | None) -> str:
    """Whose connection it is: an address, or for IPv6 the network, which one client has as a whole."""
    if address is None:
        return ''
    try:
        found = ipaddress.ip_address(address[0].partition('%')[0])
    except ValueError:
        return address[0]
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return str(found)
