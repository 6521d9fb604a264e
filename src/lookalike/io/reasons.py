"""The reason of an error in one line."""

from __future__ import annotations

__all__ = ["first_line", "system_reason"]


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has none."""
    lines = str(error).strip().splitlines()
    if lines:
        return lines[0]
    return type(error).__name__


def system_reason(error: BaseException) -> str:
    """Return the system's words for an error, or else its message, or the name of its class."""
    reason = getattr(error, "strerror", None) or str(error)
    return reason or type(error).__name__
