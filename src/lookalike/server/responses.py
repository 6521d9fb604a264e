"""How answers are written, and what the interface's description says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic_core
from pydantic import BaseModel
from starlette.responses import Response

from lookalike.server.schemas import ProblemBody

__all__ = ["answer", "body", "data", "problems"]

_WHY = {
    400: "The request is cut short or no HTTP.",
    401: "A token is needed.",
    403: "The request comes from another site.",
    404: "There is no such thing.",
    408: "The request's body took too long to arrive.",
    409: "It cannot be done now.",
    413: "The request's body is too large.",
    415: "The request's body is of another type than is taken.",
    416: "The file has no such range.",
    421: "The server does not answer to this name.",
    422: "The request is not valid.",
    500: "An error of the server.",
    503: "The server is busy, or the collection cannot be read: try again later.",
}


def answer(
    content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return plain data as JSON; it is not checked against its schema again, which would cost more than the search."""
    return Response(pydantic_core.to_json(content), status, headers, media_type="application/json")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the description says of the problems that a request may end in, besides those of every request."""
    return {
        status: {"model": ProblemBody, "description": _WHY[status]}
        for status in sorted({*statuses, 401, 421, 500, 503})
    }


def body(
    kind: type[BaseModel] | None = None, *, form: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what the description says of a request's body, which is read by `bodies`."""
    content: dict[str, Any] = {}
    if kind is not None:
        content["application/json"] = {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}
    if form is not None:
        content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}


def data(
    media_type: str, *, description: str, schema: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what the description says of an answer that is no JSON: bytes, if no schema is given."""
    content = {"schema": schema or {"type": "string", "format": "binary"}}
    return {"description": description, "content": {media_type: content}}
