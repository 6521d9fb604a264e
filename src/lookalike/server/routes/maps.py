"""The map: places for all rows, and for what is asked by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from lookalike.projection.layouts import Method
from lookalike.projection.map import Map, kept_map, placer
from lookalike.server.problems import Problem
from lookalike.server.query import ResolvedQuery, ask, vector_of
from lookalike.server.registry import CollectionView
from lookalike.server.request_body import pictures_and
from lookalike.server.responses import answer, body, problems
from lookalike.server.routes.collections import CollectionName
from lookalike.server.routes.search import FORM
from lookalike.server.schemas import MapBody, MapQuestion, Place
from lookalike.server.state import ServerState, server_state

__all__ = ["router"]

router = APIRouter(tags=["map"])


@router.get("/map", response_model=MapBody, responses=problems(404, 422))
async def places(
    request: Request,
    collection: CollectionName = None,
    space: Annotated[
        str | None, Query(max_length=1000, description="A Space; the first if left out.")
    ] = None,
    method: Annotated[Method, Query(description="How places were found.")] = "tsne",
) -> Response:
    """Give the map that the collection keeps; make or renew it by a job."""
    state = server_state(request)
    view = state.registry.view(collection)
    return answer(await state.read.run(_told, view, space, method))


@router.post(
    "/map/place",
    response_model=Place,
    responses=problems(400, 403, 404, 408, 413, 415, 422),
    openapi_extra=body(MapQuestion, form=FORM),
)
async def place(request: Request) -> Response:
    """Tell where on the kept map what is asked by would lie."""
    state = server_state(request)
    question, pictures = await pictures_and(request, MapQuestion)
    x, y = await ask(
        state, question, pictures, lambda asked: _placed(state, asked, question.method), heavy=True
    )
    return answer({"x": x, "y": y})


def _kept(view: CollectionView, space: str | None, method: Method) -> Map:
    plane = kept_map(view.collection, space=space, method=method)
    if plane is None:
        raise Problem(
            404,
            "No map yet",
            f"No {method} map of {view.collection.space(space)} is kept. Begin a job: map.",
        )
    return plane


def _told(view: CollectionView, space: str | None, method: Method) -> dict[str, Any]:
    plane = _kept(view, space, method)
    # Rows that have gone since are on it still.
    there = np.isin(plane.ids, view.row_cache.ids)
    xy = plane.unit_square()[there].round(5)
    ids = plane.ids[there]
    of = view.row_cache.label_column(ids)
    labels = sorted({label for label in of if label is not None})
    number = {label: index for index, label in enumerate(labels)}
    facts = {
        "title": plane.title,
        "summary": plane.summary,
        "seed": plane.seed,
        "parameters": plane.parameters,
        "fidelity": plane.fidelity,
        "missing": len(view.row_cache) - len(ids),
    }
    return {
        "space": plane.space,
        "method": plane.method,
        "facts": facts,
        "ids": ids.tolist(),
        "x": xy[:, 0].tolist(),
        "y": xy[:, 1].tolist(),
        "labels": labels,
        "label": [number.get(label, -1) if label is not None else -1 for label in of],
    }


def _placed(state: ServerState, asked: ResolvedQuery, method: Method) -> tuple[float, float]:
    plane = _kept(asked.view, asked.searcher.space, method)
    found = _placer(asked.view, plane)(vector_of(state, asked).astype(np.float32)[np.newaxis])
    x, y = np.clip(plane.unit_square(found)[0], 0, 1).round(5).tolist()
    return x, y


def _placer(view: CollectionView, plane: Map) -> Callable[[Any], Any]:
    """Return what places vectors on a map, kept as long as neither the collection nor the map changes."""
    key = ("placer", plane.space, plane.method)
    digest = hashlib.sha256(plane.xy.tobytes()).digest()
    kept = view.kept.get(key)
    if kept is None or kept[0] != digest:
        kept = digest, placer(view.collection, plane)
        view.kept[key] = kept
    found: Callable[[Any], Any] = kept[1]
    return found
