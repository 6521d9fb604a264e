"""How messages show a text."""

from __future__ import annotations

__all__ = ["excerpt"]

_EXCERPT_LENGTH = 40


def excerpt(text: str) -> str:
    """Return a text, or the beginning of a long one, in quotes."""
    shown = text
    if len(text) > _EXCERPT_LENGTH:
        beginning = text[:_EXCERPT_LENGTH].rstrip()
        shown = f"{beginning}…"
    return repr(shown)
