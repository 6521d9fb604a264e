"""The thumbnails and originals of rows."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lookalike.server.openapi import file_response, problem_responses
from lookalike.server.originals import Original, open_original
from lookalike.server.parameters import CollectionName, RowIdParameter
from lookalike.server.problems import Problem
from lookalike.server.query import row_not_found
from lookalike.server.registry import CollectionView
from lookalike.server.replicas import view_with_row
from lookalike.server.schemas import ThumbnailSize
from lookalike.server.state import ServerState, server_state
from lookalike.server.thumbnails import STORED_SIDE, generate_thumbnail

__all__ = ["row_images_router"]

row_images_router = APIRouter(tags=["rows"])

_CHUNK_BYTES = 1 << 18
_CACHE_FOREVER = "private, max-age=31536000, immutable"
_REVALIDATE = "private, no-cache"
# A shorter prefix of a hash does not identify the content.
_MIN_HASH_PREFIX = 8
_ETAG_HASH_LENGTH = 32


@row_images_router.get(
    "/rows/{row}/thumbnail",
    response_class=Response,
    responses={
        200: file_response("image/jpeg", description="The thumbnail."),
        304: {"description": "The client has this thumbnail already."},
        **problem_responses(404, 422),
    },
)
async def get_thumbnail(
    request: Request,
    row: RowIdParameter,
    collection: CollectionName = None,
    size: Annotated[
        ThumbnailSize, Query(description="The longer side; images are never enlarged.")
    ] = ThumbnailSize.SMALL,
    content: Annotated[
        str | None,
        Query(
            max_length=64,
            description="The expected sha256; the response can then be cached forever.",
        ),
    ] = None,
) -> Response:
    """Return a thumbnail: the stored one, or a larger one made from the original if allowed."""
    state = server_state(request)
    view = await view_with_row(state, collection, row)
    values = _find_row(view, row)
    content_hash: str = values["content"]
    hash_prefix = content_hash[:_ETAG_HASH_LENGTH]
    etag = f'"{hash_prefix}-{size:d}"'

    # The thumbnail of an address with the right content hash never changes.
    cache_control = _REVALIDATE
    expected = content or ""
    if len(expected) >= _MIN_HASH_PREFIX and content_hash.startswith(expected):
        cache_control = _CACHE_FOREVER
    headers = {"ETag": etag, "Cache-Control": cache_control}
    known_etags = request.headers.get("if-none-match", "")
    if etag in known_etags:
        return Response(status_code=304, headers=headers)
    data = await _thumbnail(state, view, values, size)
    return Response(data, media_type="image/jpeg", headers=headers)


@row_images_router.get(
    "/rows/{row}/original",
    response_class=Response,
    responses={
        200: file_response("image/*", description="The file."),
        206: file_response("image/*", description="A range of the file."),
        **problem_responses(403, 404, 416, 422),
    },
)
async def get_original(
    request: Request, row: RowIdParameter, collection: CollectionName = None
) -> Response:
    """Return the file of a row as it was indexed, or a range of it."""
    state = server_state(request)
    if not state.settings.originals:
        detail = (
            "This server does not send originals; it was started with --no-originals."
        )
        raise Problem(403, "Originals disabled", detail)
    view = await view_with_row(state, collection, row)
    values = _find_row(view, row)
    original = await state.read_pool.run(open_original, values)
    size = original.size
    range_header = request.headers.get("range")
    try:
        requested = _parse_range(range_header, size)
    except Problem:
        original.file.close()
        raise
    start, end = requested or (0, size)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - start),
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(original.name)}",
        "Cache-Control": _REVALIDATE,
    }
    status = 200
    if requested is not None:
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    chunks = _read_chunks(state, original, start, end)
    return StreamingResponse(chunks, status, headers, media_type=original.media_type)


def _find_row(view: CollectionView, row_id: int) -> dict[str, Any]:
    row = view.row_cache.row(row_id)
    if row is None:
        raise row_not_found(view, row_id)
    return row


async def _thumbnail(
    state: ServerState, view: CollectionView, row: dict[str, Any], side: int
) -> bytes:
    """Return a JPEG whose longer side is at most `side`, or the stored thumbnail.

    The stored thumbnail is returned where it is large enough, and where the original may not be
    read or has changed since it was indexed.
    """
    cached_side = max(side, STORED_SIDE)
    key = row["content"], cached_side
    cache = state.thumbnails
    settings = state.settings
    data = cache.get(key)
    if data is not None:
        return data
    if side > STORED_SIDE and settings.originals:
        max_pixels = settings.max_pixels
        data = await state.image_pool.run(generate_thumbnail, row, side, max_pixels)
    if data is None:
        stored = view, row["id"]
        data = await state.thumbnail_batcher.run(stored)
    cache.put(key, data)
    return data


async def _read_chunks(
    state: ServerState, original: Original, start: int, end: int
) -> AsyncIterator[bytes]:
    with original.file as file:
        file.seek(start)
        while start < end:
            remaining = end - start
            size = min(_CHUNK_BYTES, remaining)
            chunk = await state.read_pool.run(file.read, size)
            if not chunk:
                return
            start += len(chunk)
            yield chunk


def _parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte of a Range header and the one after the last.

    Returns None for the whole file: without a header, and for headers in another form.

    Raises
    ------
    Problem
        416, if the range is beyond the end of the file.
    """
    parsed = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header or "")
    if not parsed or parsed[0] == "bytes=-":
        return None
    first, last = parsed.groups()
    end = size
    if not first:  # the last bytes of the file
        start = max(0, size - int(last))
    else:
        start = int(first)
        if last:
            end = min(size, int(last) + 1)
    if start >= end:
        raise Problem(
            416,
            "Range not satisfiable",
            f"The file has {size} bytes. Request a range within them.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end
