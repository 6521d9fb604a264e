"""What the server counts, for Prometheus."""

from __future__ import annotations

import time
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike.server.problems import Problem
from lookalike.server.settings import API
from lookalike.server.state import ServerState

__all__ = ["Counted", "Metrics"]

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """A server's counters, in a registry of their own."""

    def __init__(self, state: ServerState) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "lookalike_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "lookalike_request_seconds", "Time to the end of an answer.", ["route"], buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        for name, pool in (("pictures", state.work), ("reading", state.read)):
            gauge = Gauge(
                f"lookalike_{name}_inside",
                "Requests being worked on or waiting.",
                registry=self._registry,
            )
            gauge.set_function(partial(getattr, pool, "inside"))
        memory = Gauge(
            "lookalike_uploads_bytes",
            "Memory of pictures that clients sent.",
            registry=self._registry,
        )
        memory.set_function(lambda: state.uploads.weight)
        self._registry.register(_Collections(state))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return everything in Prometheus's own format."""
        return generate_latest(self._registry)


class Counted:
    """Count every request by its route, its status and its time."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            # A method or path that is not known would make a new counter each time.
            route = getattr(scope.get("route"), "path", "other").removeprefix(API)
            method = (
                scope["method"]
                if scope["method"] in {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}
                else "other"
            )
            self._metrics.count(method, route, status, time.perf_counter() - began)


class _Collections(Collector):
    """How large each collection is, asked when the counters are read."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def collect(self) -> list[GaugeMetricFamily]:
        """Return a gauge of images and one of versions."""
        images = GaugeMetricFamily(
            "lookalike_collection_images", "Images of a collection.", labels=["collection"]
        )
        version = GaugeMetricFamily(
            "lookalike_collection_version", "Its table's version.", labels=["collection"]
        )
        for name, served in self._state.registry.collections.items():
            try:
                view = served.view()
            except Problem:
                continue
            images.add_metric([name], len(view.row_cache))
            version.add_metric([name], view.collection.version)
        return [images, version]
