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
    bytes_file,
    check_stores,
    container_address,
    container_folder_exists,
    container_prefix,
    container_stamp,
    is_missing_in_store,
    is_stored,
    member_uri,
    parse_member,
)
from lookalike.sources.exclusion import SkippedFiles, parse_patterns
from lookalike.sources.local import LocalOptions, check_labels, unreadable_item
from lookalike.sources.parquet_columns import (
    CellRead,
    ImageColumn,
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


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A file or folder of a root that cannot be read.

    Attributes
    ----------
    uri
        The start of the uris of its images. A later run of the repaired file removes the row of
        the failure.
    address
        The file or folder.
    error
        Why.
    """

    uri: str
    address: str
    error: OSError | SourceError

    @property
    def is_missing(self) -> bool:
        """Whether it does not exist in its store, which is no failure."""
        return is_missing_in_store(self.error, self.address)

    def item(self) -> Item:
        """Return the Item that records the failure."""
        is_folder = os.path.isdir(self.address)  # noqa: PTH112
        noun = "folder" if is_folder else "table"
        reason = system_reason(self.error)
        problem = ImageError(f"the {noun} cannot be read: {reason}")
        return unreadable_item(self.uri, None, problem)


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
        self, paths: Sequence[str | os.PathLike[str]], **options: Unpack[LocalOptions]
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
        self._failed_roots: set[str] = set()
        # Of the files in stores: the columns that the last iteration read, by address and name,
        # and the files that it did not find.
        self._read_columns: set[tuple[str, str]] = set()
        self._missing_files: set[str] = set()
        self._skipped = SkippedFiles()

    def __iter__(self) -> Iterator[Item]:
        self._counts = {}
        self._failed_roots = set()
        self._read_columns = set()
        self._missing_files = set()
        self._skipped = SkippedFiles()
        # Two roots may name a column.
        seen: set[str] = set()
        for name, root in self._roots.items():
            self._counts[name] = 0
            for column in self._columns(root):
                if isinstance(column, _Unreadable):
                    self._record_failure(name, column)
                uri = _uri_of(column)
                if uri not in seen:
                    seen.add(uri)
                    yield from self._items(name, column)

    def count(self) -> int:
        """Return the number of Items, from the footers of the files."""
        counts: dict[str, int] = {}
        for root in self._roots.values():
            for column in self._columns(root):
                if not isinstance(column, _Unreadable):
                    count = column.count
                elif column.is_missing:
                    count = 0
                else:
                    count = 1
                uri = _uri_of(column)
                counts[uri] = count
        return sum(counts.values())

    def completed(self) -> dict[str, int]:
        """Return the roots that the last iteration read to the end, with their image counts."""
        counts = dict(self._counts)
        for root in self._failed_roots:
            del counts[root]
        return counts

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
        if root.is_folder:
            return [_folder_prefix(root.address)]
        return [container_prefix(_KIND, root.address)]

    def exists(self, uri: str) -> bool:
        """Return whether a cell still holds an image.

        All images in the columns of the last iteration were yielded, so those in stores are looked
        up without a request.
        """
        member = parse_member(uri)
        if member is not None:
            address = member.address
            column, _, _ = member.name.rpartition("/")
            column_of_file = (address, column)
            if column_of_file in self._read_columns:
                return False
            if address in self._missing_files:
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
            return _state_of_uri(folder)
        address = root.address
        if is_stored(address):
            uri = container_prefix(_KIND, address)
            return _state_of_uri(uri)
        path = Path(address)
        if not path.exists():
            return FolderState.MISSING
        files = list(self._files(root))
        if not files:
            return FolderState.EMPTY
        return FolderState.FILLED

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

    def _columns(self, root: _Root) -> Iterator[ImageColumn | _Unreadable]:
        """Yield the columns of images of a root, and its files and folders that cannot be read."""
        for file in self._files(root):
            if isinstance(file, _Unreadable):
                yield file
            else:
                yield _open_column(file, root.column)

    def _files(self, root: _Root) -> Iterator[str | _Unreadable]:
        """Yield the files of a root by name, then the folders that cannot be read."""
        if not root.is_folder:
            yield root.address
            return
        errors: list[OSError] = []
        for parent, folders, names in os.walk(root.address, onerror=errors.append):
            folders[:] = sorted(filter(self._is_shown, folders))
            for name in sorted(filter(self._is_shown, names)):
                path = os.path.join(parent, name)  # noqa: PTH118
                relative = os.path.relpath(path, root.address)
                is_table = name.lower().endswith(_TABLE_SUFFIX)
                if is_table and not self._exclude.match_file(relative):
                    yield path
        for error in errors:
            folder = os.fsdecode(error.filename)
            yield _Unreadable(_folder_prefix(folder), folder, error)

    def _is_shown(self, name: str) -> bool:
        return self._hidden or not name.startswith(".")

    def _record_failure(self, root: str, failed: _Unreadable) -> None:
        if failed.is_missing:
            # As a prefix without objects: its rows stay until someone agrees.
            self._missing_files.add(failed.address)
        else:
            self._failed_roots.add(root)

    def _items(self, root: str, column: ImageColumn | _Unreadable) -> Iterator[Item]:
        """Yield the images of a file, and the file itself if it is damaged."""
        if isinstance(column, _Unreadable):
            if not column.is_missing:
                yield column.item()
            return
        address = column.address
        is_remote = is_stored(address)
        if is_remote:
            self._read_columns.add((address, column.name))
        try:
            for cell in cells_of(column, with_labels=self._has_labels):
                if cell.is_null:
                    self._skipped.null_images += 1
                    continue
                self._counts[root] += 1
                yield Item(
                    member_uri(_KIND, address, f"{column.name}/{cell.row}"),
                    UNKNOWN_SIZE,
                    column.stamp.member_time,
                    cell.label,
                    CellRead(address, column.stamp, column.name, cell.row),
                    is_remote=is_remote,
                )
        except ParquetError as error:
            self._failed_roots.add(root)
            problem = f"the table cannot be read to its end: {error}"
            own_uri = container_prefix(_KIND, address)
            yield unreadable_item(own_uri, None, ImageError(problem))


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
        stamp = container_stamp(root.address)
        image_column(root.address, stamp, root.column)
    except OSError:
        # The run records it as a failure.
        return


def _open_column(address: str, name: str | None) -> ImageColumn | _Unreadable:
    """Return a column of images of a file, or why it cannot be read."""
    try:
        stamp = container_stamp(address)
        return image_column(address, stamp, name)
    except (OSError, SourceError) as error:
        uri = container_prefix(_KIND, address)
        return _Unreadable(uri, address, error)


def _uri_of(column: ImageColumn | _Unreadable) -> str:
    """Return the start of the uris of the images in a column, or in an unreadable file."""
    if isinstance(column, _Unreadable):
        return column.uri
    return member_uri(_KIND, column.address, f"{column.name}/")


def _state_of_uri(uri: str) -> FolderState:
    """Return whether there is something at a uri, without a listing of it."""
    if READER.exists(uri):
        return FolderState.FILLED
    return FolderState.MISSING


def _folder_prefix(address: str) -> str:
    """Return the string that starts the uris of all images in the files of a folder."""
    prefix = container_prefix(_KIND, address)
    folder = prefix.removesuffix("!/")
    return folder.rstrip("/") + "/"


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
                container_stamp(target.address)
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
    stamp = container_stamp(target.address)
    try:
        column = image_column(target.address, stamp, match[1])
    except SourceError:
        return None
    row = int(match[2])
    if row >= column.rows:
        return None
    return CellRead(target.address, stamp, match[1], row)


READER = _ParquetReader()
