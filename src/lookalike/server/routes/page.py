"""The page, and the address that stores the token in a cookie."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from lookalike.server.state import server_state
from lookalike.server.tokens import is_valid_token, store_token

__all__ = ["PAGE", "page_router"]

PAGE = Path(__file__).parents[2] / "page"

page_router = APIRouter(include_in_schema=False)


@page_router.get("/")
async def get_page(request: Request, token: str | None = None) -> Response:
    """Return the page; a valid token is stored in a cookie first.

    With a wrong token the status is 401, and the page asks for the token.
    """
    settings = server_state(request).settings
    if token is None or settings.token is None:
        return _page(200)
    if not is_valid_token(settings, token):
        return _page(401)
    home = f"{settings.root_path}/"
    redirect = RedirectResponse(home, 303)
    store_token(request, settings, redirect)
    return redirect


def _page(status: int) -> Response:
    headers = {"Cache-Control": "no-cache"}
    return FileResponse(PAGE / "index.html", status, headers)
