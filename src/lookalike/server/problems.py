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
from starlette.routing import Match, Mount
from starlette.types import Scope

from lookalike.errors import (
    CollectionError,
    ImageError,
    InputError,
    LookalikeError,
    SpaceError,
    UnknownWordsError,
)
from lookalike.server.settings import API, ServerSettings
from lookalike.server.validation import field_errors

__all__ = [
    "Problem",
    "add_exception_handlers",
    "invalid_request",
    "problem_fields",
    "problem_response",
    "server_busy",
    "to_problem",
]

# The status and title of each kind of error; the first matching row applies.
_STATUS: tuple[tuple[type[LookalikeError], int, str], ...] = (
    (SpaceError, 404, "Space not found"),
    (ImageError, 422, "Unreadable image"),
    (UnknownWordsError, 422, "Unknown words"),
    (InputError, 422, "Invalid request"),
    (CollectionError, 503, "Collection unavailable"),
    (LookalikeError, 503, "Service unavailable"),
)
_MAX_LISTED_ERRORS = 20
_METHODS = ("DELETE", "GET", "POST")


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
    suggestions
        Known words that are spelled like one that is not known.
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
        self.suggestions: Sequence[str] = ()


def server_busy(detail: str) -> Problem:
    """Return the problem of a server whose queue is full."""
    headers = {"Retry-After": "1"}
    return Problem(503, "Busy", detail, headers=headers)


def invalid_request(errors: Sequence[Mapping[str, str]]) -> Problem:
    """Return the problem of a request that violates the schema.

    Parameters
    ----------
    errors
        From `lookalike.server.validation`.
    """
    listed = errors[:_MAX_LISTED_ERRORS]
    detail = "The request is invalid: it cannot be parsed."
    if listed:
        first = listed[0]
        where = first["where"]
        if not where:
            where = "The request is invalid"
        reason = first["reason"]
        detail = f"{where}: {reason}."
    return Problem(422, "Invalid request", detail, errors=listed)


def problem_fields(problem: Problem, instance: str) -> dict[str, Any]:
    """Return the fields of a `ProblemBody`; `instance` is the path of the request."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
    }
    if problem.errors:
        body["errors"] = list(problem.errors)
    if problem.suggestions:
        body["suggestions"] = list(problem.suggestions)
    return body


def problem_response(problem: Problem, instance: str) -> Response:
    """Return the response for a problem; `instance` is the path of the request."""
    body = problem_fields(problem, instance)
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
        problem = to_problem(error)
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            problem = _method_not_allowed(app, scope)
        path = scope["path"]
        if problem.status == HTTPStatus.NOT_FOUND and not problem.detail:
            problem.detail = _no_such_path(app, path)
        return problem_response(problem, instance=path)

    for kind in (
        Problem,
        HTTPException,
        RequestValidationError,
        ClientDisconnect,
        LookalikeError,
        Exception,
    ):
        app.add_exception_handler(kind, handle)


def _method_not_allowed(app: FastAPI, scope: Scope) -> Problem:
    allowed = ", ".join(_allowed_methods(app, scope))
    method = scope["method"]
    path = scope["path"]
    return Problem(
        405,
        HTTPStatus.METHOD_NOT_ALLOWED.phrase,
        f"The method {method} is not allowed for {path[:200]!r}. Use one of: {allowed}.",
        headers={"Allow": allowed},
    )


def _allowed_methods(app: FastAPI, scope: Scope) -> list[str]:
    """Return the methods of all routes of a path; Starlette names those of one route only."""
    allowed = set()
    root_path = _root_path(app)
    for method in _METHODS:
        requested = {**scope, "method": method, "root_path": root_path}
        for route in app.router.routes:
            match, _ = route.matches(requested)
            # A mounted folder matches any method, but is only read.
            is_allowed = method == "GET" or not isinstance(route, Mount)
            if match is Match.FULL and is_allowed:
                allowed.add(method)
    if "GET" in allowed:
        allowed.add("HEAD")
    return sorted(allowed)


def _no_such_path(app: FastAPI, path: str) -> str:
    prefix = _root_path(app)
    description = f"{prefix}{API}/openapi.json"
    return f"There is nothing at {path[:200]!r}. {description} lists all paths."


def _root_path(app: FastAPI) -> str:
    """Return the path prefix of the server; a mounted folder changes that of the request."""
    settings: ServerSettings = app.state.lookalike.settings
    return settings.root_path


def to_problem(error: Exception) -> Problem:
    """Return the problem that answers an exception; an unexpected one is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        errors = error.errors()
        return invalid_request(field_errors(errors))
    if isinstance(error, HTTPException):
        title = HTTPStatus(error.status_code).phrase
        detail = f"{error.detail}."
        # Starlette's own details repeat the title.
        if error.detail == title:
            detail = ""
        return Problem(error.status_code, title, detail, headers=error.headers)
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
            problem = Problem(status, title, str(error), headers=headers)
            if isinstance(error, UnknownWordsError):
                problem.suggestions = error.suggestions
            return problem
    logging.getLogger("lookalike.server").error("unexpected error", exc_info=error)
    detail = "An unexpected error occurred. The server's log has the details."
    return Problem(500, "Internal server error", detail)
