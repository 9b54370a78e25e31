"""Fixtures of all tests, and the order in which their files run."""

import functools
import gc
import signal

import pytest
from small import DEMO, NARROW, ROOT, prepared

# A shell's background jobs ignore interrupts, and so would every child.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tracing makes millions of objects that stay, and garbage collection over them takes a third of its time.
gc.set_threshold(50_000, 20, 10)

# The slowest files, slowest first: the two processes take whole files, and should end together.
SLOWEST = (
    'models/test_goldens', 'train/test_faults', 'models/test_contract', 'config/test_experiments',
    'sweep/test_sweep', 'train/test_train', 'export/test_onnx_models', 'train/test_resident',
    'export/test_export', 'commands/test_commands', 'models/test_can', 'bench/test_limits',
    'models/test_convolutions', 'report/test_report', 'models/test_latex_ocr', 'train/test_initial',
    'bench/test_collectives', 'models/test_rare', 'images/test_augment', 'prepare/test_prepare_sets')


def pytest_collection_modifyitems(items):
    """The slowest files first."""
    order = {ROOT / 'tests' / f'{name}.py': number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """Bench results of the user are neither read nor written."""
    monkeypatch.setenv('RECOG_CACHE', str(tmp_path / 'cache'))


@pytest.fixture(autouse=True, scope='module')
def _no_litter():
    """Free the compiled programs of a file, many of which are in reference cycles, before the next file.

    What is left stays to the end of the suite: frozen, it is not looked through again after every file.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session')
def reader(tmp_path_factory):
    """A small published reader, which tests must not change."""
    from readers import publish

    place = tmp_path_factory.mktemp('published') / 'small'
    assert publish(place) == 0
    return place


@pytest.fixture
def narrow():
    """The demo recipe, narrow; call it with overrides such as 'train.batch=8'."""
    from recog.config import experiments

    return lambda *overrides: experiments.load(DEMO,
                                               [*NARROW, *(f'--config.{override}' for override in overrides)])


@pytest.fixture
def folder(tmp_path):
    """Make a prepared folder: folder('words/test', [('a.png', 'Hello'), ...])
    below the root that it returns."""
    return functools.partial(prepared, tmp_path)
