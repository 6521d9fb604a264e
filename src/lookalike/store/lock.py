"""Who may change a collection: one process at a time, for as long as a commit takes.

Two files in the collection's folder are locked, not for what they hold. `WRITER` is held for each commit, from moving
to the newest version until there is a newer one: whoever commits has read what is. `UPKEEP` is held by the one process
that gathers files, builds indices and removes what is old, which takes longer; it is taken first. Readers take neither:
a version of the table never changes. See docs/decisions/0016-writers.md.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from lookalike.errors import BusyError, InputError
from lookalike.io.files import try_lock
from lookalike.store.failures import Operation, translate_errors

__all__ = ["UPKEEP", "WRITER", "hold"]

WRITER, UPKEEP = ".writer", ".upkeep"
# Seconds: after the first a wait is told of, after the second it ends.
_LONG, _TOO_LONG = 3.0, 600.0
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

_LOG = logging.getLogger(__name__)
_LOG.addHandler(logging.NullHandler())
_own = threading.local()


@contextmanager
def hold(
    path: str, name: str = WRITER, *, timeout: float | None = None, new: bool = False
) -> Iterator[bool]:
    """Hold one of a collection's locks until the block ends; within another such block of the same thread it is held.

    Parameters
    ----------
    path
        The collection's folder.
    name
        `WRITER` or `UPKEEP`.
    timeout
        For how many seconds to wait for who holds it; None for what ``LOOKALIKE_LOCK_TIMEOUT`` says, or ten minutes.
    new
        Whether the collection is only being made.

    Yields
    ------
    bool
        Whether it is held. Where the file system has no locks it is not, which is told once by a warning.

    Raises
    ------
    BusyError
        If another process still holds it then.
    CollectionError
        If the folder cannot be written.
    """
    place = os.path.realpath(Path(path, name))
    mine: dict[str, bool] = vars(_own).setdefault("places", {})
    if place in mine:
        yield mine[place]
        return
    operation = Operation.CREATE if new else Operation.WRITE
    with translate_errors(path, operation):
        file = Path(place).open("ab+", buffering=0)  # noqa: SIM115 (closed below, which lets go)
    with file:
        with translate_errors(path, operation):
            mine[place] = _take(file, path, _timeout() if timeout is None else timeout)
        try:
            yield mine[place]
        finally:
            del mine[place]


def _timeout() -> float:
    given = os.environ.get("LOOKALIKE_LOCK_TIMEOUT", "")
    try:
        timeout = float(given) if given else _TOO_LONG
    except ValueError:
        timeout = -1.0
    if not timeout >= 0:
        raise InputError(
            f"LOOKALIKE_LOCK_TIMEOUT={given} is no time; expected a number of seconds from 0, such as 60."
        )
    return timeout


def _take(file: IO[bytes], path: str, timeout: float) -> bool:
    """Wait for a lock; tell whether there are locks at all."""
    start, pause, told = time.monotonic(), 0.002, False
    while True:
        try:
            if try_lock(file):
                _sign(file)
                return True
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _LOG.warning(
                "The file system of %s has no locks (%s): let no other process change it meanwhile.",
                path,
                error.strerror,
            )
            return False
        waited = time.monotonic() - start
        if waited >= timeout:
            raise BusyError(
                f"The collection {path} is busy: {_holder(file)} is changing it, and has not let go within "
                f"{timeout:g} seconds. Run the command again once that is done, or wait longer: LOOKALIKE_LOCK_TIMEOUT=3600."
            )
        if waited >= _LONG and not told:
            _LOG.warning(
                "Waiting for %s, which is changing the collection %s.", _holder(file), path
            )
            told = True
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def _sign(file: IO[bytes]) -> None:
    """Write down who holds the lock, for those who wait: a courtesy that a full disk may forbid."""
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    with suppress(OSError):
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {now}".encode())


def _holder(file: IO[bytes]) -> str:
    with suppress(OSError):
        file.seek(0)
        return file.read(400).decode(errors="replace") or "another process"
    return "another process"
