"""Back a collection up, and restore it: whole copies of one version, verified before they take their place."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lookalike.errors import CollectionError
from lookalike.maintenance import check as checking
from lookalike.store import copy as copies
from lookalike.store.table import Table

__all__ = ["BackupReport", "backup", "restore"]


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup or a restoration did.

    Attributes
    ----------
    path, version
        Where the copy is, and which version of the collection it is.
    images
        How many images it holds.
    copied, kept
        Bytes that were copied, and bytes that an earlier backup had already.
    """

    path: str
    version: int
    images: int
    copied: int
    kept: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data: what ``lookalike backup --json`` prints."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


def backup(
    table: Table,
    target: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> BackupReport:
    """Copy the newest version of a collection, and its kept maps, to a folder; an earlier backup is brought up to date.

    Others may read and write the collection meanwhile. Of what the earlier backup has, nothing is copied again. The
    copy is read through as `lookalike.check` does before it takes the earlier one's place: killed at any moment, there
    is the one or the other, whole. A backup is a collection, which can be opened and searched.

    Parameters
    ----------
    table
        The collection's table; its newest version is copied.
    target
        A new or empty folder, or one that holds a backup of this collection.
    progress
        Called with the bytes done, and all that are to be done.

    Raises
    ------
    CollectionError
        If the collection cannot be read or is not sound, if the folder holds anything else than a backup of it, or if
        it cannot be written.
    """
    start = time.perf_counter()
    source = Table.open(table.path)
    place = Path(target).expanduser()
    of = str(Path(source.path).resolve())
    images, staged = _copy(source, place, progress, earlier=_earlier(source, place, of), of=of)
    return BackupReport(
        str(place), staged.version, images, staged.copied, staged.kept, time.perf_counter() - start
    )


def restore(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> BackupReport:
    """Make a collection from a backup, or from any other collection: a copy of its newest version and its kept maps.

    Parameters
    ----------
    source
        The backup's folder. Each of its files must be what was written into it.
    target
        Where the collection is made: a folder that is new or empty.
    progress
        Called with the bytes done, and all that are to be done.

    Raises
    ------
    CollectionError
        If the backup is none, or damaged, or if the folder holds something or cannot be written.
    """
    start = time.perf_counter()
    backed_up = Table.open(source)
    place = Path(target).expanduser()
    if _holds_anything(place):
        raise CollectionError(
            f"{place} already holds something, and a backup is restored into a new folder only. Name another, or move "
            "what is there out of the way first."
        )
    images, staged = _copy(backed_up, place, progress)
    return BackupReport(
        str(place), staged.version, images, staged.copied, staged.kept, time.perf_counter() - start
    )


def _copy(
    source: Table,
    place: Path,
    progress: Callable[[int, int], None] | None,
    *,
    earlier: copies.Record | None = None,
    of: str | None = None,
) -> tuple[int, copies.Staged]:
    """Make a copy, read it through, and put it in its place."""
    with copies.stage(
        source, place, earlier=earlier, progress=progress or (lambda _done, _total: None)
    ) as staged:
        report = checking.read_through(Table.open(staged.folder))
        if not report.sound:
            raise CollectionError(
                f"The collection {source.path} was not copied to {place}, for it has faults ({report.found:,}), "
                f"the first: {report.faults[0].what} See all, and what to do, with: lookalike check -c {source.path}"
            )
        copies.publish(staged, source, place, of)
    return report.images, staged


def _earlier(source: Table, place: Path, of: str) -> copies.Record | None:
    """Return what the earlier backup in a folder says of itself, which must be one of this collection."""
    if not _holds_anything(place):
        return None
    record = copies.read_record(place)
    if record is None:
        raise CollectionError(
            f"{place} holds something that is no backup. Name a new folder, or one with a backup."
        )
    if record.of != of:
        raise CollectionError(
            f"{place} holds a backup of the collection {record.of}, not of {of}: it is left as it is. Name a folder "
            "for this collection's own. If the collection was moved here, remove the old backup first."
        )
    if copies.has_parted(source, place):
        raise CollectionError(
            f"{place} holds a backup that is newer than the collection {source.path}, or was changed by itself: it is "
            "left as it is. Name another folder, or remove it first if it is no longer needed."
        )
    return record


def _holds_anything(place: Path) -> bool:
    """Tell whether a folder is taken; what a killed copy left in it does not count."""
    try:
        return place.exists() and (
            place.is_file() or any(not copies.is_unfinished(path) for path in place.iterdir())
        )
    except OSError as error:
        raise CollectionError(
            f"{place} cannot be looked into: {error.strerror or error}. Name another folder."
        ) from error
