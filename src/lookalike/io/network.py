"""The user's choices about the network."""

from __future__ import annotations

import os

__all__ = ["allows_private", "is_offline"]


def is_offline() -> bool:
    """Return whether ``LOOKALIKE_OFFLINE`` forbids the network."""
    return _is_set("LOOKALIKE_OFFLINE")


def allows_private() -> bool:
    """Return whether ``LOOKALIKE_ALLOW_PRIVATE`` allows addresses of private networks."""
    return _is_set("LOOKALIKE_ALLOW_PRIVATE")


def _is_set(name: str) -> bool:
    value = os.environ.get(name, "0")
    return value not in {"", "0"}
