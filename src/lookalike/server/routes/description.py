"""The OpenAPI description of the server, and a page made from it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from lookalike.server.documentation import CONTENT_POLICY, documentation_page
from lookalike.server.openapi import describe_access
from lookalike.server.responses import json_response
from lookalike.server.state import server_state
from lookalike.server.tokens import cookie_name

__all__ = ["description_router"]

description_router = APIRouter(include_in_schema=False)


@description_router.get("/openapi.json")
async def get_description(request: Request) -> Response:
    """Return the OpenAPI description."""
    description = _describe(request)
    return json_response(description)


@description_router.get("/docs")
async def get_documentation(request: Request) -> Response:
    """Return the description as a page that requests nothing else."""
    description = _describe(request)
    page = documentation_page(description)
    headers = {"Content-Security-Policy": CONTENT_POLICY}
    return HTMLResponse(page, headers=headers)


def _describe(request: Request) -> dict[str, Any]:
    settings = server_state(request).settings
    description = request.app.openapi()
    cookie = cookie_name(request.scope)
    return describe_access(description, settings, cookie)
