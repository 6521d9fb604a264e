"""The location of a collection: its tables, its other files, its locks.

A collection is a folder, or a prefix of an object store::

    images.lance/         the Lance table
    trash.lance/          the rows that were removed from it, until they expire
    maps/                 one Arrow file for each map
    .writer  .upkeep      the lock files, in a folder alone
    .duplicates           the lock file of commands that remove duplicates
    .Trash-lookalike/     the files of duplicates that were removed, in a folder alone
    verdicts.json         pairs of images that are not duplicates of each other
    backup.json           in a backup: the sha256 of each of its files
    .images.XXXXXXXX/     a table or a copy that is being made, or whose making was cut short

`lookalike.store.places.locate` returns the location of a path or a URL.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote

from lookalike.errors import CollectionError

__all__ = [
    "CHUNK_BYTES",
    "FILE_TRASH",
    "MAPS",
    "STAGING",
    "TABLE",
    "TRASH",
    "VERDICTS",
    "VERSIONS",
    "Location",
    "LockName",
    "StoredFile",
]

TABLE = "images.lance"
TRASH = "trash.lance"
VERSIONS = "_versions"
MAPS = "maps"
VERDICTS = "verdicts.json"
STAGING = ".images."
# Walks pass over folders that begin so, whatever their options.
FILE_TRASH = ".Trash-lookalike"
# A file is read in pieces of this size.
CHUNK_BYTES = 1 << 20
_BACKUP_RECORD = "backup.json"


class LockName(StrEnum):
    """A lock of a collection; the value is the name of its file."""

    WRITER = ".writer"
    UPKEEP = ".upkeep"
    DUPLICATES = ".duplicates"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a collection.

    Attributes
    ----------
    name
        Its path in the collection, with ``/`` between folders.
    size
        Its size in bytes.
    """

    name: str
    size: int


class Location(ABC):
    """The location of a collection, which may not exist yet.

    Files are named by their paths in the collection, with ``/`` between folders. Methods raise
    OSError if the disk or the object store fails, `FileNotFoundError` for a missing file.

    Attributes
    ----------
    path
        The folder or URL as it was given.
    """

    path: str

    @abstractmethod
    def uri(self, name: str) -> str:
        """Return the path or URL of a file, as messages show it."""

    @property
    def table_uri(self) -> str:
        """The address at which Lance opens the table."""
        return self.uri(TABLE)

    @property
    def trash_uri(self) -> str:
        """The address at which Lance opens the trash."""
        return self.uri(TRASH)

    @property
    @abstractmethod
    def identity(self) -> str:
        """The folder or URL, the same for every way to spell it; links are followed."""

    @property
    @abstractmethod
    def absolute(self) -> str:
        """The folder or URL, also from another folder; links are not followed."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part of the path or URL, as a short name."""

    @property
    @abstractmethod
    def missing_reason(self) -> str:
        """Why an operation on a collection that was there failed, and what to do."""

    # Tables

    @abstractmethod
    def is_present(self) -> bool:
        """Return whether there is anything at this location."""

    @abstractmethod
    def is_free(self) -> bool:
        """Return whether nothing is here but lock files and leftovers of a killed process."""

    @abstractmethod
    def has_table(self) -> bool:
        """Return whether there is a table."""

    @abstractmethod
    def has_trash(self) -> bool:
        """Return whether there is a trash."""

    @abstractmethod
    def has_versions(self) -> bool:
        """Return whether the table has versions; True if this process may not list them."""

    @abstractmethod
    def versions_stamp(self) -> tuple[int, int]:
        """Return a stamp of the table's list of versions, which each commit changes.

        A table that is made again at the same location has another stamp.
        """

    @abstractmethod
    def version_tag(self, version: int) -> str | None:
        """Return the store's tag of a version of the table, or None if its files are here."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the folder, if locations of this kind are folders."""

    @abstractmethod
    def new_table(self) -> AbstractContextManager[str]:
        """Return a block in which a table is made at the uri that the block receives.

        The table is published when the block ends; an error removes what it made.
        """

    @abstractmethod
    def new_trash(self) -> AbstractContextManager[str]:
        """Return a block in which the trash is made; see `new_table`."""

    @abstractmethod
    def remove_trash(self) -> None:
        """Remove the trash; a killed process leaves all of it, or leftovers for the next upkeep."""

    # Files

    @abstractmethod
    def files(self, folder: str = "") -> Iterator[StoredFile]:
        """Yield the files below a folder, at any depth."""

    @abstractmethod
    def has_file(self, name: str) -> bool:
        """Return whether there is a file."""

    @abstractmethod
    def size_of(self, name: str) -> int:
        """Return the size of a file in bytes."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of a file."""

    @abstractmethod
    def read_chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file, about a mebibyte at a time."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file in place of the previous one; a reader finds one of the two, complete."""

    @abstractmethod
    def write_chunks(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a new file that lasts; the file is incomplete if `chunks` raises."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file."""

    def remove_all(self, names: Sequence[str]) -> None:
        """Remove files."""
        for name in names:
            self.remove(name)

    def remove_other_files(self, names: Iterable[str]) -> None:
        """Remove each file of the table and of the trash that is not among `names`."""
        names_to_keep = set(names)
        self._remove_others(TABLE, names_to_keep)
        self._remove_others(TRASH, names_to_keep)

    def _remove_others(self, folder: str, names_to_keep: set[str]) -> None:
        stored = [file.name for file in self.files(folder)]
        others = [name for name in stored if name not in names_to_keep]
        self.remove_all(others)

    # Copies

    @abstractmethod
    def claim(self) -> AbstractContextManager[None]:
        """Return a block in which no other process can make a collection here.

        In a folder, the caller holds the write lock. In object storage, an error in the block
        removes all that it has written.

        Raises
        ------
        CollectionError
            If another process has made one, or is making one.
        """

    def _occupied_error(self) -> CollectionError:
        return CollectionError(
            f"Nothing was written to {self.path}: another process has made a collection there. "
            "Name another folder."
        )

    @abstractmethod
    def new_staging(self) -> Self:
        """Return a new location inside this one, in which a copy is made."""

    @abstractmethod
    def remove_staging(self, *, older_than: float = 0.0) -> int:
        """Remove what killed processes left of tables, copies and maps; return the bytes freed.

        Parameters
        ----------
        older_than
            The age in seconds below which it may be the work of a living process, and stays.
        """

    @abstractmethod
    def discard(self) -> None:
        """Remove this location, a staged copy, with all of its files; errors are ignored."""

    @abstractmethod
    def remove_if_empty(self) -> None:
        """Remove the folder if nothing is in it."""

    @abstractmethod
    def share(self, name: str, staged: Self) -> None:
        """Give a file to a staged copy too, without reading it where the storage allows that."""

    @abstractmethod
    def publish_table(self, staged: Self) -> None:
        """Move the table of a staged copy into place: at any moment all of it is here, or none."""

    @abstractmethod
    def publish_maps(self, staged: Self) -> None:
        """Replace the maps by those of a staged copy."""

    @abstractmethod
    def publish_version(self, staged: Self, names: list[str]) -> None:
        """Move the files of a newer version into the table, then remove all other files.

        Parameters
        ----------
        staged
            The staged copy.
        names
            Its files by their paths in the collection, the manifest of the version last.
        """

    @abstractmethod
    def publish_staged_trash(self, staged: Self, names: list[str]) -> None:
        """Replace the trash by that of a staged copy; see `publish_version`."""

    # Names

    @staticmethod
    def new_staging_name() -> str:
        """Return a new name for a folder in which a table or a copy is made."""
        suffix = secrets.token_hex(4)
        return STAGING + suffix

    @staticmethod
    def table_file_name(name: str) -> str:
        """Return the path in the collection of a file of the table."""
        return f"{TABLE}/{name}"

    @staticmethod
    def trash_file_name(name: str) -> str:
        """Return the path in the collection of a file of the trash."""
        return f"{TRASH}/{name}"

    @staticmethod
    def is_trash_file(name: str) -> bool:
        """Return whether a path in the collection is one of the trash's files."""
        prefix = f"{TRASH}/"
        return name.startswith(prefix)

    @staticmethod
    def is_table_file(name: str) -> bool:
        """Return whether a path in the collection is one of the table's files."""
        prefix = f"{TABLE}/"
        return name.startswith(prefix)

    @staticmethod
    def is_manifest(name: str) -> bool:
        """Return whether a path is a manifest, whose name does not identify its content."""
        folder = f"/{VERSIONS}/"
        return folder in name

    @property
    def backup_record(self) -> str:
        """The file in which a backup records the sha256 of its files."""
        return _BACKUP_RECORD

    # Maps

    @staticmethod
    def map_file_name(space: str, method: str) -> str:
        """Return the path in the collection of the map of a Space by a method."""
        # A Space may be named "a/b" or "..": its map stays in the folder all the same.
        quoted = quote(space, safe="")
        name = f"{quoted}-{method}.arrow"
        return f"{MAPS}/{name}"

    def list_maps(self) -> list[tuple[str, str]]:
        """Return the Space and the method of each stored map."""
        folder = f"{MAPS}/"
        names = []
        for file in self.files(MAPS):
            file_name = file.name
            path = file_name.removeprefix(folder)
            name = path.removesuffix(".arrow")
            is_map = path != name
            is_nested = "/" in path
            if is_map and not is_nested:
                names.append(name)
        names.sort()

        stored = []
        for name in names:
            # A method has no hyphen, but a Space may have one.
            quoted_space, _, method = name.rpartition("-")
            space = unquote(quoted_space)
            entry = (space, method)
            stored.append(entry)
        return stored

    # Duplicates

    @property
    @abstractmethod
    def file_trash(self) -> Path | None:
        """The folder for files of images that were removed; None in a place without files."""

    # Locks

    @abstractmethod
    def lock_path(self, name: LockName) -> str | None:
        """Return the path of a lock file, the same for every way to spell the folder.

        None in a place without locks: there the store itself detects conflicting commits.
        """
