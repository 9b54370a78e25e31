"""Many clients at once against a running `recog serve`: nothing may be lost, nothing swapped.

    recog serve demo=runs/demo & python tests/programs/load.py http://127.0.0.1:8000 demo runs/demo/samples
    [--clients 32] [--seconds 60]

First one client asks for each image once and keeps the answers, then alone for some seconds (the rate at
batch 1). Then all clients ask, each in its own order, and compare the answers with those of the first client.
"""

import argparse
import json
import os
import random
import threading
import time
import urllib.parse
from http.client import HTTPConnection
from pathlib import Path

SUFFIXES = ('.png', '.jpg', '.jpeg')


class Client:
    """One connection that is kept open, and the results of its requests."""

    def __init__(self, url, model):
        place = urllib.parse.urlsplit(url)
        self.connection = HTTPConnection(place.hostname, place.port, timeout=60)
        self.path = f'/v1/models/{model}/read'
        token = os.environ.get('RECOG_TOKEN')
        self.headers = {'authorization': f'Bearer {token}'} if token else {}
        self.seconds, self.wrong, self.failed = [], [], []

    def ask(self, image):
        """The status and the text of one image."""
        self.connection.request('POST', self.path, image, self.headers)
        response = self.connection.getresponse()
        said = json.loads(response.read())
        return response.status, said['text'] if response.status == 200 else said['error']

    def run(self, images, known, until, seed):
        """Ask in a random order until the time is over."""
        order = random.Random(seed)
        names = list(images)
        while time.monotonic() < until:
            name = order.choice(names)
            started = time.monotonic()
            try:
                status, text = self.ask(images[name])
            except (OSError, ValueError) as error:
                self.failed.append(f'{name}: {type(error).__name__}: {error}')
                self.connection.close()
                continue
            self.seconds.append(time.monotonic() - started)
            if status != 200:
                self.failed.append(f'{name}: {status}: {text}')
            elif text != known[name]:
                self.wrong.append(f'{name}: {text!r} instead of {known[name]!r}')


def together(clients, images, known, seconds):
    """Run all clients at once; returns their results in one line."""
    started = time.monotonic()
    threads = [threading.Thread(target=client.run, args=(images, known, started + seconds, seed))
               for seed, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed = time.monotonic() - started
    times = sorted(second for client in clients for second in client.seconds)
    p50, p99 = (1000 * times[min(int(share * len(times)), len(times) - 1)] for share in (0.5, 0.99))
    count = len(times)
    print(f'{len(clients)} clients, {passed:.0f} s: {count:,} answers, {count / passed:,.0f} requests/s, p50 '
          f'{p50:.1f} ms, '
          f'p99 {p99:.1f} ms, {sum(len(client.failed) for client in clients)} failed, '
          f'{sum(len(client.wrong) for client in clients)} swapped', flush=True)
    return count / passed


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('url')
    parser.add_argument('model')
    parser.add_argument('images', type=Path, help='folder of images')
    parser.add_argument('--clients', type=int, default=32)
    parser.add_argument('--seconds', type=float, default=60.0)
    arguments = parser.parse_args()
    files = sorted(file for file in arguments.images.iterdir() if file.suffix.lower() in SUFFIXES)
    images = {file.name: file.read_bytes() for file in files}
    first, known = Client(arguments.url, arguments.model), {}
    for name, image in images.items():
        status, known[name] = first.ask(image)
        if status != 200:
            raise SystemExit(f'{name}: {status}: {known[name]}')
    print(f'{len(images)} images, {len(set(known.values()))} different texts')
    alone = together([first], images, known, min(arguments.seconds, 10.0))
    clients = [Client(arguments.url, arguments.model) for _ in range(arguments.clients)]
    rate = together(clients, images, known, arguments.seconds)
    print(f'{rate / alone:.1f} times the rate of one client')
    bad = [line for client in (first, *clients) for line in (*client.wrong, *client.failed)]
    if bad:
        raise SystemExit('\n'.join(bad[:20]))


if __name__ == '__main__':
    main()
