"""What tests and programs share: eight simulated devices, one compilation cache,
a narrow recipe and small prepared data."""

import os
import re
from pathlib import Path

import numpy as np

# Before jax is imported. Sharding is tested on a mesh of eight simulated devices. Compiling takes most of the
# suite's time, so XLA emits code the cheap way and LLVM optimises nothing; a flag that is given in XLA_FLAGS
# comes later and wins. A compiled program, however small, is kept for all tests, their child processes and
# later runs of the suite.
EIGHT = '--xla_force_host_platform_device_count=8'
CHEAP = ('--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false '
         '--xla_cpu_parallel_codegen_split_count=1')
if EIGHT not in os.environ.get('XLA_FLAGS', ''):  # pytest's own processes have it from the first
    os.environ['XLA_FLAGS'] = f'{CHEAP} {os.environ.get("XLA_FLAGS", "")} {EIGHT}'
os.environ['JAX_COMPILATION_CACHE_DIR'] = str(Path(__file__).parents[1] / '.pytest_cache' / 'xla')
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'

# Options for what a test compiles itself and does not compare to the last digit: a fifth of the time.
QUICKLY = {'xla_backend_optimization_level': 0, 'xla_cpu_use_fusion_emitters': False}
# Options for what is compared to the last digit: XLA's defaults.
EXACTLY = {'xla_backend_optimization_level': 3, 'xla_cpu_use_fusion_emitters': True}
ROOT = Path(__file__).parents[1]
DEMO = str(ROOT / 'experiments' / 'crnn.py') + ':demo'
# A CRNN that compiles in a second; weights, data and length stay each test's business.
NARROW = (
    '--config.image.width=48', '--config.model.lstm_hidden=8', '--config.train.batch=16',
    '--config.eval.batch=16',
    '--config.eval.limit=20', '--config.train.length=4 steps', '--config.eval.every=2 steps',
    '--config.checkpoint.every=2 steps',
    '--config.log.every=1', '--config.log.to=', '--config.data.threads=1',
)


def on(devices):
    """The XLA flags for a child process with this many devices."""
    return re.sub(r'(?<=device_count=)\d+', str(devices), os.environ['XLA_FLAGS'])


def prepared(place, name, labels, broken=()):
    """A prepared folder of that name, below the root that is returned;
    each image is noise seeded with its number."""
    import cv2

    folder = place / 'data' / name
    folder.mkdir(parents=True)
    for number, (file, _) in enumerate(labels):
        random = np.random.default_rng(number)
        cv2.imwrite(str(folder / file), random.integers(0, 256, (20, 30 + 5 * number, 3), np.uint8))
        if file in broken:
            (folder / file).write_bytes(b'this is no image')
    (folder / 'labels.tsv').write_text(''.join(f'{file}\t{text}\n' for file, text in labels),
                                       encoding='utf-8')
    return place / 'data'


def plain_distance(a, b) -> int:
    """The edit distance by the textbook's table, row by row."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (left != right))
    return row[-1]
