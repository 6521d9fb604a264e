"""The user's choices about the network."""

from __future__ import annotations

import os

__all__ = ["is_offline"]


def is_offline() -> bool:
    """Return whether ``LOOKALIKE_OFFLINE`` forbids the network."""
    value = os.environ.get("LOOKALIKE_OFFLINE", "0")
    return value not in {"", "0"}
