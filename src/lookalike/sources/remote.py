"""Images that are found by listing the names below a prefix, as in a bucket or on a hub."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from typing import TYPE_CHECKING, Protocol

from lookalike.errors import ImageError, SourceError
from lookalike.io.reasons import system_reason
from lookalike.sources.base import FolderState
from lookalike.sources.exclusion import SkippedFiles, parse_patterns
from lookalike.sources.local import (
    MAX_FILE_BYTES,
    Labels,
    check_labels,
    outermost,
    unreadable_item,
)
from lookalike.sources.selection import EXTENSIONS, Selection
from lookalike.types import Item

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

__all__ = ["Listing", "RemoteFile", "RemoteReader", "RemoteSource", "parent_name"]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a listing.

    Attributes
    ----------
    uri
        The identity.
    size, mtime_ns
        The stamp.
    folder
        The name of the folder that holds it, if it lies in one.
    read
        Returns the content; raises OSError. It can be pickled.
    """

    uri: str
    size: int
    mtime_ns: int
    folder: str | None
    read: Callable[[], bytes] = field(repr=False, compare=False)


def parent_name(path: str) -> str | None:
    """Return the name of the folder that holds a path, or None at the top."""
    folder, _, _ = path.rpartition("/")
    _, _, name = folder.rpartition("/")
    return name or None


class Listing(Protocol):
    """Finds the files of a kind of store. Each method raises OSError if the store fails."""

    def normalize(self, path: str) -> str:
        """Return the uri that a user's text names, without a slash at its end."""
        ...

    def list(self, folder: str) -> Iterator[RemoteFile]:
        """Yield the files below a folder, at any depth, page by page."""
        ...

    def find(self, uri: str) -> RemoteFile | None:
        """Return a single file, or None if it does not exist."""
        ...

    def pieces(self, uri: str) -> Iterator[bytes]:
        """Yield the content of a file; fail if it has more than `MAX_FILE_BYTES`."""
        ...


class RemoteReader:
    """Access to single files of a listing; see `lookalike.sources.base.UriReader`."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def read(self, uri: str) -> bytes:
        """Return the content, or raise OSError."""
        pieces = self._listing.pieces(uri)
        return b"".join(pieces)

    def open(self, uri: str) -> BufferedReader:
        """Return the content as a temporary file, or raise OSError."""
        # Memory would not do for several large files at once.
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (the caller closes it)
        try:
            for piece in self._listing.pieces(uri):
                file.write(piece)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return BufferedReader(file)

    def exists(self, uri: str) -> bool:
        """Return whether there is a file, or a prefix with files; unknown counts as yes."""
        try:
            if self._listing.find(uri) is not None:
                return True
            first = next(self._listing.list(uri), None)
        except OSError:
            return True
        return first is not None


@dataclass(slots=True)
class _Scan:
    """The outcome of an iteration so far.

    Attributes
    ----------
    selection
        The rules by which images are chosen.
    counts
        The number of images by root.
    failed_roots
        The roots whose listing broke off.
    """

    selection: Selection
    counts: dict[str, int]
    failed_roots: set[str] = field(default_factory=set)


class RemoteSource:
    """The images below some prefixes, and single files.

    Listings come page by page, and no names are held. A listing that breaks off becomes one failing
    Item, and its root is not completed.

    Parameters
    ----------
    paths
        Prefixes and single files. A text that ends in a slash is a prefix.
    listing
        The store.
    labels, hidden, exclude
        As for `LocalSource`. ``.lookalikeignore`` files do not count.

    Raises
    ------
    SourceError
        If the store cannot be reached or refuses a listing, or an option is invalid.

    Attributes
    ----------
    roots
        The prefixes to search, without a slash at their ends.
    """

    def __init__(
        self,
        paths: Sequence[str],
        listing: Listing,
        *,
        labels: Labels = "folder",
        hidden: bool = False,
        exclude: Sequence[str] = (),
    ) -> None:
        check_labels(labels)
        self._labels = labels
        self._hidden = hidden
        self._exclude: GitIgnoreSpec = parse_patterns(exclude, "--exclude")
        self._listing = listing
        folders: dict[str, None] = {}
        files: dict[str, None] = {}
        for path in paths:
            uri = listing.normalize(path)
            is_file = self._is_file(uri, path)
            chosen = files if is_file else folders
            chosen[uri] = None
        self.roots = outermost(list(folders), "/")
        self._files = files
        self._scan = self._new_scan()

    def __iter__(self) -> Iterator[Item]:
        scan = self._new_scan()
        self._scan = scan
        return self._items(scan)

    def count(self) -> int:
        """Return the number of Items, by listings of its own."""
        count = len(self._files)
        for root in self.roots:
            selection = self._new_selection()
            try:
                for file in self._chosen_files(root, selection):
                    count += file.uri not in self._files
            except OSError:
                # The listing that broke off is an Item.
                count += 1
        return count

    def completed(self) -> dict[str, int]:
        """Return the roots whose listing ended, with their numbers of images."""
        counts = dict(self._scan.counts)
        for root in self._scan.failed_roots:
            del counts[root]
        return counts

    def unreachable(self) -> list[str]:
        """Return nothing: names have no links."""
        return []

    def skipped(self) -> SkippedFiles:
        """Return the files and folders that the last iteration left out."""
        selection = self._scan.selection
        return selection.skipped

    def prefixes(self, folder: str) -> list[str]:
        """Return the start of the uris of all files below a root or folder."""
        return [_prefix(folder)]

    def exists(self, uri: str) -> bool:
        """Return whether a uri that the last iteration did not yield exists nevertheless.

        The listing had no file that the rules choose, so only a file that they leave out needs a
        request. One that cannot be looked up exists.
        """
        root = self._root_of(uri)
        if root is not None:
            path = uri.removeprefix(_prefix(root))
            if self._new_selection().includes(path):
                return False
        try:
            file = self._listing.find(uri)
        except OSError:
            return True
        return file is not None

    def folders_of(self, uri: str) -> list[str]:
        """Return the root of a uri. Folders below it are parts of names, and cannot be empty."""
        root = self._root_of(uri)
        if root is None:
            return []
        return [root]

    def folder_state(self, folder: str) -> FolderState:
        """Return whether a prefix holds files; one that cannot be listed counts as filled."""
        try:
            first = next(self._listing.list(folder), None)
        except OSError:
            return FolderState.FILLED
        if first is None:
            return FolderState.MISSING
        return FolderState.FILLED

    def devices(self) -> Mapping[str, str]:
        """Return nothing: a store has no file systems."""
        return {}

    def empty_error(self) -> SourceError:
        """Return the error for a source without images."""
        paths = ", ".join([*self.roots, *self._files])
        extensions = " ".join(sorted(EXTENSIONS))
        return SourceError(
            f"There are no images under {paths}: looked for names ending in {extensions}. "
            "Check the spelling, name another prefix, or --hidden to look into hidden folders."
        )

    def _is_file(self, uri: str, path: str) -> bool:
        """Return whether a path names a single file, after a request that shows its store works."""
        try:
            names_folder = path.endswith("/")
            if not names_folder and self._listing.find(uri) is not None:
                return True
            files = self._listing.list(uri)
            next(files, None)
        except OSError as error:
            reason = system_reason(error)
            raise SourceError(f"{path} cannot be listed: {reason}.") from error
        return False

    def _new_selection(self) -> Selection:
        return Selection(hidden=self._hidden, exclude=self._exclude)

    def _new_scan(self) -> _Scan:
        selection = self._new_selection()
        counts = dict.fromkeys(self.roots, 0)
        return _Scan(selection, counts)

    def _root_of(self, uri: str) -> str | None:
        for root in self.roots:
            if uri.startswith(_prefix(root)):
                return root
        return None

    def _items(self, scan: _Scan) -> Iterator[Item]:
        for uri in self._files:
            yield self._item_named(uri)
        for root in self.roots:
            try:
                chosen = self._chosen_files(root, scan.selection)
                for file in chosen:
                    scan.counts[root] += 1
                    if file.uri in self._files:
                        continue
                    yield self._item(file)
            except OSError as error:
                scan.failed_roots.add(root)
                count = scan.counts[root]
                yield _failed_listing(root, count, error)

    def _chosen_files(self, root: str, selection: Selection) -> Iterator[RemoteFile]:
        prefix = _prefix(root)
        for file in self._listing.list(root):
            path = file.uri.removeprefix(prefix)
            if not selection.includes(path):
                continue
            yield file

    def _item_named(self, uri: str) -> Item:
        """Return the Item of a file that was named by itself."""
        try:
            file = self._listing.find(uri)
        except OSError as error:
            return unreadable_item(uri, None, error)
        if file is None:
            return unreadable_item(
                uri, None, ImageError("there is no such file any more")
            )
        return self._item(file)

    def _item(self, file: RemoteFile) -> Item:
        label = None if self._labels == "none" else file.folder
        if file.size > MAX_FILE_BYTES:
            problem = f"the file has {file.size:,} bytes, more than any image"
            return unreadable_item(file.uri, label, ImageError(problem))
        # An empty file needs no request.
        read = file.read if file.size else bytes
        return Item(
            file.uri, file.size, file.mtime_ns, label, read, is_remote=bool(file.size)
        )


def _prefix(folder: str) -> str:
    return folder + "/"


def _failed_listing(root: str, count: int, error: OSError) -> Item:
    """Return the Item of a listing that broke off. Its uri lies below the root."""
    reason = system_reason(error)
    problem = f"the listing broke off after image {count:,}: {reason}"
    uri = _prefix(root)
    return unreadable_item(uri, None, ImageError(problem))
