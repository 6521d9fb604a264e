"""A collection in a folder: its files, its renames, its lock files."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

from lookalike.io.files import (
    FileOwner,
    atomic_write,
    remove_abandoned,
    remove_on_error,
    try_lock,
)
from lookalike.store.location import (
    CHUNK_BYTES,
    FILE_TRASH,
    MAPS,
    STAGING,
    TABLE,
    TRASH,
    VERSIONS,
    Location,
    LockName,
    StoredFile,
)

__all__ = ["LocalLocation", "LockFile"]

_OWNER_BYTES = 400
# How the names of lock files and of a killed process's leftovers begin.
_OWN_PREFIXES = (STAGING, *LockName)


class LocalLocation(Location):
    """The folder of a collection.

    Attributes
    ----------
    path
        The folder as it was given, with ``~`` expanded.
    folder
        The same folder as a `Path`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        expanded = os.path.expanduser(path)  # noqa: PTH111
        self.path = expanded
        self.folder = Path(expanded)
        self._table_folder = Path(expanded, TABLE)
        self._trash_folder = Path(expanded, TRASH)
        self._versions_folder = Path(expanded, TABLE, VERSIONS)
        self._maps_folder = Path(expanded, MAPS)

    def uri(self, name: str) -> str:
        file = self._file(name)
        return str(file)

    @property
    def table_uri(self) -> str:
        return _lance_uri(self._table_folder)

    @property
    def trash_uri(self) -> str:
        return _lance_uri(self._trash_folder)

    @property
    def identity(self) -> str:
        resolved = self.folder.resolve()
        return str(resolved)

    @property
    def absolute(self) -> str:
        folder = self.folder.absolute()
        return str(folder)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def missing_reason(self) -> str:
        return (
            "its folder no longer exists. Mount its disk again or move the folder back, then run "
            "the command again. Everything that was committed is still in it."
        )

    # Tables

    def is_present(self) -> bool:
        return os.path.lexists(self.path)

    def is_free(self) -> bool:
        folder = self.folder
        if folder.is_file():
            return False
        if not folder.is_dir():
            return True
        files = folder.iterdir()
        return all(file.name.startswith(_OWN_PREFIXES) for file in files)

    def has_table(self) -> bool:
        return self._table_folder.is_dir()

    def has_trash(self) -> bool:
        return self._trash_folder.is_dir()

    def has_versions(self) -> bool:
        try:
            return self._versions_folder.is_dir()
        except OSError:
            return True

    def versions_stamp(self) -> tuple[int, int]:
        """Return the inode and the time of change of the table's list of versions.

        Each commit changes the time. A table that is made again at the same path has another inode
        or another time.
        """
        status = self._versions_folder.stat()
        inode = status.st_ino
        changed_ns = status.st_mtime_ns
        return inode, changed_ns

    def version_tag(self, version: int) -> None:
        return None

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def new_table(self) -> Iterator[str]:
        staging = self._new_staging_folder()
        with remove_on_error(staging):
            yield _lance_uri(staging)
            # Last: a process killed at any moment leaves the whole table, or none.
            staging.rename(self._table_folder)

    @contextmanager
    def new_trash(self) -> Iterator[str]:
        staging = self._new_staging_folder()
        with remove_on_error(staging):
            yield _lance_uri(staging)
            self.remove_trash()
            staging.rename(self._trash_folder)

    def remove_trash(self) -> None:
        if not self.has_trash():
            return
        trash_folder = self._trash_folder
        leftovers = self._new_staging_folder()
        trash_folder.rename(leftovers)
        shutil.rmtree(leftovers, ignore_errors=True)

    # Files

    def _file(self, name: str) -> Path:
        """Return the path of a file, by its name below the folder."""
        folder = self.folder
        return folder / name

    def files(self, folder: str = "") -> Iterator[StoredFile]:
        collection_folder = self.folder
        top = collection_folder / folder
        for file in top.rglob("*"):
            # Another process may remove it meanwhile.
            with suppress(FileNotFoundError):
                status = file.stat()
                mode = status.st_mode
                is_file = stat.S_ISREG(mode)
                if is_file:
                    relative = file.relative_to(collection_folder)
                    name = relative.as_posix()
                    size = status.st_size
                    yield StoredFile(name, size)

    def has_file(self, name: str) -> bool:
        file = self._file(name)
        return file.is_file()

    def size_of(self, name: str) -> int:
        file = self._file(name)
        status = file.stat()
        return status.st_size

    def read(self, name: str) -> bytes:
        file = self._file(name)
        return file.read_bytes()

    def read_chunks(self, name: str) -> Iterator[bytes]:
        path = self._file(name)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def write(self, name: str, content: bytes) -> None:
        file = self._file(name)
        folder = file.parent
        # Not its parents: a collection whose folder was moved away is not created again.
        folder.mkdir(exist_ok=True)
        with atomic_write(file) as temporary:
            temporary.write_bytes(content)

    def write_chunks(self, name: str, chunks: Iterable[bytes]) -> None:
        path = self._file(name)
        folder = path.parent
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            descriptor = file.fileno()
            os.fsync(descriptor)

    def remove(self, name: str) -> None:
        file = self._file(name)
        file.unlink()

    # Copies

    @contextmanager
    def claim(self) -> Iterator[None]:
        if self.has_table():
            raise self._occupied_error()
        # Processes make tables under the write lock.
        yield

    def new_staging(self) -> Self:
        folder = self._new_staging_folder()
        kind = type(self)
        return kind(folder)

    def _new_staging_folder(self) -> Path:
        name = self.new_staging_name()
        return self._file(name)

    def remove_staging(self, *, older_than: float = 0.0) -> int:
        # Their locks show which files are abandoned, whatever their age.
        collection_folder = self.folder
        freed = remove_abandoned(collection_folder)
        freed += remove_abandoned(self._maps_folder)

        now = time.time()
        newest = now - older_than
        for folder in collection_folder.glob(f"{STAGING}*"):
            if older_than != 0:
                status = folder.stat()
                if status.st_mtime >= newest:
                    continue
            freed += _size_of_folder(folder)
            shutil.rmtree(folder, ignore_errors=True)
        return freed

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_if_empty(self) -> None:
        # Fails if anything is in it.
        with suppress(OSError):
            self.folder.rmdir()

    def share(self, name: str, staged: Self) -> None:
        existing = self._file(name)
        new = staged._file(name)
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.hardlink_to(existing)
        except OSError:
            # The file system has no hard links.
            shutil.copyfile(existing, new)

    def publish_table(self, staged: Self) -> None:
        staged._table_folder.rename(self._table_folder)

    def publish_maps(self, staged: Self) -> None:
        current_maps = self._maps_folder
        shutil.rmtree(current_maps, ignore_errors=True)
        staged_maps = staged._maps_folder
        if staged_maps.is_dir():
            staged_maps.rename(current_maps)

    def publish_version(self, staged: Self, names: list[str]) -> None:
        self._publish_files(staged, names, TABLE)

    def publish_staged_trash(self, staged: Self, names: list[str]) -> None:
        if not names:
            self.remove_trash()
        elif self.has_trash():
            self._publish_files(staged, names, TRASH)
        else:
            staged._trash_folder.rename(self._trash_folder)

    def _publish_files(self, staged: Self, names: list[str], table: str) -> None:
        """Move files into a Lance table, the manifest last, then remove all other files."""
        # The hint names the older version as the newest one.
        versions = self.folder / table / VERSIONS
        hint = versions / "latest_version_hint.json"
        hint.unlink(missing_ok=True)
        # Until the manifest, the last file, is in place, Lance reads the older version.
        for name in names:
            source = staged._file(name)
            target = self._file(name)
            folder = target.parent
            folder.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        # Not earlier: until then the older version is the backup, and needs its files.
        published = set(names)
        self._remove_others(table, published)

    # Duplicates

    @property
    def file_trash(self) -> Path:
        folder = self.folder
        absolute = folder.absolute()
        return absolute / FILE_TRASH

    # Locks

    def lock_path(self, name: LockName) -> str:
        file = self._file(name)
        return os.path.realpath(file)


class LockFile(FileOwner):
    """An open lock file; the kernel releases its lock when the process closes it or dies."""

    def __init__(self, path: str) -> None:
        name = Path(path)
        file = name.open("ab+", buffering=0)
        super().__init__(file)

    def try_acquire(self) -> bool:
        """Take the lock if no other process holds it.

        Raises
        ------
        OSError
            If the file system has no locks.
        """
        return try_lock(self._file)

    def write_owner(self, owner: str) -> None:
        """Store who holds the lock, for processes that wait; a full disk may prevent it."""
        file = self._file
        data = owner.encode()
        with suppress(OSError):
            file.truncate(0)
            file.write(data)

    def read_owner(self) -> str:
        """Return who holds the lock."""
        with suppress(OSError):
            self._file.seek(0)
            data = self._file.read(_OWNER_BYTES)
            text = data.decode(errors="replace")
            if text:
                return text
        return "another process"


def _lance_uri(folder: Path) -> str:
    """Return the address at which Lance opens a table in a folder.

    Given a path, Lance loses the error of the last write to each file. On a full disk it would
    commit files that are cut off. Under this scheme it writes as it does to object storage, and
    reports every error.
    """
    # Lance removes ".." without following links.
    resolved = os.path.realpath(folder)
    encoded = os.fsencode(resolved)
    return f"file-object-store://{quote(encoded)}"


def _size_of_folder(folder: Path) -> int:
    size = 0
    for file in folder.rglob("*"):
        if file.is_file():
            size += file.stat().st_size
    return size
