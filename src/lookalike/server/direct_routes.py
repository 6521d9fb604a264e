"""Middleware that calls direct routes without FastAPI's routing."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from lookalike.errors import LookalikeError
from lookalike.server.problems import Problem, problem_response, to_problem
from lookalike.server.routes.direct import DirectRoute

__all__ = ["CallDirectRoutes"]


class CallDirectRoutes:
    """Calls the direct routes whose paths have no parameters; the app answers all other requests.

    Routers, stacks of contexts and handlers of exceptions cost more than parsing the request.

    Parameters
    ----------
    app
        The app.
    routers
        The routers of the app.
    prefix
        The prefix of their paths.
    """

    def __init__(self, app: ASGIApp, routers: Sequence[APIRouter], prefix: str) -> None:
        self._app = app
        self._routes: dict[tuple[str, str], DirectRoute] = {}
        for router in routers:
            for route in router.routes:
                if not isinstance(route, DirectRoute) or not route.is_direct:
                    continue
                for method in route.methods or ():
                    path = f"{prefix}{route.path}"
                    self._routes[method, path] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        route = None
        if scope["type"] == "http":
            root_path = scope.get("root_path", "")
            path = scope["path"].removeprefix(root_path)
            route = self._routes.get((scope["method"], path))
        if route is None:
            await self._app(scope, receive, send)
            return
        # The metrics name the route.
        scope["route"] = route
        try:
            await route.handle(scope, receive, send)
        except (Problem, LookalikeError, HTTPException, ClientDisconnect) as error:
            # An unexpected error is answered by the app's outermost middleware.
            problem = to_problem(error)
            response = problem_response(problem, instance=scope["path"])
            await response(scope, receive, send)
