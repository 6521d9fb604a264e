"""Errors as RFC 9457 problem details: ``application/problem+json``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import pydantic_core
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from lookalike.errors import (
    CollectionError,
    ImageError,
    InputError,
    LookalikeError,
    SpaceError,
)

__all__ = [
    "Problem",
    "add_exception_handlers",
    "invalid_request",
    "problem_response",
    "server_busy",
]

# The status and title of each kind of error; the first matching row applies.
_STATUS: tuple[tuple[type[LookalikeError], int, str], ...] = (
    (SpaceError, 404, "Space not found"),
    (ImageError, 422, "Unreadable image"),
    (InputError, 422, "Invalid request"),
    (CollectionError, 503, "Collection unavailable"),
    (LookalikeError, 503, "Service unavailable"),
)
_MAX_LISTED_ERRORS = 20


class Problem(Exception):  # noqa: N818 (the word of RFC 9457)
    """An error response.

    Attributes
    ----------
    status, title, detail
        The HTTP status, a short name, and one or two sentences: the input, the expectation, the
        next step.
    errors
        The invalid parts of the request, each as ``{"where": ..., "reason": ...}``.
    headers
        Headers of the response.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})


def server_busy(detail: str) -> Problem:
    """Return the problem of a server whose queue is full."""
    headers = {"Retry-After": "1"}
    return Problem(503, "Busy", detail, headers=headers)


def invalid_request(errors: Sequence[Any]) -> Problem:
    """Return the problem of a request that violates the schema; `errors` as pydantic lists them."""
    first_errors = errors[:_MAX_LISTED_ERRORS]
    listed = [_place_and_reason(error) for error in first_errors]
    location = ""
    reason = "it cannot be parsed"
    if listed:
        first = listed[0]
        where = first["where"]
        reason = first["reason"]
        if where:
            location = f" at {where}"
    detail = f"The request is invalid{location}: {reason}."
    return Problem(422, "Invalid request", detail, errors=listed)


def problem_response(problem: Problem, instance: str) -> Response:
    """Return the response for a problem; `instance` is the path of the request."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
    }
    if problem.errors:
        body["errors"] = list(problem.errors)
    return Response(
        pydantic_core.to_json(body),
        problem.status,
        {"Cache-Control": "no-store", **problem.headers},
        media_type="application/problem+json",
    )


def add_exception_handlers(app: FastAPI) -> None:
    """Answer every exception of an app with a problem."""

    async def handle(request: Request, error: Exception) -> Response:
        scope = request.scope
        problem = _to_problem(error)
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            route = scope.get("route")
            methods = _allowed_methods(app, route)
            problem.headers["Allow"] = methods
        path = scope["path"]
        return problem_response(problem, instance=path)

    for kind in (
        Problem,
        HTTPException,
        RequestValidationError,
        LookalikeError,
        Exception,
    ):
        app.add_exception_handler(kind, handle)


def _allowed_methods(app: FastAPI, route: Any) -> str:
    """Return the methods of all routes of a path; the exception names those of one route only."""
    route_path = getattr(route, "path", "")
    description = app.openapi()
    paths = description["paths"]
    methods: list[str] = []
    for path, operations in paths.items():
        if path.endswith(route_path):
            methods += operations
    listed = ", ".join(methods)
    return listed.upper() or "GET"


def _place_and_reason(error: Any) -> dict[str, str]:
    """Return the invalid part and the reason of an error of pydantic."""
    location = error["loc"]
    reason = error["msg"]
    keys = [str(key) for key in location]
    where = ".".join(keys)
    return {"where": where, "reason": str(reason)}


def _to_problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return invalid_request(error.errors())
    if isinstance(error, HTTPException):
        title = HTTPStatus(error.status_code).phrase
        return Problem(
            error.status_code, title, f"{error.detail}.", headers=error.headers
        )
    if isinstance(error, ClientDisconnect):
        detail = (
            "The connection was closed before the request was complete. Send it again."
        )
        return Problem(400, "Incomplete request", detail)
    for kind, status, title in _STATUS:
        if isinstance(error, kind):
            headers = None
            if status == HTTPStatus.SERVICE_UNAVAILABLE:
                headers = {"Retry-After": "5"}
            return Problem(status, title, str(error), headers=headers)
    logging.getLogger("lookalike.server").error("unexpected error", exc_info=error)
    detail = "An unexpected error occurred. The server's log has the details."
    return Problem(500, "Internal server error", detail)
