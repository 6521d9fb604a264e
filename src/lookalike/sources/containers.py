"""Files that hold many images, such as archives: uris of their members, and reads by ranges.

The uri of a member is the scheme of the container's kind, the address of the container, ``!/`` and
the name of the member: ``zip:///data/a.zip!/cat/1.jpg``. The container is never unpacked. Only
ranges of it are read, so it may lie wherever a `ContainerStore` reads ranges.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import unquote_to_bytes

from lookalike.errors import SourceError
from lookalike.io.reasons import system_reason
from lookalike.sources.clock import storable_time, wait_for_next_time

__all__ = [
    "CONTAINER_SCHEMES",
    "MAX_EXPANSION",
    "MAX_MEMBER_BYTES",
    "ContainerFile",
    "ContainerStamp",
    "ContainerStore",
    "Member",
    "PositionedFile",
    "WindowFile",
    "bounded_reader",
    "bytes_file",
    "check_stores",
    "container_address",
    "container_folder_exists",
    "container_prefix",
    "container_stamp",
    "container_store",
    "is_missing_in_store",
    "is_stored",
    "largest_expansion",
    "member_name",
    "member_uri",
    "parse_member",
]

# The kinds of containers, by the ends of their names, in lower case.
CONTAINER_SCHEMES = {
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
    ".zip": "zip",
    ".parquet": "parquet",
}

# The largest member that is read: twice the size of the largest decodable image without
# compression.
MAX_MEMBER_BYTES = 1 << 31

# Images hardly shrink: a container of the second size that expands more is hostile.
MAX_EXPANSION = 200
_ALWAYS_ALLOWED = 1 << 30

# A table of contents or a header is read at once, and must fit in memory.
_MAX_READ_BYTES = 1 << 28

_MEMBER_URI = re.compile(
    r"(tar|zip|parquet)(?:\+([a-z0-9]+))?://(.*?)!/(.*)", re.DOTALL
)
# What a uri writes with percent signs: the sign itself, control characters, bytes outside
# Unicode, and the mark between container and member.
_ESCAPED = re.compile("[%\x00-\x1f\x7f\ud800-\udfff]|!(?=/)")


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a container.

    Attributes
    ----------
    kind
        The kind of the container: ``tar``, ``zip`` or ``parquet``.
    address
        The container: a path, or a uri such as ``s3://bucket/a.tar``.
    name
        The member; empty for the container itself.
    """

    kind: str
    address: str
    name: str


def container_prefix(kind: str, address: str) -> str:
    """Return the string that starts the uris of all members of a container."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        # An absolute path. Windows begins it with a drive and has other separators.
        path = address.replace(os.sep, "/")
        is_absolute = path.startswith("/")
        if not is_absolute:
            path = f"/{path}"
        escaped = _escape(path)
        return f"{kind}://{escaped}!/"
    escaped = _escape(rest)
    return f"{kind}+{scheme}://{escaped}!/"


def member_uri(kind: str, address: str, name: str) -> str:
    """Return the uri of a member."""
    prefix = container_prefix(kind, address)
    escaped = _escape(name)
    return prefix + escaped


def parse_member(uri: str) -> Member | None:
    """Return the member that a uri names, or None if it names no member of a container."""
    match = _MEMBER_URI.fullmatch(uri)
    if match is None:
        return None
    kind, store, place, name = match.groups()
    address = _unescape(place)
    name_in_container = _unescape(name)
    if store is not None:
        address = f"{store}://{address}"
    elif os.name == "nt":
        relative = address.lstrip("/")
        address = relative.replace("/", os.sep)
    return Member(kind, address, name_in_container)


def container_address(path: str | os.PathLike[str]) -> str:
    """Return the absolute path of an existing file, or an address as it is.

    Raises
    ------
    SourceError
        If the file does not exist.
    """
    name = os.fspath(path)
    if is_stored(name):
        # The scheme of an address may be written in any case.
        scheme, mark, rest = name.partition("://")
        lower_scheme = scheme.lower()
        return f"{lower_scheme}{mark}{rest}"
    expanded = os.path.expanduser(name)  # noqa: PTH111
    absolute = os.path.abspath(expanded)  # noqa: PTH100
    if not os.path.lexists(absolute):
        raise SourceError(
            f"There is no file or folder {name!r}. "
            "Check the spelling, or mount the drive it is on."
        )
    return absolute


def is_stored(address: str) -> bool:
    """Return whether a container is an address in a store, not a local path."""
    return "://" in address


def check_stores(addresses: Iterable[str]) -> None:
    """Check that the stores of some containers answer, by the first container in each.

    A missing container is no error here.

    Raises
    ------
    SourceError
        If a store cannot be reached or refuses access.
    """
    checked: set[str] = set()
    for address in addresses:
        bucket = "/".join(address.split("/")[:3])
        if not is_stored(address) or bucket in checked:
            continue
        checked.add(bucket)
        try:
            container_stamp(address)
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = system_reason(error)
            raise SourceError(f"{address} cannot be read: {reason}.") from error


def container_folder_exists(uri: str) -> bool:
    """Return whether the folder of a container exists, as ``zip:///data`` names it.

    A folder in a store counts as existing.
    """
    folder = parse_member(f"{uri}!/")
    if folder is None:
        return False
    if is_stored(folder.address):
        return True
    return os.path.lexists(folder.address)


def member_name(member: Member) -> str:
    """Return the name of a member as shown to users, without its folders."""
    folders_and_name = re.split(r"[/\\]", member.address)
    container = folders_and_name[-1]
    name = member.name.rstrip("/")
    _, _, last = name.rpartition("/")
    if not last:
        return container
    if member.kind == "parquet":
        return f"{container} row {last}"
    return last


def _escape(text: str) -> str:
    return _ESCAPED.sub(_percent_encoded, text)


def _percent_encoded(match: re.Match[str]) -> str:
    text = match[0]
    data = text.encode(errors="surrogateescape")
    written = [f"%{byte:02X}" for byte in data]
    return "".join(written)


def _unescape(text: str) -> str:
    data = unquote_to_bytes(text)
    return data.decode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class ContainerStamp:
    """The state of a container. All reads of one iteration are from the same state.

    Attributes
    ----------
    size, mtime_ns
        Bytes, and nanoseconds since the epoch.
    version
        An identity of the content, in stores that have one, such as an ETag.
    """

    size: int
    mtime_ns: int
    version: str = ""

    @property
    def member_time(self) -> int:
        """The time of members without a time of their own: that of the container.

        Its last three digits are those of the container's size. A container that is replaced by
        another one with the same time is noticed in most cases.
        """
        microseconds = self.mtime_ns // 1000
        last_digits = self.size % 1000
        time_ns = microseconds * 1000 + last_digits
        return storable_time(time_ns)


class ContainerStore(Protocol):
    """A place of containers from which ranges of bytes can be read.

    Attributes
    ----------
    buffer_bytes
        The number of bytes worth reading at once, although fewer were asked for.
    """

    buffer_bytes: int

    def stamp(self, address: str) -> ContainerStamp:
        """Return the state of a container, or raise OSError."""
        ...

    def read_range(
        self, address: str, stamp: ContainerStamp, start: int, length: int
    ) -> bytes:
        """Return at most `length` bytes, fewer only at the end.

        Raises
        ------
        OSError
            If the container cannot be read or is in another state than `stamp`.
        """
        ...


def largest_expansion(stored_size: int) -> int:
    """Return the most bytes that stored bytes may expand to."""
    expanded = MAX_EXPANSION * stored_size
    return max(_ALWAYS_ALLOWED, expanded)


class _LocalContainers:
    """Containers in local files."""

    buffer_bytes = 1 << 14

    def stamp(self, address: str) -> ContainerStamp:
        status = os.stat(address)  # noqa: PTH116
        is_regular = stat.S_ISREG(status.st_mode)
        if not is_regular:
            raise OSError(errno.EINVAL, "not a regular file", address)
        # A later write leaves another time than this one.
        mtime_ns = status.st_mtime_ns
        wait_for_next_time(mtime_ns)
        return ContainerStamp(status.st_size, mtime_ns)

    def read_range(
        self, address: str, stamp: ContainerStamp, start: int, length: int
    ) -> bytes:
        with Path(address).open("rb", buffering=0) as file:
            descriptor = file.fileno()
            status = os.fstat(descriptor)
            size = status.st_size
            time_ns = status.st_mtime_ns
            current = ContainerStamp(size, time_ns)
            if current != stamp:
                problem = "the file that holds it changed while it was read"
                raise OSError(errno.EBUSY, problem, address)
            file.seek(start)
            parts = []
            while length > 0:
                part = file.read(length)
                if not part:
                    break
                parts.append(part)
                length -= len(part)
            return b"".join(parts)


# Modules with the store of a scheme, as `CONTAINER_STORE`; see `lookalike.sources.opening`.
STORE_MODULES: dict[str, str] = {
    "s3": "lookalike.sources.objects",
    "gs": "lookalike.sources.objects",
    "az": "lookalike.sources.objects",
    "hf": "lookalike.sources.hub",
}
_local_containers = _LocalContainers()


def container_store(address: str) -> ContainerStore:
    """Return the store that reads a container.

    Raises
    ------
    OSError
        If its scheme has none.
    """
    if not is_stored(address):
        return _local_containers
    scheme, _, _ = address.partition("://")
    if scheme not in STORE_MODULES:
        problem = f"containers at {scheme}:// are not read"
        raise OSError(errno.ENOTSUP, problem, address)
    module_name = STORE_MODULES[scheme]
    module = import_module(module_name)
    store = module.CONTAINER_STORE
    return cast(ContainerStore, store)


def container_stamp(address: str) -> ContainerStamp:
    """Return the state of a container as it is now, or raise OSError."""
    store = container_store(address)
    return store.stamp(address)


def is_missing_in_store(error: Exception, address: str) -> bool:
    """Return whether an error says that a container in a store does not exist.

    A local one that does not exist may be on another drive.
    """
    if not isinstance(error, FileNotFoundError):
        return False
    return is_stored(address)


class PositionedFile(io.RawIOBase):
    """A file that is read from a position. Subclasses implement `read_at`.

    Parameters
    ----------
    size
        The number of bytes; None if unknown.
    """

    def __init__(self, size: int | None) -> None:
        super().__init__()
        self._size = size
        self._position = 0

    def read_at(self, position: int, length: int) -> bytes:
        """Return at most `length` bytes from a position, none at the end."""
        raise NotImplementedError

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, which may lie behind the end."""
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            if self._size is None:
                raise OSError(errno.EINVAL, "the end of the file is unknown")
            offset += self._size
        if offset < 0:
            raise OSError(errno.EINVAL, "a position before the beginning of the file")
        self._position = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; return the number of bytes, 0 at the end."""
        view = memoryview(buffer)
        wanted = len(view)
        data = self.read_at(self._position, wanted)
        count = len(data)
        view[:count] = data
        self._position += count
        return count


class ContainerFile(PositionedFile):
    """A container as a file.

    Parameters
    ----------
    address, stamp
        The container, and the state that it must have.
    """

    def __init__(self, address: str, stamp: ContainerStamp) -> None:
        super().__init__(stamp.size)
        self._address = address
        self._stamp = stamp
        self._store = container_store(address)

    def read_at(self, position: int, length: int) -> bytes:
        """Return at most `length` bytes from a position, none at the end."""
        rest = self._stamp.size - position
        length = min(length, rest)
        if length <= 0:
            return b""
        return self._store.read_range(self._address, self._stamp, position, length)


class WindowFile(ContainerFile):
    """A container as a file, of which a thread may hold a part in memory.

    Threads that share the file hold their own parts, and read them at the same time, although only
    one of them may move in the file.
    """

    def __init__(self, address: str, stamp: ContainerStamp) -> None:
        super().__init__(address, stamp)
        self._windows = threading.local()

    @contextmanager
    def window(self, start: int, length: int) -> Iterator[None]:
        """Hold a part of the file in memory for the reads of this thread."""
        data = b""
        if length > 0:
            data = self._store.read_range(self._address, self._stamp, start, length)
        self._windows.part = (start, data)
        try:
            yield
        finally:
            del self._windows.part

    def read_at(self, position: int, length: int) -> bytes:
        """Return at most `length` bytes from a position, none at the end."""
        no_part = (0, b"")
        start, data = getattr(self._windows, "part", no_part)
        offset = position - start
        is_in_window = 0 <= offset < len(data)
        if not is_in_window:
            return super().read_at(position, length)
        end = offset + length
        part: bytes = data[offset:end]
        return part


class _BoundedReader(io.BufferedReader):
    """A file of which never more is read at once than fits in memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most `size` bytes, or without a size at most the limit."""
        if size is None or size < 0:
            size = _MAX_READ_BYTES
        if size > _MAX_READ_BYTES:
            problem = "a header of it is larger than any that is read"
            raise OSError(errno.EFBIG, problem)
        return super().read(size)


def bounded_reader(raw: io.RawIOBase, buffer_bytes: int) -> io.BufferedReader:
    """Return a buffered file for headers. It refuses reads that would not fit in memory."""
    return _BoundedReader(raw, buffer_bytes)


def bytes_file(data: bytes) -> io.BufferedReader:
    """Return bytes in memory as a buffered file."""
    file = io.BytesIO(data)
    return io.BufferedReader(file)
