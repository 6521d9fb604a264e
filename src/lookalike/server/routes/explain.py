"""Why two images match."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from lookalike.server.explain_schemas import ExplainBody, ExplainForm, ExplainResponse
from lookalike.server.explanations import explain_match
from lookalike.server.openapi import (
    BODY_STATUSES,
    file_response,
    problem_responses,
    request_body,
)
from lookalike.server.parameters import CollectionName
from lookalike.server.request_body import read_with_images
from lookalike.server.routes.direct import DirectRoute
from lookalike.server.schemas import RowExample
from lookalike.server.state import server_state

__all__ = ["explain_router"]

explain_router = APIRouter(tags=["search"], route_class=DirectRoute)

_EXPLAIN_BODY = TypeAdapter(ExplainBody)
_FIGURE_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: file_response("image/png", description="Both images, if asked for.")
}
_ROW = {"ge": 0, "lt": 2**63}


@explain_router.get(
    "/explain",
    response_model=ExplainResponse,
    responses={**_FIGURE_RESPONSE, **problem_responses(404, 422)},
)
async def explain_rows(
    request: Request,
    query: Annotated[int, Query(description="The id of a row.", **_ROW)],
    match: Annotated[int, Query(description="The id of the other row.", **_ROW)],
    collection: CollectionName = None,
    space: Annotated[
        str | None, Query(description="The Space; the first by default.")
    ] = None,
    format: Annotated[  # noqa: A002 (the name of the parameter)
        Literal["json", "png"], Query(description="Values, or an image.")
    ] = "json",
) -> Response:
    """Explain which parts of two rows make them alike."""
    body = ExplainBody(
        collection=collection,
        space=space,
        query=RowExample(id=query),
        match=match,
        format=format,
    )
    return await explain_match(server_state(request), body, [])


@explain_router.post(
    "/explain",
    response_model=ExplainResponse,
    responses={**_FIGURE_RESPONSE, **problem_responses(404, *BODY_STATUSES)},
    openapi_extra=request_body(json=ExplainBody, form=ExplainForm),
)
async def explain_images(request: Request) -> Response:
    """Explain which parts of an image, uploaded or of a row, make it like a row."""
    validate_json = _EXPLAIN_BODY.validate_json
    body, images = await read_with_images(request, validate_json)
    state = server_state(request)
    return await explain_match(state, body, images)
