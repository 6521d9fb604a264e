"""Copies of a collection: the files of one version, made beside what is there and put in its place when they are whole.

The store never changes a file once it is written, and names each so that no other has its name. A version is thus a
list of files, and the manifest that names them is what makes it one: it is copied and put in its place last.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import lance
import pyarrow as pa

from lookalike.errors import BusyError, CollectionError
from lookalike.io.files import DISK_FULL, atomic_write
from lookalike.store import maps
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.table import Table

__all__ = [
    "Record",
    "Staged",
    "altered",
    "has_parted",
    "is_unfinished",
    "publish",
    "read_record",
    "stage",
]

_RECORD = "backup.json"
_IMAGES = "images.lance"
_UNFINISHED = ".images."
_TRIES = 5
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """What a backup says of itself, beside its files.

    Attributes
    ----------
    of
        The folder of the collection that it is a copy of.
    version
        Which version of it.
    files
        The sha256 of each file, by its path in the backup.
    """

    of: str
    version: int
    files: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Staged:
    """A copy that is whole and not yet in its place.

    Attributes
    ----------
    folder
        A collection's folder, in the folder that it shall take the place of.
    version
        Which version it is.
    files
        The sha256 of each of its files, by path; the manifest of the images last.
    copied, kept
        Bytes that were copied, and bytes that an earlier backup had already.
    """

    folder: Path
    version: int = 0
    files: dict[str, str] = field(default_factory=dict)
    copied: int = 0
    kept: int = 0


def read_record(path: str | os.PathLike[str]) -> Record | None:
    """Return what a backup says of itself, or None where there is no backup, or one whose record is torn."""
    try:
        return Record(**json.loads(Path(path, _RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def altered(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the files of a backup that are not what was written; of any other collection none."""
    record = read_record(path)
    for name, sha256 in (record.files if record is not None else {}).items():
        file = Path(path, name)
        if file.is_file() and _sha256_of(file) != sha256:
            yield name


def is_unfinished(path: Path) -> bool:
    """Tell whether something in a folder is what a copy, or a collection, left that was killed as it was made."""
    return path.name.startswith(_UNFINISHED)


def has_parted(source: Table, target: Path) -> bool:
    """Tell whether a backup holds a version that the collection never had, or has not yet."""
    try:
        there = lance.dataset(str(target / _IMAGES))
        manifest = _files_of(there)[-1]
        own = Path(source.path, _IMAGES, manifest)
        if own.is_file():
            return _sha256_of(own) != _sha256_of(target / _IMAGES / manifest)
    except (OSError, ValueError, RuntimeError, pa.ArrowException):
        return False  # none that could be opened: nothing is lost with it
    return int(there.version) >= source.version


@contextmanager
def stage(
    source: Table,
    target: Path,
    *,
    earlier: Record | None = None,
    progress: Callable[[int, int], None],
) -> Iterator[Staged]:
    """Copy the newest version of a collection, and its maps, into a new folder within `target`, which goes afterwards.

    Parameters
    ----------
    source
        What is copied; another process may write to it meanwhile.
    target
        The folder that the copy is for.
    earlier
        The backup that is there: files that it has, and that are still what was written, are linked and not copied.
    progress
        Called with the bytes done, and all that are to be done.

    Raises
    ------
    CollectionError
        If the collection cannot be read, or the copy not be written; `BusyError` if it is changed too often meanwhile.
    """
    promised = read_record(source.path)
    with _writing(source, target):
        target.mkdir(parents=True, exist_ok=True)
        for left in target.glob(f"{_UNFINISHED}*"):  # of a copy that was killed
            shutil.rmtree(left)
    staged = Staged(target / f"{_UNFINISHED}{secrets.token_hex(4)}")
    try:
        _copy_table(source, staged, target, earlier, progress)
        for space, method in maps.list_maps(source.path):
            names = [f"maps/{maps.map_path(source.path, space, method).name}"]
            _copy(source, staged, names, target, earlier, lambda _: None)
        for name, sha256 in staged.files.items():
            if promised is not None and promised.files.get(name, sha256) != sha256:
                raise CollectionError(
                    f"The backup {source.path} is damaged: its file {name} is not what was written into it. Use "
                    f"another, or find out what can still be read with: lookalike check -c {source.path}"
                )
        yield staged
    finally:
        shutil.rmtree(staged.folder, ignore_errors=True)
        with suppress(OSError):
            target.rmdir()  # if nothing is in it


def publish(staged: Staged, source: Table, target: Path, of: str | None) -> None:
    """Put a copy in its place: at any moment there is the version before or this one, whole.

    Parameters
    ----------
    of
        Of which collection it is a backup; None if it is to be a collection and no backup.
    """
    with _writing(source, target):
        if of is not None:
            before = read_record(target)
            both = {**(before.files if before is not None else {}), **staged.files}
            _write_record(target, Record(of, staged.version, both))
        shutil.rmtree(target / "maps", ignore_errors=True)
        if (staged.folder / "maps").is_dir():
            (staged.folder / "maps").rename(target / "maps")
        if (target / _IMAGES).is_dir():
            _merge(staged, target)
        else:
            (staged.folder / _IMAGES).rename(target / _IMAGES)
        if of is not None:
            _write_record(target, Record(of, staged.version, staged.files))


def _merge(staged: Staged, target: Path) -> None:
    """Put the files of a newer version beside those of an older one, its manifest last, then remove what is not its."""
    names = [name for name in staged.files if name.startswith(_IMAGES)]
    (target / _IMAGES / "_versions" / "latest_version_hint.json").unlink(missing_ok=True)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (staged.folder / name).replace(target / name)
    _prune(
        target, set(names)
    )  # no earlier: until the manifest is there, the older version is the backup


def _prune(folder: Path, names: set[str]) -> None:
    """Remove every file of a table that is not named."""
    for file in (folder / _IMAGES).rglob("*"):
        if file.is_file() and file.relative_to(folder).as_posix() not in names:
            file.unlink()


def _copy_table(
    source: Table,
    staged: Staged,
    target: Path,
    earlier: Record | None,
    progress: Callable[[int, int], None],
) -> None:
    """Copy the newest version of the images. If it is removed meanwhile, there is a newer one: then that."""
    for _ in range(_TRIES):
        source.refresh()
        try:
            with translate_errors(source.path, Operation.COPY):
                names = [f"{_IMAGES}/{name}" for name in _files_of(source.table)]
                total = sum(Path(source.path, name).stat().st_size for name in names)
            staged.files.clear()
            _copy(source, staged, names, target, earlier, partial(_tell, progress, total))
        except CollectionError as error:
            before = source.version
            source.refresh()
            # A full disk has nothing to do with what others change.
            if source.version == before or getattr(error.__cause__, "errno", None) in DISK_FULL:
                raise
        else:
            staged.version = source.version
            _prune(staged.folder, set(names))
            return
    raise BusyError(
        f"The collection {source.path} is busy: {_TRIES} times its version was replaced and removed while it was "
        "copied. Run the command again once the others that change and optimize it are done."
    )


def _tell(progress: Callable[[int, int], None], total: int, done: int) -> None:
    progress(done, total)


def _files_of(table: lance.LanceDataset) -> list[str]:
    """Return the paths of the files of a table's version, its manifest last."""
    found = table.tracked_files(min_version=table.version).read_all().to_pylist()
    mine = sorted(
        {
            (row["type"] == "manifest", row["path"])
            for row in found
            if row["version"] == table.version
        }
    )
    return [path for _, path in mine]


def _copy(
    source: Table,
    staged: Staged,
    names: list[str],
    target: Path,
    earlier: Record | None,
    progress: Callable[[int], None],
) -> None:
    """Link or copy files into the staged folder."""
    done = 0
    for name in names:
        origin, copy, there = Path(source.path, name), staged.folder / name, target / name
        known = (
            earlier.files.get(name) if earlier is not None and "/_versions/" not in name else None
        )
        if copy.is_file():
            copy.unlink()  # of an attempt before
        if known is not None and there.is_file() and _sha256_of(there) == known:
            with _writing(source, target):
                copy.parent.mkdir(parents=True, exist_ok=True)
                _link(there, copy)
            staged.files[name] = known
            staged.kept += copy.stat().st_size
        else:
            staged.files[name] = _copy_file(source, origin, copy, target)
            staged.copied += copy.stat().st_size
        done += copy.stat().st_size
        progress(done)


def _link(there: Path, copy: Path) -> None:
    try:
        copy.hardlink_to(there)
    except OSError:  # some file systems know no links
        shutil.copyfile(there, copy)


def _copy_file(source: Table, origin: Path, copy: Path, target: Path) -> str:
    """Copy a file, for good, and return its sha256."""
    digest = hashlib.sha256()
    with _writing(source, target):
        copy.parent.mkdir(parents=True, exist_ok=True)
        with copy.open("xb") as written:
            for chunk in _chunks(source, origin):
                digest.update(chunk)
                written.write(chunk)
            written.flush()
            os.fsync(written.fileno())
    return digest.hexdigest()


def _chunks(source: Table, origin: Path) -> Iterator[bytes]:
    with translate_errors(source.path, Operation.COPY), origin.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _write_record(target: Path, record: Record) -> None:
    with atomic_write(target / _RECORD) as temporary:
        temporary.write_text(json.dumps(asdict(record)), encoding="utf-8")


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _writing(source: Table, target: Path) -> Iterator[None]:
    """Turn what the disk says while a copy is written into an error that names both, and what is still there."""
    try:
        yield
    except OSError as error:
        full = error.errno in DISK_FULL
        raise CollectionError(
            f"The copy of {source.path} could not be written to {target}: "
            f"{'no space is left there' if full else error.strerror or error}. What was there before is as it was. "
            f"{'Make room there, or name' if full else 'Name'} another folder."
        ) from error
