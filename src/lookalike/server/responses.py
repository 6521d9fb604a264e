"""JSON responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic_core
from starlette.responses import Response

__all__ = ["json_response"]


def json_response(
    content: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return plain data as a JSON response.

    The data is not validated against its schema, which would take longer than a search. JSON has no
    infinite numbers: they become the text ``Infinity`` or ``-Infinity``.
    """
    body = pydantic_core.to_json(content, inf_nan_mode="strings")
    return Response(body, status, headers, media_type="application/json")
