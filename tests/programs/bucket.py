"""Checks training into a bucket (an emulator of Google Cloud Storage on this machine): a run that is killed
and resumed, a second training on a workdir, and a run of two processes that loses one.

    pip install gcsfs gcp-storage-emulator && python tests/programs/bucket.py

The run in the bucket must equal, bit for bit, the one in a local folder.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from http.server import ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from programs.kill import RECIPE, STEPS, words
from runs import differences
from small import DEMO, ROOT

BUCKET = 'gs://recog-test'


@contextlib.contextmanager
def emulator():
    """A storage server of this process, and the environment in which all libraries find it."""
    from gcp_storage_emulator.handlers import objects

    plain = objects.download

    def download(request, response, storage, *args, **kwargs):
        response['x-goog-generation'] = '1'  # TensorStore needs it and the emulator leaves it out
        plain(request, response, storage, *args, **kwargs)

    objects.download = download
    from gcp_storage_emulator import server as emulated

    # The emulator takes one connection at a time: one that sends nothing would stop all others for ever.
    class Server(ThreadingHTTPServer):
        daemon_threads, request_queue_size = True, 128

        def handle_error(self, *details):
            """Killed clients disconnect in the middle of an answer."""

    alone, handle = threading.Lock(), emulated.Router.handle

    def in_turn(*given):
        with alone:
            handle(*given)

    emulated.Router.handle, emulated.RequestHandler.timeout = in_turn, 60
    emulated.server = types.SimpleNamespace(HTTPServer=Server)
    port = free_port()
    address = f'http://127.0.0.1:{port}'
    os.environ.update(STORAGE_EMULATOR_HOST=address, TENSORSTORE_GCS_HTTP_URL=address)
    logging.disable()  # the server names every object that is not there
    server = emulated.create_server('127.0.0.1', port, in_memory=True,
                                    default_bucket=BUCKET.removeprefix('gs://'))
    server.start()
    try:
        yield
    finally:
        server.stop()


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def recog(*arguments):
    """A recog command in a process of its own, with one device."""
    environment = {**os.environ, 'XLA_FLAGS': '--xla_force_host_platform_device_count=1',
                   'PYTHONUNBUFFERED': '1', 'PYTHONFAULTHANDLER': '1'}
    return subprocess.Popen([sys.executable, '-m', 'recog', *map(str, arguments)], cwd=ROOT, env=environment,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def train(workdir, data, *extra):
    """Start or resume training."""
    return recog('train', '--config', DEMO, '--workdir', workdir, '--data', data, *RECIPE, *extra)


def ended(process, status=0):
    """The output of a process, which has to end with this status."""
    try:
        said = process.communicate(timeout=300)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # it says then where each of its threads waits
        raise RuntimeError(f'no end after 300 s:\n{process.communicate()[0]}') from None
    if process.returncode != status:
        raise RuntimeError(f'status {process.returncode} instead of {status}:\n{said}')
    return said


def killed_and_resumed(folder):
    """A run in the bucket, killed after its first checkpoint, equals the local one;
    evaluate and predict open it."""
    from recog.workdir.folder import workdir_path

    data, remote = folder / 'data', workdir_path(f'{BUCKET}/runs/one')
    words(data / 'words')
    ended(train(folder / 'whole', data))
    process = train(remote, data)
    for line in process.stdout:
        if f'step {STEPS // 2 + 1}' in line or f'step {STEPS // 2 + 4}' in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ended(train(remote, data))
    found = differences(folder / 'whole', remote, STEPS)
    if found:
        raise RuntimeError(f'the run in the bucket differs in {", ".join(found)}')
    names = sorted(file.name for file in remote.iterdir())
    print('in the bucket:', ', '.join(names))
    for name in ('config.json', 'metrics.jsonl', 'results.md', 'loss.png', 'samples.png', 'samples',
                 'predictions.tsv'):
        if name not in names:
            raise RuntimeError(f'{name} is not in the bucket')
    for command in (('evaluate', remote, '--set', 'words', '--data', data),
                    ('predict', remote, data / 'words' / 'word.png')):
        print('\n'.join(line for line in ended(recog(*command)).splitlines() if 'words' in line
                        and 'credentials' not in line))


def a_second_is_refused(folder):
    """A second training on the workdir of one that runs is refused in a line that says who that is."""
    workdir, length = f'{BUCKET}/runs/three', '--config.train.length=100000 steps'
    first = train(workdir, folder / 'data', length)
    for line in first.stdout:
        if 'step 8/' in line:
            break
    threading.Thread(target=first.communicate, daemon=True).start()
    said = ended(train(workdir, folder / 'data', length), 2).strip().splitlines()[-1]
    running = first.poll() is None
    first.kill()
    if not running or f'is being trained in by process {first.pid} on' not in said:
        raise RuntimeError(f'the first {"runs" if running else "has ended"}, the second said: {said}')
    print(f'a second training: {said[:150]}')


def one_of_two_is_lost(folder):
    """When one of two processes is killed, the other says so and ends."""
    address = f'127.0.0.1:{free_port()}'
    pair = [train(f'{BUCKET}/runs/two', folder / 'data', '--config.train.length=4000 steps', '--coordinator',
                  address, '--processes', 2, '--process', number, '--patience', 20) for number in range(2)]
    said = [[], []]
    for process, lines in zip(pair, said, strict=True):
        threading.Thread(target=lambda process=process, lines=lines: lines.extend(process.stdout),
                         daemon=True).start()
    wait_until(lambda: any('step 8/' in line for line in said[0]), 240, said)
    pair[1].send_signal(signal.SIGKILL)
    begun = time.monotonic()
    status = pair[0].wait(timeout=90)
    wait_until(lambda: any('process 1' in line for line in said[0]), 60, said)
    if not status:
        raise RuntimeError('the process that was left ended with status 0')
    print(f'process 0 ended {time.monotonic() - begun:.0f} s after process 1 was killed: '
          + next(line for line in said[0] if 'process 1' in line).strip())


def wait_until(true, seconds, said):
    """Wait until something is true, for at most `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise RuntimeError('\n'.join(''.join(lines[-20:]) for lines in said))
        time.sleep(0.2)


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as place, emulator():
        os.environ.setdefault('RECOG_CACHE', str(Path(place) / 'cache'))
        killed_and_resumed(Path(place))
        a_second_is_refused(Path(place))
        one_of_two_is_lost(Path(place))
        print('a bucket is as good as a folder')
