"""Health, collections, models and failures."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

import lookalike
from lookalike.models import registry, weights
from lookalike.server.openapi import problem_responses
from lookalike.server.parameters import CollectionName
from lookalike.server.problems import Problem
from lookalike.server.responses import json_response
from lookalike.server.schemas import (
    CollectionsResponse,
    FailuresResponse,
    HealthResponse,
    ModelsResponse,
    ReadyResponse,
)
from lookalike.server.state import ServerState, server_state
from lookalike.types import Model

__all__ = ["collections_router"]

collections_router = APIRouter(tags=["collections"])


@collections_router.get(
    "/health", response_model=HealthResponse, responses=problem_responses()
)
async def get_health() -> Response:
    """Confirm that the server is running; no token is needed."""
    version = lookalike.__version__
    body = {"status": "ok", "version": version}
    return json_response(body)


@collections_router.get(
    "/ready", response_model=ReadyResponse, responses=problem_responses()
)
async def get_readiness(request: Request) -> Response:
    """Confirm that every Space of every collection can be searched; no token is needed."""
    reasons = server_state(request).registry.unready()
    if reasons:
        listed = ", ".join(reasons)
        raise Problem(
            503,
            "Not ready",
            f"The server is not ready: {listed}. A search there reports the reason.",
            headers={"Retry-After": "5"},
        )
    return json_response({"status": "ready"})


@collections_router.get(
    "/collections", response_model=CollectionsResponse, responses=problem_responses()
)
async def list_collections(request: Request) -> Response:
    """List the collections with their Spaces, columns and labels; the first is the default."""
    state = server_state(request)
    collections = await state.read_pool.run(_list_collections, state)
    return json_response(collections)


@collections_router.get(
    "/models", response_model=ModelsResponse, responses=problem_responses()
)
async def list_models(request: Request) -> Response:
    """List the models that can index a collection."""
    state = server_state(request)
    models = await state.read_pool.run(_list_models)
    return json_response(models)


@collections_router.get(
    "/failures", response_model=FailuresResponse, responses=problem_responses(404, 422)
)
async def list_failures(
    request: Request, collection: CollectionName = None
) -> Response:
    """List the files that could not be indexed, and why."""
    state = server_state(request)
    view = state.registry.view(collection)
    failures = await state.read_pool.run(view.table.failures)
    rows = failures.to_pylist()
    return json_response({"failures": rows})


def _list_collections(state: ServerState) -> dict[str, Any]:
    originals = state.settings.originals
    read_only = state.settings.read_only
    collections = state.registry.collections
    available: list[dict[str, Any]] = []
    unavailable: list[dict[str, str]] = []
    for collection in collections.values():
        try:
            view = collection.view()
            summary = view.summary
        except Problem as problem:
            name = collection.name
            failure = {"where": name, "reason": problem.detail}
            unavailable.append(failure)
        else:
            info = {**summary, "originals": originals, "read_only": read_only}
            available.append(info)
    return {"collections": available, "unavailable": unavailable}


def _list_models() -> dict[str, Any]:
    catalog = registry.catalog()
    models = []
    for model in catalog.values():
        info = _model_info(model)
        models.append(info)
    return {"models": models, "default": registry.DEFAULT}


def _model_info(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "title": model.title,
        "dim": model.dim,
        "size": model.size,
        "precision": model.precision,
        "available": weights.is_available(model),
    }
