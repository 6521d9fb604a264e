"""The store's own errors made ours."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from lookalike.errors import CollectionError, ReadOnlyError
from lookalike.io.files import FULL

__all__ = ["damaged", "forbids", "guard", "of_the_disk", "reason_of"]

_READING = {"opened", "read", "searched", "copied"}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def guard(path: str, done: str) -> Iterator[None]:
    """Turn what the store raises into a CollectionError that names the collection."""
    if done not in _READING | {"created"} and not _there(path):
        # The store would make the folder anew, and commit into it what belongs to the one that was moved away.
        raise _gone(path, done)
    try:
        yield
    # Lance raises plain OSError, ValueError and RuntimeError, Arrow its own kinds.
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        if done not in {"created", "opened"} and not _there(path):
            raise _gone(path, done) from error
        what = f"The collection {path} could not be {done}"
        told = of_the_disk(what, path, done, error)
        if told is None and done == "created":
            told = CollectionError(
                f"{what}: {reason_of(error)}. Name another folder with -c or LOOKALIKE_COLLECTION."
            )
        raise told or damaged(path, done, reason_of(error)) from error


def damaged(path: str, done: str, reason: str) -> CollectionError:
    """Return the error for what the store itself could not do: which collection, what, why."""
    return CollectionError(
        f"The collection {path} could not be {done}: {reason}. Find out what is damaged with: "
        f"lookalike check -c {path}. Then put back a copy with: lookalike restore BACKUP -c NEW. Without one, "
        "remove the folder and index again: the pictures themselves are not touched."
    )


def of_the_disk(what: str, path: str, done: str, error: BaseException) -> CollectionError | None:
    """Return the error for what the disk would not do, if that is what an error says; else None.

    Parameters
    ----------
    what
        What could not be done, as the beginning of a sentence.
    path, done
        The collection, and what was being done to it: whether it was read or written decides the remedy.
    """
    number = _number(error)
    if done != "created" and number in {0, errno.ENOENT} and not os.path.lexists(path):
        return _gone(path, done)
    if number in FULL:
        again = (
            "or name a folder on another disk with -c."
            if done == "created"
            else "then run the same again."
        )
        return CollectionError(
            f"{what}: no space is left on its disk. Nothing that was committed is lost. Make room there, {again}"
        )
    if number in _FORBIDDEN:
        return _forbidden(what, path, done, number)
    if number == errno.EIO:
        return CollectionError(
            f"{what}: its disk failed ({reason_of(error)}). Look after the disk first. What was committed and can "
            f"still be read is found with: lookalike check -c {path}"
        )
    return None


def _forbidden(what: str, path: str, done: str, number: int) -> CollectionError:
    if done in _READING:
        return CollectionError(
            f"{what}: you may not read all of it. Ask whoever owns it to let you read the folder and every file in it."
        )
    if done == "created":
        return ReadOnlyError(
            f"{what}: you may not write there. Name another folder with -c or LOOKALIKE_COLLECTION."
        )
    why = (
        "its disk can only be read"
        if number == errno.EROFS
        else "you may not write into its folder"
    )
    return ReadOnlyError(
        f"{what}: {why}. It can be searched as it is. To change it, see that you may write there, or work on a copy, "
        f"made with: lookalike restore {path} -c NEW"
    )


def forbids(error: CollectionError) -> bool:
    """Tell whether an error that `guard` made says that a permission is missing, which is no damage."""
    return error.__cause__ is not None and _number(error.__cause__) in _FORBIDDEN


def reason_of(error: BaseException) -> str:
    """Return the first line of what the store says, without where in its own source it failed: that helps nobody."""
    line = re.split(r", /\S+:\d+", f"{error}\n".splitlines()[0])[0].rstrip(". ")
    return (
        re.sub(r"^((External|Wrapped) error: |LanceError\(\w+\): |Generic \w+ error: )+", "", line)
        or type(error).__name__
    )


def _number(error: BaseException) -> int:
    """Return the operating system's number of an error, which Lance gives in words; 0 if there is none."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else 0


def _there(path: str) -> bool:
    try:
        return Path(path, "images.lance", "_versions").is_dir()
    except OSError:  # there, but not to be looked into
        return True


def _gone(path: str, done: str) -> CollectionError:
    return CollectionError(
        f"The collection {path} could not be {done}: its folder is no longer there. Mount its disk again, or move the "
        "folder back, then run the same again: what was committed is in it."
    )
