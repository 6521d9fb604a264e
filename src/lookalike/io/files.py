"""Files that are whole or not there at all, and files that one process at a time holds."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

__all__ = ["DISK_FULL", "atomic_write", "is_same_file", "remove_on_error", "try_lock"]

# What a system says of a disk, a quota or a limit on files that leaves no room.
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY = ".lookalike-"

if sys.platform == "win32":
    import msvcrt

    def try_lock(file: IO[bytes]) -> bool:
        """Lock a file until it is closed, if nobody else holds it; see below."""
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def try_lock(file: IO[bytes]) -> bool:
        """Lock a file until it is closed, if nobody else holds it; tell whether that was so.

        The system itself lets go for a process that dies. Only those who ask for the lock heed it.

        Raises
        ------
        OSError
            If the file system has no locks.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_same_file(file: IO[bytes], path: Path) -> bool:
    """Tell whether an open file is the one at a path, and not one that was removed or renamed since."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary file to write, which takes the place of `path` once the block ends without an error.

    It is there under the new name at once and whole, or not at all. What a process that was killed left behind of
    such files in the folder is removed.

    Raises
    ------
    OSError
        If the folder cannot be written, or its disk is full; its ``filename`` says which.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        with _held(path) as temporary:
            try:
                yield temporary
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
    except OSError as error:
        # The system does not say which file it could not write to, and the temporary one is known to nobody.
        if error.filename is None or Path(os.fsdecode(error.filename)).name.startswith(_TEMPORARY):
            error.filename = str(path)
        raise


@contextmanager
def _held(path: Path) -> Iterator[Path]:
    """Make a new file beside `path`, with the rights of any other new one, locked for as long as its writer lives."""
    while True:
        temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(6)}{path.suffix}")
        with temporary.open("xb") as file:
            # Between the two, another process may have taken it for an abandoned one.
            if _own(file, temporary):
                if sys.platform == "win32":
                    file.close()  # an open file cannot be renamed there
                yield temporary
                return


def _own(file: IO[bytes], path: Path) -> bool:
    if sys.platform == "win32":
        return True
    try:
        return try_lock(file) and is_same_file(file, path)
    except OSError:  # a file system without locks: nobody else gets this one either
        return True


def _remove_abandoned(folder: Path) -> None:
    """Remove temporary files whose writer is gone: those that nobody holds a lock of."""
    if sys.platform == "win32":
        return
    for path in folder.glob(f"{_TEMPORARY}*"):
        with suppress(OSError), path.open("rb") as file:
            if try_lock(file):
                path.unlink()


@contextmanager
def remove_on_error(folder: Path) -> Iterator[None]:
    """Remove a folder that the block makes, if the block ends with an error."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
