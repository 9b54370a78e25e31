"""The process made ready for a command: quiet, with compiled programs kept, on the devices asked for.

Only commands call `start`. Whoever calls the library finds the process as it was.
"""

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import jax

from recog.devices.cache import cache
from recog.devices.mesh import choose_devices

QUIETLY = 'ignore:resource_tracker:UserWarning'


def start(names: str = '') -> list[jax.Device]:
    """Make this process ready for a command; returns the devices with these numbers, or all."""
    import cv2
    from absl import logging as absl_logging

    # Tracing makes millions of objects that stay: looking for cycles in them takes a third of its time.
    gc.set_threshold(50_000, 20, 10)
    absl_logging.set_verbosity(absl_logging.ERROR)  # Orbax warns of what it was asked to do
    logging.getLogger('absl').addFilter(_not_of_orbax)
    sys.unraisablehook = _report
    # For the process that removes what workers leave of shared memory, which would count it aloud.
    if QUIETLY not in sys.warnoptions:
        sys.warnoptions.append(QUIETLY)
    cv2.setNumThreads(1)  # the threads that read images share the cores already
    if not os.environ.get('JAX_COMPILATION_CACHE_DIR'):
        jax.config.update('jax_compilation_cache_dir', str(cache() / 'xla'))
        # Small programs, too: a command has dozens of them, of which each takes a fraction of a second.
        jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    return choose_devices(names)


def _not_of_orbax(record: logging.LogRecord) -> bool:
    """Whether others than Orbax log this: it logs the error of each of its threads, and raises them, too."""
    return '/orbax/' not in record.pathname


def _report(unraisable: Any) -> None:
    """Print an error that could not be raised, but not that TensorStore ends a save that Orbax gave up."""
    error = unraisable.exc_value
    if not (isinstance(error, RuntimeError) and str(error) == 'Event loop is closed'):
        sys.__unraisablehook__(unraisable)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Orbax's warnings of what it was asked to do; log levels, which all threads share, stay."""
    logger = logging.getLogger('absl')

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    logger.addFilter(is_error)
    try:
        yield
    finally:
        logger.removeFilter(is_error)
