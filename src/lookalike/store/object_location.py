"""A collection in object storage: a prefix of a bucket at S3, Google Cloud or Azure.

Stores have neither renames nor locks. Lance makes a table, and each later version, by writing one
manifest that must not exist yet. A file is written by one request, which a reader sees completely
or not at all.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import obstore
from obstore.exceptions import BaseError

from lookalike.io.requests import REQUEST_THREADS, run_interruptibly
from lookalike.sources.stores import Address, open_prefix
from lookalike.store.creation import make_empty_table
from lookalike.store.location import (
    CHUNK_BYTES,
    MAPS,
    STAGING,
    TABLE,
    TRASH,
    VERSIONS,
    Location,
    LockName,
    StoredFile,
)
from lookalike.store.schema import UNFINISHED_SCHEMA

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["ObjectLocation"]

# Parts of a multipart upload: S3 takes at most 10,000, so this allows files of 160 GB.
_PART_BYTES = 16 << 20
# The largest object that S3 copies by one request.
_COPY_BYTES = 5 << 30
_COPIES_AT_ONCE = 16
# Lance names a manifest by the distance of its version to this number, so that the newest is listed
# first.
_LAST_VERSION = 2**64 - 1
# What a process leaves that was killed before it wrote the first manifest of a table.
_LEFTOVERS = (STAGING, f"{TABLE}/_transactions/0-")
# The objects that a listing yields at a time: few, because the first ones answer whether there is
# anything.
_PAGE_OBJECTS = 10


class ObjectLocation(Location):
    """The prefix of a collection in a bucket.

    Attributes
    ----------
    path
        The URL as it was given, without a slash at its end: ``s3://bucket/prefix``.
    """

    def __init__(self, url: str) -> None:
        self.path = url.rstrip("/")
        self._address = Address.parse(url)

    def uri(self, name: str) -> str:
        return f"{self.path}/{name}"

    @property
    def identity(self) -> str:
        return self.path

    @property
    def absolute(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        _, _, name = self.path.rpartition("/")
        return name

    @property
    def missing_reason(self) -> str:
        return (
            "it no longer exists there. Another program has removed or moved its objects. "
            "Correct its address, or make it again from a backup with: lookalike restore"
        )

    # Tables

    def is_present(self) -> bool:
        return self._has_any("")

    def is_free(self) -> bool:
        names = (file.name for file in self.files())
        return all(name.startswith(_LEFTOVERS) for name in names)

    def has_table(self) -> bool:
        manifests = f"{TABLE}/{VERSIONS}"
        return self._has_any(manifests)

    def has_trash(self) -> bool:
        manifests = f"{TRASH}/{VERSIONS}"
        return self._has_any(manifests)

    def has_versions(self) -> bool:
        try:
            return self.has_table()
        except OSError:
            return True

    def versions_stamp(self) -> tuple[int, int]:
        """Return a number of the newest manifest's name and content, and the time of its writing.

        A table that is made again at the same address has another time, or another content.
        """
        # The names begin with a number that falls from one version to the next.
        for page in self._pages(f"{TABLE}/{VERSIONS}"):
            newest = page[0]
            path = newest["path"]
            tag = newest["e_tag"]
            content = f"{path} {tag}".encode()
            digest = hashlib.sha256(content).digest()
            number = int.from_bytes(digest[:8])
            modified = newest["last_modified"]
            written = modified.timestamp()
            return number, int(written)
        raise FileNotFoundError(f"{self.table_uri} has no versions")

    def version_tag(self, version: int) -> str | None:
        manifest = _manifest_of(version)
        entry = self._request(obstore.head, manifest)
        tag: str | None = entry["e_tag"]
        return tag

    def prepare(self) -> None:
        """Do nothing: a prefix exists as soon as an object has it."""

    @contextmanager
    def new_table(self) -> Iterator[str]:
        # The first manifest makes the table. What a process killed before it leaves is not a table,
        # and `optimize` removes it later.
        yield self.table_uri

    @contextmanager
    def new_trash(self) -> Iterator[str]:
        yield self.trash_uri

    def remove_trash(self) -> None:
        files = self.files(TRASH)
        names = [file.name for file in files]
        # Without its manifests it is not a table, whatever is left of it.
        names.sort(key=self.is_manifest, reverse=True)
        self.remove_all(names)

    # Files

    def files(self, folder: str = "") -> Iterator[StoredFile]:
        for page in self._pages(folder):
            for entry in page:
                path = entry["path"]
                size = entry["size"]
                yield StoredFile(path, size)

    def has_file(self, name: str) -> bool:
        try:
            self.size_of(name)
        except FileNotFoundError:
            return False
        return True

    def size_of(self, name: str) -> int:
        entry = self._request(obstore.head, name)
        size = entry["size"]
        return int(size)

    def read(self, name: str) -> bytes:
        def read_content(store: ObjectStore) -> bytes:
            result = obstore.get(store, name)
            content = result.bytes()
            return bytes(content)

        content: bytes = self._request(read_content)
        return content

    def read_chunks(self, name: str) -> Iterator[bytes]:
        result = self._request(obstore.get, name)
        stream = result.stream(min_chunk_size=CHUNK_BYTES)
        for chunk in _wait_for_each(stream):
            yield bytes(chunk)

    def write(self, name: str, content: bytes) -> None:
        self._request(obstore.put, name, content)

    def write_chunks(self, name: str, chunks: Iterable[bytes]) -> None:
        writer = self._request(obstore.open_writer, name, buffer_size=_PART_BYTES)
        for chunk in chunks:
            _wait_for(writer.write, chunk)
        # An object that is not closed does not exist.
        _wait_for(writer.close)

    def remove(self, name: str) -> None:
        self.remove_all([name])

    def remove_all(self, names: Sequence[str]) -> None:
        # Some stores report an object that another process has removed.
        with suppress(FileNotFoundError):
            self._request(obstore.delete, list(names))

    def _has_any(self, folder: str) -> bool:
        pages = self._pages(folder)
        first_page = next(pages, None)
        return first_page is not None

    def _pages(self, folder: str) -> Iterator[Sequence[Any]]:
        """Yield the objects below a folder by their names, some at a time."""
        prefix = folder or None
        stream = self._request(obstore.list, prefix, chunk_size=_PAGE_OBJECTS)
        for page in _wait_for_each(stream):
            if page:
                yield page

    def _request(
        self, request: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """Return the answer of the store to a request, a function of obstore."""
        with _errors_as_os_errors():
            store = open_prefix(self._address)
        return _wait_for(request, store, *arguments, **options)

    # Copies

    @contextmanager
    def claim(self) -> Iterator[None]:
        # A table begins with version 1, which only one process can make.
        try:
            make_empty_table(self.table_uri, UNFINISHED_SCHEMA)
        except OSError as error:
            if self.has_table():
                raise self._occupied_error() from error
            raise
        first_manifest = _manifest_of(1)
        manifests = [file.name for file in self.files(f"{TABLE}/{VERSIONS}")]
        if manifests != [first_manifest]:
            # An older table, whose version 1 has been removed.
            self.remove(first_manifest)
            raise self._occupied_error()
        try:
            yield
        except BaseException:
            self._remove_unfinished()
            raise

    def _remove_unfinished(self) -> None:
        """Remove a collection whose publication has failed."""
        with suppress(OSError):
            manifests = []
            others = []
            for file in self.files():
                name = file.name
                if self.is_manifest(name):
                    manifests.append(name)
                elif not name.startswith(STAGING):
                    others.append(name)
            self.remove_all(others)
            # Last: until then no other process can make a table.
            self.remove_all(manifests)

    def new_staging(self) -> Self:
        name = self.new_staging_name()
        uri = self.uri(name)
        kind = type(self)
        return kind(uri)

    def remove_staging(self, *, older_than: float = 0.0) -> int:
        # The objects of each staged copy.
        entries = defaultdict(list)
        for page in self._pages(""):
            for entry in page:
                path = entry["path"]
                folder, _, _ = path.partition("/")
                is_staged = folder.startswith(STAGING)
                if is_staged:
                    entries[folder].append(entry)

        freed = 0
        takes_all = older_than == 0
        now = time.time()
        newest = now - older_than
        for staged in entries.values():
            times = [entry["last_modified"] for entry in staged]
            last_modified = max(times)
            written = last_modified.timestamp()
            is_old = written < newest
            if takes_all or is_old:
                names = []
                for entry in staged:
                    path = entry["path"]
                    size = entry["size"]
                    names.append(path)
                    freed += size
                self.remove_all(names)
        return freed

    def discard(self) -> None:
        with suppress(OSError):
            names = [file.name for file in self.files()]
            self.remove_all(names)

    def remove_if_empty(self) -> None:
        """Do nothing: a prefix without objects does not exist."""

    def share(self, name: str, staged: Self) -> None:
        prefix = self._name_of(staged)
        staged_name = f"{prefix}/{name}"
        self._copy(name, staged_name)

    def publish_table(self, staged: Self) -> None:
        files = staged.files(TABLE)
        names = [file.name for file in files]
        names.sort(key=self.is_manifest)
        self._publish(staged, names)
        # The version that has claimed the place.
        self._remove_others(TABLE, set(names))

    def publish_maps(self, staged: Self) -> None:
        files = staged.files(MAPS)
        names = [file.name for file in files]
        self._publish(staged, names)
        current = set(names)
        self._remove_others(MAPS, current)

    def publish_version(self, staged: Self, names: list[str]) -> None:
        # Until the manifest is in place, Lance reads the older version.
        self._publish(staged, names)
        current = set(names)
        self._remove_others(TABLE, current)

    def publish_staged_trash(self, staged: Self, names: list[str]) -> None:
        if not names:
            self.remove_trash()
            return
        self._publish(staged, names)
        current = set(names)
        self._remove_others(TRASH, current)

    def _publish(self, staged: Self, names: Sequence[str]) -> None:
        """Copy the files of a staged copy into this location, the last one after all others."""
        if not names:
            return
        prefix = self._name_of(staged)
        *first, last = names
        staged_names = [f"{prefix}/{name}" for name in first]
        with ThreadPoolExecutor(_COPIES_AT_ONCE, REQUEST_THREADS) as pool:
            # An error, or Ctrl-C, cancels the copies that have not begun.
            for _ in pool.map(self._copy, staged_names, first):
                pass
        staged_name = f"{prefix}/{last}"
        with _errors_as_os_errors():
            store = open_prefix(self._address)
            # Ctrl-C waits for it: the manifest must not appear after the other files are removed.
            obstore.copy(store, staged_name, last)

    def _name_of(self, staged: Self) -> str:
        folder = f"{self.path}/"
        return staged.path.removeprefix(folder)

    def _copy(self, name: str, new_name: str) -> None:
        """Copy an object within the store; only one that is too large for it is read here."""
        size = self.size_of(name)
        if size > _COPY_BYTES:
            chunks = self.read_chunks(name)
            self.write_chunks(new_name, chunks)
            return
        self._request(obstore.copy, name, new_name)

    # Duplicates

    @property
    def file_trash(self) -> None:
        return None

    # Locks

    def lock_path(self, name: LockName) -> None:
        return None


def _manifest_of(version: int) -> str:
    number = _LAST_VERSION - version
    return f"{TABLE}/{VERSIONS}/{number:020}.manifest"


def _wait_for(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return the result of a function that waits for the store; Ctrl-C does not wait for it."""
    call = partial(function, *arguments, **options)
    with _errors_as_os_errors():
        return run_interruptibly(call)


def _wait_for_each(stream: Iterable[Any]) -> Iterator[Any]:
    """Yield what comes from the store, as `_wait_for` does."""
    iterator = iter(stream)
    while True:
        part = _wait_for(next, iterator, None)
        if part is None:
            return
        yield part


@contextmanager
def _errors_as_os_errors() -> Iterator[None]:
    """Raise errors of the object store as OSError, as files do."""
    try:
        yield
    except BaseError as error:
        if isinstance(error, OSError):
            raise
        raise OSError(str(error)) from error
