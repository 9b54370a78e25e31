"""The threads that look at the bytes of images, and decode them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from recog.images.read import LARGE
from recog.server.intake import Budget

THREADS = 4  # for images that are not large
HELD = 4  # large images that may be in memory
SMALL = 16 * LARGE  # pixels of all others


class Decoders:
    """Work on bytes, apart from the event loop; large images have their own thread, and delay no others."""

    def __init__(self) -> None:
        self._pools = ThreadPoolExecutor(THREADS, 'recog-decoder'), ThreadPoolExecutor(1, 'recog-large')
        self._large, self._others = asyncio.Semaphore(HELD), Budget(SMALL, 'too many images wait already')

    async def run(self, work: Callable, *given: Any, pixels: int = 0) -> Any:
        """What a function of the bytes of an image of so many pixels gives; the bytes alone are 0 pixels."""
        return await asyncio.get_running_loop().run_in_executor(self._pools[pixels > LARGE], work, *given)

    @contextlib.asynccontextmanager
    async def room(self, pixels: int) -> AsyncIterator[None]:
        """Memory for an image until the block ends: large ones wait for it, others are refused with 429."""
        if pixels > LARGE:
            async with self._large:
                yield
        else:
            with self._others.hold(pixels):
                yield

    def close(self) -> None:
        """Begin nothing more."""
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)
