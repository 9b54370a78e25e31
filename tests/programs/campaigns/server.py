"""A server under attack from one address, while a client at another asks for what is easy.

The attacker's requests may be refused or answered, but not with 500. The other client's must all be right and
in time; the p99 of their times is printed for each attack.
"""

import contextlib
import functools
import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import hostile_images as hostile
from victim import GIGABYTE, HANG, MEMORY, READ, REFUSED, SIGNAL, TRACEBACK, Outcome

TRIES = 6  # requests of each attack with images; connections are two hundred times as many
ATTACKER, VISITOR = '127.0.0.2', '127.0.0.3'
PATH = '/v1/models/run/read'
IMAGES = {
    'two dots': lambda: hostile.dots(4000),
    'a profile that Pillow refuses': lambda: hostile.profiled(4001, 4001),
    'filling bytes': lambda: hostile.filled(9_900_000), 'chunks': lambda: hostile.chunked(820_000),
    'a hundred scans': lambda: hostile.progressive(3900, 100),
    'twenty thousand scans': lambda: hostile.progressive(4000, 20_000),
    'no photograph': lambda: hostile.clouds(4000), '16 bits': lambda: hostile.deep(4000),
    'a pixel at a time': lambda: hostile.runs(2200), 'comments': lambda: hostile.commented(4_900_000),
}
FORM = b'--x\r\ncontent-disposition: form-data; name="f"; filename="a\0\xff.png"\r\n\r\nGIF89a\r\n--x--\r\n'
ODD = [
    ('POST', '?nbest=' + '9' * 5000, {}, b'x'), ('POST', '?nbest=0001', {}, b'x'),
    ('POST', '?draw=%ED%A0%80', {}, b'x'), ('POST', '?%00=%FF', {}, b'x'), ('POST', '', {}, b''),
    *(('POST', '', {'content-type': f'multipart/form-data; boundary=x; charset={charset}'}, FORM)
      for charset in ('punycode', 'idna', 'undefined', 'utf-7', 'x' * 3000, '')),
    ('POST', '', {'content-type': 'multipart/form-data; boundary='}, FORM),
    ('POST', '', {'content-type': 'multipart/form-data; boundary=' + 'b' * 3000}, FORM),
    ('POST', '', {'content-type': 'multipart/form-data; boundary=x'}, FORM * 500),
    ('POST', '', {'host': 'evil.example'}, b'x'), ('POST', '', {'origin': 'http://evil.example'}, b'x'),
    ('POST', '', {'authorization': 'Bearer \xff\xfe'}, b'x'), ('BREW', '', {}, b''), ('GET', '', {}, b''),
    ('POST', '', {'upgrade': 'websocket', 'connection': 'upgrade'}, b'x'),
    ('POST', '', {'content-length': '9' * 19}, b''), ('POST', '', {'content-length': '-1'}, b''),
]


class Served:
    """A `recog serve` of a workdir, in a process of its own."""

    def __init__(self, workdir, descriptors=0):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'recog', 'serve', f'run={workdir}', '--port', '0', '--batch', '4'],
            stderr=self.log, stdout=subprocess.DEVNULL)
        if descriptors:
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
        until = time.monotonic() + 240
        while not (found := re.search(r':(\d+)/ with', self.said())):
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f'the server does not start: {self.said()}')
            time.sleep(0.2)
        self.port = int(found[1])
        while True:
            with contextlib.suppress(OSError):
                if self.ask(VISITOR, 'GET', '/health')[0] == 200:
                    break
            time.sleep(0.2)
        self.before = self.peak()

    def said(self):
        """The log so far."""
        self.log.seek(0)
        return self.log.read().decode(errors='replace')

    def peak(self):
        """The most memory that the process had, in bytes."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return int(re.search(r'VmHWM:\s+(\d+)', status)[1]) * 1024

    def ask(self, source, method, path, body=None, headers=None, patience=30):
        """Status and body of one request."""
        client = http.client.HTTPConnection('127.0.0.1', self.port, patience, (source, 0))
        try:
            client.request(method, path, body, headers or {})
            answer = client.getresponse()
            return answer.status, answer.read().decode()
        finally:
            client.close()

    def connect(self, sent=b''):
        """A connection of the attacker that has sent something."""
        mine = socket.create_connection(('127.0.0.1', self.port), 10, (ATTACKER, 0))
        with contextlib.suppress(OSError):
            mine.sendall(sent)
        return mine

    def end(self, name):
        """How it ends when it is told to."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        seconds, said = time.monotonic() - began, self.said()
        kind = HANG if seconds > 38 else SIGNAL if status < 0 else READ
        kind = TRACEBACK if status > 0 or 'Traceback' in said else kind
        return Outcome(f'{name}: the end', kind, f'status {status}, {len(said)} bytes of log: {said[-1500:]}')


class Visitor(threading.Thread):
    """Asks for small images and for /health, all the time."""

    def __init__(self, served, pictures):
        super().__init__(daemon=True)
        self.served, self.pictures, self.stopped = served, pictures, False
        self.seconds, self.wrong = [], []

    def run(self):
        while not self.stopped:
            began = time.monotonic()
            picture = self.pictures[len(self.seconds) % len(self.pictures)]
            for path, body in ((PATH, picture), ('/health', None)):
                try:
                    status, said = self.served.ask(VISITOR, 'POST' if body else 'GET', path, body)
                except (OSError, http.client.HTTPException) as error:
                    status, said = 0, repr(error)
                if status != 200:
                    self.wrong.append(f'{path}: {status} {said[:200]}')
            self.seconds.append(time.monotonic() - began)
            time.sleep(0.02)


def attacked(served, name, pictures, attack):
    """Outcomes of an attack: what became of its requests, and of those of the visitor."""
    log, visitor = len(served.said()), Visitor(served, pictures)
    visitor.start()
    time.sleep(0.5)
    began = time.monotonic()
    outcomes = list(attack())
    seconds = time.monotonic() - began
    time.sleep(0.5)
    visitor.stopped = True
    visitor.join()
    times = sorted(visitor.seconds)
    p50, p99 = (1000 * times[min(int(share * len(times)), len(times) - 1)] for share in (0.5, 0.99))
    grown, said = served.peak() - served.before, served.said()[log:]
    megabytes = grown / 2 ** 20
    print(f'server: {name}: {len(outcomes)} tries in {seconds:.0f} s; {len(times)} visits, p50 {p50:.0f} ms, '
          f'p99 {p99:.0f} ms, {len(visitor.wrong)} wrong; {megabytes:.0f} MB more, {len(said)} bytes of log',
          flush=True)
    yield from outcomes
    kind = READ
    if visitor.wrong or times[-1] > 10:
        kind = HANG
    elif 'Traceback' in said or len(said) > 10_000:
        kind = TRACEBACK
    elif grown > GIGABYTE:
        kind = MEMORY
    yield Outcome(f'{name}: the visitor', kind, f'{visitor.wrong[:3]} {said[-1500:]}', p99 / 1000, megabytes)


def posted(served, name, requests, patience=70):
    """Outcomes of requests, four at a time."""
    outcomes, waiting = [], list(requests)

    def work():
        while waiting:
            method, path, headers, body = waiting.pop()
            began = time.monotonic()
            try:
                status, said = served.ask(ATTACKER, method, path, body, headers, patience)
            except (OSError, http.client.HTTPException, ValueError) as error:
                kind = HANG if isinstance(error, TimeoutError) else REFUSED
                outcomes.append(Outcome(name, kind, repr(error), time.monotonic() - began))
                continue
            kind = READ if status == 200 else TRACEBACK if status == 500 else REFUSED
            outcomes.append(Outcome(name, kind, f'{status} {said[:300]}', time.monotonic() - began))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def held(served, name, count, sent, seconds=12):
    """Outcomes of connections that send something and are kept open."""
    open_ones = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            open_ones.append(served.connect(sent))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.5)
        for mine in open_ones:  # a byte now and then keeps no connection
            with contextlib.suppress(OSError):
                mine.send(b'x')
    for mine in open_ones:
        mine.close()
    return [Outcome(name, REFUSED)] * count


def run(folder, dice, tries):
    """All attacks on one server, idle connections on one with few descriptors, and the ends of both."""
    import small  # noqa: F401, how models compile
    from narrow_models import make_workdir

    os.environ['XLA_FLAGS'] = os.environ['XLA_FLAGS'].replace('device_count=8', 'device_count=1')
    workdir = make_workdir(folder / 'run', 'can')
    pictures = [file.read_bytes() for file in sorted((workdir / 'samples').iterdir())]
    start = f'POST {PATH} HTTP/1.1\r\nhost: localhost\r\n'.encode()
    served = Served(workdir)
    yield from attacked(served, 'nothing', pictures, lambda: held(served, 'nothing', 0, b'', 5))
    for name, sent in (('idle connections', b''), ('half heads', start),
                       ('half bodies', start + b'content-length: 900000\r\n\r\n')):
        yield from attacked(served, name, pictures, functools.partial(held, served, name, 200 * tries, sent))
    odd = [(method, PATH + query, headers, body) for method, query, headers, body in ODD]
    yield from attacked(served, 'odd requests', pictures, lambda: posted(served, 'odd requests', odd))
    for name, make in IMAGES.items():
        requests = [('POST', PATH, {}, make())] * tries
        yield from attacked(served, name, pictures, functools.partial(posted, served, name, requests))
    scans = [('POST', PATH, {}, IMAGES['a hundred scans']())] * 20
    ending = threading.Thread(target=posted, args=(served, 'at the end', scans))
    ending.start()
    time.sleep(1)
    yield served.end('scans')
    ending.join()
    few = Served(workdir, descriptors=128)
    yield from attacked(few, 'idle connections, 128 descriptors', pictures,
                        lambda: held(few, 'idle', 200 * tries, b''))
    yield few.end('128 descriptors')
