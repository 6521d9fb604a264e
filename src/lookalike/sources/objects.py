"""Images in object storage: ``s3://``, ``gs://`` and ``az://``."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Unpack

from lookalike.errors import SourceError
from lookalike.sources.containers import ContainerStamp
from lookalike.sources.local import MAX_FILE_BYTES, LocalOptions
from lookalike.sources.remote import RemoteFile, RemoteReader, RemoteSource, parent_name
from lookalike.sources.stores import (
    INSTALL_CLOUD,
    Address,
    find_object,
    get_object,
    get_range,
    list_objects,
    stamp_time,
)

if TYPE_CHECKING:
    from obstore import ObjectMeta

__all__ = ["CONTAINER_STORE", "READER", "ObjectListing", "ObjectSource", "open_paths"]


class ObjectListing:
    """The objects of buckets; see `lookalike.sources.remote.Listing`."""

    def normalize(self, path: str) -> str:
        """Return the uri of an object or a prefix, without a slash at its end."""
        address = Address.parse(path)
        return address.uri

    def list(self, folder: str) -> Iterator[RemoteFile]:
        """Yield the objects below a prefix, which ends at a slash."""
        prefix = Address.parse(folder)
        for meta in list_objects(prefix):
            # A console of a store marks a folder by an empty object, named as the folder.
            _, _, name = meta["path"].rpartition("/")
            is_marker = meta["size"] == 0 and "." not in name
            if not is_marker:
                yield _file_of_object(prefix, meta)

    def find(self, uri: str) -> RemoteFile | None:
        """Return an object, or None if it does not exist."""
        address = Address.parse(uri)
        meta = find_object(address)
        if meta is None:
            return None
        return _file_of_object(address, meta)

    def pieces(self, uri: str) -> Iterator[bytes]:
        """Yield the content of an object."""
        address = Address.parse(uri)
        return get_object(address, MAX_FILE_BYTES)


class ObjectSource(RemoteSource):
    """The images in object storage, below prefixes and as single objects.

    Parameters
    ----------
    paths
        Such as ``s3://bucket/folder``, ``gs://bucket`` or ``az://container/folder/1.jpg``.
    options
        `labels`, `hidden` and `exclude` of `LocalSource`.

    Raises
    ------
    SourceError
        If obstore is not installed, the store cannot be reached or refuses a listing, or an option
        is invalid.
    """

    def __init__(self, paths: Sequence[str], **options: Unpack[LocalOptions]) -> None:
        if find_spec("obstore") is None:
            raise SourceError(
                f"{paths[0]} lies in object storage, which needs a further package. "
                f"Install it with: {INSTALL_CLOUD}"
            )
        listing = ObjectListing()
        super().__init__(paths, listing, **options)


def open_paths(paths: Sequence[str], **options: Unpack[LocalOptions]) -> ObjectSource:
    """Return the source of all paths in object storage."""
    return ObjectSource(paths, **options)


READER = RemoteReader(ObjectListing())


class _ObjectContainers:
    """Containers in object storage; see `lookalike.sources.containers.ContainerStore`."""

    # The headers of about 40 photographs in a tar archive.
    buffer_bytes = 1 << 22

    def stamp(self, address: str) -> ContainerStamp:
        target = Address.parse(address)
        meta = find_object(target)
        if meta is None:
            _check_bucket(target)
            raise FileNotFoundError(errno.ENOENT, "there is no such object", address)
        return _to_stamp(meta)

    def read_range(
        self, address: str, stamp: ContainerStamp, start: int, length: int
    ) -> bytes:
        length = min(length, stamp.size - start)
        if length <= 0:
            return b""
        target = Address.parse(address)
        meta, content = get_range(target, start, length, stamp.version)
        # A store may ignore the condition of a request.
        if _to_stamp(meta) != stamp:
            problem = "the object that holds it changed while it was read"
            raise OSError(errno.EBUSY, problem, address)
        return content


CONTAINER_STORE = _ObjectContainers()


def _check_bucket(address: Address) -> None:
    """Raise OSError if the bucket of a missing object cannot be listed."""
    try:
        next(list_objects(address), None)
    except FileNotFoundError as error:
        problem = f"there is no bucket {address.bucket}"
        raise OSError(errno.EIO, problem, address.uri) from error


def _to_stamp(meta: ObjectMeta) -> ContainerStamp:
    time_ns = stamp_time(meta)
    version = meta["e_tag"] or ""
    return ContainerStamp(meta["size"], time_ns, version)


def _file_of_object(address: Address, meta: ObjectMeta) -> RemoteFile:
    """Return an object of the same bucket as a file."""
    key = meta["path"]
    uri = address.sibling(key).uri
    mtime_ns = stamp_time(meta)
    read = partial(READER.read, uri)
    return RemoteFile(uri, meta["size"], mtime_ns, parent_name(key), read)
