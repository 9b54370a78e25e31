"""The library of calls to oneDNN: compiled at its first use, then kept in recog's cache."""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import jax

from recog.devices.cache import cache

SOURCE = Path(__file__).with_name('library.cc')
CALLS = ('recog_convolution', 'recog_lstm_forward', 'recog_lstm_backward', 'recog_pack_kernel',
         'recog_packed_convolution', 'recog_pack_lstm', 'recog_packed_lstm')
SIZES = ctypes.POINTER(ctypes.c_int64)
# What a processor must have, as Linux names it, one of each: in bfloat16 for products to be faster than in
# float32.
INSTRUCTIONS = {'float32': ('avx2',), 'bfloat16': ('amx_bf16', 'avx512_bf16')}
OFF = '0'  # of the environment variable RECOG_ONEDNN


class Missing(Exception):
    """Why oneDNN is not used here."""


@functools.cache
def found(dtype: str) -> tuple[ctypes.CDLL | None, str]:
    """The library, if the processor gains by it in this type, and a line that says what computes, or why XLA
    does."""
    try:
        instructions = _instructions(dtype)
        library, version = _loaded()
    except (Missing, OSError) as problem:
        return None, f'XLA, since {problem}'
    return library, f'oneDNN {version} ({instructions})'


@functools.cache
def _loaded() -> tuple[ctypes.CDLL, str]:
    """The library, with its calls made known to XLA, and the version of oneDNN."""
    library = ctypes.CDLL(str(_compiled()))
    for name in CALLS:
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, name)), platform='cpu')
    library.recog_lstm_workspace.restype = ctypes.c_int64
    library.recog_lstm_workspace.argtypes = [ctypes.c_int64] * 4 + [ctypes.c_bool]
    library.recog_packed_kernel_bytes.restype = ctypes.c_int64
    library.recog_packed_kernel_bytes.argtypes = [SIZES, ctypes.c_bool]
    library.recog_packed_lstm_bytes.argtypes = [ctypes.c_int64] * 4 + [ctypes.c_bool, SIZES]
    number = library.recog_onednn_version()
    return library, f'{number // 10_000}.{number // 100 % 100}.{number % 100}'


def _instructions(dtype: str) -> str:
    """Those of the processor that make products in this type fast."""
    if os.environ.get('RECOG_ONEDNN') == OFF:
        raise Missing(f'RECOG_ONEDNN={OFF}')
    try:
        flags = Path('/proc/cpuinfo').read_text().partition('flags')[2].partition('\n')[0].split()
    except OSError:
        flags = []
    for name in INSTRUCTIONS[dtype]:
        if name in flags:
            return name
    raise Missing(f'the processor has not {" or ".join(INSTRUCTIONS[dtype])}')


def _compiled() -> Path:
    """The compiled library, made if it is not in the cache."""
    compiler = shutil.which(os.environ.get('CXX') or 'c++')
    if compiler is None:
        raise Missing('there is no C++ compiler')
    # How often oneDNN's threads look for their next work before they sleep: long enough for the next step of
    # an LSTM, and not as long as OpenMP has it, since XLA needs the cores. Without the policy they would look
    # a hundred times, as several of XLA's threads call, each of which has others: more than there are cores.
    os.environ.setdefault('OMP_WAIT_POLICY', 'active')
    os.environ.setdefault('GOMP_SPINCOUNT', '20000')
    digest = hashlib.sha256(b'\0'.join([SOURCE.read_bytes(), jax.__version__.encode(), compiler.encode()]))
    target = cache() / 'onednn' / f'{digest.hexdigest()[:16]}.so'
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / 'library.so'
            result = subprocess.run(
                [compiler, '-O2', '-std=c++17', '-shared', '-fPIC', '-w', '-isystem', jax.ffi.include_dir(),
                 str(SOURCE), '-ldnnl', '-o', str(made)], capture_output=True, text=True, check=False)
            if result.returncode:
                raise Missing(f'oneDNN cannot be compiled with: {_first_error(result.stderr)}')
            made.replace(target)
    return target


def _first_error(printed: str) -> str:
    """The line of a compiler's output that says what is wrong."""
    lines = [line.strip() for line in printed.splitlines()]
    return next((line for line in lines if 'error' in line or 'cannot find' in line), 'no reason was given')
