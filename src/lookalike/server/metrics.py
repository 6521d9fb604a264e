"""Metrics for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike.server.problems import Problem
from lookalike.server.settings import API
from lookalike.server.state import ServerState

__all__ = ["CountRequests", "Metrics"]

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_HTTP_METHODS = {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}


class Metrics:
    """The metrics of one server."""

    def __init__(self, state: ServerState) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "lookalike_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "lookalike_request_seconds",
            "Time to the end of the response.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        # Looking labels up takes longer than counting.
        self._labeled: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._add_gauge(
            "lookalike_image_requests_in_progress",
            "Requests that decode or embed images, running or waiting.",
            lambda: state.image_pool.in_progress,
        )
        self._add_gauge(
            "lookalike_read_requests_in_progress",
            "Requests that read or compare rows, running or waiting.",
            lambda: state.read_pool.in_progress,
        )
        self._add_gauge(
            "lookalike_uploads_bytes",
            "Memory of uploaded images.",
            lambda: state.uploads.memory,
        )
        self._registry.register(_CollectionSizes(state))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        key = (method, route, status)
        labeled = self._labeled.get(key)
        if labeled is None:
            requests = self._requests.labels(method, route, str(status))
            times = self._seconds.labels(route)
            labeled = (requests, times)
            self._labeled[key] = labeled
        requests, times = labeled
        requests.inc()
        times.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in the format of Prometheus."""
        return generate_latest(self._registry)

    def _add_gauge(
        self, name: str, description: str, value: Callable[[], float]
    ) -> None:
        gauge = Gauge(name, description, registry=self._registry)
        gauge.set_function(value)


class CountRequests:
    """Middleware that counts every request by method, route, status and time."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 500

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note_status)
        finally:
            # Unknown methods and paths share one counter; otherwise clients could add any number.
            method = scope["method"]
            if method not in _HTTP_METHODS:
                method = "other"
            path = getattr(scope.get("route"), "path", "other")
            route = path.removeprefix(API)
            seconds = time.perf_counter() - start
            self._metrics.count(method, route, status, seconds)


class _CollectionSizes(Collector):
    """The size and version of each collection, read when the metrics are requested."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def collect(self) -> list[GaugeMetricFamily]:
        """Return a gauge of images and one of versions."""
        labels = ["collection"]
        images = GaugeMetricFamily(
            "lookalike_collection_images", "Images of a collection.", labels=labels
        )
        versions = GaugeMetricFamily(
            "lookalike_collection_version", "Version of a collection.", labels=labels
        )
        for name, collection in self._state.registry.collections.items():
            try:
                view = collection.view()
            except Problem:
                continue
            images.add_metric([name], len(view.row_cache))
            versions.add_metric([name], view.table.version)
        return [images, versions]
