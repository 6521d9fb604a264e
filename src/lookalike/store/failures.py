"""Translate errors of Lance, Arrow and the file system into `CollectionError`."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import pyarrow as pa

from lookalike.errors import CollectionError, ReadOnlyError
from lookalike.io.files import DISK_FULL
from lookalike.store.conflicts import ConflictError, is_conflict
from lookalike.store.object_failures import is_access_failure, object_store_error
from lookalike.store.places import is_store_address, locate

__all__ = [
    "Operation",
    "address_error",
    "conflict_error",
    "damage_error",
    "disk_error",
    "is_missing_file",
    "is_permission_error",
    "new_start_advice",
    "reason_of",
    "translate_errors",
]


class Operation(StrEnum):
    """An operation on a collection; the value completes "The collection could not be ..."."""

    CREATE = "created"
    OPEN = "opened"
    READ = "read"
    SEARCH = "searched"
    COPY = "copied"
    WRITE = "written"
    INDEX = "indexed"
    CLEAN = "cleaned"

    @property
    def is_read(self) -> bool:
        """Whether the operation only reads an existing collection."""
        return self in _READS


_READS = {Operation.OPEN, Operation.READ, Operation.SEARCH, Operation.COPY}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
# How the store names a new file whose complete content could not be linked to its name.
_FAILED_LINK = "Unable to rename file"
_LINK_REFUSED = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def translate_errors(path: str, operation: Operation) -> Iterator[None]:
    """Raise errors of the store as a `CollectionError` that names the collection.

    Parameters
    ----------
    path
        The collection's folder or address.
    operation
        The operation that the block performs.

    Raises
    ------
    CollectionError
        If the block raises an error of Lance, Arrow or the file system, or if a write is about to
        start in a collection that no longer exists; `ConflictError` if another process changed the
        same rows first.
    """
    creates = operation == Operation.CREATE
    writes_existing = not creates and not operation.is_read
    if writes_existing and not _has_versions(path):
        # Lance would create the folder again and commit into it rows of the collection that was
        # moved away.
        raise _missing_folder_error(path, operation)
    try:
        yield
    # Lance raises plain OSError, ValueError and RuntimeError; Arrow raises its own classes.
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        if is_conflict(error):
            raise conflict_error(path, operation) from error
        may_be_absent = creates or operation == Operation.OPEN
        if not may_be_absent and not _has_versions(path):
            raise _missing_folder_error(path, operation) from error
        raise _translated(path, operation, error) from error


def _translated(
    path: str, operation: Operation, error: BaseException
) -> CollectionError:
    subject = f"The collection {path} could not be {operation}"
    from_disk = disk_error(subject, path, operation, error)
    if from_disk is not None:
        return from_disk
    reason = reason_of(error)
    if operation == Operation.CREATE:
        return CollectionError(
            f"{subject}: {reason}. Name another folder with -c or LOOKALIKE_COLLECTION."
        )
    return damage_error(path, operation, reason)


def conflict_error(path: str, operation: Operation) -> ConflictError:
    """Return the error for a commit that others prevented again and again."""
    return ConflictError(
        f"The collection {path} could not be {operation}: other processes changed it at the same "
        "time, again and again. Everything that was committed is safe. Run the command again later."
    )


def damage_error(path: str, operation: Operation, reason: str) -> CollectionError:
    """Return the error for a collection that the store itself cannot use."""
    return CollectionError(
        f"The collection {path} could not be {operation}: {reason}. "
        f"List the damage with: lookalike check -c {path}. "
        "Then restore a backup with: lookalike restore BACKUP -c NEW. "
        f"{new_start_advice(path)} Your image files are not affected."
    )


def new_start_advice(path: str) -> str:
    """Return what to do about a damaged collection without a backup."""
    trash = locate(path).file_trash
    if trash is not None and trash.is_dir():
        return (
            "Without a backup, index again into another folder with -c NEW. Keep this one: "
            f"{trash} has the images that were removed as duplicates."
        )
    return f"Without a backup, remove the folder {path} and index again."


def disk_error(
    subject: str, path: str, operation: Operation, error: BaseException
) -> CollectionError | None:
    """Return the error for a failure of the disk or store, or None if `error` has another cause.

    Parameters
    ----------
    subject
        The beginning of the message: the object and the operation that failed.
    path
        The collection's folder or address.
    operation
        The operation that failed; it decides which next step the message suggests.
    error
        The error that the store raised.
    """
    if is_store_address(path):
        return address_error(subject, path, operation, error)
    number = _error_number(error)
    if (
        operation != Operation.CREATE
        and number in {0, errno.ENOENT}
        and not locate(path).is_present()
    ):
        return _missing_folder_error(path, operation)
    if number in DISK_FULL:
        next_step = "then run the command again."
        if operation == Operation.CREATE:
            next_step = "or name a folder on another disk with -c."
        return CollectionError(
            f"{subject}: no space is left on its disk. Everything that was committed is safe. "
            f"Free some space, {next_step}"
        )
    lacks_links = number in _LINK_REFUSED and _FAILED_LINK in str(error)
    if lacks_links or number in _FORBIDDEN:
        return _refused_error(subject, path, operation, number, lacks_links)
    if number == errno.EIO:
        return CollectionError(
            f"{subject}: its disk failed ({reason_of(error)}). Check the disk first. "
            f"Then list which committed data can still be read with: lookalike check -c {path}"
        )
    return None


def address_error(
    subject: str, path: str, operation: Operation, error: BaseException
) -> CollectionError | None:
    """Return the error for a failure of an object store, or None for a folder or another cause."""
    if not is_store_address(path):
        return None
    creates = operation == Operation.CREATE
    writes = not operation.is_read
    return object_store_error(subject, path, error, writes=writes, creates=creates)


def _refused_error(
    subject: str, path: str, operation: Operation, number: int, lacks_links: bool
) -> CollectionError:
    if lacks_links:
        return _no_links_error(subject, path, operation)
    return _permission_error(subject, path, operation, number)


def _no_links_error(subject: str, path: str, operation: Operation) -> ReadOnlyError:
    reason = "its disk has no hard links, which each commit needs"
    if operation == Operation.CREATE:
        return ReadOnlyError(
            f"{subject}: {reason}. "
            "Name a folder on another disk with -c or LOOKALIKE_COLLECTION."
        )
    return ReadOnlyError(
        f"{subject}: {reason}. You can still search it. To change it, work on a copy on another "
        f"disk, made with: lookalike restore {path} -c NEW"
    )


def _permission_error(
    subject: str, path: str, operation: Operation, number: int
) -> CollectionError:
    if operation.is_read:
        return CollectionError(
            f"{subject}: you do not have permission to read all of it. "
            "Ask its owner for read access to the folder and every file in it."
        )
    is_read_only = number == errno.EROFS
    if operation == Operation.CREATE:
        reason = "you do not have permission to write there"
        if is_read_only:
            reason = "the disk is read-only"
        return ReadOnlyError(
            f"{subject}: {reason}. Name another folder with -c or LOOKALIKE_COLLECTION."
        )
    reason = "you do not have permission to write into its folder"
    if is_read_only:
        reason = "its disk is read-only"
    return ReadOnlyError(
        f"{subject}: {reason}. You can still search it. To change it, get write access, "
        f"or work on a copy made with: lookalike restore {path} -c NEW"
    )


def is_permission_error(error: CollectionError) -> bool:
    """Return whether a translated error reports a missing permission, which is not damage.

    The same holds for an object store that does not answer.
    """
    cause = error.__cause__
    if cause is None:
        return False
    return _error_number(cause) in _FORBIDDEN or is_access_failure(cause)


def is_missing_file(error: CollectionError) -> bool:
    """Return whether a translated error reports a file of the table that does not exist."""
    cause = error.__cause__
    return "Not found" in str(cause)


def reason_of(error: BaseException) -> str:
    """Return the first line of an error of the store, without the place in Lance's source code."""
    lines = f"{error}\n".splitlines()
    first_line = lines[0]
    # The place follows the sentence.
    parts = re.split(r", /\S+:\d+", first_line)
    sentence = parts[0].rstrip(". ")
    # The kinds of the error precede it.
    kinds = r"^((External|Wrapped) error: |LanceError\(\w+\): |Generic \w+ error: )+"
    reason = re.sub(kinds, "", sentence)
    return reason or type(error).__name__


def _error_number(error: BaseException) -> int:
    """Return the ``errno`` of an error, or 0; Lance gives it only in the text of its message."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    message = str(error)
    match = re.search(r"\(os error (\d+)\)", message)
    if match is None:
        return 0
    digits = match[1]
    return int(digits)


def _has_versions(path: str) -> bool:
    location = locate(path)
    return location.has_versions()


def _missing_folder_error(path: str, operation: Operation) -> CollectionError:
    reason = locate(path).missing_reason
    return CollectionError(f"The collection {path} could not be {operation}: {reason}")
