"""Copy a collection: stage the files of one version, then publish them when they are complete.

Lance never changes a file once it is written, and gives each file a unique name. A version is thus
a list of files, and the manifest that lists them makes it a version: the manifest is copied and
published last.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field

import lance
import pyarrow as pa

from lookalike.errors import BusyError, CollectionError
from lookalike.io.files import DISK_FULL
from lookalike.store import lock
from lookalike.store.failures import (
    Operation,
    address_error,
    reason_of,
    translate_errors,
)
from lookalike.store.location import VERDICTS, Location
from lookalike.store.places import locate
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
_COPY_ATTEMPTS = 5

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
        The staging folder, a collection in itself, inside the location that the copy is for.
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
    location = locate(path)
    try:
        content = location.read(location.backup_record)
        fields = json.loads(content)
        return BackupRecord(**fields)
    except (OSError, ValueError, TypeError):
        return None


def changed_files(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the files of a backup whose content has changed; none for other collections."""
    record = read_record(path)
    if record is None:
        return
    location = locate(path)
    for name, recorded_sha256 in record.files.items():
        # A missing file is found when the table is read.
        if not location.has_file(name):
            continue
        sha256 = _sha256_of(location, name)
        if sha256 != recorded_sha256:
            yield name


def has_diverged(source: Table, target: Location) -> bool:
    """Return whether a backup holds a version that the collection does not have."""
    backup_uri = target.table_uri
    try:
        backup = lance.dataset(backup_uri)
        names = _dataset_files(backup, Location.table_file_name)
        manifest_name = names[-1]
        location = source.location
        has_version = location.has_file(manifest_name)
        if has_version:
            own_sha256 = _sha256_of(location, manifest_name)
            backup_sha256 = _sha256_of(target, manifest_name)
            return own_sha256 != backup_sha256
    except (OSError, ValueError, RuntimeError, pa.ArrowException):
        # The backup cannot be opened, so nothing is lost if it is replaced.
        return False
    # The collection no longer has that version, or has not made it yet.
    newest = backup.version
    backup_version = int(newest)
    own_version = source.version
    return backup_version >= own_version


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
        target.prepare()
        target.remove_staging()
    staging = target.new_staging()
    staged = StagedCopy(staging)
    copier = _Copier(source, target, staged, earlier)
    try:
        copier.copy_table(progress)
        copier.copy_maps()
        copier.copy_verdicts()
        if promised is not None:
            _check_source(source, promised, staged)
        yield staged
    finally:
        staged.location.discard()
        target.remove_if_empty()


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
    staged: StagedCopy,
    source: Table,
    target: Location,
    *,
    earlier: BackupRecord | None,
    of: str | None,
) -> None:
    """Put a copy in its place.

    At any moment the folder holds the table of the previous version or of this one, complete. The
    maps and the trash are replaced before it. After a kill in between, rows that have come back
    from the trash since the previous backup are in neither; the next backup has them again.

    Parameters
    ----------
    staged
        The copy.
    source
        The collection that was copied.
    target
        The folder that the copy is for.
    earlier
        The record of the backup that the copy replaces; None for a place without a collection.
    of
        The collection's folder for the backup's record, or None to make an ordinary collection.

    Raises
    ------
    CollectionError
        If the copy cannot be written, or if another process has made a collection in the folder or
        has changed the backup since the copy was staged; `BusyError` if it is changing it.
    """
    location = staged.location
    version = staged.version
    staged_files = staged.files
    with (
        _translate_copy_errors(source, target),
        lock.hold(target.path, new=True),
        ExitStack() as stack,
    ):
        if earlier is None:
            stack.enter_context(target.claim())
        else:
            _check_earlier(earlier, source, target)
        if of is not None:
            # While files of both versions are in the folder, the record covers both.
            earlier_files = {} if earlier is None else earlier.files
            files = {**earlier_files, **staged_files}
            record = BackupRecord(of, version, files)
            _write_record(target, record)

        target.publish_maps(location)
        _publish_verdicts(location, target)
        # Before the table: rows that have left it are in the trash at any moment.
        trash_files = filter(target.is_trash_file, staged_files)
        target.publish_staged_trash(location, list(trash_files))
        if earlier is None:
            target.publish_table(location)
        else:
            table_files = filter(target.is_table_file, staged_files)
            names = list(table_files)
            target.publish_version(location, names)

        if of is not None:
            record = BackupRecord(of, version, staged_files)
            _write_record(target, record)


def _check_earlier(earlier: BackupRecord, source: Table, target: Location) -> None:
    """Refuse to replace a backup that has changed since the copy was staged."""
    if read_record(target.path) != earlier or has_diverged(source, target):
        raise CollectionError(
            f"The backup {target.path} was not updated: another process has changed it meanwhile. "
            "Run the command again."
        )


def _publish_verdicts(staged: Location, target: Location) -> None:
    """Replace the verdicts on duplicates by those of a staged copy."""
    if staged.has_file(VERDICTS):
        content = staged.read(VERDICTS)
        target.write(VERDICTS, content)
    elif target.has_file(VERDICTS):
        target.remove(VERDICTS)


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
        self._trash: lance.LanceDataset | None = None
        # The sha256 of each file of the earlier backup.
        self._earlier_files: dict[str, str] = {}
        if earlier is not None:
            self._earlier_files = earlier.files

    def copy_table(self, progress: ByteProgress) -> None:
        """Copy the newest version of the table; start again if others remove it meanwhile."""
        source = self._source
        staged = self._staged
        for _ in range(_COPY_ATTEMPTS):
            source.refresh()
            try:
                names = self._copy_version(progress)
            except CollectionError as error:
                version = source.version
                source.refresh()
                # A newer version may have replaced this one; a full disk has another cause.
                was_replaced = source.version != version
                if not _same_version(self._trash, source.trash.open()):
                    was_replaced = True
                number = getattr(error.__cause__, "errno", None)
                if number in DISK_FULL or not was_replaced:
                    raise
            else:
                staged.version = source.version
                # Files of an earlier attempt.
                staged.location.remove_other_files(names)
                return
        raise BusyError(
            f"The collection {source.path} is busy: {_COPY_ATTEMPTS} times its version was "
            "replaced and removed while it was being copied. "
            "Run the command again when other processes no longer change or optimize it."
        )

    def copy_maps(self) -> None:
        """Copy the maps as they are now."""
        location = self._source.location
        for space, method in location.list_maps():
            name = location.map_file_name(space, method)
            self._copy_files([name], no_progress, total=0)

    def copy_verdicts(self) -> None:
        """Copy the verdicts on duplicates as they are now."""
        if self._source.location.has_file(VERDICTS):
            self._copy_files([VERDICTS], no_progress, total=0)

    def _copy_version(self, progress: ByteProgress) -> list[str]:
        """Copy the files of one version of the table and the trash; return their names."""
        source = self._source
        total = 0
        with translate_errors(source.path, Operation.COPY):
            names = self._consistent_names()
            for name in names:
                size = source.location.size_of(name)
                total += size
        # An attempt before this one may have copied files.
        staged_files = self._staged.files
        staged_files.clear()
        self._copy_files(names, progress, total)
        return names

    def _consistent_names(self) -> list[str]:
        """Return the files of a version of the trash and of the table, in which no row is lost.

        A row that leaves one of them is added to the other one first. It is thus in one of the two
        if the trash does not change while the table's version is read.
        """
        source = self._source
        trash = source.trash.open()
        while True:
            source.refresh()
            newest = source.trash.open()
            if _same_version(trash, newest):
                break
            trash = newest
        self._trash = trash
        table_names = _dataset_files(source.lance_dataset, Location.table_file_name)
        if trash is None:
            return table_names
        # The manifest of the table is the last file.
        return [*_dataset_files(trash, Location.trash_file_name), *table_names]

    def _copy_files(self, names: list[str], progress: ByteProgress, total: int) -> None:
        done = 0
        for name in names:
            done += self._copy_file(name)
            progress(done, total)

    def _copy_file(self, name: str) -> int:
        """Link a file of the earlier backup, or copy it from the collection; return its size."""
        staged = self._staged
        if staged.location.has_file(name):
            staged.location.remove(name)  # of an earlier attempt

        sha256 = self._unchanged_sha256(name)
        is_linked = sha256 is not None
        if sha256 is not None:
            with _translate_copy_errors(self._source, self._target):
                self._target.share(name, staged.location)
        else:
            sha256 = self._copy_content(name)
        staged.files[name] = sha256

        size = staged.location.size_of(name)
        if is_linked:
            staged.kept_bytes += size
        else:
            staged.copied_bytes += size
        return size

    def _unchanged_sha256(self, name: str) -> str | None:
        """Return the sha256 of a file of the earlier backup that can be linked, or None."""
        # Only the names of data files identify their content. Others are always copied: manifests,
        # maps and verdicts.
        is_of_table = Location.is_table_file(name)
        is_of_trash = Location.is_trash_file(name)
        is_manifest = Location.is_manifest(name)
        is_in_dataset = is_of_table or is_of_trash
        if is_manifest or not is_in_dataset:
            return None
        target = self._target
        recorded_sha256 = self._earlier_files.get(name)
        if recorded_sha256 is None or not target.has_file(name):
            return None
        sha256 = _sha256_of(target, name)
        if sha256 != recorded_sha256:
            return None
        return sha256

    def _copy_content(self, name: str) -> str:
        """Copy a file of the collection, and return its sha256."""
        source = self._source
        digest = hashlib.sha256()

        def chunks() -> Iterator[bytes]:
            with translate_errors(source.path, Operation.COPY):
                location = source.location
                stored_chunks = location.read_chunks(name)
                for chunk in stored_chunks:
                    digest.update(chunk)
                    yield chunk

        content = chunks()
        with _translate_copy_errors(source, self._target):
            staged_location = self._staged.location
            staged_location.write_chunks(name, content)
        return digest.hexdigest()


def no_progress(done: int, total: int) -> None:
    """Report no progress."""


def _dataset_files(
    dataset: lance.LanceDataset, file_name: Callable[[str], str]
) -> list[str]:
    """Return the paths in the collection of the files of a version, its manifest last.

    Parameters
    ----------
    dataset
        The table or the trash at the version.
    file_name
        Returns the path in the collection of one of its files.
    """
    version = dataset.version
    tracked = dataset.tracked_files(min_version=version)
    rows = tracked.read_all().to_pylist()
    data_files = set()
    manifests = set()
    for row in rows:
        # Versions that others have made meanwhile are listed too.
        if row["version"] != version:
            continue
        name = file_name(row["path"])
        if row["type"] == "manifest":
            manifests.add(name)
        else:
            data_files.add(name)
    return sorted(data_files) + sorted(manifests)


def _same_version(
    first: lance.LanceDataset | None, second: lance.LanceDataset | None
) -> bool:
    """Return whether two readers of the trash see the same version, or both see none."""
    if first is None or second is None:
        return first is second
    return bool(first.version == second.version)


def _write_record(target: Location, record: BackupRecord) -> None:
    fields = asdict(record)
    text = json.dumps(fields)
    content = text.encode()
    target.write(target.backup_record, content)


def _sha256_of(location: Location, name: str) -> str:
    digest = hashlib.sha256()
    for chunk in location.read_chunks(name):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _translate_copy_errors(source: Table, target: Location) -> Iterator[None]:
    """Raise errors of the target's disk as a `CollectionError` that names both folders."""
    try:
        yield
    except OSError as error:
        subject = f"The copy of {source.path} could not be written to {target.path}"
        from_store = address_error(subject, target.path, Operation.CREATE, error)
        if from_store is not None:
            raise from_store from error
        reason = error.strerror or reason_of(error)
        next_step = "Name another folder."
        if error.errno in DISK_FULL:
            reason = "no space is left there"
            next_step = "Free some space there, or name another folder."
        raise CollectionError(
            f"{subject}: {reason}. Existing files were not changed. {next_step}"
        ) from error
