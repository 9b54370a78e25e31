"""Checks training on sets in a bucket (emulators of Google Cloud Storage and S3 on this machine): a packed
set, Parquet shards, a run that is killed while it fetches, two runs that share a cache, and what cannot be.

    pip install gcsfs s3fs gcp-storage-emulator 'moto[server]' && python tests/programs/bucket_data.py

Every run must equal, bit for bit, the one on local files.
"""

import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from programs.bucket import BUCKET, emulator, ended, free_port, recog
from programs.kill import RECIPE as KILLED
from programs.kill import STEPS
from runs import differences
from small import DEMO

RECIPE = [*KILLED, '--config.data.train=packed,shards:train', '--config.data.weights=3,1',
          '--config.eval.report=words']
COUNT = 60  # words of each set


@contextlib.contextmanager
def s3():
    """An emulator of S3 with a bucket, and the environment in which s3fs finds it."""
    from moto.server import ThreadedMotoServer

    port = free_port()
    os.environ.update(AWS_ENDPOINT_URL=f'http://127.0.0.1:{port}', AWS_ACCESS_KEY_ID='any',
                      AWS_SECRET_ACCESS_KEY='any', AWS_DEFAULT_REGION='us-east-1')
    server = ThreadedMotoServer('127.0.0.1', port, verbose=False)
    server.start()
    import s3fs

    s3fs.S3FileSystem().mkdir('recog-test')
    try:
        yield 's3://recog-test'
    finally:
        server.stop()


def make_sets(data):
    """A folder of words, a packed copy of it, and Parquet shards, sealed."""
    import numpy as np
    from small import prepared

    import datasets

    prepared(data.parent, 'words', [(f'{number}.png', f'word{number % 10}') for number in range(COUNT)])
    ended(recog('pack', 'words', '--config', DEMO, *[each for each in KILLED if 'image.width' in each],
                '--data', data, '--name', 'packed', '--workers', 1))
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (20, 40, 3), np.uint8) for _ in range(COUNT)]
    features = datasets.Features({'image': datasets.Image(), 'text': datasets.Value('string')})
    rows = datasets.Dataset.from_dict({'image': images, 'text': ['shard'] * COUNT}, features=features)
    (data / 'shards').mkdir()
    for number in range(2):
        rows.shard(2, number).to_parquet(data / 'shards' / f'train-{number:05}-of-00002.parquet')
    ended(recog('check', data / 'shards', '--seal'))


def copy(data, root):
    """Copy the sets to a bucket."""
    import fsspec

    files, place = fsspec.core.url_to_fs(root)
    for file in data.rglob('*'):
        if file.is_file():
            files.pipe_file(f'{place}/{file.relative_to(data).as_posix()}', file.read_bytes())


def train(workdir, data, cache, *extra):
    """Start or resume training on sets below a root."""
    os.environ['RECOG_DATA_CACHE'] = str(cache)
    return recog('train', '--config', DEMO, '--workdir', workdir, '--data', data, *RECIPE, *extra)


def equal(one, other, what):
    """Refuse runs that differ."""
    found = differences(one, other, STEPS)
    if found:
        raise RuntimeError(f'{what} differs in {", ".join(found)}')
    print(f'{what}: equal, bit for bit', flush=True)


def from_a_bucket(folder, root):
    """A run that is killed while it fetches and once later, then two at the same time with one cache."""
    cache, workdir = folder / 'cache-of-one', folder / 'killed'
    first = train(workdir, root, cache)
    while first.poll() is None and not list(cache.glob('*.parts')):
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = train(workdir, root, cache)
    for line in second.stdout:
        if f'step {STEPS // 2 + 1}' in line or f'step {STEPS // 2 + 4}' in line:
            break
    second.send_signal(signal.SIGKILL)
    second.communicate()
    ended(train(workdir, root, cache))
    equal(folder / 'whole', workdir, 'killed twice and resumed')
    pair = [train(folder / f'pair-{number}', root, folder / 'cache-of-two') for number in range(2)]
    for process in pair:
        ended(process)
    for number in range(2):
        equal(folder / 'whole', folder / f'pair-{number}', 'one of two that share a cache')


def refused(folder, root):
    """What cannot be is one line, soon."""
    for data, cache_size, said in ((f'{root}/none', '1', 'is not there below'), (root, '1e-6', 'needs'),
                                   (f'{root[:-1]}x/data', '1', '--data')):
        os.environ['RECOG_DATA_CACHE_GB'] = cache_size
        begun = time.monotonic()
        line = ended(train(folder / 'refused', data, folder / 'refused-cache'), 2).strip().splitlines()[-1]
        if said not in line:
            raise RuntimeError(line)
        print(f'refused in {time.monotonic() - begun:.0f} s: {line[:200]}', flush=True)
    del os.environ['RECOG_DATA_CACHE_GB']


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as place, emulator(), s3() as amazon:
        place = Path(place)
        os.environ.update(RECOG_CACHE=str(place / 'cache'), HF_HOME=str(place / 'hf'))
        make_sets(place / 'data')
        ended(train(place / 'whole', place / 'data', place / 'none'))
        for root in (f'{BUCKET}/data', f'{amazon}/data'):
            copy(place / 'data', root)
            refused(place, root)
        from_a_bucket(place, f'{BUCKET}/data')
        ended(train(place / 's3', f'{amazon}/data', place / 's3-cache'))
        equal(place / 'whole', place / 's3', 's3')
        print('a set in a bucket is as good as a local one')
