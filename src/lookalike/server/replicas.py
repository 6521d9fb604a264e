"""Several servers of one collection: one may have read a newer version than another.

A request that names something of a newer version makes the server look for it before it answers.
"""

from __future__ import annotations

import asyncio

from lookalike.server.cursors import Cursor
from lookalike.server.registry import CollectionView
from lookalike.server.schemas import QueryBody, RowExample, SearchBody
from lookalike.server.state import ServerState

__all__ = ["catch_up_with_query", "view_with_row"]


async def catch_up_with_query(state: ServerState, body: QueryBody) -> None:
    """Look for a new version if a query names a cursor or a row that the present one lacks.

    Raises
    ------
    Problem
        404 or 503, if the collection does not exist or cannot be read.
    """
    served = state.registry.collection(body.collection)
    view = served.view()
    if _is_behind(view, body):
        await asyncio.to_thread(served.catch_up)


async def view_with_row(
    state: ServerState, collection: str | None, row: int
) -> CollectionView:
    """Return the newest view; a new version is looked for if the present one lacks a row.

    Raises
    ------
    Problem
        404 or 503, if the collection does not exist or cannot be read.
    """
    served = state.registry.collection(collection)
    view = served.view()
    if row not in view.row_cache:
        await asyncio.to_thread(served.catch_up)
        view = served.view()
    return view


def _is_behind(view: CollectionView, body: QueryBody) -> bool:
    cursor = body.cursor if isinstance(body, SearchBody) else None
    if cursor is not None and Cursor.version_in(cursor) > view.table.version:
        return True
    row_cache = view.row_cache
    for example in (*body.positive, *body.negative):
        if isinstance(example, RowExample) and example.id not in row_cache:
            return True
    return False
