"""Limits, certificates and errors that all HTTP requests of this package share."""

from __future__ import annotations

import ssl
from functools import cache

import lookalike

__all__ = [
    "RETRY_PAUSES_S",
    "SILENCE_S",
    "TRANSIENT",
    "TransientError",
    "trusted_certificates",
    "user_agent",
]

# The longest wait for the next bytes, not for the whole answer.
SILENCE_S = 30.0
# The pauses between attempts.
RETRY_PAUSES_S = (0.5, 1.0, 2.0, 4.0)

# HTTP statuses whose cause may have passed when the request is repeated.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class TransientError(Exception):
    """A failure of the network that another attempt may not meet."""

    def __init__(self, reason: object, *, connected: bool = True) -> None:
        message = str(reason)
        if message == "":
            message = type(reason).__name__
        super().__init__(message)
        self.connected = connected


def user_agent() -> str:
    """Return the program's name and version, by which servers recognize it."""
    version = lookalike.__version__
    return f"lookalike/{version} (image search engine)"


@cache
def trusted_certificates() -> ssl.SSLContext:
    """Return the certificates of the system, to which companies add their own."""
    return ssl.create_default_context()
