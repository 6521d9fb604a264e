"""Signing in: the token becomes a cookie of the browser."""

from __future__ import annotations

import hmac

from fastapi import APIRouter
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from lookalike.server.middleware import TOKEN_COOKIE
from lookalike.server.openapi import problem_responses, request_body
from lookalike.server.problems import Problem
from lookalike.server.request_body import read_json
from lookalike.server.schemas import SessionBody
from lookalike.server.settings import ServerSettings
from lookalike.server.state import server_state

__all__ = ["is_valid_token", "session_router", "store_token"]

session_router = APIRouter(tags=["session"])

_BODY = TypeAdapter(SessionBody)


@session_router.post(
    "/session",
    status_code=204,
    response_class=Response,
    responses=problem_responses(400, 403, 408, 413, 415, 422),
    openapi_extra=request_body(json=SessionBody),
)
async def post_session(request: Request) -> Response:
    """Store the token in a cookie of the browser; a server without a token accepts any."""
    body = await read_json(request, _BODY)
    settings = server_state(request).settings
    if not is_valid_token(settings, body.token):
        raise Problem(
            401,
            "Wrong token",
            "The token is wrong. Use the one that the server printed when it started, after "
            "?token= in the address.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    response = Response(status_code=204)
    store_token(settings, response)
    return response


def is_valid_token(settings: ServerSettings, token: str) -> bool:
    """Return whether a token gives access, in a time that does not depend on the token."""
    expected = settings.token
    if expected is None:
        return True
    return hmac.compare_digest(token.encode(), expected.encode())


def store_token(settings: ServerSettings, response: Response) -> None:
    """Store the server's token, if it has one, in a cookie that scripts cannot read."""
    if settings.token is None:
        return
    response.set_cookie(
        key=TOKEN_COOKIE,
        value=settings.token,
        path=f"{settings.root_path}/",
        httponly=True,
        samesite="strict",
    )
