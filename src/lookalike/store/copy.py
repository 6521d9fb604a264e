"""Copy a collection: stage the files of one version, then publish them when they are complete.

Lance never changes a file once it is written, and gives each file a unique name. A version is thus
a list of files, and the manifest that lists them makes it a version: the manifest is copied and
published last.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import lance
import pyarrow as pa

from lookalike.errors import BusyError, CollectionError
from lookalike.io.files import DISK_FULL, atomic_write
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.location import Location, link_or_copy
from lookalike.store.table import Table

__all__ = [
    "BackupRecord",
    "ByteProgress",
    "StagedCopy",
    "changed_files",
    "has_diverged",
    "no_progress",
    "publish",
    "read_record",
    "stage",
]

# How often a copy starts again because others replaced and removed the version that was copied.
_ATTEMPTS = 5
_COPY_CHUNK_BYTES = 1 << 20

ByteProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BackupRecord:
    """The description of a backup, stored beside its files.

    Attributes
    ----------
    of
        The folder of the collection that was copied.
    version
        The version that was copied.
    files
        The sha256 of each file, by its path in the backup.
    """

    of: str
    version: int
    files: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class StagedCopy:
    """A copy in a staging folder.

    Attributes
    ----------
    location
        The staging folder, a collection in itself, inside the folder that the copy is for.
    version
        The version that was copied.
    files
        The sha256 of each file, by its path in the collection; the table's manifest is the last of
        the table's files.
    copied_bytes, kept_bytes
        The bytes that were copied, and the bytes that an earlier backup already had.
    """

    location: Location
    version: int = 0
    files: dict[str, str] = field(default_factory=dict)
    copied_bytes: int = 0
    kept_bytes: int = 0


def read_record(path: str | os.PathLike[str]) -> BackupRecord | None:
    """Return the record of a backup, or None without a backup or with a damaged record."""
    try:
        text = Location(path).backup_record.read_text(encoding="utf-8")
        return BackupRecord(**json.loads(text))
    except (OSError, ValueError, TypeError):
        return None


def changed_files(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the files of a backup whose content has changed; none for other collections."""
    record = read_record(path)
    if record is None:
        return
    location = Location(path)
    for name, sha256 in record.files.items():
        file = location.file(name)
        if file.is_file() and _sha256_of(file) != sha256:
            yield name


def has_diverged(source: Table, target: Location) -> bool:
    """Return whether a backup holds a version that the collection does not have."""
    try:
        backup = lance.dataset(target.table_uri)
        manifest = _table_files(backup)[-1]
        own_manifest = source.location.file(manifest)
        if own_manifest.is_file():
            own_sha256 = _sha256_of(own_manifest)
            backup_sha256 = _sha256_of(target.file(manifest))
            return own_sha256 != backup_sha256
    except (OSError, ValueError, RuntimeError, pa.ArrowException):
        # The backup cannot be opened, so nothing is lost if it is replaced.
        return False
    newest = int(backup.version)
    return newest >= source.version


@contextmanager
def stage(
    source: Table,
    target: Location,
    *,
    earlier: BackupRecord | None = None,
    progress: ByteProgress,
) -> Iterator[StagedCopy]:
    """Copy the newest version of a collection, and its maps, into a staging folder.

    The folder is removed when the block ends.

    Parameters
    ----------
    source
        The collection; other processes may write to it meanwhile.
    target
        The folder that the copy is for.
    earlier
        The record of the backup in `target`. Its files that still have their content are linked,
        not copied.
    progress
        Called with the bytes that are done, and the bytes in all.

    Raises
    ------
    CollectionError
        If the collection cannot be read or the copy cannot be written; `BusyError` if the
        collection changes too often.
    """
    promised = read_record(source.path)
    with _translate_copy_errors(source, target):
        target.folder.mkdir(parents=True, exist_ok=True)
        for leftover in target.staging_folders():
            shutil.rmtree(leftover)
    staged = StagedCopy(Location(target.new_staging_folder()))
    copier = _Copier(source, target, staged, earlier)
    try:
        copier.copy_table(progress)
        copier.copy_maps()
        if promised is not None:
            _check_source(source, promised, staged)
        yield staged
    finally:
        shutil.rmtree(staged.location.path, ignore_errors=True)
        # Fails if anything else is in it.
        with suppress(OSError):
            target.folder.rmdir()


def _check_source(source: Table, promised: BackupRecord, staged: StagedCopy) -> None:
    """Refuse to copy a backup with changed files."""
    for name, sha256 in staged.files.items():
        if promised.files.get(name, sha256) != sha256:
            raise CollectionError(
                f"The backup {source.path} is damaged: "
                f"its file {name} has changed since it was written. "
                f"Use another backup, or list the damage with: lookalike check -c {source.path}"
            )


def publish(
    staged: StagedCopy, source: Table, target: Location, of: str | None
) -> None:
    """Put a copy in its place.

    At any moment the folder holds the previous version or this one, complete.

    Parameters
    ----------
    staged
        The copy.
    source
        The collection that was copied.
    target
        The folder that the copy is for.
    of
        The collection's folder for the backup's record, or None to make a collection that is no
        backup.
    """
    with _translate_copy_errors(source, target):
        if of is not None:
            # While files of both versions are in the folder, the record covers both.
            before = read_record(target.path)
            old_files = {} if before is None else before.files
            both = {**old_files, **staged.files}
            record = BackupRecord(of, staged.version, both)
            _write_record(target, record)

        target.publish_maps(staged.location)
        if target.has_table():
            table_files = [name for name in staged.files if target.is_table_file(name)]
            target.publish_version(staged.location, table_files)
        else:
            target.publish_table(staged.location.table_folder)

        if of is not None:
            record = BackupRecord(of, staged.version, staged.files)
            _write_record(target, record)


class _Copier:
    """Copies the files of a collection into a staging folder."""

    def __init__(
        self,
        source: Table,
        target: Location,
        staged: StagedCopy,
        earlier: BackupRecord | None,
    ) -> None:
        self._source = source
        self._target = target
        self._staged = staged
        self._earlier_files = {} if earlier is None else earlier.files

    def copy_table(self, progress: ByteProgress) -> None:
        """Copy the newest version of the table; start again if others remove it meanwhile."""
        source, staged = self._source, self._staged
        for _ in range(_ATTEMPTS):
            source.refresh()
            try:
                with translate_errors(source.path, Operation.COPY):
                    names = _table_files(source.lance_dataset)
                    total = sum(
                        source.location.file(name).stat().st_size for name in names
                    )
                staged.files.clear()
                self._copy_files(names, progress, total)
            except CollectionError as error:
                version = source.version
                source.refresh()
                is_disk_full = getattr(error.__cause__, "errno", None) in DISK_FULL
                # A newer version may have replaced this one; a full disk has another cause.
                if source.version == version or is_disk_full:
                    raise
            else:
                staged.version = source.version
                # Files of an earlier attempt.
                staged.location.remove_other_files(names)
                return
        raise BusyError(
            f"The collection {source.path} is busy: {_ATTEMPTS} times its version was replaced and "
            "removed while it was being copied. "
            "Run the command again when other processes no longer change or optimize it."
        )

    def copy_maps(self) -> None:
        """Copy the maps as they are now."""
        location = self._source.location
        for space, method in location.list_maps():
            name = location.map_file_name(space, method)
            self._copy_files([name], no_progress, total=0)

    def _copy_files(self, names: list[str], progress: ByteProgress, total: int) -> None:
        done = 0
        for name in names:
            done += self._copy_file(name)
            progress(done, total)

    def _copy_file(self, name: str) -> int:
        """Link a file of the earlier backup, or copy it from the collection; return its size."""
        staged = self._staged
        copy = staged.location.file(name)
        if copy.is_file():
            copy.unlink()  # of an earlier attempt

        sha256 = self._unchanged_sha256(name)
        if sha256 is not None:
            existing = self._target.file(name)
            with _translate_copy_errors(self._source, self._target):
                copy.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(existing, copy)
            size = copy.stat().st_size
            staged.kept_bytes += size
        else:
            origin = self._source.location.file(name)
            sha256 = self._copy_content(origin, copy)
            size = copy.stat().st_size
            staged.copied_bytes += size
        staged.files[name] = sha256
        return size

    def _unchanged_sha256(self, name: str) -> str | None:
        """Return the sha256 of a file of the earlier backup that can be linked, or None."""
        # The name of a manifest does not identify its content, so it is always copied.
        if Location.is_manifest(name):
            return None
        sha256 = self._earlier_files.get(name)
        existing = self._target.file(name)
        if sha256 is None or not existing.is_file():
            return None
        is_unchanged = _sha256_of(existing) == sha256
        return sha256 if is_unchanged else None

    def _copy_content(self, origin: Path, copy: Path) -> str:
        """Copy a file, flush it to the disk, and return its sha256."""
        digest = hashlib.sha256()
        with _translate_copy_errors(self._source, self._target):
            copy.parent.mkdir(parents=True, exist_ok=True)
            with copy.open("xb") as output:
                for chunk in self._read_chunks(origin):
                    digest.update(chunk)
                    output.write(chunk)
                output.flush()
                os.fsync(output.fileno())
        return digest.hexdigest()

    def _read_chunks(self, origin: Path) -> Iterator[bytes]:
        with (
            translate_errors(self._source.path, Operation.COPY),
            origin.open("rb") as file,
        ):
            while chunk := file.read(_COPY_CHUNK_BYTES):
                yield chunk


def no_progress(done: int, total: int) -> None:
    """Report no progress."""


def _table_files(dataset: lance.LanceDataset) -> list[str]:
    """Return the paths in the collection of the files of a table's version, its manifest last."""
    version = dataset.version
    tracked = dataset.tracked_files(min_version=version).read_all()
    ordered = set()
    for row in tracked.to_pylist():
        if row["version"] == version:
            is_manifest = row["type"] == "manifest"
            ordered.add((is_manifest, row["path"]))
    paths = [path for _, path in sorted(ordered)]
    return [Location.table_file_name(path) for path in paths]


def _write_record(target: Location, record: BackupRecord) -> None:
    text = json.dumps(asdict(record))
    with atomic_write(target.backup_record) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return digest.hexdigest()


@contextmanager
def _translate_copy_errors(source: Table, target: Location) -> Iterator[None]:
    """Raise errors of the target's disk as a `CollectionError` that names both folders."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        next_step = "Name another folder."
        if error.errno in DISK_FULL:
            reason = "no space is left there"
            next_step = "Free some space there, or name another folder."
        raise CollectionError(
            f"The copy of {source.path} could not be written to {target.path}: {reason}. "
            f"Existing files were not changed. {next_step}"
        ) from error
