"""The OpenAPI description: FastAPI's own, completed by bodies and problems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter

from lookalike.server.schemas import ProblemBody
from lookalike.server.settings import OPEN_PATHS, ServerSettings

__all__ = [
    "BODY_STATUSES",
    "describe",
    "describe_access",
    "file_response",
    "operation_id",
    "problem_responses",
    "request_body",
]

# The errors of every route that reads a request body.
BODY_STATUSES = (400, 403, 408, 413, 415, 422)

_SCHEMAS = "#/components/schemas/"
_DESCRIPTIONS = {
    400: "The request is incomplete or not valid HTTP.",
    401: "A token is required.",
    403: "The request comes from another site, or would change a collection of a read-only server.",
    404: "The resource does not exist.",
    408: "The request body did not arrive in time.",
    409: "The operation conflicts with the current state.",
    413: "The request body is too large.",
    415: "The request body has an unsupported media type.",
    416: "The file does not have the requested range.",
    421: "The server does not accept this host name.",
    422: "The request is invalid.",
    500: "Unexpected error.",
    503: "The server is busy, or the collection cannot be read. Try again later.",
}
# Every request may end with one of these.
_COMMON_STATUSES = {401, 421, 500, 503}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with these statuses and the common ones."""
    responses: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, *_COMMON_STATUSES}):
        description = _DESCRIPTIONS[status]
        responses[status] = {"model": ProblemBody, "description": description}
    return responses


def request_body(
    *, json: type[BaseModel] | str | None = None, form: type[BaseModel] | None = None
) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that reads its body by `lookalike.server.request_body`.

    Parameters
    ----------
    json, form
        The schemas of a JSON body and of a multipart form: a model, or a schema's name.
    """
    content: dict[str, Any] = {}
    if json is not None:
        content["application/json"] = _schema_reference(json)
    if form is not None:
        content["multipart/form-data"] = _schema_reference(form)
    body = {"required": True, "content": content}
    return {"requestBody": body}


def file_response(
    media_type: str, *, description: str, schema: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the description of a response that is not JSON; its content is binary by default."""
    if schema is None:
        schema = {"type": "string", "format": "binary"}
    content = {media_type: {"schema": schema}}
    return {"description": description, "content": content}


def describe(app: FastAPI, bodies: Mapping[str, TypeAdapter[Any]]) -> dict[str, Any]:
    """Return the OpenAPI description of an app.

    Parameters
    ----------
    app
        The app; FastAPI describes its routes, parameters and responses.
    bodies
        The request bodies by their schemas' names; the routes parse them without FastAPI.
    """
    description = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
    )
    schemas = description["components"]["schemas"]
    for name, body in bodies.items():
        schema = body.json_schema(ref_template=_SCHEMAS + "{model}")
        schemas |= schema.pop("$defs", {})
        schemas[name] = schema
    for operation in _operations(description):
        _use_problem_media_type(operation["responses"])
    for path in OPEN_PATHS:
        for operation in description["paths"][path].values():
            operation["security"] = []
    return description


def describe_access(
    description: Mapping[str, Any], settings: ServerSettings, cookie: str
) -> dict[str, Any]:
    """Return a description with the address of the server and the ways to send its token.

    Parameters
    ----------
    description
        From `describe`.
    settings
        The options of the server.
    cookie
        The name of the cookie that holds the token.
    """
    schemes = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token in the header `Authorization: Bearer TOKEN`.",
        },
        "cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie,
            "description": f"The token in the cookie `{cookie}`, which `signIn` sets.",
        },
    }
    security: list[dict[str, list[str]]] = [{"bearer": []}, {"cookie": []}]
    if settings.token is None:
        # No token is needed, but one may be sent.
        security.insert(0, {})
    components = {**description["components"], "securitySchemes": schemes}
    server = {"url": settings.root_path or "/"}
    return {
        **description,
        "servers": [server],
        "components": components,
        "security": security,
    }


def operation_id(route: APIRoute) -> str:
    """Return the name of an operation by that of its function.

    ``list_rows`` becomes ``listRows``, and ``post_search`` becomes ``search``.
    """
    name = route.name.removeprefix("post_")
    first, *others = name.split("_")
    capitalized = [word.capitalize() for word in others]
    return "".join([first, *capitalized])


def _schema_reference(body: type[BaseModel] | str) -> dict[str, Any]:
    name = body
    if not isinstance(body, str):
        name = body.__name__
    reference = f"{_SCHEMAS}{name}"
    return {"schema": {"$ref": reference}}


def _operations(description: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    paths = description["paths"]
    for operations in paths.values():
        yield from operations.values()


def _use_problem_media_type(responses: dict[str, Any]) -> None:
    """Describe errors as problem details, where FastAPI describes them as plain JSON."""
    for status, response in responses.items():
        is_error = int(status) >= 400
        if not is_error:
            continue
        content = response.get("content", {})
        schema = content.pop("application/json", None)
        if schema is not None:
            content["application/problem+json"] = schema
