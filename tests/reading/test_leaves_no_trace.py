"""A call of the library leaves the process of its caller as it was: every setting that others share."""

import json
import os
import subprocess
import sys

import pytest
from small import DEMO, NARROW, ROOT, on

FOLDERS = ROOT / 'tests' / 'fixtures' / 'recog-0.1.0-2bb25bb'

# Some libraries change settings when they are imported: only what recog's calls change after that counts.
SCRIPT = '''
import gc, json, locale, logging, os, random, signal, sys, threading, warnings
from pathlib import Path

import absl.logging, cv2, jax, matplotlib, numpy as np
import flax.linen, grain, optax, orbax.checkpoint, rich.style, tensorstore  # noqa: F401
from absl import flags

import recog

def settings():
    names = '', 'absl', 'jax', 'PIL', 'matplotlib', 'orbax'
    loggers = {name or 'root': logging.getLogger(name) for name in names}
    return {
        'cv2.getNumThreads': cv2.getNumThreads(),
        'cv2.useOptimized': cv2.useOptimized(),
        'absl verbosity': absl.logging.get_verbosity(),
        'absl flags are parsed': flags.FLAGS.is_parsed(),
        'log levels': {name: logger.level for name, logger in loggers.items()},
        'log handlers': {name: list(map(repr, logger.handlers)) for name, logger in loggers.items()},
        'log filters': {name: list(map(repr, logger.filters)) for name, logger in loggers.items()},
        'gc threshold': gc.get_threshold(),
        'gc is enabled': gc.isenabled(),
        'environment': dict(os.environ),
        'jax.config': {name: repr(value) for name, value in jax.config.values.items()},
        'warnings': list(map(repr, warnings.filters)),
        'matplotlib': {name: repr(value) for name, value in matplotlib.rcParams.items()},
        'matplotlib backend': repr(dict.get(matplotlib.rcParams, 'backend')),
        'random': repr(random.getstate()),
        'numpy.random': repr(np.random.get_state()),
        'numpy errors': np.geterr(),
        'numpy prints': repr(np.get_printoptions()),
        'locale': locale.setlocale(locale.LC_ALL),
        'signals': {str(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        'hooks': list(map(repr, (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook))),
        'recursion limit': sys.getrecursionlimit(),
        'folder': os.getcwd(),
        'path': list(sys.path),
        'umask': [os.umask(0o022), os.umask(0o022)][0],
        'threads': sorted(thread.name for thread in threading.enumerate() if not thread.daemon),
    }

def main():
    before = settings()
    calls(*sys.argv[1:])
    after = settings()
    print(json.dumps(differing(before, after)))

def differing(before, after):
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [before, after]
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return {name: differing(before.get(name), after.get(name)) for name in names}
'''
READ = '''
def calls(folder, samples):
    recognizer = recog.load(folder)
    files = sorted(Path(samples).glob('*.png'))
    recognizer(str(files[0]))
    recognizer([*map(str, files), cv2.imread(str(files[1]))] * 9)  # more than a batch: it is read ahead
    for reading in recognizer.read(recognizer_source(files)):
        break  # a reader may stop early

def recognizer_source(files):
    from recog.data.files import Files
    return Files('samples', list(map(str, files)) * 99)
'''
TRAIN = '''
def calls(folder, demo, *narrow):
    from recog.config import experiments
    from recog.text import vocabulary
    from recog.train.loop import train_to_end
    from recog.train.run import make_run
    from recog.workdir import description

    flags = ['train.length=1 steps', 'eval.limit=2', 'data.workers=1', 'data.order=shuffle',
             'image.augment.noise=5.0']
    config = experiments.load(demo, [*narrow, *(f'--config.{flag}' for flag in flags)])
    run = make_run(config, vocabulary.from_config(config.text), '.', jax.devices()[:1])
    description.write(Path(folder), config, run.vocab)
    assert train_to_end(run, Path(folder))
'''


def changes(calls, *arguments):
    """What the calls change in a process of their own: the settings, each before and after."""
    script = f'{SCRIPT}{calls}\nif __name__ == "__main__":\n    main()\n'
    file = arguments[-1] / 'calls.py'
    file.write_text(script, encoding='utf-8')
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'XLA_FLAGS': on(1)}
    line = [sys.executable, str(file), *map(str, arguments[:-1])]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('name', ['run', 'export-onnx', 'export-stablehlo'])
def test_loading_a_model_and_reading_with_it_change_no_setting(name, tmp_path):
    assert changes(READ, FOLDERS / name, FOLDERS / 'run' / 'samples', tmp_path) == {}


@pytest.mark.slow
def test_training_changes_no_setting(tmp_path):
    assert changes(TRAIN, tmp_path / 'run', DEMO, *NARROW, tmp_path) == {}
