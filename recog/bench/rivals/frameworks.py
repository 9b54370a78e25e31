"""The frameworks in which there are rivals: the same networks, which are timed beside ours."""

import contextlib
import io
import os
import warnings
from collections.abc import Callable
from typing import NamedTuple


class Framework(NamedTuple):
    """A framework, its rivals, and how it is started."""

    name: str
    folder: str  # of the rivals, in recog/bench; --FOLDER is the option
    package: str  # as pip knows it
    start: Callable[[int], str]  # from a number of threads to the version; raises ModuleNotFoundError

    @property
    def option(self) -> str:
        """The option of `recog bench` that compares with it."""
        return f'--{self.folder}'


def _pytorch(threads: int) -> str:
    import torch

    torch.set_num_threads(threads)
    return torch.__version__


def _paddle(threads: int) -> str:
    # Paddle reads these once, while it is imported, and prints a warning of all threads but 1.
    os.environ['OMP_NUM_THREADS'] = str(threads)
    os.environ.setdefault('GLOG_minloglevel', '2')  # errors; it also warns of its own code
    warnings.filterwarnings('ignore', module=r'paddle\.')
    with contextlib.redirect_stderr(io.StringIO()):
        import paddle

    return paddle.__version__


PYTORCH = Framework('PyTorch', 'pytorch', 'torch', _pytorch)
PADDLE = Framework('Paddle', 'paddle', 'paddlepaddle', _paddle)
