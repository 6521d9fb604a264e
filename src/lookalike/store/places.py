"""The location that a path names."""

from __future__ import annotations

import os

from lookalike.store.local_location import LocalLocation
from lookalike.store.location import Location

__all__ = ["locate"]


def locate(path: str | os.PathLike[str]) -> Location:
    """Return the location of a collection: the folder at a path."""
    return LocalLocation(path)
