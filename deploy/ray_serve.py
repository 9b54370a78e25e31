"""A trained model behind Ray Serve, for more than one machine: each replica holds it and reads in batches.

    pip install 'recog[serve]' 'ray[serve]'
    # In this checkout, on the head of the cluster:
    serve run deploy.ray_serve:application folder=runs/demo replicas=4
    curl --data-binary @word.png localhost:8000/

It answers as `recog serve` does; GET describes a replica. `folder` is a workdir or an exported folder that
every machine sees, or a workdir in a bucket. Other arguments: batch (32), beam (0), replicas (1), cpus of a
replica (1), gpus (0). RECOG_TOKEN in the environment of the replicas is the token.
"""

import asyncio
from pathlib import Path
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

WAIT = 0.005  # seconds that a batch waits for more images
QUEUE = 256  # images that may wait for a replica


@serve.deployment(max_ongoing_requests=QUEUE, graceful_shutdown_timeout_s=30)
class Reader:
    """A replica: the model, and the images that wait for it."""

    def __init__(self, folder: str, batch: int, beam: int):
        import recog
        from recog.devices import setup
        from recog.reading.exported import needs_jax
        from recog.server.batching import warming
        from recog.server.desk import Desk, required_token
        from recog.server.intake import Limits
        from recog.server.serve import canvases

        if needs_jax(folder):  # the replica is a process of its own
            setup.start()
        self.name, self.explaining = Path(folder).name, None
        self.recognizer = recog.load(folder, batch=batch, beam=beam, best=max(beam, 1))
        self._desk = Desk(Limits(queue=QUEUE), required_token())
        self._read.set_max_batch_size(batch)
        self._batches, self._images = 0, 0
        for _ in warming(self.recognizer, batch, canvases(self.recognizer)):
            pass

    @serve.batch(batch_wait_timeout_s=WAIT)
    async def _read(self, images: list[Any]) -> list[Any]:
        self._batches, self._images = self._batches + 1, self._images + len(images)
        return await asyncio.to_thread(self.recognizer.readings, images)

    async def read(self, images: list[Any], explain: bool) -> list[Any]:
        """The readings of images, in their order; requests that come together are read together."""
        return await asyncio.gather(*(self._read(image) for image in images))

    async def __call__(self, request: Request) -> Response:
        from recog.server.described import described
        from recog.server.desk import refusal
        from recog.server.intake import Refused

        try:
            self._desk.check_token(request)
            if request.method == 'POST':
                return await self._desk.answer(request, self)
            replica = serve.get_replica_context().replica_id.unique_id
            return JSONResponse({**described(self), 'replica': replica, 'batches': self._batches,
                                 'images': self._images})
        except Refused as error:
            return refusal(error)


def application(arguments: dict[str, str]) -> serve.Application:
    """What `serve run` starts; the arguments follow it as NAME=VALUE."""
    given = {'batch': '32', 'beam': '0', 'replicas': '1', 'cpus': '1', 'gpus': '0', **arguments}
    unknown = sorted(set(given) - {'folder', 'batch', 'beam', 'replicas', 'cpus', 'gpus'})
    if unknown or 'folder' not in given:
        raise ValueError(f'{unknown[0]}= is not known' if unknown
                         else 'folder=FOLDER is needed: a workdir or an exported folder')
    folder = given['folder'] if '://' in given['folder'] else str(Path(given['folder']).resolve())
    deployment = Reader.options(num_replicas=int(given['replicas']), ray_actor_options={
        'num_cpus': float(given['cpus']), 'num_gpus': float(given['gpus'])})
    return deployment.bind(folder, int(given['batch']), int(given['beam']))
