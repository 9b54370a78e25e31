"""Starts Ray on this machine with recog behind Ray Serve, and compares its answers with those of recog.load.

    pip install 'recog[serve]' 'ray[serve]' && python tests/programs/cluster.py [WORKDIR]

Two replicas on two CPUs; the sample images of the workdir, one by one, as a form, and from eight clients at
once. Without a workdir one is made that has hardly been trained.
"""

import argparse
import json
import os
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from programs.load import Client, together
from programs.page import hardly_trained

ROOT = Path(__file__).parents[2]
os.environ['RAY_USAGE_STATS_ENABLED'] = '0'
# A busy machine needs more than the five seconds after which a starting proxy is taken for dead.
os.environ |= {f'RAY_SERVE_PROXY_{check}_CHECK_TIMEOUT_S': '60' for check in ('READY', 'HEALTH')}
SECONDS = 10


def asked(address, data=None, kind='application/octet-stream'):
    """Status and JSON of a request."""
    request = urllib.request.Request(address, data, {'content-type': kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def form(images):
    """Files as multipart/form-data, and its content type."""
    parts = [b'--edge\r\nContent-Disposition: form-data; name="file"; filename="' + name.encode()
             + b'"\r\n\r\n' + data + b'\r\n'
             for name, data in images.items()]
    return b''.join(parts) + b'--edge--\r\n', 'multipart/form-data; boundary=edge'


def check(what, holds):
    """Print one line for each check."""
    print(('ok   ' if holds else 'FAIL ') + what, flush=True)
    if not holds:
        raise SystemExit(1)


def compare(address, folder):
    """The answers of the cluster against those of this process."""
    import recog

    files = sorted((folder / 'samples').glob('*.png'))
    images = {file.name: file.read_bytes() for file in files}
    expected = dict(zip(images, recog.load(folder)(list(map(str, files))), strict=True))
    for name, data in images.items():
        status, said = asked(address, data)
        text, confidence = expected[name]
        check(f'{name}: {said}', status == 200 and said['text'] == text
              and abs(said['confidence'] - confidence) < 1e-3)
    status, said = asked(address, *form(images))
    check('a form is answered in its order', [(one['name'], one['text']) for one in said['answers']]
          == [(name, answer.text) for name, answer in expected.items()])
    for data, wanted in ((b'Dear reader', 415), (b'x' * 10_000_001, 413)):
        status, said = asked(address, data)
        check(f'refused with {status}: {said["error"]}', status == wanted)
    clients = [Client(address, 'any') for _ in range(8)]
    together(clients, images, {name: answer.text for name, answer in expected.items()}, SECONDS)
    check('nothing is lost and nothing swapped', not any(client.failed or client.wrong for client in clients))
    told = [asked(address)[1] for _ in range(40)]
    replicas = {one['replica']: one for one in told}
    for one in replicas.values():
        print(one)
    check('both replicas have read, and several images at a time',
          len(replicas) == 2 and all(one['batches'] < one['images'] for one in replicas.values()))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('workdir', nargs='?', type=lambda folder: Path(folder).resolve())
    arguments = parser.parse_args()
    import ray
    from ray import serve

    from recog.server.serve import listen

    sys.path.insert(0, str(ROOT))
    from deploy.ray_serve import application

    ray.init(num_cpus=2, include_dashboard=False, runtime_env={'env_vars': {'PYTHONPATH': str(ROOT)}})
    with listen('127.0.0.1', 0) as free:
        port = free.getsockname()[1]
    folder = tempfile.TemporaryDirectory()
    workdir = arguments.workdir or hardly_trained(Path(folder.name), 'crnn')
    try:
        serve.start(http_options={'host': '127.0.0.1', 'port': port})
        serve.run(application({'folder': str(workdir), 'replicas': '2'}))
        compare(f'http://127.0.0.1:{port}/', workdir)
    finally:
        serve.shutdown()
        ray.shutdown()
        folder.cleanup()
    print('Ray Serve answers as recog.load does')


if __name__ == '__main__':
    main()
