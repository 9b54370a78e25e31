"""A server on a socket: who may hold a connection and for how long, and how it ends."""

import asyncio
import contextlib
import http.client
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from counting import READ, Counting, picture
from small import ROOT

from recog.errors import ConfigError
from recog.server import connections, desk, intake, serve
from recog.server.app import Server
from recog.server.batching import Reader
from recog.server.connections import Door
from recog.server.intake import Limits


@contextlib.contextmanager
def running(door, reader=None, limits=None):
    """The port of a server in a thread of its own, and what its thread needs to end."""
    reader, limits = reader or Reader('fake', Counting(), batch=4), limits or Limits()
    listening = serve.listen('127.0.0.1', 0)
    port, stopped = listening.getsockname()[1], []
    thread = threading.Thread(target=lambda: asyncio.run(
        serve._watched(Server([reader], limits), door, listening, stopped)), daemon=True)
    thread.start()
    await_ready(port)
    try:
        yield port, stopped, thread
    finally:
        stopped.append(signal.SIGTERM)
        thread.join(20)
        assert not thread.is_alive()


def await_ready(port):
    """Wait until the server is ready."""
    while True:
        with contextlib.suppress(OSError):
            if asked(port, 'GET', '/health')[0] == 200:
                return
        time.sleep(0.01)


def asked(port, method, path, body=None, source='127.0.0.1', seconds=10):
    """Status and body of an answer to a client of some address."""
    client = http.client.HTTPConnection('127.0.0.1', port, seconds, (source, 0))
    try:
        client.request(method, path, body)
        answer = client.getresponse()
        return answer.status, answer.read().decode()
    finally:
        client.close()


def connected(port, sent=b'', source='127.0.0.1'):
    """A socket to the server that has sent something."""
    mine = socket.create_connection(('127.0.0.1', port), 10, (source, 0))
    mine.sendall(sent)
    return mine


def ended(mine):
    """Whether the server ends this connection, which must not take long."""
    with contextlib.suppress(ConnectionResetError):
        while mine.recv(1000):
            pass
    return True


UNFINISHED = f'POST {READ} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n'.encode()


def test_a_connection_without_a_whole_head_is_ended(monkeypatch):
    monkeypatch.setattr(connections, 'HEAD', 0.5)
    with running(Door(100, 100, 60.0)) as (port, _, _):
        whole = b'GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n'
        for sent in (b'', b'GET /health HTTP/1.1\r\nhost:', whole + b'G'):
            with connected(port, sent) as mine:
                if sent.startswith(whole):
                    assert mine.recv(1000).startswith(b'HTTP/1.1 200')
                assert ended(mine)
        dripping = connected(port)
        with contextlib.suppress(OSError):  # each byte is in time, the head is not
            for byte in whole[:-1]:
                dripping.sendall(bytes([byte]))
                time.sleep(0.05)
            pytest.fail('the connection was kept')


def test_a_request_that_stops_midway_is_refused_and_its_connection_ended(monkeypatch):
    monkeypatch.setattr(connections, 'HEAD', 0.5)
    with running(Door(100, 100, 0.5), limits=Limits(seconds=0.5)) as (port, _, _):
        with connected(port, UNFINISHED) as mine:
            assert mine.recv(1000).startswith(b'HTTP/1.1 408')
            assert ended(mine)


def test_idle_connections_take_no_place_from_requests():
    with running(Door(10, 10, 60.0)) as (port, _, _), contextlib.ExitStack() as open_ones:
        idle = [open_ones.enter_context(connected(port, source=f'127.0.0.{2 + number % 2}'))
                for number in range(50)]
        for _ in range(15):
            assert asked(port, 'POST', READ, picture(51))[0] == 200
            assert asked(port, 'GET', '/health')[0] == 200
        assert ended(idle[0])


def test_one_client_cannot_take_every_place_and_health_is_always_told():
    with running(Door(40, 4, 60.0)) as (port, _, _), contextlib.ExitStack() as open_ones:
        for _ in range(4):
            open_ones.enter_context(connected(port, UNFINISHED, '127.0.0.2'))
        time.sleep(0.2)
        status, said = asked(port, 'POST', READ, picture(1), '127.0.0.2')
        assert status == 503 and 'too many connections' in said
        assert asked(port, 'GET', '/health', source='127.0.0.2')[0] == 200
        assert asked(port, 'POST', READ, picture(1))[0] == 200


def test_where_all_places_are_busy_health_is_told_and_further_connections_are_ended():
    with running(Door(3, 3, 60.0)) as (port, _, _), contextlib.ExitStack() as open_ones:
        for _ in range(3):
            open_ones.enter_context(connected(port, UNFINISHED))
        time.sleep(0.2)
        spare = [open_ones.enter_context(connected(port)) for _ in range(3 * connections.SPARE)]
        assert asked(port, 'GET', '/health')[0] == 200
        assert asked(port, 'POST', READ, picture(1))[0] == 503
        assert ended(spare[0])


def test_an_ipv6_client_is_its_network():
    assert connections._client(('2001:db8::1', 1)) == connections._client(('2001:db8::ffff:2', 2))
    assert connections._client(('2001:db8::1', 1)) != connections._client(('2001:db8:0:1::1', 1))
    assert connections._client(('::ffff:10.0.0.1', 1)) == connections._client(('10.0.0.1', 2)) == '10.0.0.1'


def test_connections_leave_descriptors_for_all_else(monkeypatch):
    limit = [200]
    monkeypatch.setattr(resource, 'getrlimit', lambda _: (limit[0], limit[0]))
    monkeypatch.setattr(resource, 'setrlimit', lambda *_: None)
    assert 0 < connections.door(256, 60.0).most < 200 - connections.SPARE - 2 * connections.AT_ONCE
    limit[0] = 10
    with pytest.raises(ConfigError, match='may open 10 files'):
        connections.door(256, 60.0)
    limit[0] = resource.RLIM_INFINITY
    assert connections.door(256, 60.0).most == 1088


def test_the_event_loop_goes_on_while_bytes_are_looked_at(monkeypatch):
    answered, seen = threading.Event(), []

    def slow(given, most):
        seen.append(answered.wait(10))
        return 64
    monkeypatch.setattr(intake, 'pixels', slow)
    with running(Door(100, 100, 60.0)) as (port, _, _):
        posting = threading.Thread(target=asked, args=(port, 'POST', READ, picture(51)))
        posting.start()
        assert asked(port, 'GET', '/health')[0] == 200
        answered.set()
        posting.join()
    assert seen == [True]


def test_a_large_image_delays_no_small_one_and_the_end_waits_for_neither(monkeypatch):
    monkeypatch.setattr(serve, 'HURRY', 0.5)
    decode, large, release = intake.decode, threading.Event(), threading.Event()

    def slow(given, most):
        if len(given.data) > 1000:
            large.set()
            release.wait(20)
        return decode(given, most)
    monkeypatch.setattr(intake, 'decode', slow)
    answers, wide = [], picture(3, 2001, 2001)
    assert len(wide) > 1000
    began = time.monotonic()
    with running(Door(100, 100, 60.0)) as (port, stopped, thread):
        posting = [threading.Thread(target=lambda: answers.append(asked(port, 'POST', READ, wide)))
                   for _ in range(6)]
        for each in posting:
            each.start()
        assert large.wait(10)
        assert asked(port, 'POST', READ, picture(51))[0] == 200
        stopped.append(signal.SIGTERM)
        for each in posting:
            each.join()
        thread.join(10)
        release.set()
    assert [status for status, _ in answers] == [503] * 6 and 'stopping' in answers[0][1]
    assert time.monotonic() - began < 10


# A server of a model that counts; `early` gets Ctrl-C before uvicorn is there, `stuck` decodes for ever.
SCRIPT = '''
import asyncio, os, signal, sys, time
sys.path.insert(0, 'tests')
from counting import Counting
from recog.server import intake, serve
from recog.server.batching import Reader
serve.load = lambda name, *others: Reader(name, Counting(), batch=1)
serve.HURRY = 0.5
if sys.argv[1] == 'early':
    run = asyncio.run
    def interrupted(work):
        os.kill(os.getpid(), signal.SIGINT)
        run(work)
    asyncio.run = interrupted
else:
    intake.decode = lambda *given: time.sleep(60)
sys.exit(serve.serve({'fake': ''}, serve.listen('127.0.0.1', 0), serve.Settings()))
'''


def test_ctrl_c_before_the_server_answers_ends_it_cleanly():
    done = subprocess.run([sys.executable, '-c', SCRIPT, 'early'], cwd=ROOT, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0 and 'Traceback' not in done.stderr and 'http://' in done.stderr


def test_the_end_of_the_process_waits_for_no_thread_that_decodes():
    child = subprocess.Popen([sys.executable, '-c', SCRIPT, 'stuck'], cwd=ROOT, stderr=subprocess.PIPE,
                             text=True)
    lines = []
    while not (lines and 'ready' in lines[-1]):
        lines.append(child.stderr.readline())
        assert lines[-1], lines
    port = int(next(filter(None, (re.search(r':(\d+)/', line) for line in lines)))[1])
    await_ready(port)
    posting = threading.Thread(target=asked, args=(port, 'POST', READ, picture(51)))
    posting.start()
    time.sleep(0.5)
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    said = child.communicate(timeout=30)[1]
    posting.join()
    assert child.returncode == 0 and 'Traceback' not in said
    assert time.monotonic() - began < 10


def test_a_token_that_no_request_could_carry_is_refused_at_the_start(monkeypatch):
    for token in ('', ' ', 'two words', 'pass\n', 'pässe', '令'):
        monkeypatch.setenv(desk.TOKEN, token)
        with pytest.raises(ConfigError, match='RECOG_TOKEN must be') as caught:
            serve.check(serve.Settings())
        assert not token.strip() or token not in str(caught.value)
    monkeypatch.setenv(desk.TOKEN, 'a.token-of_ASCII+/=')
    serve.check(serve.Settings())
    monkeypatch.delenv(desk.TOKEN)
    assert desk.required_token() == ''
