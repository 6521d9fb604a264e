"""Write files atomically, lock them, and hash them."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import IO, Self

__all__ = [
    "DISK_FULL",
    "FileOwner",
    "atomic_write",
    "file_lock",
    "hash_file",
    "is_same_file",
    "remove_abandoned",
    "remove_oldest",
    "remove_on_error",
    "try_lock",
]

# The system's error numbers for a full disk, an exhausted quota and a file that is too large.
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_TEMPORARY_PREFIX = ".lookalike-"
_POLL_S = 0.1  # between two attempts to take a lock that another process holds

if sys.platform == "win32":
    import msvcrt

    def try_lock(file: IO[bytes]) -> bool:
        """Try to lock a file until it is closed; see below."""
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def try_lock(file: IO[bytes]) -> bool:
        """Try to lock a file until it is closed, and return whether that succeeded.

        The operating system releases the lock of a process that dies. The lock is advisory: only
        processes that ask for it respect it.

        Raises
        ------
        OSError
            If the file system does not support locks.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_same_file(file: IO[bytes], path: Path) -> bool:
    """Return whether an open file is still at `path`, neither removed nor renamed."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


class FileOwner:
    """Owns an open file, which is closed at the end of a ``with`` block."""

    def __init__(self, file: FileIO) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` for this thread alone, after waiting for its current holder.

    The operating system releases the lock of a process that dies. The file is removed at the end,
    except on Windows, where open files cannot be removed.

    Raises
    ------
    OSError
        If the file cannot be created or locked.
    """
    while True:
        with path.open("ab") as file:
            # The previous holder removed the file: a lock on a removed file excludes nobody.
            if try_lock(file) and is_same_file(file, path):
                try:
                    yield
                finally:
                    with suppress(OSError):
                        path.unlink()
                return
        time.sleep(_POLL_S)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write, which replaces `path` when the block ends without an error.

    `path` changes at once and completely, or not at all. Temporary files that killed processes
    left in the folder are removed.

    Raises
    ------
    OSError
        If the folder cannot be written or its disk is full. The error's ``filename`` names the
        file or folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent)
        with _create_temporary(path) as temporary:
            try:
                yield temporary
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
    except OSError as error:
        # Some errors name no file, and nobody knows the name of the temporary one.
        given = error.filename
        name = "" if given is None else Path(os.fsdecode(given)).name
        if name == "" or name.startswith(_TEMPORARY_PREFIX):
            error.filename = str(path)
        raise


@contextmanager
def _create_temporary(path: Path) -> Iterator[Path]:
    """Create a file beside `path` with the default permissions, locked while this process lives."""
    while True:
        name = f"{_TEMPORARY_PREFIX}{secrets.token_hex(6)}{path.suffix}"
        temporary = path.with_name(name)
        with temporary.open("xb") as file:
            # Before the lock is taken, another process may remove the file as abandoned.
            if not _lock_temporary(file, temporary):
                continue
            if sys.platform == "win32":
                file.close()  # Windows cannot rename an open file
            yield temporary
            return


def _lock_temporary(file: IO[bytes], path: Path) -> bool:
    if sys.platform == "win32":
        return True
    try:
        return try_lock(file) and is_same_file(file, path)
    except OSError:
        # Without locks in the file system, nobody removes abandoned files either.
        return True


def remove_abandoned(folder: Path) -> int:
    """Remove what killed processes left of `atomic_write` in a folder; return the bytes freed."""
    freed = 0
    if sys.platform == "win32":
        return freed
    pattern = f"{_TEMPORARY_PREFIX}*"
    for path in folder.glob(pattern):
        with suppress(OSError), path.open("rb") as file:
            # A living process has locked its own.
            is_abandoned = try_lock(file)
            if is_abandoned:
                size = os.fstat(file.fileno()).st_size
                path.unlink()
                freed += size
    return freed


@contextmanager
def remove_on_error(folder: Path) -> Iterator[None]:
    """Remove a folder that the block creates if the block ends with an error."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Return the hash of a file's content in hexadecimal digits."""

    def new_hash() -> hashlib._Hash:
        # The hash identifies a file. Systems that forbid MD5 for security allow this use.
        return hashlib.new(algorithm, usedforsecurity=False)

    with path.open("rb") as file:
        digest = hashlib.file_digest(file, new_hash)
    return digest.hexdigest()


def remove_oldest(newest: Path, most_bytes: int) -> None:
    """Remove the files of a cache that were used longest ago, until the others fit.

    Parameters
    ----------
    newest
        A file of the cache, which stays. The others are in the same folder and have its suffix.
    most_bytes
        The bytes that all files may take together.
    """
    folder = newest.parent
    pattern = f"*{newest.suffix}"
    files = []
    total = 0
    for file in folder.glob(pattern):
        # Another process may remove it meanwhile.
        with suppress(OSError):
            status = file.stat()
            size = status.st_size
            entry = (status.st_mtime_ns, size, file)
            files.append(entry)
            total += size
    files.sort()
    for _, size, file in files:
        if total <= most_bytes:
            return
        if file != newest:
            with suppress(OSError):
                file.unlink()
            total -= size
