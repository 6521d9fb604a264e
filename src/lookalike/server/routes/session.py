"""Signing in: the token becomes a cookie of the browser."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from lookalike.server.openapi import problem_responses, request_body
from lookalike.server.problems import Problem
from lookalike.server.request_body import read_json
from lookalike.server.schemas import SessionBody
from lookalike.server.state import server_state
from lookalike.server.tokens import is_valid_token, store_token

__all__ = ["session_router"]

session_router = APIRouter(tags=["session"])

_BODY = TypeAdapter(SessionBody)


@session_router.post(
    "/session",
    status_code=204,
    response_class=Response,
    responses=problem_responses(400, 403, 408, 413, 415, 422),
    openapi_extra=request_body(json=SessionBody),
)
async def sign_in(request: Request) -> Response:
    """Store the token in a cookie of the browser; a server without a token accepts any."""
    body = await read_json(request, _BODY)
    settings = server_state(request).settings
    if not is_valid_token(settings, body.token):
        raise Problem(
            401,
            "Wrong token",
            "The token is wrong. Use the one that the server was started with, or the one after "
            "?token= in the address that it printed.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    response = Response(status_code=204)
    store_token(request, settings, response)
    return response
