"""The page, and the address that stores the token in a cookie."""

from __future__ import annotations

import hmac
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from lookalike.server.middleware import TOKEN_COOKIE
from lookalike.server.problems import Problem
from lookalike.server.state import server_state

__all__ = ["PAGE", "page_router"]

PAGE = Path(__file__).parents[2] / "page"

page_router = APIRouter(include_in_schema=False)


@page_router.get("/")
async def get_page(request: Request, token: str | None = None) -> Response:
    """Return the page; a valid token is stored in a cookie first."""
    state = server_state(request)
    settings = state.settings
    expected = settings.token
    if token is None or expected is None:
        headers = {"Cache-Control": "no-cache"}
        page = PAGE / "index.html"
        return FileResponse(page, headers=headers)
    is_valid = hmac.compare_digest(token.encode(), expected.encode())
    if not is_valid:
        detail = "The token is wrong. Open the address that the server printed when it started."
        raise Problem(401, "Wrong token", detail)
    home = f"{settings.root_path}/"
    redirect = RedirectResponse(home, 303)
    redirect.set_cookie(
        key=TOKEN_COOKIE, value=token, path=home, httponly=True, samesite="strict"
    )
    return redirect
