"""Searches, distances and uploads."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from lookalike.server.batch_schemas import BatchBody, BatchForm, BatchResponse
from lookalike.server.openapi import (
    BODY_STATUSES,
    file_response,
    problem_responses,
    request_body,
)
from lookalike.server.query import ResolvedQuery, run_query, search_response
from lookalike.server.request_body import read_batch, read_image, read_query
from lookalike.server.responses import json_response
from lookalike.server.routes.direct import DirectRoute
from lookalike.server.schemas import (
    DistancesResponse,
    QueryBody,
    QueryForm,
    SearchBody,
    SearchResponse,
    ThumbnailSize,
    UploadForm,
    UploadResponse,
)
from lookalike.server.search_batch import run_searches
from lookalike.server.state import server_state

__all__ = ["search_router"]

search_router = APIRouter(tags=["search"], route_class=DirectRoute)


@search_router.post(
    "/search",
    response_model=SearchResponse,
    responses=problem_responses(404, 409, *BODY_STATUSES),
    openapi_extra=request_body(json=SearchBody, form=QueryForm),
)
async def post_search(request: Request) -> Response:
    """Search by images and rows: positive examples to resemble, and negative ones to avoid."""
    start = time.perf_counter()
    state = server_state(request)
    body, images = await read_query(request, SearchBody)

    def search(query: ResolvedQuery) -> dict[str, Any]:
        return search_response(state, query, body, start)

    # A filter may read the whole table, and a ranking may compare all of it, so such searches do
    # not share a batch. Neither do searches in several Spaces, which embed each image again.
    is_plain = body.ranking == "plain"
    is_quick = body.where is None and body.spaces is None
    batchable = is_plain and is_quick
    response = await run_query(
        state, body, images, search, batchable=batchable, heavy=not is_plain
    )
    return json_response(response)


@search_router.post(
    "/search/batch",
    response_model=BatchResponse,
    responses=problem_responses(*BODY_STATUSES),
    openapi_extra=request_body(json=BatchBody, form=BatchForm),
)
async def post_search_batch(request: Request) -> Response:
    """Run many searches; each has its own answer or problem."""
    state = server_state(request)
    searches, images = await read_batch(request)
    path = request.scope["path"]
    results = await run_searches(state, searches, images, instance=path)
    return json_response({"results": results})


@search_router.post(
    "/distances",
    response_model=DistancesResponse,
    responses=problem_responses(404, *BODY_STATUSES),
    openapi_extra=request_body(json=QueryBody, form=QueryForm),
)
async def post_distances(request: Request) -> Response:
    """Return the distance of every image of a Space from the query."""
    state = server_state(request)
    body, images = await read_query(request, QueryBody)

    def measure(query: ResolvedQuery) -> dict[str, Any]:
        searcher = query.searcher
        vector = query.vector()
        ids, distances = searcher.distances(vector)
        rounded = distances.round(5)
        return {
            "space": searcher.space,
            "ids": ids.tolist(),
            "distances": rounded.tolist(),
        }

    response = await run_query(state, body, images, measure)
    return json_response(response)


@search_router.post(
    "/uploads",
    response_model=UploadResponse,
    status_code=201,
    responses=problem_responses(*BODY_STATUSES),
    openapi_extra=request_body(form=UploadForm),
)
async def post_upload(request: Request) -> Response:
    """Keep an image in memory for a while, to search by it later."""
    state = server_state(request)
    image = await read_image(request)
    upload = await state.image_pool.run(state.uploads.add, image)
    sha256 = upload.sha256
    width, height = upload.size
    fields = {"upload": sha256, "width": width, "height": height}
    return json_response(fields, 201)


@search_router.get(
    "/uploads/{sha256}/image",
    response_class=Response,
    responses={
        200: file_response("image/jpeg", description="A thumbnail of the image."),
        **problem_responses(404, 422),
    },
)
async def get_upload(
    request: Request,
    sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")],
    size: Annotated[
        ThumbnailSize, Query(description="The longer side.")
    ] = ThumbnailSize.LARGE,
) -> Response:
    """Return a thumbnail of an uploaded image."""
    state = server_state(request)
    uploads = state.uploads
    cache = state.thumbnails
    upload = uploads.find(sha256)
    key = f"upload {sha256}", int(size)
    thumbnail = cache.get(key)
    if thumbnail is None:
        thumbnail = await state.image_pool.run(uploads.thumbnail, upload, size)
        cache.put(key, thumbnail)
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(thumbnail, media_type="image/jpeg", headers=headers)
