"""The page and its files, and the address that stores the token in a cookie."""

from __future__ import annotations

import hashlib
import os
import re
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from lookalike.server.state import server_state
from lookalike.server.tokens import is_valid_token, store_token

__all__ = ["PAGE", "PageFiles", "digest_of_page", "page_router"]

PAGE = Path(__file__).parents[2] / "page"
_KEPT_FOREVER = "public, max-age=31536000, immutable"
_DIGEST_DIGITS = 16
_DIGEST = re.compile(rf"[0-9a-f]{{{_DIGEST_DIGITS}}}")

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


class PageFiles(StaticFiles):
    """The files of the page.

    Their digest may come before a file's path. A browser keeps what it gets at such an address,
    because other files get another digest. A digest that another server named, such as a newer one
    behind the same address, leads to the files too, and nothing is kept.
    """

    def __init__(self) -> None:
        super().__init__(directory=PAGE, check_dir=False)

    def get_path(self, scope: Scope) -> str:
        """Return the path of a file, without a digest."""
        path = super().get_path(scope)
        digest, _, file = path.partition(os.sep)
        return file if _DIGEST.fullmatch(digest) else path

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Return a file, or that the browser has it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        digest, _, _ = super().get_path(scope).partition(os.sep)
        if digest == _page_digest():
            response.headers["Cache-Control"] = _KEPT_FOREVER
        return response


def _page(status: int) -> Response:
    headers = {"Cache-Control": "no-cache"}
    return HTMLResponse(_page_text(), status, headers)


@cache
def _page_text() -> str:
    """Return the page, whose files have addresses with their digest."""
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    return text.replace('"static/', f'"static/{_page_digest()}/')


@cache
def _page_digest() -> str:
    return digest_of_page(PAGE)


def digest_of_page(folder: Path) -> str:
    """Return a digest of all files in a folder, and of their names."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"{name} {content}\n".encode())
    return found.hexdigest()[:_DIGEST_DIGITS]
