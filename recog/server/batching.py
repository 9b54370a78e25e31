"""A model and its thread, which reads the waiting images of all requests, a batch at a time."""

import asyncio
import itertools
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from recog.reading.drawings import Drawing
from recog.server.intake import Refused


class Job(NamedTuple):
    """An image that waits, and the future that receives its reading."""

    image: np.ndarray | Drawing  # uint8 [H, W, 3], or strokes
    explain: bool
    answer: asyncio.Future


class Reader:
    """Reads images of many requests together: those that wait while the model is busy make the next batch.

    `explaining` is the same model, loaded with explanations; it reads one image at a time.
    """

    def __init__(self, name: str, recognizer: Any, explaining: Any = None, *, batch: int = 32,
                 canvases: Sequence[tuple[int, int]] = ((32, 100),),
                 watch: Callable[[str, int], None] = lambda name, count: None):
        self.name, self.recognizer, self.explaining, self.batch = name, recognizer, explaining, batch
        self._canvases = canvases  # heights and widths that have compiled programs
        self.ready, self.failed = False, ''
        self._watch = watch  # called after every batch
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f'recog-{name}', daemon=True)

    @property
    def waiting(self) -> int:
        """How many images wait."""
        return self._jobs.qsize()

    def start(self) -> None:
        """Begin to warm up, then to read."""
        self._thread.start()

    def close(self, seconds: float | None = None) -> None:
        """Read the images that wait, then end; it is waited for so many seconds at most."""
        self._closed = True
        self._jobs.put(None)
        if self._thread.ident:
            self._thread.join(seconds)

    async def read(self, images: Sequence[np.ndarray | Drawing], explain: bool = False) -> list[Any]:
        """The readings of images and drawings, in their order."""
        if not self.ready or self._closed:
            raise Refused(503, self.failed or ('the server is stopping' if self._closed
                                               else 'the model is warming up'))
        loop = asyncio.get_running_loop()
        jobs = [Job(image, explain, loop.create_future()) for image in images]
        for job in jobs:
            self._jobs.put(job)
        try:
            return await asyncio.gather(*(job.answer for job in jobs))
        finally:
            for job in jobs:  # images of an abandoned request are not read
                job.answer.cancel()

    def _work(self) -> None:
        try:
            self._warm_up()
        except Exception as error:  # otherwise the thread would end silently; /health and the log say why
            traceback.print_exc()
            self.failed = f'the model could not be started ({type(error).__name__})'
        ending = False
        while not ending:
            jobs, ending = self._waiting()
            for explain in (False, True):
                chosen = [job for job in jobs if job.explain == explain]
                size = 1 if explain else self.batch
                for start in range(0, len(chosen), size):
                    self._read(chosen[start:start + size])

    def _waiting(self) -> tuple[list[Job], bool]:
        """At least one job and at most a batch, and whether the thread is to end after them."""
        jobs: list[Job] = []
        while len(jobs) < self.batch:
            try:
                job = self._jobs.get(block=not jobs)
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            if not job.answer.cancelled():
                jobs.append(job)
        return jobs, False

    def _read(self, jobs: Sequence[Job]) -> None:
        recognizer = self.explaining if jobs[0].explain else self.recognizer
        try:
            found = recognizer.readings([job.image for job in jobs])
            if len(found) != len(jobs):
                raise RuntimeError(f'{len(found)} readings of {len(jobs)} images')
        except Exception as error:  # the request gets the error; the others are still answered
            if len(jobs) > 1:
                for job in jobs:
                    self._read([job])
                return
            found = [error]
        self._watch(self.name, len(jobs))
        _answer(jobs, found)

    def _warm_up(self) -> None:
        """Compile the programs for all numbers and sizes of images."""
        sizes = ', '.join(f'{height} x {width}' for height, width in self._canvases)
        self._say(f'warming up: batches of {", ".join(map(str, counts(self.batch)))} images of {sizes}')
        explained: Iterable[None] = []
        if self.explaining is not None:
            explained = warming(self.explaining, 1, self._canvases)
        for _ in itertools.chain(warming(self.recognizer, self.batch, self._canvases), explained):
            if self._closed:
                return
        self.ready = True
        self._say('ready')

    def _say(self, words: str) -> None:
        print(f'recog serve: {self.name}: {words}', file=sys.stderr, flush=True)


def counts(batch: int) -> list[int]:
    """The numbers of images, up to a full batch, for which a recogniser has programs."""
    found = [1]
    while found[-1] < batch:
        found.append(min(2 * found[-1], batch))
    return found


def warming(recognizer: Any, batch: int, canvases: Sequence[tuple[int, int]]) -> Iterator[None]:
    """Compile every program of a recogniser, one at each step."""
    for canvas in canvases:
        for count in counts(batch):
            recognizer.readings([np.full((*canvas, 3), 255, np.uint8)] * count)
            yield


def _answer(jobs: Sequence[Job], found: Sequence[Any]) -> None:
    """Deliver the results in the event loop that waits for them, in one call."""
    def deliver() -> None:
        for job, one in zip(jobs, found, strict=True):
            if job.answer.done():
                continue
            if isinstance(one, Exception):
                job.answer.set_exception(one)
            else:
                job.answer.set_result(one)
    jobs[0].answer.get_loop().call_soon_threadsafe(deliver)
