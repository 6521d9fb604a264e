"""Image columns of Parquet files, Hugging Face's among them, as a stream of Items.

A cell holds the bytes of an image file, or a struct with the field ``bytes``, as the Image feature
of the `datasets` library does. See `lookalike.sources.parquet_columns` for the reads.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from lookalike.errors import ImageError, SourceError
from lookalike.io.reasons import system_reason
from lookalike.sources.base import FolderState
from lookalike.sources.containers import (
    ContainerStamp,
    bytes_file,
    check_stores,
    container_address,
    container_folder_exists,
    container_prefix,
    container_store,
    is_stored,
    member_uri,
    parse_member,
)
from lookalike.sources.exclusion import SkippedFiles, parse_patterns
from lookalike.sources.local import LocalOptions, check_labels, unreadable_item
from lookalike.sources.parquet_columns import (
    CellRead,
    ParquetError,
    cells_of,
    image_column,
)
from lookalike.sources.uris import uri_prefixes
from lookalike.types import UNKNOWN_SIZE, Item

__all__ = ["READER", "ParquetSource", "open_paths"]

_KIND = "parquet"
_TABLE_SUFFIX = ".parquet"
_CELL_NAME = re.compile(r"(.*)/([0-9]{1,18})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Root:
    """A Parquet file or a folder of them.

    Attributes
    ----------
    address
        The file or folder.
    column
        The column of the images; None for the only one that holds images.
    is_folder
        Whether it is a folder.
    """

    address: str
    column: str | None
    is_folder: bool


class ParquetSource:
    """The images in a column of Parquet files, file by file and row by row.

    Parameters
    ----------
    paths
        Files, each with or without ``#column`` at its end, and folders with ``#column``: all
        ``.parquet`` files in a folder, at any depth. Without a column, the one that holds images.
    options
        Those of `LocalSource`. The label of an image is the value of its row in the column
        ``label``; a number becomes the name of its class, where the schema of Hugging Face has one.

    Raises
    ------
    SourceError
        If a path does not exist, the column is missing or unclear, or an option is invalid.

    Attributes
    ----------
    roots
        The paths.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        **options: Unpack[LocalOptions],
    ) -> None:
        labels = options.get("labels", "folder")
        check_labels(labels)
        self._has_labels = labels != "none"
        self._hidden = options.get("hidden", False)
        self._exclude = parse_patterns(options.get("exclude", ()), "--exclude")
        self._roots: dict[str, _Root] = {}
        for path in paths:
            name, root = _root_of(path)
            self._roots[name] = root
        check_stores(root.address for root in self._roots.values())
        for root in self._roots.values():
            if not root.is_folder:
                _check_column(root)
        self.roots = list(self._roots)
        self._counts: dict[str, int] = {}
        # The columns of files in stores that the last iteration read; None of a missing file.
        self._columns: dict[str, str | None] = {}
        self._skipped = SkippedFiles()

    def __iter__(self) -> Iterator[Item]:
        self._counts = {}
        self._columns = {}
        self._skipped = SkippedFiles()
        # Two roots may name a file.
        seen: set[tuple[str, str | None]] = set()
        for name, root in self._roots.items():
            self._counts[name] = 0
            for address in self._files(root):
                if (address, root.column) not in seen:
                    seen.add((address, root.column))
                    yield from self._items(name, address, root.column)

    def count(self) -> int:
        """Return the number of Items, from the footers of the files."""
        count = 0
        for root in self._roots.values():
            for address in self._files(root):
                try:
                    column = image_column(address, _stamp(address), root.column)
                except (OSError, SourceError) as error:
                    count += not _is_missing(error, address)
                else:
                    count += column.count
        return count

    def completed(self) -> dict[str, int]:
        """Return the roots that the last iteration read to the end, with their image counts."""
        return {name: count for name, count in self._counts.items() if count >= 0}

    def unreachable(self) -> list[str]:
        """Return nothing: a root with a file that cannot be read is not completed."""
        return []

    def skipped(self) -> SkippedFiles:
        """Return the number of cells without an image."""
        return self._skipped

    def prefixes(self, folder: str) -> list[str]:
        """Return the strings that start the uris of all images below a root or file."""
        root = self._roots.get(folder)
        if root is None:
            return uri_prefixes(folder)
        prefix = container_prefix(_KIND, root.address)
        if root.is_folder:
            parent = prefix.removesuffix("!/")
            prefix = parent.rstrip("/") + "/"
        return [prefix]

    def exists(self, uri: str) -> bool:
        """Return whether a cell still holds an image.

        All images in the columns of the last iteration were yielded, so those in stores are looked
        up without a request.
        """
        member = parse_member(uri)
        if member is not None and member.address in self._columns:
            column = self._columns[member.address]
            if column is None or member.name.rpartition("/")[0] == column:
                return False
        return READER.exists(uri)

    def folders_of(self, uri: str) -> list[str]:
        """Return the file of a cell, then its root."""
        member = parse_member(uri)
        if member is None:
            return []
        prefix = container_prefix(_KIND, member.address)
        file = prefix.removesuffix("/")
        for name in self._roots:
            prefixes = tuple(self.prefixes(name))
            if uri.startswith(prefixes):
                return [file, name]
        return [file]

    def folder_state(self, folder: str) -> FolderState:
        """Return the state of a file or root; a folder without Parquet files is empty."""
        root = self._roots.get(folder)
        if root is None:
            exists = READER.exists(folder)
            return FolderState.FILLED if exists else FolderState.MISSING
        if is_stored(root.address):
            exists = READER.exists(container_prefix(_KIND, root.address))
            return FolderState.FILLED if exists else FolderState.MISSING
        if not Path(root.address).exists():
            return FolderState.MISSING
        files = list(self._files(root))
        return FolderState.FILLED if files else FolderState.EMPTY

    def devices(self) -> dict[str, str]:
        """Return nothing: the file systems of tables are not compared."""
        return {}

    def empty_error(self) -> SourceError:
        """Return the error for files without images."""
        paths = ", ".join(self.roots)
        return SourceError(
            f"There are no images in {paths}: looked for cells with bytes. "
            "Name another file, or a column, as in photos.parquet#image."
        )

    def _files(self, root: _Root) -> Iterator[str]:
        """Yield the files of a root by name."""
        if not root.is_folder:
            yield root.address
            return
        for parent, folders, names in os.walk(root.address):
            folders[:] = sorted(filter(self._is_shown, folders))
            for name in sorted(filter(self._is_shown, names)):
                path = os.path.join(parent, name)  # noqa: PTH118
                relative = os.path.relpath(path, root.address)
                is_table = name.lower().endswith(_TABLE_SUFFIX)
                if is_table and not self._exclude.match_file(relative):
                    yield path

    def _is_shown(self, name: str) -> bool:
        return self._hidden or not name.startswith(".")

    def _items(self, root: str, address: str, column: str | None) -> Iterator[Item]:
        """Yield the images of a file, and the file itself if it is damaged."""
        problem: Exception | None = None
        try:
            stamp = _stamp(address)
            images = image_column(address, stamp, column)
        except (OSError, SourceError) as error:
            if _is_missing(error, address):
                # As a prefix without objects: its rows stay until someone agrees.
                self._columns[address] = None
                return
            problem = ImageError(f"the table cannot be read: {system_reason(error)}")
        else:
            if is_stored(address):
                self._columns[address] = images.name
            try:
                for cell in cells_of(images, with_labels=self._has_labels):
                    if cell.is_null:
                        self._skipped.null_images += 1
                        continue
                    self._add_to(root)
                    uri = member_uri(_KIND, address, f"{images.name}/{cell.row}")
                    read = CellRead(address, stamp, images.name, cell.row)
                    yield Item(
                        uri,
                        UNKNOWN_SIZE,
                        stamp.member_time,
                        cell.label,
                        read,
                        is_remote=is_stored(address),
                    )
            except ParquetError as error:
                problem = ImageError(f"the table cannot be read to its end: {error}")
        if problem is not None:
            # A later run of the repaired file removes it.
            self._counts[root] = -1
            yield unreadable_item(container_prefix(_KIND, address), None, problem)

    def _add_to(self, root: str) -> None:
        if self._counts[root] >= 0:
            self._counts[root] += 1


def open_paths(paths: Sequence[str], **options: Unpack[LocalOptions]) -> ParquetSource:
    """Return the source of some Parquet files."""
    return ParquetSource(paths, **options)


def _root_of(path: str | os.PathLike[str]) -> tuple[str, _Root]:
    """Return what a path with or without a column names, with its name as shown to users."""
    name = os.fspath(path)
    column = None
    expanded = os.path.expanduser(name)  # noqa: PTH111
    if "#" in name and not os.path.lexists(expanded):
        name, _, column = name.rpartition("#")
    address = container_address(name)
    is_folder = os.path.isdir(address)  # noqa: PTH112
    if is_folder and not column:
        raise SourceError(
            f"The folder {name!r} of Parquet files comes without a column. "
            "Expected its name after a number sign, as in shards#image."
        )
    root = _Root(address, column or None, is_folder)
    shown = f"{address}#{column}" if column else address
    return shown, root


def _check_column(root: _Root) -> None:
    """Raise SourceError if a file that can be read has no such column."""
    try:
        image_column(root.address, _stamp(root.address), root.column)
    except OSError:
        # The run records it as a failure.
        return


def _stamp(address: str) -> ContainerStamp:
    return container_store(address).stamp(address)


def _is_missing(error: Exception, address: str) -> bool:
    """Return whether a file in a store does not exist. A local one may be on another drive."""
    return isinstance(error, FileNotFoundError) and is_stored(address)


class _ParquetReader:
    """Access to the cells of Parquet files."""

    def read(self, uri: str) -> bytes:
        """Return the bytes of a cell."""
        found = _find_cell(uri)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such cell in the table", uri)
        return found()

    def open(self, uri: str) -> io.BufferedReader:
        """Open the bytes of a cell as a file."""
        data = self.read(uri)
        return bytes_file(data)

    def exists(self, uri: str) -> bool:
        """Return whether a cell with an image, a file or a folder of files exists."""
        target = parse_member(uri) or parse_member(f"{uri}/")
        if target is None:
            return container_folder_exists(uri)
        try:
            if not target.name:
                _stamp(target.address)
                return True
            found = _find_cell(uri)
            if found is not None:
                found()
        except FileNotFoundError:
            return False
        except (OSError, SourceError):
            # It exists and cannot be read.
            return True
        return found is not None


def _find_cell(uri: str) -> CellRead | None:
    """Return the read of a cell, or None if the table has no such row or column.

    Raises
    ------
    OSError
        If the table cannot be read.
    """
    target = parse_member(uri)
    if target is None:
        problem = "not the uri of a cell, such as parquet:///photos.parquet!/image/12"
        raise OSError(errno.EINVAL, problem, uri)
    match = _CELL_NAME.fullmatch(target.name)
    if match is None:
        return None
    stamp = _stamp(target.address)
    try:
        column = image_column(target.address, stamp, match[1])
    except SourceError:
        return None
    row = int(match[2])
    if row >= column.rows:
        return None
    return CellRead(target.address, stamp, match[1], row)


READER = _ParquetReader()
