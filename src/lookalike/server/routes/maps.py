"""Maps: the positions of all rows, and the position of a query among them."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from lookalike.errors import LookalikeError
from lookalike.projection.layouts import Method
from lookalike.projection.map import Map, make_placer, read_map
from lookalike.server.map_schemas import MapPoint, MapQueryBody, MapResponse
from lookalike.server.openapi import BODY_STATUSES, problem_responses, request_body
from lookalike.server.parameters import CollectionName
from lookalike.server.problems import Problem
from lookalike.server.query import ResolvedQuery, run_query
from lookalike.server.registry import CollectionRegistry, CollectionView
from lookalike.server.request_body import read_query
from lookalike.server.responses import json_response
from lookalike.server.schemas import QueryForm
from lookalike.server.state import server_state

__all__ = ["maps_router", "prepare_stored_maps"]

maps_router = APIRouter(tags=["maps"])


@dataclass(frozen=True, slots=True, eq=False)
class _CachedPlacer:
    """The function that places vectors on a map, and the sha256 of the map's positions."""

    map_digest: bytes
    place: Any


@maps_router.get(
    "/map", response_model=MapResponse, responses=problem_responses(404, 422)
)
async def get_map(
    request: Request,
    collection: CollectionName = None,
    space: Annotated[
        str | None, Query(max_length=1000, description="A Space; the first by default.")
    ] = None,
    method: Annotated[Method, Query(description="The projection method.")] = "tsne",
) -> Response:
    """Return the stored map of a Space; a job of kind map makes or renews it."""
    state = server_state(request)
    view = state.registry.view(collection)
    stored = await state.read_pool.run(_find_map, view, space, method)
    response = await state.read_pool.run(_map_response, view, stored)
    _prepare_placer(view, stored)
    return json_response(response)


@maps_router.post(
    "/map/place",
    response_model=MapPoint,
    responses=problem_responses(404, *BODY_STATUSES),
    openapi_extra=request_body(json=MapQueryBody, form=QueryForm),
)
async def place_on_map(request: Request) -> Response:
    """Return the position of a query on the stored map."""
    state = server_state(request)
    body, images = await read_query(request, MapQueryBody)

    def place(query: ResolvedQuery) -> dict[str, float]:
        return _place(query, body.method)

    point = await run_query(state, body, images, place, heavy=True)
    return json_response(point)


def prepare_stored_maps(registry: CollectionRegistry) -> None:
    """Make the placers of the stored t-SNE maps of first Spaces, those that the page opens first.

    It takes seconds; call it in the background.
    """
    for served in registry.collections.values():
        # What cannot be read or placed is reported to the request that needs it.
        with suppress(LookalikeError, Problem):
            view = served.view()
            stored = read_map(view.table)
            if stored is None:
                continue
            _map_placer(view, stored)


def _find_map(view: CollectionView, space: str | None, method: Method) -> Map:
    stored = read_map(view.table, space=space, method=method)
    if stored is None:
        name = view.table.space(space)
        detail = f"There is no {method} map of {name} yet. Start a job of kind map."
        raise Problem(404, "Map not found", detail)
    return stored


def _map_response(view: CollectionView, stored: Map) -> dict[str, Any]:
    """Return the fields of a `MapResponse`."""
    # The map may still contain rows that were removed from the collection.
    row_cache = view.row_cache
    existing = np.isin(stored.ids, row_cache.ids)
    ids = stored.ids[existing]
    all_positions = stored.unit_square()
    positions = all_positions[existing].round(5)
    x = positions[:, 0]
    y = positions[:, 1]
    missing = len(row_cache) - len(ids)

    # Labels, or tags in their place, are sent once, and each image refers to its label by position.
    row_labels = row_cache.names_of(ids)
    labels = sorted({label for label in row_labels if label is not None})
    label_position: dict[str | None, int] = {
        label: index for index, label in enumerate(labels)
    }
    label_positions = [label_position.get(label, -1) for label in row_labels]
    return {
        "space": stored.space,
        "method": stored.method,
        "facts": {
            "title": stored.title,
            "summary": stored.summary,
            "seed": stored.seed,
            "parameters": stored.parameters,
            "fidelity": stored.fidelity,
            "missing": missing,
        },
        "ids": ids.tolist(),
        "x": x.tolist(),
        "y": y.tolist(),
        "labels": labels,
        "label": label_positions,
    }


def _place(query: ResolvedQuery, method: Method) -> dict[str, float]:
    """Return the position of a query, in the map's unit square."""
    view = query.view
    space = query.searcher.space
    stored = _find_map(view, space, method)
    place = _map_placer(view, stored)
    vector = query.vector()
    vectors = vector.astype(np.float32)[np.newaxis]
    placed = place(vectors)

    # A query may lie outside the area of the rows.
    (position,) = stored.unit_square(placed)
    inside = np.clip(position, 0, 1)
    rounded = inside.round(5)
    x, y = rounded.tolist()
    return {"x": x, "y": y}


def _map_placer(view: CollectionView, stored: Map) -> Any:
    """Return the function that places vectors on a map, cached while collection and map last."""
    key = ("placer", stored.space, stored.method)
    # A second request waits for the placer instead of making another one.
    with view.derived_lock:
        cached: _CachedPlacer | None = view.derived.get(key)
        if cached is None or cached.map_digest != _digest(stored):
            cached = _make_placer(view, stored)
            view.derived[key] = cached
    return cached.place


def _make_placer(view: CollectionView, stored: Map) -> _CachedPlacer:
    place = make_placer(view.table, stored)
    # The first use loads the packages that it needs.
    model = view.models[stored.space]
    any_vector = np.ones((1, model.dim), np.float32)
    place(any_vector)
    digest = _digest(stored)
    return _CachedPlacer(digest, place)


def _digest(stored: Map) -> bytes:
    positions = stored.xy.tobytes()
    return hashlib.sha256(positions).digest()


def _prepare_placer(view: CollectionView, stored: Map) -> None:
    """Make the placer of a map in the background, so that the first query need not wait for it."""

    def make() -> None:
        # The request that needs the placer reports the error.
        with suppress(LookalikeError):
            _map_placer(view, stored)

    key = ("placer", stored.space, stored.method)
    is_made = key in view.derived or view.derived_lock.locked()
    if not is_made:
        thread = threading.Thread(target=make, name="placer", daemon=True)
        thread.start()
