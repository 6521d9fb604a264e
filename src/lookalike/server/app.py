"""The server as an ASGI app."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

import lookalike
from lookalike.server import problems, schemas
from lookalike.server.metrics import Counted, Metrics
from lookalike.server.middleware import Guard
from lookalike.server.registry import CollectionRegistry
from lookalike.server.routes import collections, jobs, maps, page, rows, search
from lookalike.server.settings import API, Settings
from lookalike.server.state import ServerState

__all__ = ["make_app"]

_log = logging.getLogger("lookalike.server")


def make_app(
    paths: Sequence[str],
    settings: Settings | None = None,
    registry: CollectionRegistry | None = None,
) -> FastAPI:
    """Return the server of some collections.

    Parameters
    ----------
    paths
        Where the collections lie; the first is the one that is meant where none is named.
    settings
        How it behaves.
    registry
        The same collections, where they are open already.
    """
    settings = settings or Settings()
    state = ServerState(settings, registry or CollectionRegistry(paths))
    app = FastAPI(
        title="Lookalike",
        version=lookalike.__version__,
        description="An image search engine: give it a picture, get the pictures like it.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    app.state.lookalike = state
    problems.handle(app)
    for router in (search.router, collections.router, rows.router, maps.router, jobs.router):
        app.include_router(router, prefix=API)
    app.include_router(page.router)
    app.mount("/static", StaticFiles(directory=page.PAGE, check_dir=False), "static")
    metrics = Metrics(state)
    app.add_api_route(
        "/metrics",
        lambda: Response(metrics.text(), media_type=CONTENT_TYPE_LATEST),
        include_in_schema=False,
    )
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Counted, metrics=metrics)
    app.openapi = lambda: _description(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: ServerState = app.state.lookalike
    await asyncio.to_thread(state.registry.refresh)
    refreshing = asyncio.create_task(_refresh(state))
    try:
        yield
    finally:
        refreshing.cancel()
        with suppress(asyncio.CancelledError):
            await refreshing
        state.close()


async def _refresh(state: ServerState) -> None:
    while True:
        await asyncio.sleep(state.settings.refresh_seconds)
        try:
            await asyncio.to_thread(state.registry.refresh)
        except Exception:  # noqa: BLE001 (whatever it was, the next look may find all well)
            _log.exception("a collection could not be looked at")


def _description(app: FastAPI) -> dict[str, Any]:
    """Return the interface's OpenAPI description: FastAPI's, with bodies that are read by hand, and problems."""
    if app.openapi_schema:
        return app.openapi_schema
    found = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    known = found["components"]["schemas"]
    for kind in (schemas.Search, schemas.Question, schemas.MapQuestion, schemas.NewJob):
        schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
        known |= {**schema.pop("$defs", {}), kind.__name__: schema}
    for path in found["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400 and "application/json" in response.get("content", {}):
                    response["content"]["application/problem+json"] = response["content"].pop(
                        "application/json"
                    )
    app.openapi_schema = found
    return found
