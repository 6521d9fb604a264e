"""The token of a server: its comparison, and the cookie of a browser that keeps it."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from lookalike.server.settings import ServerSettings

__all__ = ["cookie_name", "cookie_token", "is_valid_token", "store_token"]


def is_valid_token(settings: ServerSettings, token: str) -> bool:
    """Return whether a token gives access, in a time that does not depend on the token."""
    expected = settings.token
    if expected is None:
        return True
    sent = token.encode(errors="surrogatepass")
    return hmac.compare_digest(sent, expected.encode())


def cookie_name(scope: Scope) -> str:
    """Return the name of the cookie, which has the port that the server listens on.

    Browsers send a cookie to every port of a host, so servers of one machine need different names.
    """
    _, port = scope.get("server") or ("", None)
    return f"lookalike-{port}"


def cookie_token(scope: Scope, headers: Headers) -> str:
    """Return the token in a request's cookie, or ""."""
    name = cookie_name(scope)
    text = headers.get("cookie", "")
    try:
        cookie = SimpleCookie(text).get(name)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def store_token(request: Request, settings: ServerSettings, response: Response) -> None:
    """Store the server's token, if it has one, in a cookie that scripts cannot read.

    If the browser uses TLS, it sends the cookie over TLS only.
    """
    if settings.token is None:
        return
    response.set_cookie(
        key=cookie_name(request.scope),
        value=settings.token,
        path=f"{settings.root_path}/",
        secure=request.scope["scheme"] == "https",
        httponly=True,
        samesite="strict",
    )
