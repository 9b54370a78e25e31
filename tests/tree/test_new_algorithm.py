"""A new algorithm is a model, an experiment and a golden: with these three alone all commands know it."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from golden import fill
from small import ROOT, on

TOY = Path(__file__).parent / 'toy'
WIDTH, CLASSES = 16, 37
SHAPES = {'conv0.weight': (WIDTH, 3, 3, 3), 'conv1.weight': (WIDTH, WIDTH, 3, 3),
          'head.weight': (WIDTH, CLASSES),
          'head.bias': (CLASSES,), **{f'norm{number}.{name}': (WIDTH,) for number in range(2)
                                      for name in ('weight', 'bias', '_mean', '_variance')}}
REST = '''
import jax
from golden import difference, golden

from recog import models
from recog.commands import command_line
from recog.config import experiments
from recog.models.peers import from_peer
from recog.text import vocabulary

want, _, state = golden('toy')
config = experiments.load('experiments/toy.py')
model = models.build(config, vocabulary.from_config(config.text))
given = {name: want[name] for name in ('image', 'size')}
assert difference(jax.jit(model.apply)(from_peer(model, state), given)[0]['head'], want['eval.head']) < 1e-5

measured = ['bench', '--config', 'experiments/toy.py', '--only', 'infer', '--batch', '2', '--seconds', '0.1']
assert command_line.main(measured) == 0
assert command_line.main(['bench', '--all', 'figures', '--recipes', 'toy']) == 2
assert command_line.main(['export', 'runs/demo-toy', 'exported', '--format', 'onnx']) == 0
'''


def convolved(x, kernel):
    """A convolution of 3 x 3 that takes every second cell of x [C, H, W]."""
    cells = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3),
                                                     (1, 2))[:, ::2, ::2]
    return np.einsum('chwij,dcij->dhw', cells, kernel)


def reference(state, image):
    """The toy's logits [T, 1 + V] of an image [H, W, C] as another implementation computes them."""
    x = (image.transpose(2, 0, 1) / 255 - 0.5) / 0.5
    for number in range(2):
        scale, bias, mean, variance = (state[f'norm{number}.{name}'][:, None, None]
                                       for name in ('weight', 'bias', '_mean', '_variance'))
        x = convolved(x, state[f'conv{number}.weight'])
        x = np.maximum((x - mean) / np.sqrt(variance + 1e-5) * scale + bias, 0)
    return x.mean(1).T @ state['head.weight'] + state['head.bias']


def write_golden(folder):
    """What the reference gives for an image of noise."""
    rows = [{'key': key, 'seed_key': key, 'shape': shape} for key, shape in SHAPES.items()]
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 100, 3)).astype(np.uint8)
    head = reference({key: fill(key, shape) for key, shape in SHAPES.items()}, image[0])
    (folder / 'toy.keys.json').write_text(json.dumps(rows))
    np.savez(folder / 'toy.npz', **{'image': image, 'size': np.array([[32, 100]]), 'eval.head': head[None]})


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """This tree with one algorithm more: its model, its experiment and its golden."""
    place = tmp_path_factory.mktemp('checkout')
    for name in ('recog', 'experiments', 'tests'):
        shutil.copytree(ROOT / name, place / name,
                        ignore=shutil.ignore_patterns('__pycache__', 'fixtures', 'results'))
    shutil.copy(ROOT / 'setup.cfg', place)
    shutil.copy(TOY / 'model.py', place / 'recog' / 'models' / 'toy.py')
    shutil.copy(TOY / 'experiment.py', place / 'experiments' / 'toy.py')
    # Compiled programs are kept for the next run.
    (place / '.pytest_cache').mkdir()
    (place / '.pytest_cache' / 'xla').symlink_to(os.environ['JAX_COMPILATION_CACHE_DIR'])
    write_golden(place / 'tests' / 'models' / 'goldens')
    return place


def start(checkout, *arguments, **how):
    """Python in the copy."""
    paths = os.pathsep.join(map(str, (checkout, checkout / 'tests')))
    environment = os.environ | {'PYTHONPATH': paths, 'XLA_FLAGS': on(1)}
    return subprocess.Popen([sys.executable, *arguments], cwd=checkout, env=environment, text=True, **how)


def answered(address):
    """What a server that is about to start answers."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            time.sleep(0.25)
    raise TimeoutError(address)


def test_it_keeps_the_contract(checkout):
    options = ('-q', '-p', 'no:xdist', '-p', 'no:cacheprovider', '-o', 'addopts=--import-mode=importlib',
               '-k', 'toy')
    with start(checkout, '-m', 'pytest', *options, 'tests/models/test_contract.py',
               stdout=subprocess.PIPE) as running:
        said = running.stdout.read()
    assert running.returncode == 0 and int(re.search(r'(\d+) passed', said)[1]) >= 12, said


@pytest.mark.slow
def test_its_demo_is_trained_and_served_and_it_is_measured_and_exported(checkout, capfd):
    with start(checkout, '-m', 'recog', 'demo', '--only', 'toy', '--port', '0',
               stderr=subprocess.PIPE) as serving:
        try:
            said = next((line for line in serving.stderr if 'http://' in line), '')
            assert said.endswith(' with toy\n')
            assert [model['name'] for model in answered(re.search(r'http://\S+', said)[0]
                                                        + 'v1/models')['models']] == ['toy']
        finally:
            serving.kill()
    with start(checkout, '-c', REST) as running:
        pass
    said = capfd.readouterr()
    assert running.returncode == 0, said.out + said.err
    assert 'infer_2' in said.out
    assert re.search(r'must be of crnn-r34, .*, toy-plain, .*can-d28', said.err)
    assert json.loads((checkout / 'exported' / 'manifest.json').read_text())['parity']['images'] > 0
