"""JAX made ready for a command or a recognizer: quiet, with its compiled programs kept, on the devices asked for."""

import os

import jax
from absl import logging

from recog.config import values
from recog.devices.mesh import choose_devices


def devices(names: str = '') -> list[jax.Device]:
    """The devices with these numbers, or all, once compiled programs are kept for the next time."""
    logging.set_verbosity(logging.ERROR)  # Orbax warns of what it was asked to do
    if not os.environ.get('JAX_COMPILATION_CACHE_DIR'):
        jax.config.update('jax_compilation_cache_dir', str(values.cache() / 'xla'))
    return choose_devices(names)
