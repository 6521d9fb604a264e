"""Sizes of files as people read them."""

from __future__ import annotations

__all__ = ["file_size"]

_MEGABYTE = 1_000_000


def file_size(count: int) -> str:
    """Return a number of bytes as kilobytes or megabytes: ``17 kB``, ``1,200.5 MB``."""
    if count < _MEGABYTE:
        kilobytes = count / 1_000
        return f"{kilobytes:,.0f} kB"
    megabytes = count / _MEGABYTE
    return f"{megabytes:,.1f} MB"
