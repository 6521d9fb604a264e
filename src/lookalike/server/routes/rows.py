"""The rows of a collection: their facts, thumbnails and originals."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lookalike.server.originals import Original, original, thumbnail
from lookalike.server.problems import Problem
from lookalike.server.query import no_row
from lookalike.server.registry import CollectionView
from lookalike.server.responses import answer, data, problems
from lookalike.server.routes.collections import CollectionName
from lookalike.server.schemas import Row, Rows, Side
from lookalike.server.state import ServerState, server_state

__all__ = ["router"]

router = APIRouter(tags=["rows"])

RowId = Annotated[int, Path(ge=0, lt=2**63, description="A row's id.", examples=[0])]
_PART = 1 << 18
_FOR_EVER = "private, max-age=31536000, immutable"


@router.get("/rows", response_model=Rows, responses=problems(404, 422))
async def rows(
    request: Request,
    collection: CollectionName = None,
    where: Annotated[
        str | None, Query(max_length=10_000, description="Only images that fit.")
    ] = None,
    after: Annotated[int | None, Query(ge=0, lt=2**63, description="Go on after this id.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
) -> Response:
    """List images by rising id."""
    state = server_state(request)
    view = state.registry.view(collection)

    def tell() -> dict[str, Any]:
        fitting = view.select(where)
        first = 0 if after is None else int(np.searchsorted(fitting, after, side="right"))
        ids = fitting[first : first + limit]
        more = first + limit < len(fitting)
        return {
            "rows": _whole(view, ids),
            "next": int(ids[-1]) if more else None,
            "total": len(fitting),
        }

    return answer(await state.read.run(tell))


@router.get("/rows/{row}", response_model=Row, responses=problems(404, 422))
async def row_of(request: Request, row: RowId, collection: CollectionName = None) -> Response:
    """Tell what is known of an image."""
    state = server_state(request)
    view = state.registry.view(collection)
    _fact(view, row)
    (found,) = await state.read.run(_whole, view, np.array([row], np.int64))
    return answer(found)


@router.get(
    "/rows/{row}/thumbnail",
    response_class=Response,
    responses={
        200: data("image/jpeg", description="The image, small."),
        304: {"description": "It is what the client has."},
        **problems(404, 422),
    },
)
async def small(
    request: Request,
    row: RowId,
    collection: CollectionName = None,
    size: Annotated[
        Side, Query(description="The longer side at most, if there are so many pixels.")
    ] = Side.SMALL,
    content: Annotated[
        str | None,
        Query(
            max_length=64,
            description="The sha256 of the content that is expected: then it may be cached for ever.",
        ),
    ] = None,
) -> Response:
    """Show an image, small: the kept thumbnail, or a larger one made of the file where that may be read."""
    state = server_state(request)
    view = state.registry.view(collection)
    fact = _fact(view, row)
    tag = f'"{fact["content"][:32]}-{size:d}"'
    same = content is not None and len(content) >= 8 and fact["content"].startswith(content)
    headers = {"ETag": tag, "Cache-Control": _FOR_EVER if same else "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(
        await thumbnail(state, view, fact, size), media_type="image/jpeg", headers=headers
    )


@router.get(
    "/rows/{row}/original",
    response_class=Response,
    responses={
        200: data("image/*", description="The file."),
        206: data("image/*", description="A part of the file."),
        **problems(403, 404, 416, 422),
    },
)
async def whole(request: Request, row: RowId, collection: CollectionName = None) -> Response:
    """Give an image's file as it was indexed, or a range of it."""
    state = server_state(request)
    if not state.settings.originals:
        raise Problem(
            403,
            "No originals",
            "This server does not give originals; it was started with --no-originals.",
        )
    view = state.registry.view(collection)
    opened = await state.read.run(original, _fact(view, row))
    try:
        part = _range(request.headers.get("range"), opened.size)
    except Problem:
        opened.file.close()
        raise
    start, end = part or (0, opened.size)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - start),
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(opened.name)}",
        "Cache-Control": "private, no-cache",
    }
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{opened.size}"
    return StreamingResponse(
        _parts(state, opened, start, end),
        206 if part else 200,
        headers,
        media_type=opened.media_type,
    )


async def _parts(
    state: ServerState, opened: Original, start: int, end: int
) -> AsyncIterator[bytes]:
    with opened.file as file:
        file.seek(start)
        while start < end:
            part = await state.read.run(file.read, min(_PART, end - start))
            if not part:
                return
            start += len(part)
            yield part


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte asked for and the one after the last; None for the whole file."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header or "")
    if not found or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise Problem(
            416,
            "No such range",
            f"The file has {size} bytes.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end


def _fact(view: CollectionView, row: int) -> dict[str, Any]:
    fact = view.row_cache.row(row)
    if fact is None:
        raise no_row(view, row)
    return fact


def _whole(view: CollectionView, ids: np.ndarray[Any, np.dtype[np.int64]]) -> list[dict[str, Any]]:
    """Return rows with their metadata."""
    names = list(view.collection.metadata)
    columns = view.collection.take(ids, names).to_pylist() if names else [{}] * len(ids)
    return [
        {**fact, "metadata": {name: values[name] for name in names}}
        for fact, values in zip(view.row_cache.rows(ids), columns, strict=True)
    ]
