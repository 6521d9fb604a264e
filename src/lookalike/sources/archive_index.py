"""The images in a tar or zip archive: their names, sizes and places, without their contents."""

from __future__ import annotations

import datetime
import errno
import io
import json
import lzma
import re
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath

from lookalike.errors import ImageError
from lookalike.io.reasons import system_reason
from lookalike.sources.clock import storable_time
from lookalike.sources.containers import (
    MAX_EXPANSION,
    MAX_MEMBER_BYTES,
    ContainerFile,
    ContainerStamp,
    WindowFile,
    bounded_reader,
    container_store,
    is_stored,
    largest_expansion,
)
from lookalike.sources.gzip_ranges import GzipRanges, GzipStream, is_gzip
from lookalike.sources.selection import EXTENSIONS, extension_of, kind_name

__all__ = ["ArchiveIndex", "ArchiveMember", "archive_index"]

_MAX_MEMBERS = 10_000_000
# Archives whose index and restart points are kept.
_MAX_OPEN_ARCHIVES = 8
_BLOCK_BYTES = 512

# A WebDataset sample is all members whose names are the same up to the first dot.
_SAMPLE_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)
_LABEL_KINDS = ("cls", "json")
_MAX_LABEL_FILE = 1 << 20
_MAX_LABEL = 200

_MEMBER_PIECE_BYTES = 1 << 20
_opening_contents = threading.Lock()

# The table of contents of about 10,000 members. A longer one takes a second read.
_ZIP_TAIL_BYTES = 1 << 20
_ZIP_BUFFER_BYTES = 1 << 14
# 30 bytes, a name and extra fields.
_MAX_ZIP_HEADER = 30 + 2 * 0xFFFF
# A larger member is read piece by piece.
_MAX_WINDOW_BYTES = 1 << 28
# What `tarfile` and `zipfile` raise for damaged archives and for kinds that they do not know. Each
# becomes the problem of the archive, or an OSError with the same reason.
_TAR_ERRORS = (
    tarfile.TarError,
    OSError,
    ValueError,
    ArithmeticError,
    LookupError,
    RecursionError,
    MemoryError,
)
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,  # and NotImplementedError, of an unknown compression
    MemoryError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """An image in an archive.

    Attributes
    ----------
    name
        Its name, which may be a path. It never becomes a path of a file.
    size, mtime_ns
        Its stamp.
    read
        Returns its content, or raises OSError or ImageError. It can be pickled.
    """

    name: str
    size: int
    mtime_ns: int
    read: Callable[[], bytes] = field(repr=False, compare=False)


@dataclass(slots=True)
class ArchiveIndex:
    """The images of an archive.

    Attributes
    ----------
    members
        The images by name. Of several members with a name, the last one counts.
    labels
        The label by the name of an image, where a member of the same WebDataset sample gives one.
    other_kinds
        The number of members that are not images, by extension. Links, devices and members that a
        later one replaces count as ``link``, ``device`` and ``replaced``.
    problem
        Why not all of the archive could be read; None if it was read to its end.
    is_transient
        Whether the store failed, so that the next read may succeed.
    """

    members: dict[str, ArchiveMember] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    other_kinds: Counter[str] = field(default_factory=Counter)
    problem: str | None = None
    is_transient: bool = False
    # Filled when it is first needed.
    _folders: set[str] = field(default_factory=set, repr=False)

    def add(self, member: ArchiveMember) -> None:
        """Add an image; it replaces an earlier one with its name."""
        if member.name in self.members:
            self.other_kinds["replaced"] += 1
        self.members[member.name] = member
        if len(self.members) > _MAX_MEMBERS:
            raise ValueError(f"it has more than {_MAX_MEMBERS:,} images")

    def holds(self, name: str) -> bool:
        """Return whether the archive has an image, or images in a folder of this name.

        The other members of a damaged archive are unknown, and may exist.
        """
        if self.problem is not None or name in self.members:
            return True
        if not self._folders:
            for member in self.members:
                self._folders.update(map(str, PurePosixPath(member).parents))
        folder = name.rstrip("/") or "."
        return folder in self._folders


def archive_index(kind: str, address: str, stamp: ContainerStamp) -> ArchiveIndex:
    """Return the images of an archive in a known state. A damaged one has a `problem`."""
    index = _cached_index(kind, address, stamp)
    if index.is_transient:
        _cached_index.cache_clear()
    return index


@lru_cache(maxsize=_MAX_OPEN_ARCHIVES)
def _cached_index(kind: str, address: str, stamp: ContainerStamp) -> ArchiveIndex:
    if kind == "zip":
        return _index_zip(address, stamp)
    return _index_tar(address, stamp)


def _is_image(name: str) -> bool:
    extension = extension_of(name)
    return extension in EXTENSIONS


def _extension_kind(name: str) -> str:
    extension = extension_of(name)
    return kind_name(extension)


def _plain_name(name: str) -> str:
    """Return a member's name without the ``./`` that tar writes for a folder."""
    return re.sub(r"^(?:\./+)+", "", name)


# Tar: a chain of headers, each followed by its content.


def _index_tar(address: str, stamp: ContainerStamp) -> ArchiveIndex:
    index = ArchiveIndex()
    labels: dict[str, str] = {}
    buffer_bytes = container_store(address).buffer_bytes
    try:
        file = bounded_reader(ContainerFile(address, stamp), buffer_bytes)
        is_compressed = is_gzip(file.peek(2))
        if is_compressed:
            stream = GzipStream(_gzip_ranges(address, stamp))
            file = bounded_reader(stream, buffer_bytes)
        for info in _tar_headers(file):
            _add_tar_member(index, info, address, stamp, is_compressed)
            _read_label(labels, info, file)
    except _TAR_ERRORS as error:
        index.problem = system_reason(error)
        index.is_transient = isinstance(error, OSError) and is_stored(address)
    for name in index.members:
        key = _SAMPLE_KEY.fullmatch(name)
        if key is not None and key[1] in labels:
            index.labels[name] = labels[key[1]]
    return index


@lru_cache(maxsize=_MAX_OPEN_ARCHIVES)
def _gzip_ranges(address: str, stamp: ContainerStamp) -> GzipRanges:
    """Return the access to a compressed archive."""
    return GzipRanges(address, stamp)


def _tar_headers(file: io.BufferedReader) -> Iterator[tarfile.TarInfo]:
    """Yield the header of each member.

    Raises
    ------
    TarError, OSError, ValueError
        If the archive is damaged or cut short. `tarfile` ends at a damaged header as if it was the
        end of the archive, and at the end of a file that was cut between two members.
    """
    with tarfile.open(
        fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape"
    ) as archive:
        end = -1
        while True:
            info = archive.next()
            if info is None:
                break
            # The size of a damaged header may be negative.
            if archive.offset <= end:
                raise ValueError("its headers lead in circles")
            end = archive.offset
            # Headers would pile up here.
            vars(archive)["members"] = []
            yield info
        file.seek(archive.offset)
        block = file.read(_BLOCK_BYTES)
    if len(block) < _BLOCK_BYTES:
        raise ValueError(f"it is cut short at byte {archive.offset:,}")
    if block.strip(b"\0"):
        raise ValueError(f"its header at byte {archive.offset:,} is damaged")


def _add_tar_member(
    index: ArchiveIndex,
    info: tarfile.TarInfo,
    address: str,
    stamp: ContainerStamp,
    is_compressed: bool,
) -> None:
    """Add a member to the index, or count it if it is not an image."""
    if info.isdir():
        return
    if info.issym() or info.islnk():
        index.other_kinds["link"] += 1
    elif not info.isreg():
        index.other_kinds["device"] += 1
    elif not _is_image(info.name):
        kind = _extension_kind(info.name)
        index.other_kinds[kind] += 1
    else:
        problem = None
        if info.issparse():
            problem = "it is stored as a sparse file"
        read = _TarRead(
            address, stamp, is_compressed, info.offset_data, info.size, problem
        )
        name = _plain_name(info.name)
        member = ArchiveMember(name, info.size, stamp.member_time, read)
        index.add(member)


def _read_label(
    labels: dict[str, str], info: tarfile.TarInfo, file: io.BufferedReader
) -> None:
    """Read the label of a WebDataset sample, if a member holds it. A .cls file is preferred."""
    key = _SAMPLE_KEY.fullmatch(_plain_name(info.name))
    if key is None or not info.isreg() or info.size > _MAX_LABEL_FILE:
        return
    kind = key[2].lower()
    if kind not in _LABEL_KINDS or (kind == "json" and key[1] in labels):
        return
    file.seek(info.offset_data)
    content = file.read(info.size)
    label = _label_of(kind, content)
    if label is not None:
        labels[key[1]] = label


def _label_of(kind: str, content: bytes) -> str | None:
    """Return the text of a .cls file, or the label of a .json file."""
    try:
        label: object = content.decode()
        if kind == "json":
            values = json.loads(content)
            label = None
            if isinstance(values, dict):
                label = values.get("label")
    except (ValueError, RecursionError):
        return None
    if isinstance(label, bool) or not isinstance(label, str | int):
        return None
    text = str(label).strip()
    shortened = text[:_MAX_LABEL]
    return shortened or None


@dataclass(frozen=True, slots=True)
class _TarRead:
    """Reads a member of a tar archive."""

    address: str
    stamp: ContainerStamp
    is_compressed: bool
    start: int
    size: int
    problem: str | None

    def __call__(self) -> bytes:
        if self.problem is not None:
            raise ImageError(self.problem)
        _check_member_size(self.size)
        if self.is_compressed:
            with _opening_contents:
                ranges = _gzip_ranges(self.address, self.stamp)
            data = ranges.read(self.start, self.size)
        else:
            store = container_store(self.address)
            data = store.read_range(self.address, self.stamp, self.start, self.size)
        if len(data) < self.size:
            raise OSError(errno.EIO, "its archive is cut short")
        return data


# Zip: a table of contents at the end, the central directory.


def _index_zip(address: str, stamp: ContainerStamp) -> ArchiveIndex:
    index = ArchiveIndex()
    most = largest_expansion(stamp.size)
    total = 0
    try:
        archive = _open_zip(address, stamp).archive
        for info in archive.infolist():
            if info.is_dir():
                continue
            mode = info.external_attr >> 16
            if stat.S_ISLNK(mode):
                index.other_kinds["link"] += 1
                continue
            if not _is_image(info.filename):
                index.other_kinds[_extension_kind(info.filename)] += 1
                continue
            total += info.file_size
            problem = None
            if total > most:
                problem = (
                    f"its archive expands to more than {MAX_EXPANSION} times its size"
                )
            elif info.flag_bits & 1:
                problem = "it is encrypted"
            read = _ZipRead(address, stamp, info.filename, problem)
            name = _plain_name(info.filename)
            time = _zip_time(info)
            index.add(ArchiveMember(name, info.file_size, time, read))
    except _ZIP_ERRORS as error:
        index.problem = system_reason(error)
        index.is_transient = isinstance(error, OSError) and is_stored(address)
    return index


class _OpenZip:
    """An open zip archive. Threads may read from it at the same time.

    Attributes
    ----------
    archive
        Its table of contents.
    """

    def __init__(self, address: str, stamp: ContainerStamp) -> None:
        self._file = WindowFile(address, stamp)
        # The table of contents, and three records behind it that are read one by one.
        tail = max(0, stamp.size - _ZIP_TAIL_BYTES)
        with self._file.window(tail, _ZIP_TAIL_BYTES):
            file = bounded_reader(self._file, _ZIP_BUFFER_BYTES)
            self.archive = zipfile.ZipFile(file)
        offsets = [info.header_offset for info in self.archive.infolist()]
        self._ends = sorted([*offsets, self.archive.start_dir])

    def read(self, info: zipfile.ZipInfo) -> bytes:
        """Return the content of a member. Its header and data are read at once."""
        start = info.header_offset
        end = self._ends[bisect_right(self._ends, start, hi=len(self._ends) - 1)]
        length = min(end - start, info.compress_size + _MAX_ZIP_HEADER)
        if length > _MAX_WINDOW_BYTES:
            length = 0
        parts = []
        with self._file.window(start, length), self.archive.open(info) as file:
            while part := file.read(_MEMBER_PIECE_BYTES):
                parts.append(part)
        return b"".join(parts)


@lru_cache(maxsize=_MAX_OPEN_ARCHIVES)
def _open_zip(address: str, stamp: ContainerStamp) -> _OpenZip:
    return _OpenZip(address, stamp)


def _zip_time(info: zipfile.ZipInfo) -> int:
    """Return the time of a member, with its checksum as the fraction of a second.

    Zip counts in steps of two seconds. With the checksum, a member that keeps its time and size but
    not its content has another stamp, and one that is copied into another archive keeps its own.
    """
    try:
        date = datetime.datetime(*info.date_time, tzinfo=datetime.UTC)
        seconds = int(date.timestamp())
    except ValueError:
        seconds = 0
    return storable_time(seconds * 10**9 + info.CRC % 10**9)


@dataclass(frozen=True, slots=True)
class _ZipRead:
    """Reads a member of a zip archive, whose checksum is verified."""

    address: str
    stamp: ContainerStamp
    name: str
    problem: str | None

    def __call__(self) -> bytes:
        if self.problem is not None:
            raise ImageError(self.problem)
        try:
            # Threads that begin together read the table of contents once.
            with _opening_contents:
                opened = _open_zip(self.address, self.stamp)
            info = opened.archive.getinfo(self.name)
            size = info.file_size
            _check_member_size(size)
            data = opened.read(info)
        except _ZIP_ERRORS as error:
            reason = system_reason(error)
            raise OSError(errno.EIO, reason) from error
        is_cut_short = len(data) < size
        if is_cut_short:
            raise OSError(errno.EIO, "its archive is cut short")
        return data


def _check_member_size(size: int) -> None:
    if size > MAX_MEMBER_BYTES:
        problem = f"the file has {size:,} bytes, more than any image"
        raise ImageError(problem)
