"""Back up and restore a collection: copies of one version, checked before they are published."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from typing import Any

from lookalike.errors import CollectionError
from lookalike.maintenance.check import check_rows
from lookalike.store import copy as copies
from lookalike.store.failures import Operation, address_error
from lookalike.store.location import Location
from lookalike.store.places import locate
from lookalike.store.table import Table

__all__ = ["BackupReport", "backup", "restore"]


@dataclass(frozen=True, slots=True)
class BackupReport:
    """The result of a backup or a restoration.

    Attributes
    ----------
    path, version
        The copy's folder, and the version of the collection that it holds.
    images
        The number of images in it.
    copied, kept
        The bytes that were copied, and the bytes that an earlier backup already had.
    seconds
        The duration.
    """

    path: str
    version: int
    images: int
    copied: int
    kept: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, as ``lookalike backup --json`` prints it."""
        rounded_seconds = round(self.seconds, 3)
        fields = asdict(self)
        fields["seconds"] = rounded_seconds
        return fields


def backup(
    table: Table,
    target: str | os.PathLike[str],
    *,
    progress: copies.ByteProgress | None = None,
) -> BackupReport:
    """Copy the newest version of a collection and its maps, or update an earlier backup.

    Other processes may read and write the collection meanwhile. Files that the earlier backup
    already has are not copied again. The copy is checked as `lookalike.check` does before it
    replaces the earlier backup. A process killed at any moment leaves one of the two; see
    `lookalike.store.copy.publish`. A backup is a collection: it can be opened and searched.

    Parameters
    ----------
    table
        The collection's table; its newest version is copied.
    target
        A new or empty folder, or one that holds a backup of this collection.
    progress
        Called with the bytes that are done, and the bytes in all.

    Raises
    ------
    CollectionError
        If the collection cannot be read or is damaged, if the folder holds anything but a backup of
        it, or if the folder cannot be written.
    """
    start = time.perf_counter()
    source = Table.open(table.path)
    location = locate(target)
    source_folder = source.location.identity
    earlier = _earlier_backup(source, location, source_folder)
    return _copy(source, location, progress, start, earlier=earlier, of=source_folder)


def restore(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    progress: copies.ByteProgress | None = None,
) -> BackupReport:
    """Make a collection from the newest version and the maps of a backup or another collection.

    Parameters
    ----------
    source
        The backup's folder. Each of its files must have the content that was written into it.
    target
        The new collection's folder, which must be new or empty.
    progress
        Called with the bytes that are done, and the bytes in all.

    Raises
    ------
    CollectionError
        If the backup does not exist or is damaged, or if the folder is not empty or cannot be
        written.
    """
    start = time.perf_counter()
    opened = Table.open(source)
    location = locate(target)
    if not _is_free(location):
        raise CollectionError(
            f"{location.path} is not empty, and a backup is restored only into a new folder. "
            "Name another folder, or move its content away first."
        )
    return _copy(opened, location, progress, start)


def _copy(
    source: Table,
    target: Location,
    progress: copies.ByteProgress | None,
    start: float,
    *,
    earlier: copies.BackupRecord | None = None,
    of: str | None = None,
) -> BackupReport:
    """Make a copy, check it, and publish it."""
    report_progress = progress or copies.no_progress
    with copies.stage(
        source, target, earlier=earlier, progress=report_progress
    ) as staged:
        copy = Table.open(staged.location.path)
        checked = check_rows(copy)
        if not checked.sound:
            first = checked.faults[0].what
            raise CollectionError(
                f"The collection {source.path} was not copied to {target.path} because it has "
                f"faults ({checked.found:,}). The first: {first} "
                f"List all of them with: lookalike check -c {source.path}"
            )
        copies.publish(staged, source, target, earlier=earlier, of=of)
    seconds = time.perf_counter() - start
    return BackupReport(
        path=target.path,
        version=staged.version,
        images=checked.images,
        copied=staged.copied_bytes,
        kept=staged.kept_bytes,
        seconds=seconds,
    )


def _earlier_backup(
    source: Table, target: Location, source_folder: str
) -> copies.BackupRecord | None:
    """Return the record of the earlier backup in a folder, or None for a free folder.

    Anything else in the folder raises a `CollectionError`.
    """
    if _is_free(target):
        return None
    record = copies.read_record(target.path)
    if record is None:
        raise CollectionError(
            f"{target.path} holds something that is not a backup. "
            "Name a new folder, or one that holds a backup."
        )
    if record.of != source_folder:
        raise CollectionError(
            f"{target.path} holds a backup of the collection {record.of}, not of {source_folder}. "
            "It was not changed. Name another folder. "
            "If the collection was moved here, delete the old backup first."
        )
    if copies.has_diverged(source, target):
        raise CollectionError(
            f"{target.path} holds a backup that is newer than the collection {source.path}, "
            "or was changed itself. It was not changed. "
            "Name another folder, or delete the backup if you no longer need it."
        )
    return record


def _is_free(location: Location) -> bool:
    try:
        return location.is_free()
    except OSError as error:
        subject = f"{location.path} cannot be read"
        from_store = address_error(subject, location.path, Operation.READ, error)
        if from_store is not None:
            raise from_store from error
        raise CollectionError(
            f"{subject}: {error.strerror or error}. Name another folder."
        ) from error
