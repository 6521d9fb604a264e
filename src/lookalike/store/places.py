"""The location that a path or an address names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lookalike.errors import CollectionError
from lookalike.store.local_location import LocalLocation
from lookalike.store.location import Location

__all__ = ["is_store_address", "locate"]

_STORE_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://")
_SCHEMES = {"s3", "gs", "az"}


def locate(path: str | os.PathLike[str]) -> Location:
    """Return the location of a collection: a folder, or a prefix of an object store.

    Parameters
    ----------
    path
        A folder, or an address such as ``s3://bucket/prefix``, ``gs://...`` or ``az://...``.

    Raises
    ------
    CollectionError
        If the address is of another kind, or the package for object storage is not installed.
    """
    text = str(path) if isinstance(path, Path) else os.fspath(path)
    address = _STORE_ADDRESS.match(text)
    if address is None:
        return LocalLocation(path)
    if address[1] not in _SCHEMES:
        raise CollectionError(
            f"A collection cannot be at {text}. Name a folder, or an address that begins with "
            "s3://, gs:// or az://."
        )
    try:
        from lookalike.store.object_location import ObjectLocation
    except ModuleNotFoundError as error:
        raise CollectionError(
            f"The collection {text} is in object storage, which needs a package that is not "
            "installed. Install it with: pip install 'lookalike[cloud]'"
        ) from error
    return ObjectLocation(text)


def is_store_address(path: str) -> bool:
    """Return whether a path is an address in an object store."""
    match = _STORE_ADDRESS.match(path)
    return match is not None
