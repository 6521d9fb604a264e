"""Searching: by rows, by pictures that were sent, by pictures that come with the question."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from lookalike.server.problems import Problem
from lookalike.server.query import ResolvedQuery, ask, found, vector_of
from lookalike.server.request_body import MOST_PICTURES, pictures_and, read_pictures
from lookalike.server.responses import answer, body, data, problems
from lookalike.server.routes.direct import DirectRoute
from lookalike.server.schemas import Distances, Found, Question, Search, Side, Uploaded
from lookalike.server.state import server_state

__all__ = ["FORM", "router"]

router = APIRouter(tags=["searching"], route_class=DirectRoute)

_PICTURES = {
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "minItems": 1,
    "maxItems": MOST_PICTURES,
}
FORM = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {**_PICTURES, "description": "Pictures to search by."},
        "query": {
            "type": "string",
            "description": "The question as JSON; without it all pictures are searched by.",
        },
    },
}
_ONE = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": {"type": "string", "format": "binary", "description": "A picture."}},
}


@router.post(
    "/search",
    response_model=Found,
    responses=problems(400, 403, 404, 408, 413, 415, 422),
    openapi_extra=body(Search, form=FORM),
)
async def search(request: Request) -> Response:
    """Search by pictures and rows: those that matches should be like, and those that they should be unlike."""
    began = time.perf_counter()
    state = server_state(request)
    question, pictures = await pictures_and(request, Search)
    # A filter may read the whole table.
    quick = question.where is None
    return answer(
        await ask(
            state,
            question,
            pictures,
            lambda asked: found(state, asked, question, began),
            quick=quick,
        )
    )


@router.post(
    "/distances",
    response_model=Distances,
    responses=problems(400, 403, 404, 408, 413, 415, 422),
    openapi_extra=body(Question, form=FORM),
)
async def distances(request: Request) -> Response:
    """Give the distance of every image of a Space from what is asked by."""
    state = server_state(request)
    question, pictures = await pictures_and(request, Question)

    def measure(asked: ResolvedQuery) -> dict[str, Any]:
        ids, found = asked.searcher.distances(vector_of(state, asked))
        return {
            "space": asked.searcher.space,
            "ids": ids.tolist(),
            "distances": found.round(5).tolist(),
        }

    return answer(await ask(state, question, pictures, measure))


@router.post(
    "/uploads",
    response_model=Uploaded,
    status_code=201,
    responses=problems(400, 403, 408, 413, 415, 422),
    openapi_extra=body(form=_ONE),
)
async def upload(request: Request) -> Response:
    """Keep a picture in memory for a while, to search by it later."""
    state = server_state(request)
    pictures = await read_pictures(request)
    if len(pictures) != 1:
        raise Problem(
            422,
            "Not a valid form",
            f"The form holds {len(pictures)} files named image; expected one.",
        )
    kept = await state.work.run(state.uploads.take, pictures[0])
    width, height = kept.size
    return answer({"upload": kept.sha256, "width": width, "height": height}, 201)


@router.get(
    "/uploads/{sha256}/picture",
    response_class=Response,
    responses={200: data("image/jpeg", description="The picture, small."), **problems(404, 422)},
)
async def picture(
    request: Request,
    sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")],
    size: Annotated[Side, Query(description="The longer side at most.")] = Side.LARGE,
) -> Response:
    """Show a picture that was sent."""
    state = server_state(request)
    kept = state.uploads.find(sha256)
    small = state.pictures.get((f"upload {sha256}", size))
    if small is None:
        small = await state.work.run(state.uploads.small, kept, size)
        state.pictures.put((f"upload {sha256}", size), small, len(small) + 256)
    return Response(
        small, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"}
    )
