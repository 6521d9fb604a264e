"""A faster route for functions that take only the request."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

__all__ = ["DirectRoute"]


class DirectRoute(APIRoute):
    """Calls a function whose only parameter is `request` without FastAPI's parameter handling.

    FastAPI's handling takes about as long as a search: docs/decisions/0018-server.md.

    Attributes
    ----------
    is_direct
        Whether its function is such a function.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        signature = inspect.signature(endpoint)
        names = list(signature.parameters)
        self.is_direct = names == ["request"]

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        method = scope["method"]
        allowed = self.methods or set()
        is_allowed = method in allowed
        if not self.is_direct or not is_allowed:
            await super().handle(scope, receive, send)
            return
        request = Request(scope, receive, send)
        response = await self.endpoint(request)
        await response(scope, receive, send)
