"""Processes that meet before JAX connects them, here as threads."""

import contextlib
import re
import socket
import threading
import time

import pytest

from recog.devices import meeting
from recog.errors import ConfigError


@pytest.fixture
def address(monkeypatch):
    """A free address, at which nobody is patient."""
    monkeypatch.setattr(meeting, 'FIRST_WORD', 0.3)
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return f'127.0.0.1:{probe.getsockname()[1]}'


def together(address, *processes, seconds=20.0, asked=lambda: False):
    """What became of processes (number, count): '' if it was let go, else why not."""
    ends = [None] * len(processes)

    def join(place, number, count):
        try:
            meeting.meet(address, count, number, seconds, asked)
            ends[place] = ''
        except ConfigError as error:
            ends[place] = str(error)

    threads = [threading.Thread(target=join, args=(place, *each)) for place, each in enumerate(processes)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    return ends


def test_all_are_let_go_once_the_last_is_there_in_whatever_order_they_come(address):
    assert together(address, (2, 3), (0, 3), (1, 3)) == ['', '', '']
    assert together(address, (0, 2), (1, 2)) == ['', '']  # the port is free again
    assert together(address, (0, 1)) == ['']


@pytest.mark.parametrize('number, what', [(0, 'process 1 to join'), (1, 'process 0 at 127.0.0.1')])
def test_one_alone_says_what_it_waits_for_and_ends(address, capsys, number, what):
    [why] = together(address, (number, 2), seconds=1.0)
    assert f'process {number} of 2 waited 1 s for {what}' in why
    assert f'recog train: process {number} of 2 waits for {what}' in capsys.readouterr().err


def test_those_that_are_there_say_who_is_missing(address, capsys):
    for why in together(address, (0, 3), (1, 3), seconds=1.5):  # one of the two leaves first
        assert re.search('waited .* s for process (1, )?2 to join', why)
    assert 'process 1 of 3 waits for process 2 to join' in capsys.readouterr().err


def test_two_with_one_number_end_all_and_are_named(address):
    whys = together(address, (0, 3), (1, 3), (1, 3))
    assert all('two processes have --process 1: process ' in why for why in whys)


def test_processes_that_count_differently_are_refused(address):
    whys = together(address, (0, 3), (1, 2))
    assert whys == ['process 1 was started with --processes 2, process 0 with 3'] * 2


def test_a_second_process_0_finds_the_port_in_use(address):
    whys = together(address, (0, 2), (0, 2), seconds=1.0)
    assert 'waited 1 s' in whys[0]
    assert f'--coordinator {address}: process 0 cannot listen there (Address already in use)' in whys[1]


def test_a_stranger_at_the_port_is_not_taken_for_process_0(address, capsys):
    with socket.create_server(('127.0.0.1', int(address.partition(':')[2]))) as stranger:
        stranger.settimeout(0.1)
        over = threading.Event()

        def answer():
            while not over.is_set():
                with contextlib.suppress(OSError):
                    guest, _ = stranger.accept()
                    guest.sendall(b'HTTP/1.0 400 Bad request\n')
                    guest.close()

        thread = threading.Thread(target=answer)
        thread.start()
        [why] = together(address, (1, 2), seconds=1.0)
        over.set()
        thread.join()
    assert f'waited 1 s for process 0 at {address}' in why
    assert 'where something else answers' in capsys.readouterr().err


def test_a_stranger_who_comes_to_process_0_counts_as_nobody(address):
    def call():
        time.sleep(0.5)
        with socket.create_connection(('127.0.0.1', int(address.partition(':')[2]))) as stranger:
            stranger.sendall(b'GET / HTTP/1.0\n\n')

    thread = threading.Thread(target=call)
    thread.start()
    [why] = together(address, (0, 2), seconds=1.5)
    thread.join()
    assert 'for process 1 to join' in why


def test_a_signal_ends_the_wait(address):
    assert 'stopped by a signal' in together(address, (0, 2), asked=lambda: True)[0]


@pytest.mark.parametrize('given, message', [
    (('host:1', 2, 2), '--process 2 must be from 0 to 1, as --processes is 2'),
    (('host', 2, 0), "--coordinator 'host' must be HOST:PORT"),
    (('host:99999', 2, 0), "--coordinator 'host:99999' must be HOST:PORT"),
])
def test_what_cannot_be_is_refused_at_once(given, message):
    with pytest.raises(ConfigError, match=message):
        meeting.check(*given)
