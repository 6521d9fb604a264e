"""Errors as RFC 9457 has them: ``application/problem+json``, whose ``detail`` is a sentence for the user."""

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

__all__ = ["Problem", "busy", "handle", "invalid", "response"]

_log = logging.getLogger("lookalike.server")

# The first kind that an error is of decides.
_STATUS: tuple[tuple[type[LookalikeError], int, str], ...] = (
    (SpaceError, 404, "No such Space"),
    (ImageError, 422, "Not a picture that can be read"),
    (InputError, 422, "The request cannot be answered"),
    (CollectionError, 503, "The collection cannot be read"),
    (LookalikeError, 503, "The server cannot do this now"),
)


class Problem(Exception):  # noqa: N818 (the word of RFC 9457)
    """What went wrong, as the client is told.

    Attributes
    ----------
    status, title, detail
        The HTTP status, its kind in a few words, and a sentence: what was given, what was expected, what to do next.
    errors
        For each part of the request that is wrong: where it is, and why.
    headers
        Of the answer.
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
        self.status, self.title, self.detail = status, title, detail
        self.errors, self.headers = errors, dict(headers or {})


def busy(detail: str) -> Problem:
    """Return the problem of a server that has as much to do as it takes on."""
    return Problem(503, "Busy", detail, headers={"Retry-After": "1"})


def invalid(errors: Sequence[Any]) -> Problem:
    """Return the problem of a request that is not what the interface says; `errors` as pydantic lists them."""
    listed = [
        {"where": ".".join(map(str, error["loc"])), "reason": str(error["msg"])}
        for error in errors[:20]
    ]
    first = listed[0] if listed else {"where": "", "reason": "it cannot be read"}
    place = f" at {first['where']}" if first["where"] else ""
    return Problem(
        422,
        "Not a valid request",
        f"The request is not valid{place}: {first['reason']}.",
        errors=listed,
    )


def response(problem: Problem, instance: str) -> Response:
    """Return a problem as what is sent."""
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


def handle(app: FastAPI) -> None:
    """Let every error of an app be answered as a problem."""

    async def answer(request: Request, error: Exception) -> Response:
        problem = _problem(error)
        if problem.status == 405:
            problem.headers["Allow"] = _methods(app, request)
        return response(problem, request.scope["path"])

    for kind in (Problem, HTTPException, RequestValidationError, LookalikeError, Exception):
        app.add_exception_handler(kind, answer)


def _methods(app: FastAPI, request: Request) -> str:
    """Return the methods that a path knows: those of all of its routes, where the error names only the first's."""
    path = getattr(request.scope.get("route"), "path", "")
    known = (name for name in app.openapi()["paths"] if name.endswith(path))
    return (
        ", ".join(method.upper() for name in known for method in app.openapi()["paths"][name])
        or "GET"
    )


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return invalid(error.errors())
    if isinstance(error, HTTPException):
        title = HTTPStatus(error.status_code).phrase
        return Problem(error.status_code, title, f"{error.detail}.", headers=error.headers)
    if isinstance(error, ClientDisconnect):
        return Problem(400, "Cut short", "The connection ended before the request did.")
    for kind, status, title in _STATUS:
        if isinstance(error, kind):
            return Problem(
                status, title, str(error), headers={"Retry-After": "5"} if status == 503 else None
            )
    _log.error("an unforeseen error", exc_info=error)
    return Problem(
        500,
        "An error of the server",
        "Something went wrong that should not; the server's log says what.",
    )
