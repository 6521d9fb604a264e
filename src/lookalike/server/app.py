"""The server as an ASGI app."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import TypeAdapter
from starlette.responses import Response

import lookalike
from lookalike.io.memory import release_freed_memory
from lookalike.server import openapi
from lookalike.server.access_log import LogRequests
from lookalike.server.batch_schemas import BatchBody, BatchForm
from lookalike.server.direct_routes import CallDirectRoutes
from lookalike.server.duplicate_schemas import VerdictBody
from lookalike.server.explain_schemas import ExplainBody, ExplainForm
from lookalike.server.head_requests import HeadRequests
from lookalike.server.jobs.builtin import BUILTIN_JOBS
from lookalike.server.jobs.kinds import JobKind, JobKinds
from lookalike.server.map_schemas import MapQueryBody
from lookalike.server.metrics import CountRequests, Metrics
from lookalike.server.middleware import add_middleware
from lookalike.server.problems import add_exception_handlers
from lookalike.server.registry import CollectionRegistry
from lookalike.server.routes.collections import collections_router
from lookalike.server.routes.description import description_router
from lookalike.server.routes.explain import explain_router
from lookalike.server.routes.jobs import JOB_REQUEST, jobs_router
from lookalike.server.routes.maps import maps_router, prepare_stored_maps
from lookalike.server.routes.page import PageFiles, page_router
from lookalike.server.routes.row_images import row_images_router
from lookalike.server.routes.rows import rows_router
from lookalike.server.routes.search import search_router
from lookalike.server.routes.session import session_router
from lookalike.server.schemas import (
    QueryBody,
    QueryForm,
    SearchBody,
    SessionBody,
    UploadForm,
)
from lookalike.server.settings import API, ServerSettings
from lookalike.server.state import ServerState

__all__ = ["make_app"]

_ROUTERS = (
    search_router,
    collections_router,
    explain_router,
    rows_router,
    row_images_router,
    maps_router,
    jobs_router,
    session_router,
    description_router,
)
_BODIES = (
    SearchBody,
    BatchBody,
    QueryBody,
    MapQueryBody,
    QueryForm,
    BatchForm,
    UploadForm,
    ExplainBody,
    ExplainForm,
    SessionBody,
    VerdictBody,
)

# Releasing memory takes some milliseconds, and requests that follow have to obtain it again.
_RELEASE_SECONDS = 2.0


def make_app(
    paths: Sequence[str],
    settings: ServerSettings | None = None,
    *,
    job_kinds: Sequence[JobKind] = BUILTIN_JOBS,
) -> FastAPI:
    """Return the server of some collections.

    Parameters
    ----------
    paths
        The folders of the collections; the first collection is the default.
    settings
        The options of the server.
    job_kinds
        The kinds of jobs that clients can start.
    """
    settings = settings or ServerSettings()
    app = FastAPI(
        title="Lookalike",
        version=lookalike.__version__,
        description="An image search engine: give it an image, get the images like it.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
        # Otherwise FastAPI looks for telemetry at every request, which nothing here sets up.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        generate_unique_id_function=openapi.operation_id,
    )
    watched = settings.new_collections if settings.watch_collections else None
    collections = CollectionRegistry(
        paths, watched=watched, remote_refresh_seconds=settings.remote_refresh_seconds
    )
    state = ServerState(settings, collections)
    kinds = JobKinds(job_kinds)
    app.state.lookalike = state
    app.state.job_kinds = kinds

    routers = (*_ROUTERS, *kinds.routers)
    for router in routers:
        app.include_router(router, prefix=API)
    app.include_router(page_router)
    app.mount("/static", PageFiles(), "static")

    metrics = Metrics(state)
    app.add_api_route(
        "/metrics",
        lambda: Response(metrics.text(), media_type=CONTENT_TYPE_LATEST),
        include_in_schema=False,
    )
    add_exception_handlers(app)
    # The middleware that is added first runs last.
    app.add_middleware(CallDirectRoutes, routers=routers, prefix=API)
    app.add_middleware(HeadRequests)
    add_middleware(app, settings)
    app.add_middleware(CountRequests, metrics=metrics)
    if settings.access_log:
        app.add_middleware(LogRequests)
    _document(app, kinds)
    return app


def _document(app: FastAPI, kinds: JobKinds) -> None:
    """Let the app serve a description that includes the bodies of all requests."""
    bodies: dict[str, TypeAdapter[Any]] = {}
    for body in _BODIES:
        name = body.__name__
        bodies[name] = TypeAdapter(body)
    bodies[JOB_REQUEST] = kinds.body

    def description() -> dict[str, Any]:
        schema = app.openapi_schema
        if schema is None:
            schema = openapi.describe(app, bodies)
            app.openapi_schema = schema
        return schema

    app.openapi = description  # type: ignore[method-assign]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the collections at the start, and watch them for changes until the end."""
    state: ServerState = app.state.lookalike
    await asyncio.to_thread(state.registry.refresh)
    preparation = threading.Thread(
        target=prepare_stored_maps,
        args=(state.registry,),
        name="maps",
        # It does not delay the end of the server.
        daemon=True,
    )
    preparation.start()
    tasks = [
        asyncio.create_task(_watch_collections(state)),
        asyncio.create_task(_release_memory(state)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        state.close()


async def _watch_collections(state: ServerState) -> None:
    while True:
        await asyncio.sleep(state.settings.refresh_seconds)
        try:
            await asyncio.to_thread(state.registry.refresh)
        except Exception:
            logging.getLogger("lookalike.server").exception(
                "a collection cannot be refreshed"
            )


async def _release_memory(state: ServerState) -> None:
    """Give the memory of decoded images back whenever no image is being processed."""
    pool = state.image_pool
    released = 0
    while True:
        await asyncio.sleep(_RELEASE_SECONDS)
        is_idle = pool.in_progress == 0
        if is_idle and pool.finished != released:
            released = pool.finished
            await asyncio.to_thread(release_freed_memory)
