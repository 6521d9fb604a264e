"""The location of a collection: the one module that knows its files and folders.

A collection is a folder::

    images.lance/         the Lance table
    trash.lance/          the rows that were removed from it, until they expire
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

_TABLE = "images.lance"
_TRASH = "trash.lance"
_VERSIONS = "_versions"
_MAPS = "maps"
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
    folder
        The same folder as a `Path`.
    table_folder
        The folder of the Lance table.
    trash_folder
        The folder of the Lance table of removed rows.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        expanded = os.path.expanduser(path)  # noqa: PTH111
        self.path = expanded
        self.folder = Path(expanded)
        self.table_folder = Path(expanded, _TABLE)
        self.trash_folder = Path(expanded, _TRASH)
        self._versions_folder = Path(expanded, _TABLE, _VERSIONS)
        self._maps_folder = Path(expanded, _MAPS)

    @property
    def table_uri(self) -> str:
        """The Lance table as Lance opens it."""
        return str(self.table_folder)

    def has_table(self) -> bool:
        """Return whether the folder holds a table.

        Raises
        ------
        OSError
            If this process may not read the folder.
        """
        return self.table_folder.is_dir()

    @property
    def trash_uri(self) -> str:
        """The trash as Lance opens it."""
        return str(self.trash_folder)

    def has_trash(self) -> bool:
        """Return whether the folder holds a trash."""
        return self.trash_folder.is_dir()

    def has_versions(self) -> bool:
        """Return whether the table has versions; True if this process may not read the folder."""
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

    def is_free(self, *, ignore_locks: bool = False) -> bool:
        """Return whether the folder does not exist, or holds only leftovers of a killed process.

        Parameters
        ----------
        ignore_locks
            Whether lock files count as leftovers too.
        """
        folder = self.folder
        if folder.is_file():
            return False
        if not folder.is_dir():
            return True
        leftovers = _leftover_prefixes(ignore_locks)
        files = folder.iterdir()
        return all(file.name.startswith(leftovers) for file in files)

    # Staging

    def new_staging_folder(self) -> Path:
        """Return a new name for a folder in which a table or a copy is made."""
        folder = self.folder
        suffix = secrets.token_hex(4)
        name = _STAGING + suffix
        return folder / name

    def staging_folders(self) -> Iterator[Path]:
        """Yield the staging folders, those of killed processes too."""
        folder = self.folder
        pattern = f"{_STAGING}*"
        return folder.glob(pattern)

    def publish_table(self, staged: Path) -> None:
        """Move a complete table into place: at any moment the folder has all of it, or none."""
        staged.rename(self.table_folder)

    def publish_trash(self, staged: Path) -> None:
        """Move a complete trash into place, and remove the one before."""
        self.remove_trash()
        staged.rename(self.trash_folder)

    def remove_trash(self) -> None:
        """Remove the trash; a killed process leaves all of it, or leftovers for the next upkeep."""
        if self.has_trash():
            leftovers = self.new_staging_folder()
            self.trash_folder.rename(leftovers)
            shutil.rmtree(leftovers, ignore_errors=True)

    def publish_maps(self, staged: Location) -> None:
        """Replace the maps by those of a staged copy."""
        current_maps = self._maps_folder
        shutil.rmtree(current_maps, ignore_errors=True)
        staged_maps = staged._maps_folder
        if staged_maps.is_dir():
            staged_maps.rename(current_maps)

    def publish_version(self, staged: Location, names: list[str]) -> None:
        """Move the files of a newer version into the table, then remove all other files.

        Parameters
        ----------
        staged
            The staged copy.
        names
            Its files by their paths in the collection, the manifest of the version last.
        """
        self._publish_files(staged, names, self.table_folder)

    def publish_staged_trash(self, staged: Location, names: list[str]) -> None:
        """Replace the trash by that of a staged copy; see `publish_version`."""
        if not names:
            self.remove_trash()
        elif self.has_trash():
            self._publish_files(staged, names, self.trash_folder)
        else:
            staged.trash_folder.rename(self.trash_folder)

    def _publish_files(self, staged: Location, names: list[str], table: Path) -> None:
        """Move files into a Lance table, the manifest last, then remove all other files."""
        # The hint names the older version as the newest one.
        hint = table / _VERSIONS / "latest_version_hint.json"
        hint.unlink(missing_ok=True)
        # Until the manifest, the last file, is in place, Lance reads the older version.
        for name in names:
            source = staged.file(name)
            target = self.file(name)
            folder = target.parent
            folder.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        # Not earlier: until then the older version is the backup, and needs its files.
        self._remove_files(table, names)

    def remove_other_files(self, names: Iterable[str]) -> None:
        """Remove each file of the table and of the trash that is not among `names`."""
        names_to_keep = list(names)
        self._remove_files(self.table_folder, names_to_keep)
        self._remove_files(self.trash_folder, names_to_keep)

    def _remove_files(self, folder: Path, names: Iterable[str]) -> None:
        names_to_keep = set(names)
        for file in folder.rglob("*"):
            if not file.is_file():
                continue
            relative = file.relative_to(self.folder)
            name = relative.as_posix()
            if name not in names_to_keep:
                file.unlink()

    # Files

    def file(self, name: str) -> Path:
        """Return a file of the collection by its path in it, with ``/`` between folders."""
        return self.folder / name

    @staticmethod
    def table_file_name(name: str) -> str:
        """Return the path in the collection of a file of the table."""
        return f"{_TABLE}/{name}"

    @staticmethod
    def trash_file_name(name: str) -> str:
        """Return the path in the collection of a file of the trash."""
        return f"{_TRASH}/{name}"

    @staticmethod
    def is_trash_file(name: str) -> bool:
        """Return whether a path in the collection is one of the trash's files."""
        prefix = f"{_TRASH}/"
        return name.startswith(prefix)

    @staticmethod
    def is_table_file(name: str) -> bool:
        """Return whether a path in the collection is one of the table's files."""
        prefix = f"{_TABLE}/"
        return name.startswith(prefix)

    @staticmethod
    def is_manifest(name: str) -> bool:
        """Return whether a path is a manifest, whose name does not identify its content."""
        folder = f"/{_VERSIONS}/"
        return folder in name

    @property
    def backup_record(self) -> Path:
        """The file in which a backup records the sha256 of its files."""
        return self.file("backup.json")

    def manifests(self) -> Iterator[Path]:
        """Yield the manifests of the table, one for each version."""
        folder = self._versions_folder
        return folder.glob("*.manifest")

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
        # A Space may be named "a/b" or "..": its map stays in the folder all the same.
        quoted = quote(space, safe="")
        name = f"{quoted}-{method}.arrow"
        return f"{_MAPS}/{name}"

    def list_maps(self) -> list[tuple[str, str]]:
        """Return the Space and the method of each stored map."""
        folder = self._maps_folder
        files = folder.glob("*.arrow")
        names = [file.stem for file in files]
        names.sort()

        stored = []
        for name in names:
            # A method has no hyphen, but a Space may have one.
            quoted_space, _, method = name.rpartition("-")
            space = unquote(quoted_space)
            entry = (space, method)
            stored.append(entry)
        return stored

    # Locks

    def lock_path(self, name: LockName) -> str:
        """Return the path of a lock file, the same for every way to spell the folder."""
        file = self.folder / name
        return os.path.realpath(file)


class LockFile:
    """An open lock file; the kernel releases its lock when the process closes it or dies."""

    def __init__(self, path: str) -> None:
        file = Path(path)
        self._file = file.open("ab+", buffering=0)

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


def _leftover_prefixes(locks: bool) -> tuple[str, ...]:
    """Return how the names of leftovers of a killed process begin."""
    if locks:
        return (_STAGING, *LockName)
    return (_STAGING,)


def link_or_copy(existing: Path, new: Path) -> None:
    """Make a hard link to a file, or a copy where the file system has no hard links."""
    try:
        new.hardlink_to(existing)
    except OSError:
        shutil.copyfile(existing, new)
