"""What all tests share: eight simulated devices, one compilation cache, a narrow recipe and small prepared data."""

import functools
import gc
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

# Before jax is imported: sharding is tested on a mesh; LLVM, which takes half the time of compiling, optimises nothing unless
# XLA_FLAGS=--xla_backend_optimization_level=3 is given; and a program, however small, is compiled once for all tests, their
# child processes and later runs of the suite.
EIGHT = '--xla_force_host_platform_device_count=8'
if EIGHT not in os.environ.get('XLA_FLAGS', ''):  # pytest's own processes have it from the first
    os.environ['XLA_FLAGS'] = f'--xla_backend_optimization_level=0 {os.environ.get("XLA_FLAGS", "")} {EIGHT}'
os.environ['JAX_COMPILATION_CACHE_DIR'] = str(Path(__file__).parents[1] / '.pytest_cache' / 'xla')
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
# A shell's background jobs ignore interrupts, and so would every child.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tracing makes millions of objects that stay: looking through them for cycles again and again is a third of its time.
gc.set_threshold(50_000, 20, 10)

# For what a test compiles itself and compares by more than the last digits: a fifth of the time.
QUICKLY = {'xla_backend_optimization_level': 0, 'xla_cpu_use_fusion_emitters': False}
# For what is compared by them: what XLA does by default.
EXACTLY = {'xla_backend_optimization_level': 3}
ROOT = Path(__file__).parents[1]
DEMO = str(ROOT / 'experiments' / 'crnn.py') + ':demo'
# A CRNN that compiles in a second; weights, data and length stay each test's business.
NARROW = (
    '--config.image.width=48', '--config.model.lstm_hidden=8', '--config.train.batch=16', '--config.eval.batch=16',
    '--config.eval.limit=20', '--config.train.length=4 steps', '--config.eval.every=2 steps', '--config.checkpoint.every=2 steps',
    '--config.log.every=1', '--config.log.tensorboard=False', '--config.data.threads=1',
)
# The files that take longest, longest first: the two processes take whole files, and should end together.
DEAREST = ('test_faults', 'test_contract', 'test_experiments', 'test_train', 'test_export', 'test_resident', 'test_commands',
           'test_sweep', 'test_can', 'test_report', 'test_golden_rare', 'test_onnx', 'test_golden_srn', 'test_golden_crnn',
           'test_golden_can', 'test_latex_ocr', 'test_prepare_sets', 'test_onboard', 'test_imports', 'test_srn')


def pytest_collection_modifyitems(items):
    """The dearest files first."""
    order = {name: number for number, name in enumerate(DEAREST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def on(devices):
    """XLA's flags for a child process with so many devices."""
    return re.sub(r'(?<=device_count=)\d+', str(devices), os.environ['XLA_FLAGS'])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """Bench results of the user are neither read nor written."""
    monkeypatch.setenv('RECOG_CACHE', str(tmp_path / 'cache'))


@pytest.fixture(autouse=True, scope='module')
def _no_litter():
    """The programs of a file, of which many are in cycles, are gone when the next one begins."""
    yield
    gc.collect()


@pytest.fixture
def narrow():
    """The demo recipe, narrow; call it with overrides such as 'train.batch=8'."""
    from recog.config import experiments

    return lambda *overrides: experiments.load(DEMO, [*NARROW, *(f'--config.{override}' for override in overrides)])


@pytest.fixture
def folder(tmp_path):
    """Make a prepared folder: folder('words/test', [('a.png', 'Hello'), ...]) below the root that it returns."""
    return functools.partial(prepared, tmp_path)


def prepared(place, name, labels, broken=()):
    """A prepared folder of that name below the root that is returned; an image's noise is that of its number."""
    import cv2

    folder = place / 'data' / name
    folder.mkdir(parents=True)
    for number, (file, _) in enumerate(labels):
        random = np.random.default_rng(number)
        cv2.imwrite(str(folder / file), random.integers(0, 256, (20, 30 + 5 * number, 3), np.uint8))
        if file in broken:
            (folder / file).write_bytes(b'this is no image')
    (folder / 'labels.tsv').write_text(''.join(f'{file}\t{text}\n' for file, text in labels), encoding='utf-8')
    return place / 'data'
