"""Where the processes of a run meet before JAX connects them: each says what it waits for, or what is wrong.

JAX alone is silent for five minutes where one is missing or two have one number, and crashes where the port
is in use. So process 0 first listens itself at the coordinator's address, and lets all go once they are
there.
"""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator

from recog.errors import ConfigError

FIRST_WORD = 10.0  # seconds until a process says what it waits for
PAUSE = 0.2  # seconds between looks
LONGEST = 1000  # bytes of a message
GO, REFUSED = 'go', 'refused: '


def check(coordinator: str, count: int, process: int) -> tuple[str, int]:
    """Host and port of the coordinator, or which of the three options cannot be."""
    if not 0 <= process < count:
        raise ConfigError(f'--process {process} must be from 0 to {count - 1}, as --processes is {count}')
    host, _, port = coordinator.rpartition(':')
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise ConfigError(f'--coordinator {coordinator!r} must be HOST:PORT, the address of process 0')
    return host.strip('[]'), int(port)


def meet(coordinator: str, count: int, process: int, seconds: float, asked: Callable[[], bool]) -> None:
    """Wait until all processes are there, for at most so many seconds, or until a signal asks to end."""
    host, port = check(coordinator, count, process)
    if count > 1:
        waiting = _Waiting(process, count, seconds, asked)
        here = _Host(coordinator, port, waiting) if process == 0 else _Guest(coordinator, host, port, waiting)
        here.wait()


class _Waiting:
    """The patience of a process that waits."""

    def __init__(self, process: int, count: int, seconds: float, asked: Callable[[], bool]):
        self.process, self.count = process, count
        self._seconds, self._asked = seconds, asked
        self._began, self._said = time.monotonic(), ''

    def look(self, what: str) -> None:
        """Say what is waited for when that has taken a while; end when it has taken too long."""
        waited = time.monotonic() - self._began
        if self._asked():
            raise ConfigError(f'stopped by a signal while it waited for {what}')
        if waited > self._seconds:
            raise ConfigError(f'process {self.process} of {self.count} waited {waited:.0f} s for {what}')
        if waited > FIRST_WORD and what != self._said:
            self._said = what
            print(f'recog train: process {self.process} of {self.count} waits for {what}', file=sys.stderr,
                  flush=True)


class _Host:
    """Process 0, to which all others come."""

    def __init__(self, coordinator: str, port: int, waiting: _Waiting):
        self._waiting, self._there = waiting, dict[int, tuple[socket.socket, str]]()
        self._new: list[socket.socket] = []
        try:
            self._server = _listening(port)
        except OSError as error:
            why = str(error.strerror).partition(' (')[0]
            raise ConfigError(f'--coordinator {coordinator}: process 0 cannot listen there ({why}); perhaps '
                              'another process 0 does; choose another port') from None

    def wait(self) -> None:
        """Collect all others, then let them go; what ends this process ends them, too."""
        try:
            self._collect()
            self._tell(GO)
            for guest, _ in self._there.values():  # whoever closes first keeps the port for a while
                guest.settimeout(5)
                with contextlib.suppress(OSError):
                    guest.recv(1)
        except ConfigError as error:
            self._tell(f'{REFUSED}{error}')
            raise
        finally:
            for each in (self._server, *self._guests()):
                each.close()

    def _collect(self) -> None:
        self._server.settimeout(PAUSE)
        while missing := sorted({*range(1, self._waiting.count)} - {*self._there}):
            what = f'process {", ".join(map(str, missing))} to join'
            self._waiting.look(what)
            self._tell(what)
            with contextlib.suppress(TimeoutError):
                guest, _ = self._server.accept()
                guest.setblocking(False)
                self._new.append(guest)
            self._listen()

    def _listen(self) -> None:
        """Read what new guests say of themselves, and forget those that left."""
        for guest in list(self._new):
            message = _received(guest)
            if message is not None:
                self._welcome(guest, message)
        for number, (guest, _) in list(self._there.items()):
            if _received(guest) == '':
                guest.close()
                del self._there[number]

    def _welcome(self, guest: socket.socket, message: str) -> None:
        try:
            said = json.loads(message)
            number, count, who = int(said['process']), int(said['count']), str(said['who'])
        except (ValueError, LookupError, TypeError):
            self._new.remove(guest)  # somebody else
            guest.close()
            return
        if count != self._waiting.count:
            raise ConfigError(f'process {number} was started with --processes {count}, process 0 with '
                              f'{self._waiting.count}')
        if number in self._there:
            other = self._there[number][1]
            raise ConfigError(f'two processes have --process {number}: {other} and {who}')
        self._new.remove(guest)
        self._there[number] = guest, who

    def _guests(self) -> list[socket.socket]:
        return [*self._new, *(guest for guest, _ in self._there.values())]

    def _tell(self, what: str) -> None:
        for guest in self._guests():
            with contextlib.suppress(OSError):
                guest.sendall(f'{what}\n'.encode())


class _Guest:
    """Any other process, which goes to process 0."""

    def __init__(self, coordinator: str, host: str, port: int, waiting: _Waiting):
        self._where, self._waiting = (host, port), waiting
        self._what = self._first = f'process 0 at {coordinator}'  # what is waited for

    def wait(self) -> None:
        """Go to process 0 until it lets all go."""
        while True:
            self._waiting.look(self._what)
            try:
                if self._let_go():
                    return
            except OSError as error:
                self._what = f'{self._first} ({error.strerror or error})'
            time.sleep(PAUSE)

    def _let_go(self) -> bool:
        """Say who this is, and listen until process 0 lets all go; False if it leaves, or is none of ours."""
        mine = {'process': self._waiting.process, 'count': self._waiting.count,
                'who': f'process {os.getpid()} on {socket.gethostname()}'}
        with socket.create_connection(self._where, 5) as host:
            host.sendall(json.dumps(mine).encode() + b'\n')
            host.settimeout(PAUSE)
            for said in self._lines(host):
                if said == GO:
                    return True
                if said.startswith(REFUSED):
                    raise ConfigError(said.removeprefix(REFUSED))
                if not said.startswith('process '):
                    self._what = f'{self._first}, where something else answers'
                    return False
                self._what = said
                self._waiting.look(self._what)
        return False

    def _lines(self, host: socket.socket) -> Iterator[str]:
        """What process 0 says, line by line, until it leaves."""
        rest = b''
        while True:
            try:
                piece = host.recv(LONGEST)
            except TimeoutError:
                self._waiting.look(self._what)
                continue
            if not piece:
                return
            *lines, rest = (rest + piece).split(b'\n')
            yield from (line.decode(errors='replace') for line in lines)


def _listening(port: int) -> socket.socket:
    """A socket at this port on all addresses of this machine."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(('', port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(('', port))


def _received(guest: socket.socket) -> str | None:
    """What a guest has sent, '' if it has left, None if nothing has come yet."""
    try:
        return guest.recv(LONGEST).decode(errors='replace')
    except BlockingIOError:
        return None
    except OSError:
        return ''
