"""The user's choices about the network."""

from __future__ import annotations

import os

__all__ = ["is_offline"]


def is_offline() -> bool:
    """Return whether ``LOOKALIKE_OFFLINE`` forbids the network."""
    return os.environ.get("LOOKALIKE_OFFLINE", "0") not in {"", "0"}
