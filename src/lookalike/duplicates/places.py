"""Where the files of removed copies go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from lookalike.errors import InputError
from lookalike.io.file_moves import FileStamp
from lookalike.sources import local_file
from lookalike.store.location import FILE_TRASH
from lookalike.store.table import Table

__all__ = ["MovePlaces", "NewPlaces", "TrashPlaces", "check_folder"]


class NewPlaces(Protocol):
    """The new names of files."""

    def target(self, path: Path, stamp: FileStamp) -> Path:
        """Return the new name of a file; its folder may be missing."""
        ...


class TrashPlaces:
    """The trash of a run: on the disk of each file, so that a rename brings it there.

    It is the run's folder in the collection's file trash. For files on other disks it is a folder
    of the run's name in a trash in the indexed folder, or beside the file if it was indexed alone.

    Parameters
    ----------
    table
        The collection's table.
    run_folder
        The run's folder, which exists.
    """

    def __init__(self, table: Table, run_folder: Path) -> None:
        self._run_folder = run_folder
        status = run_folder.stat()
        self._device = status.st_dev
        self._roots = _indexed_folders(table)
        # The folders of files, numbered: a name is unique in its folder, so it is in the trash.
        self._numbers: dict[Path, int] = {}

    def target(self, path: Path, stamp: FileStamp) -> Path:
        """Return the new name of a file."""
        base = self._run_folder
        if stamp.device != self._device:
            # The nearest one: a mount point below an indexed folder is recorded as well.
            around = _around(path, self._roots)
            root = max(around, key=_depth, default=path.parent)
            trash = root / FILE_TRASH
            base = trash / self._run_folder.name
        next_number = len(self._numbers)
        number = self._numbers.setdefault(path.parent, next_number)
        folder = base / str(number)
        return folder / path.name


class MovePlaces:
    """A folder that keeps the paths of files below the indexed folder.

    With several indexed folders, they are the paths below the folder that holds all of these.

    Parameters
    ----------
    table
        The collection's table.
    folder
        The folder.
    paths
        The files to move.
    """

    def __init__(self, table: Table, folder: Path, paths: Sequence[Path]) -> None:
        self._folder = folder.absolute()
        roots = _indexed_folders(table)
        tops = set()
        for path in paths:
            around = _around(path, roots)
            top = min(around, key=_depth, default=path.parent)
            tops.add(str(top))
        self._top: Path | None = None
        # Drives of Windows have nothing in common.
        with suppress(ValueError):
            common = os.path.commonpath(tops)
            self._top = Path(common)

    def target(self, path: Path, stamp: FileStamp) -> Path:  # noqa: ARG002 (of the protocol)
        """Return the new name of a file."""
        top = self._top
        if top is not None:
            below_top = path.relative_to(top)
            return self._folder / below_top
        drive = path.drive.rstrip(":")
        below_drive = path.relative_to(path.anchor)
        return self._folder / drive / below_drive


def check_folder(table: Table, folder: Path | None) -> None:
    """Refuse a folder of ``move`` that the next run of indexing would search.

    Raises
    ------
    InputError
        If the folder is a file, or lies in an indexed folder and is not hidden there.
    """
    if folder is None:
        return
    absolute = folder.absolute()
    if absolute.exists() and not absolute.is_dir():
        raise InputError(f"{folder} is a file. Name a folder to move the copies to.")
    for root in _around(absolute / "file", _indexed_folders(table)):
        parts = absolute.relative_to(root).parts
        is_hidden = any(part.startswith(".") for part in parts)
        if not is_hidden:
            raise InputError(
                f"{folder} lies in the indexed folder {root}, so the next run of indexing would "
                "find the copies again. Name a folder outside of it, or a hidden one such as "
                f"{root / '.duplicates'}."
            )


def _indexed_folders(table: Table) -> list[Path]:
    """Return the indexed folders, and the mount points below them."""
    folders = []
    for uri in table.devices:
        folder = local_file(uri)
        if folder is not None:
            folders.append(folder)
    return folders


def _around(path: Path, folders: Sequence[Path]) -> list[Path]:
    """Return the folders that a path lies in."""
    parents = set(path.parents)
    return [folder for folder in folders if folder in parents]


def _depth(folder: Path) -> int:
    return len(folder.parts)
