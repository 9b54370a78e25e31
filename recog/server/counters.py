"""The metrics of a server, for Prometheus."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
KIND = CONTENT_TYPE_LATEST


class Counters:
    """The metrics of one server, by the names that it gives its models."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter('recog_requests', 'requests to read, by what came of them',
                                 ('model', 'status'), registry=self._registry)
        self._images = Counter('recog_images', 'images that a model has read', ('model',),
                               registry=self._registry)
        self._seconds = Histogram('recog_request_seconds', 'from the head of a request to its answer',
                                  ('model',), buckets=SECONDS, registry=self._registry)
        self._batches = Histogram('recog_batch_images', 'images that were read at a time', ('model',),
                                  buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), registry=self._registry)
        self._waiting = Gauge('recog_waiting_images', 'images that wait for the model', ('model',),
                              registry=self._registry)
        self._ready = Gauge('recog_model_ready', 'whether a model has been warmed up', ('model',),
                            registry=self._registry)

    def request(self, model: str, status: int, seconds: float) -> None:
        """Count a request that was answered or refused."""
        self._requests.labels(model, str(status)).inc()
        self._seconds.labels(model).observe(seconds)

    def batch(self, model: str, images: int) -> None:
        """Count a batch that a model has read."""
        self._images.labels(model).inc(images)
        self._batches.labels(model).observe(images)

    def page(self, readers: Iterable[Any]) -> bytes:
        """All metrics, as Prometheus reads them."""
        for reader in readers:
            self._waiting.labels(reader.name).set(reader.waiting)
            self._ready.labels(reader.name).set(reader.ready)
        return generate_latest(self._registry)
