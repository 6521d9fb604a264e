"""The store's own errors made ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from lookalike.errors import CollectionError

__all__ = ["damaged", "guard", "remedy"]

# What a system says of a disk, a quota or a limit on files that leaves no room.
_FULL = ("No space left", "Disk quota exceeded", "File too large")


@contextmanager
def guard(path: str, done: str) -> Iterator[None]:
    """Turn what the store raises into a CollectionError that names the collection."""
    try:
        yield
    # Lance raises plain OSError, ValueError and RuntimeError, Arrow its own kinds.
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        # The store adds where in its own source it failed, which helps nobody here.
        reason = re.split(r", \S*rust/", f"{error}\n".splitlines()[0])[0] or type(error).__name__
        raise damaged(path, done, reason) from error


def damaged(path: str, done: str, reason: str) -> CollectionError:
    """Return the error for what the store itself could not do: which collection, what, why."""
    otherwise = (
        "If its files are damaged, put back a copy, or remove the folder and index again: the pictures themselves are "
        "not touched."
    )
    return CollectionError(f"The collection {path} could not be {done}: {reason}. {remedy(reason, otherwise)}")


def remedy(reason: str, otherwise: str) -> str:
    """Return what to do about what the store could not do: where the disk is full, nothing is to be removed."""
    if any(words in reason for words in _FULL):
        return "Make room on its disk and run the command again: what was committed is whole."
    return otherwise
