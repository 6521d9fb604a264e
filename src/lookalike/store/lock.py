"""Locks that let one process at a time change a collection.

Files in the collection's folder are locked; readers take neither lock, because a version of the
table never changes. ``WRITER`` is held for each commit, from reading the newest version until the
commit has replaced it. ``UPKEEP`` is held for the longer work of one process that compacts files,
builds indices and removes old versions; it is taken before ``WRITER``. ``DUPLICATES`` is held while
files of duplicates are moved, and is taken before both. See
docs/decisions/0016-writers.md and docs/decisions/0022-locks.md.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from lookalike.errors import BusyError, InputError
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.local_location import LockFile
from lookalike.store.location import LockName
from lookalike.store.places import locate

__all__ = ["DUPLICATES", "UPKEEP", "WRITER", "hold"]

WRITER = LockName.WRITER
UPKEEP = LockName.UPKEEP
DUPLICATES = LockName.DUPLICATES

_WARN_AFTER_SECONDS = 3.0
_DEFAULT_TIMEOUT_SECONDS = 600.0
_FIRST_POLL_SECONDS = 0.002
_LONGEST_POLL_SECONDS = 0.05
# Errors of a file system without locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

_LOG = logging.getLogger(__name__)
_LOG.addHandler(logging.NullHandler())
_THREAD = threading.local()


@contextmanager
def hold(
    path: str,
    name: LockName = WRITER,
    *,
    timeout: float | None = None,
    new: bool = False,
) -> Iterator[bool]:
    """Hold one of a collection's locks until the block ends; one thread may nest such blocks.

    Parameters
    ----------
    path
        The collection's folder.
    name
        `WRITER`, `UPKEEP` or `DUPLICATES`.
    timeout
        How many seconds to wait for another process; None for ``LOOKALIKE_LOCK_TIMEOUT``, or ten
        minutes.
    new
        Whether the collection is being created.

    Yields
    ------
    bool
        Whether the lock is held: False in object storage, and where the file system has no locks,
        which a warning reports.

    Raises
    ------
    BusyError
        If another process still holds the lock after the timeout.
    CollectionError
        If the folder cannot be written.
    """
    lock_path = locate(path).lock_path(name)
    if lock_path is None:
        yield False
        return
    own_locks = _locks_of_this_thread()
    if lock_path in own_locks:
        yield own_locks[lock_path]
        return

    operation = Operation.CREATE if new else Operation.WRITE
    with translate_errors(path, operation):
        file = LockFile(lock_path)
    with file:
        with translate_errors(path, operation):
            seconds = _timeout_from_environment() if timeout is None else timeout
            own_locks[lock_path] = _acquire(file, path, seconds)
        try:
            yield own_locks[lock_path]
        finally:
            del own_locks[lock_path]


def _locks_of_this_thread() -> dict[str, bool]:
    """Return for each lock path of this thread whether the file system has locked it."""
    attributes = vars(_THREAD)
    locks: dict[str, bool] = attributes.setdefault("locks", {})
    return locks


def _timeout_from_environment() -> float:
    text = os.environ.get("LOOKALIKE_LOCK_TIMEOUT", "")
    if not text:
        return _DEFAULT_TIMEOUT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:  # nan too
        raise InputError(
            f"LOOKALIKE_LOCK_TIMEOUT={text} is invalid. "
            "Expected a number of seconds, 0 or more, such as 60."
        )
    return seconds


def _acquire(file: LockFile, path: str, timeout: float) -> bool:
    """Wait for a lock; return False if the file system has no locks."""
    start = time.monotonic()
    pause = _FIRST_POLL_SECONDS
    warned = False
    while True:
        try:
            if file.try_acquire():
                file.write_owner(_this_process())
                return True
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _LOG.warning(
                "The file system of %s has no locks (%s). "
                "Let no other process change the collection.",
                path,
                error.strerror,
            )
            return False

        waited = time.monotonic() - start
        if waited >= timeout:
            raise BusyError(
                f"The collection {path} is busy: {file.read_owner()} is changing it "
                f"and has not finished within {timeout:g} seconds. Run the command again later, "
                "or wait longer: LOOKALIKE_LOCK_TIMEOUT=3600."
            )
        if waited >= _WARN_AFTER_SECONDS and not warned:
            _LOG.warning(
                "Waiting for %s, which is changing the collection %s.",
                file.read_owner(),
                path,
            )
            warned = True
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_POLL_SECONDS)


def _this_process() -> str:
    now = datetime.now().astimezone()
    since = now.strftime("%Y-%m-%d %H:%M:%S")
    host = socket.gethostname()
    process_id = os.getpid()
    return f"process {process_id} on {host}, since {since}"
