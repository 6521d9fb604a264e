"""The rows of a collection."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from lookalike.server.openapi import problem_responses
from lookalike.server.parameters import CollectionName, RowIdParameter, WhereFilter
from lookalike.server.query import row_not_found
from lookalike.server.registry import CollectionView
from lookalike.server.replicas import view_with_row
from lookalike.server.responses import json_response
from lookalike.server.schemas import RowDetails, RowsResponse
from lookalike.server.state import server_state
from lookalike.types import Ids

__all__ = ["rows_router"]

rows_router = APIRouter(tags=["rows"])


@rows_router.get(
    "/rows", response_model=RowsResponse, responses=problem_responses(404, 422)
)
async def list_rows(
    request: Request,
    collection: CollectionName = None,
    where: WhereFilter = None,
    after: Annotated[
        int | None, Query(ge=0, lt=2**63, description="Continue after this id.")
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=1000, description="The largest number of rows.")
    ] = 100,
) -> Response:
    """List rows by ascending id."""
    state = server_state(request)
    view = state.registry.view(collection)

    def read_page() -> dict[str, Any]:
        selected = view.select(where)
        total = len(selected)
        first = 0
        if after is not None:
            first = int(np.searchsorted(selected, after, side="right"))
        end = first + limit
        ids = selected[first:end]
        last_id: int | None = None
        if end < total:
            last_id = int(ids[-1])
        rows = _read_rows(view, ids)
        return {"rows": rows, "next": last_id, "total": total}

    page = await state.read_pool.run(read_page)
    return json_response(page)


@rows_router.get(
    "/rows/{row}", response_model=RowDetails, responses=problem_responses(404, 422)
)
async def get_row(
    request: Request, row: RowIdParameter, collection: CollectionName = None
) -> Response:
    """Return a row with its metadata."""
    state = server_state(request)
    view = await view_with_row(state, collection, row)
    if row not in view.row_cache:
        raise row_not_found(view, row)
    ids = np.array([row], np.int64)
    (details,) = await state.read_pool.run(_read_rows, view, ids)
    return json_response(details)


def _read_rows(view: CollectionView, ids: Ids) -> list[dict[str, Any]]:
    """Return rows with their metadata."""
    table = view.table
    rows = view.row_cache.rows(ids)
    names = list(table.metadata)
    metadata: list[dict[str, Any]] = [{} for _ in rows]
    if names:
        stored = table.take(ids, names)
        selected = stored.select(names)
        metadata = selected.to_pylist()

    detailed = []
    for row, values in zip(rows, metadata, strict=True):
        details = {**row, "metadata": values}
        detailed.append(details)
    return detailed
