"""A faster route for functions that take only the request."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["DirectRoute"]


class DirectRoute(APIRoute):
    """Calls a function whose only parameter is `request` without FastAPI's parameter handling.

    FastAPI's handling takes about as long as a search: docs/decisions/0018-server.md.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        parameters = inspect.signature(self.endpoint).parameters
        if list(parameters) == ["request"]:
            handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
            return handler
        return super().get_route_handler()
