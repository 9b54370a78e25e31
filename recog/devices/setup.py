"""A process made ready for a command: quiet, with its compiled programs kept, on the devices asked for.

Only commands do this. Whoever calls the library keeps his process as it was.
"""

import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import jax
from absl import logging

from recog.devices.mesh import choose_devices


def cache() -> Path:
    """Where compiled programs and measurements are kept: $RECOG_CACHE, else ~/.cache/recog."""
    return Path(os.environ.get('RECOG_CACHE') or '~/.cache/recog').expanduser()


def start(names: str = '') -> list[jax.Device]:
    """The devices with these numbers, or all, once this process is made ready for a command."""
    import cv2
    from absl import flags

    # Tracing makes millions of objects that stay: searching them for cycles again and again is a third of its time.
    gc.set_threshold(50_000, 20, 10)
    logging.set_verbosity(logging.ERROR)  # Orbax warns of what it was asked to do
    cv2.setNumThreads(1)  # the threads that read images share the cores already
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain's worker processes ask for them
    if not os.environ.get('JAX_COMPILATION_CACHE_DIR'):
        jax.config.update('jax_compilation_cache_dir', str(cache() / 'xla'))
    return choose_devices(names)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Orbax's warnings of what it was asked to do."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
