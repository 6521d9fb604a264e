"""The page, and the address that lets a browser in."""

from __future__ import annotations

import hmac
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from lookalike.server.middleware import COOKIE
from lookalike.server.problems import Problem
from lookalike.server.state import server_state

__all__ = ["PAGE", "router"]

PAGE = Path(__file__).parents[2] / "page"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request, token: str | None = None) -> Response:
    """Show the page; with the right token, keep it in a cookie first."""
    settings = server_state(request).settings
    if token is not None and settings.token is not None:
        if not hmac.compare_digest(token.encode(), settings.token.encode()):
            raise Problem(
                401,
                "Not the token",
                "That is not the token that the server printed when it started.",
            )
        home = f"{settings.root_path}/"
        found = RedirectResponse(home, 303)
        found.set_cookie(COOKIE, token, path=home, httponly=True, samesite="strict")
        return found
    return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})
