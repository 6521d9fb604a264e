"""What the HTTP requests of this package share."""

from __future__ import annotations

import ssl
from functools import cache

import lookalike

__all__ = ["TRANSIENT", "trusted_certificates", "user_agent"]

# HTTP states that may have passed when the request is repeated.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


def user_agent() -> str:
    """Return the program's name and version, by which servers recognize it."""
    return f"lookalike/{lookalike.__version__} (image search engine)"


@cache
def trusted_certificates() -> ssl.SSLContext:
    """Return the certificates of the system, to which companies add their own."""
    return ssl.create_default_context()
