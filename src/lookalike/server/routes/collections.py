"""What there is: collections, models, failures."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

import lookalike
from lookalike.models import registry, weights
from lookalike.server.problems import Problem
from lookalike.server.responses import answer, problems
from lookalike.server.schemas import Collections, Failures, Health, Models
from lookalike.server.state import server_state

__all__ = ["CollectionName", "router"]

router = APIRouter(tags=["collections"])

CollectionName = Annotated[
    str | None, Query(description="A collection's name; the first if left out.", max_length=1000)
]


@router.get("/health", response_model=Health, responses=problems())
async def health() -> Response:
    """Tell that the server is there; no token is needed."""
    return answer({"status": "ok", "version": lookalike.__version__})


@router.get("/collections", response_model=Collections, responses=problems())
async def collections(request: Request) -> Response:
    """List the collections, the default one first, with their Spaces, columns and labels."""
    state = server_state(request)

    def tell() -> dict[str, Any]:
        told, missing = [], []
        for served in state.registry.collections.values():
            try:
                told.append({**served.view().summary, "originals": state.settings.originals})
            except Problem as problem:
                missing.append({"where": served.name, "reason": problem.detail})
        return {"collections": told, "unavailable": missing}

    return answer(await state.read.run(tell))


@router.get("/models", response_model=Models, responses=problems())
async def models(request: Request) -> Response:
    """List the models that a collection can be indexed with."""

    def tell() -> dict[str, Any]:
        names = ("name", "title", "dim", "size", "precision")
        listed = [
            {
                **{name: getattr(model, name) for name in names},
                "available": weights.is_available(model),
            }
            for model in registry.catalog().values()
        ]
        return {"models": listed, "default": registry.DEFAULT}

    return answer(await server_state(request).read.run(tell))


@router.get("/failures", response_model=Failures, responses=problems(404, 422))
async def failures(request: Request, collection: CollectionName = None) -> Response:
    """List the files that could not be indexed, and why."""
    state = server_state(request)
    view = state.registry.view(collection)
    listed = await state.read.run(lambda: view.collection.failures().to_pylist())
    return answer({"failures": listed})
