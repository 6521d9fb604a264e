"""Tar and zip archives as a stream of Items; their members are read in place.

Images of a tar archive may be samples of a WebDataset; see `lookalike.sources.archive_index`.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Unpack

from lookalike.errors import ImageError, SourceError
from lookalike.sources.archive_index import ArchiveIndex, ArchiveMember, archive_index
from lookalike.sources.base import FolderState
from lookalike.sources.containers import (
    CONTAINER_SCHEMES,
    ContainerStamp,
    Member,
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
from lookalike.sources.exclusion import SkippedFiles, is_system_name, parse_patterns
from lookalike.sources.local import LocalOptions, check_labels, unreadable_item
from lookalike.sources.uris import uri_prefixes
from lookalike.types import Item

__all__ = ["READER", "ArchiveSource", "open_paths"]

_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")


class ArchiveSource:
    """The images in tar and zip archives, each in the order of its archive.

    Parameters
    ----------
    paths
        Archives: paths, or addresses in a store of `lookalike.sources.containers`.
    options
        Those of `LocalSource`. The label of an image is the one of its WebDataset sample, or else
        the name of its folder in the archive.

    Raises
    ------
    SourceError
        If a path does not exist or has another ending, or an option is invalid.

    Attributes
    ----------
    roots
        The archives.
    """

    def __init__(
        self, paths: Sequence[str | os.PathLike[str]], **options: Unpack[LocalOptions]
    ) -> None:
        self._labels = options.get("labels", "folder")
        check_labels(self._labels)
        self._hidden = options.get("hidden", False)
        self._exclude = parse_patterns(options.get("exclude", ()), "--exclude")
        # The kind of each archive, by its address.
        self._kinds: dict[str, str] = {}
        for path in paths:
            address = container_address(path)
            self._kinds[address] = _archive_kind(address)
        check_stores(self._kinds)
        self.roots = list(self._kinds)
        self._counts: dict[str, int] = {}
        # The states of archives in stores at the last iteration; None of a missing one.
        self._stamps: dict[str, ContainerStamp | None] = {}
        self._skipped = SkippedFiles()

    def __iter__(self) -> Iterator[Item]:
        self._counts = {}
        self._stamps = {}
        self._skipped = SkippedFiles()
        for address, kind in self._kinds.items():
            yield from self._items(kind, address)

    def count(self) -> int:
        """Return the number of Items, from the headers of the archives."""
        count = 0
        unused = SkippedFiles()
        for address, kind in self._kinds.items():
            try:
                index = _current_index(kind, address)
            except OSError as error:
                count += not is_missing_in_store(error, address)
                continue
            count += sum(1 for _ in self._wanted(index, unused))
            count += index.problem is not None
        return count

    def completed(self) -> dict[str, int]:
        """Return the archives that the last iteration read to the end, with their image counts."""
        return self._counts

    def unreachable(self) -> list[str]:
        """Return nothing: an archive that cannot be read is not completed."""
        return []

    def skipped(self) -> SkippedFiles:
        """Return the members that the last iteration left out."""
        return self._skipped

    def prefixes(self, folder: str) -> list[str]:
        """Return the strings that start the uris of all images in an archive or a folder of it."""
        kind = self._kinds.get(folder)
        if kind is None:
            return uri_prefixes(folder)
        prefix = container_prefix(kind, folder)
        return [prefix]

    def exists(self, uri: str) -> bool:
        """Return whether an archive still has a member.

        One in a store is looked up as it was at the last iteration. That sends no request, unless
        its index was given up for those of other archives.
        """
        member = parse_member(uri)
        if member is None or member.address not in self._stamps:
            return READER.exists(uri)
        stamp = self._stamps[member.address]
        if stamp is None:
            return False
        index = archive_index(member.kind, member.address, stamp)
        return index.holds(member.name)

    def folders_of(self, uri: str) -> list[str]:
        """Return the folders in the archive that hold a member, the nearest first, and it."""
        member = parse_member(uri)
        if member is None:
            return []
        folders = []
        path = PurePosixPath(member.name)
        for folder in path.parents:
            name = str(folder)
            is_archive = name in (".", "/")
            if is_archive:
                continue
            folder_uri = member_uri(member.kind, member.address, name)
            folders.append(folder_uri)
        return [*folders, member.address]

    def folder_state(self, folder: str) -> FolderState:
        """Return whether a folder of an archive still holds images; it is never empty."""
        uri = folder
        if folder in self._kinds:
            kind = self._kinds[folder]
            uri = container_prefix(kind, folder)
        if self.exists(uri):
            return FolderState.FILLED
        return FolderState.MISSING

    def devices(self) -> dict[str, str]:
        """Return nothing: archives have no file systems."""
        return {}

    def empty_error(self) -> SourceError:
        """Return the error for archives without images."""
        paths = ", ".join(self.roots)
        return SourceError(
            f"There are no images in {paths}: looked for members with the extension of an image. "
            "Name another archive, or --hidden to include hidden members."
        )

    def _items(self, kind: str, address: str) -> Iterator[Item]:
        """Yield the images of an archive, and the archive itself if it is damaged."""
        # The uri starts those of the members, so a later run of the repaired archive removes it.
        own_uri = container_prefix(kind, address)
        try:
            stamp = container_stamp(address)
            index = archive_index(kind, address, stamp)
        except OSError as error:
            if is_missing_in_store(error, address):
                # As a prefix without objects: its rows stay until someone agrees.
                self._counts[address] = 0
                self._stamps[address] = None
                return
            yield unreadable_item(own_uri, None, error)
            return
        if is_stored(address):
            self._stamps[address] = stamp

        count = 0
        self._skipped.other_kinds.update(index.other_kinds)
        for member in self._wanted(index, self._skipped):
            uri = member_uri(kind, address, member.name)
            label = self._label(index, member.name)
            count += 1
            yield Item(
                uri,
                member.size,
                member.mtime_ns,
                label,
                member.read,
                is_remote=is_stored(address),
            )
        if index.problem is None:
            self._counts[address] = count
            return
        problem = f"the archive cannot be read to its end: {index.problem}"
        yield unreadable_item(own_uri, None, ImageError(problem))

    def _wanted(
        self, index: ArchiveIndex, skipped: SkippedFiles
    ) -> Iterator[ArchiveMember]:
        """Yield the images that no option leaves out; count the excluded ones."""
        for name, member in index.members.items():
            parts = name.split("/")
            if not self._hidden and any(map(_is_hidden, parts)):
                continue
            if any(map(is_system_name, parts)) or self._exclude.match_file(name):
                skipped.excluded_files += 1
                continue
            yield member

    def _label(self, index: ArchiveIndex, name: str) -> str | None:
        if self._labels == "none":
            return None
        label = index.labels.get(name)
        if label is not None:
            return label
        folder = PurePosixPath(name).parent.name
        data = folder.encode(errors="surrogateescape")
        return data.decode(errors="replace") or None


def open_paths(paths: Sequence[str], **options: Unpack[LocalOptions]) -> ArchiveSource:
    """Return the source of some archives."""
    return ArchiveSource(paths, **options)


def _archive_kind(address: str) -> str:
    lowered = address.lower()
    for suffix in _SUFFIXES:
        if lowered.endswith(suffix):
            return CONTAINER_SCHEMES[suffix]
    endings = ", ".join(_SUFFIXES)
    raise SourceError(
        f"The archive {address!r} is of a kind that is not read; expected {endings}. "
        "Unpack it, and name the folder."
    )


def _is_hidden(name: str) -> bool:
    return name.startswith(".") and name not in (".", "..")


def _current_index(kind: str, address: str) -> ArchiveIndex:
    """Return the images of an archive as it is now, or raise OSError."""
    stamp = container_stamp(address)
    return archive_index(kind, address, stamp)


class _ArchiveReader:
    """Access to the members of archives."""

    def read(self, uri: str) -> bytes:
        """Return the content of a member."""
        target = _require_member(uri)
        index = _current_index(target.kind, target.address)
        member = index.members.get(target.name)
        if member is None:
            raise FileNotFoundError(
                errno.ENOENT, "no image of this name in the archive", uri
            )
        try:
            return member.read()
        except ImageError as error:
            raise OSError(errno.EIO, str(error), uri) from error

    def open(self, uri: str) -> io.BufferedReader:
        """Open a member as a file in memory."""
        data = self.read(uri)
        return bytes_file(data)

    def exists(self, uri: str) -> bool:
        """Return whether a member, a folder of an archive, or an archive exists."""
        target = parse_member(uri) or parse_member(f"{uri}/")
        if target is None:
            return container_folder_exists(uri)
        try:
            index = _current_index(target.kind, target.address)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return index.holds(target.name)


def _require_member(uri: str) -> Member:
    """Return the member that a uri names, or raise OSError."""
    member = parse_member(uri)
    if member is None:
        problem = "not the uri of a member, such as zip:///photos.zip!/cat/1.jpg"
        raise OSError(errno.EINVAL, problem, uri)
    return member


READER = _ArchiveReader()
