"""The frameworks in which there are rivals: the same networks, which are timed beside ours."""

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


PYTORCH = Framework('PyTorch', 'pytorch', 'torch', _pytorch)
