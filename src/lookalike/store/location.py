"""The location of a collection: the one module that knows its files and folders.

A collection is a folder::

    images.lance/         the Lance table
    maps/                 one Arrow file for each map
    .writer  .upkeep      the lock files
    backup.json           in a backup: the sha256 of each of its files
    .images.XXXXXXXX/     a table or a copy that is being made, or whose making was cut short
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote

from lookalike.io.files import try_lock

__all__ = ["Location", "LockFile", "LockName", "link_or_copy"]

_TABLE, _VERSIONS, _MAPS = "images.lance", "_versions", "maps"
_STAGING = ".images."
_OWNER_BYTES = 400


class LockName(StrEnum):
    """A lock of a collection; the value is the name of its file."""

    WRITER = ".writer"
    UPKEEP = ".upkeep"


class Location:
    """The folder of a collection, which may not exist yet.

    Attributes
    ----------
    path
        The folder as it was given, with ``~`` expanded.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.expanduser(path)  # noqa: PTH111

    @property
    def folder(self) -> Path:
        """The collection's folder."""
        return Path(self.path)

    @property
    def table_folder(self) -> Path:
        """The folder of the Lance table."""
        return Path(self.path, _TABLE)

    @property
    def table_uri(self) -> str:
        """The Lance table as Lance opens it."""
        return str(self.table_folder)

    def has_table(self) -> bool:
        """Return whether the folder holds a table; raises OSError if it may not be looked into."""
        return self.table_folder.is_dir()

    def has_versions(self) -> bool:
        """Return whether the table has versions, or may not be looked into."""
        try:
            return Path(self.table_folder, _VERSIONS).is_dir()
        except OSError:
            return True

    def versions_stamp(self) -> tuple[int, int]:
        """Return the inode and the time of change of the table's list of versions.

        Each commit changes the time. A table that is made again at the same path has another inode
        or another time.
        """
        versions_folder = Path(self.table_folder, _VERSIONS)
        status = os.stat(versions_folder)  # noqa: PTH116
        return status.st_ino, status.st_mtime_ns

    def is_free(self, *, ignore_locks: bool = False) -> bool:
        """Return whether the folder does not exist, or holds only leftovers of a killed process.

        Parameters
        ----------
        ignore_locks
            Whether lock files count as leftovers too.
        """
        if self.folder.is_file():
            return False
        if not self.folder.is_dir():
            return True
        leftovers: tuple[str, ...] = (_STAGING,)
        if ignore_locks:
            leftovers += tuple(LockName)
        names = [path.name for path in self.folder.iterdir()]
        return all(name.startswith(leftovers) for name in names)

    # Staging

    def new_staging_folder(self) -> Path:
        """Return a new name for a folder in which a table or a copy is made."""
        name = _STAGING + secrets.token_hex(4)
        return Path(self.path, name)

    def staging_folders(self) -> Iterator[Path]:
        """Yield the staging folders, those of killed processes too."""
        return self.folder.glob(f"{_STAGING}*")

    def publish_table(self, made: Path) -> None:
        """Give a complete table its place: at any moment the folder has all of it, or none."""
        made.rename(self.table_folder)

    def publish_maps(self, staged: Location) -> None:
        """Replace the maps by those of a staged copy."""
        maps_folder = Path(self.path, _MAPS)
        shutil.rmtree(maps_folder, ignore_errors=True)
        staged_maps = Path(staged.path, _MAPS)
        if staged_maps.is_dir():
            staged_maps.rename(maps_folder)

    def publish_version(self, staged: Location, names: list[str]) -> None:
        """Move the files of a newer version into the table, then remove all other files.

        Parameters
        ----------
        staged
            The staged copy.
        names
            Its files by their paths in the collection, the manifest of the version last.
        """
        # The hint names the older version as the newest one.
        hint = Path(self.table_folder, _VERSIONS, "latest_version_hint.json")
        hint.unlink(missing_ok=True)
        for name in names:
            target = self.file(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.file(name).replace(target)
        # Not earlier: until the manifest is in place, the older version is the backup.
        self.remove_other_files(names)

    def remove_other_files(self, names: Iterable[str]) -> None:
        """Remove each file of the table that is not among `names`."""
        keep = set(names)
        for file in self.table_folder.rglob("*"):
            name = file.relative_to(self.folder).as_posix()
            if file.is_file() and name not in keep:
                file.unlink()

    # Files

    def file(self, name: str) -> Path:
        """Return a file of the collection by its path in it, with ``/`` between folders."""
        return Path(self.path, name)

    @staticmethod
    def table_file_name(name: str) -> str:
        """Return the path in the collection of a file of the table."""
        return f"{_TABLE}/{name}"

    @staticmethod
    def is_table_file(name: str) -> bool:
        """Return whether a path in the collection is one of the table's files."""
        return name.startswith(f"{_TABLE}/")

    @staticmethod
    def is_manifest(name: str) -> bool:
        """Return whether a path is a manifest, whose name does not identify its content."""
        return f"/{_VERSIONS}/" in name

    @property
    def backup_record(self) -> Path:
        """The file in which a backup records the sha256 of its files."""
        return self.file("backup.json")

    def manifests(self) -> Iterator[Path]:
        """Yield the manifests of the table, one for each version."""
        return self.table_folder.glob(f"{_VERSIONS}/*.manifest")

    def transactions(self) -> Iterator[Path]:
        """Yield the files in which the table's commits were planned."""
        return self.table_folder.glob("_transactions/*.txn")

    def temporary_files(self) -> Iterator[Path]:
        """Yield the files that a killed writer of the table left half written."""
        for file in self.table_folder.rglob(".tmp*"):
            if file.is_file():
                yield file

    # Maps

    def map_file(self, space: str, method: str) -> Path:
        """Return the file of the map of a Space by a method."""
        name = self.map_file_name(space, method)
        return self.file(name)

    @staticmethod
    def map_file_name(space: str, method: str) -> str:
        """Return the path in the collection of the map of a Space by a method."""
        quoted = quote(space, safe="")
        return f"{_MAPS}/{quoted}-{method}.arrow"

    def list_maps(self) -> list[tuple[str, str]]:
        """Return the Space and the method of each stored map."""
        maps_folder = Path(self.path, _MAPS)
        names = [file.stem for file in maps_folder.glob("*.arrow")]
        found = []
        for name in sorted(names):
            quoted_space, _, method = name.rpartition("-")
            space = unquote(quoted_space)
            found.append((space, method))
        return found

    # Locks

    def lock_path(self, name: LockName) -> str:
        """Return the path of a lock file, the same for every way to spell the folder."""
        file = Path(self.path, name)
        return os.path.realpath(file)


class LockFile:
    """An open lock file; the kernel releases its lock when the process closes it or dies."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("ab+", buffering=0)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

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
        with suppress(OSError):
            self._file.truncate(0)
            self._file.write(owner.encode())

    def read_owner(self) -> str:
        """Return who holds the lock."""
        with suppress(OSError):
            self._file.seek(0)
            text = self._file.read(_OWNER_BYTES).decode(errors="replace")
            if text:
                return text
        return "another process"


def link_or_copy(existing: Path, new: Path) -> None:
    """Make a hard link to a file, or a copy where the file system has no hard links."""
    try:
        new.hardlink_to(existing)
    except OSError:
        shutil.copyfile(existing, new)
