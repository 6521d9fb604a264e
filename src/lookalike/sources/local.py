"""Local folders, files and lists of them, as a stream of Items."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NoReturn, TypedDict

from lookalike.errors import ImageError, SourceError
from lookalike.sources.base import FolderState
from lookalike.sources.clock import storable_time, wait_for_next_time
from lookalike.sources.exclusion import SkippedFiles, parse_patterns
from lookalike.sources.lists import expand_lists, split_paths
from lookalike.sources.selection import EXTENSIONS
from lookalike.sources.uris import local_path, to_uri, uri_exists, uri_prefixes
from lookalike.sources.walk import Walk
from lookalike.types import Item

__all__ = [
    "MAX_FILE_BYTES",
    "Labels",
    "LocalOptions",
    "LocalSource",
    "check_labels",
    "outermost",
    "unreadable_item",
]

Labels = Literal["folder", "none"]

# The largest file that is read: twice the size of the largest decodable image without compression.
MAX_FILE_BYTES = 1 << 31


class LocalOptions(TypedDict, total=False):
    """The options of `LocalSource`."""

    labels: Labels
    hidden: bool
    exclude: Sequence[str]


class LocalSource:
    """The images under some paths, each once, in a fixed order.

    Parameters
    ----------
    paths
        Folders (searched to any depth, for files with an image's extension), single files (any
        extension), and ``@list.txt``: a UTF-8 file with one such path per line (``@-`` reads
        standard input). Relative paths of a list start from the current folder or, if they are
        missing there, from the list's own.
    labels
        ``folder`` labels an image with the name of its folder; ``none`` leaves it unlabeled.
    hidden
        Whether to include files and folders whose names begin with a full stop.
    exclude
        Patterns in gitignore syntax of files and folders to leave out, as seen from each root.
        ``.lookalikeignore`` files in the folders hold more of them. Folders of the system, such as
        recycle bins, are always left out. A path that is named by itself is not.
    listed
        More paths, from lists that were read before. Those that do not exist are bad images.

    Raises
    ------
    SourceError
        If a path does not exist, a list cannot be used, or a pattern is invalid.

    Attributes
    ----------
    paths
        The absolute paths of the given folders and files.
    roots
        The folders to search.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        labels: Labels = "folder",
        hidden: bool = False,
        exclude: Sequence[str] = (),
        listed: Sequence[str] = (),
    ) -> None:
        check_labels(labels)
        self._labels = labels
        self._hidden = hidden
        self._exclude = parse_patterns(exclude, "--exclude")
        named = expand_lists(paths)
        named.listed.extend(listed)
        folders, files = split_paths(named)
        self.paths = [*folders, *files]
        self.roots = outermost(folders)
        # Files named by themselves come first, and the walk passes over them.
        self._files = dict.fromkeys(files)
        self._walk = self._new_walk()

    def __iter__(self) -> Iterator[Item]:
        walk = self._new_walk()
        self._walk = walk
        return self._items(walk)

    def count(self) -> int:
        """Return the number of Items, by a walk of its own that opens no file."""
        count = len(self._files)
        for path, _ in self._new_walk():
            if path not in self._files:
                count += 1
        return count

    @property
    def unreadable_roots(self) -> dict[str, str]:
        """The roots that the last iteration could not read to the end, each with the reason."""
        return self._walk.unreadable_roots

    def completed(self) -> dict[str, int]:
        """Return the roots that the last iteration read to the end, with their numbers of files."""
        counts = dict(self._walk.file_counts)
        for root in self.unreadable_roots:
            del counts[root]
        return counts

    def unreachable(self) -> list[str]:
        """Return the broken links. Their targets may be on a drive that is not mounted."""
        return self._walk.broken_links

    def skipped(self) -> SkippedFiles:
        """Return the files and folders that the last iteration left out."""
        return self._walk.skipped

    def prefixes(self, folder: str) -> list[str]:
        """Return the strings that start the uris of all files below a folder."""
        return uri_prefixes(folder)

    def exists(self, uri: str) -> bool:
        """Return whether a file or link still has this name, readable or not."""
        return uri_exists(uri)

    def folders_of(self, uri: str) -> list[str]:
        """Return the folders that hold a uri, the nearest first and its root last."""
        path = str(local_path(uri))
        root = _folder_around(path, self.roots)
        if root is None:
            return []
        folders = []
        while path != root:
            path = os.path.dirname(path)  # noqa: PTH120
            folder = to_uri(path)
            folders.append(folder)
        return folders

    def folder_state(self, folder: str) -> FolderState:
        """Return the state of a folder; one that cannot be read counts as filled."""
        path = local_path(folder)
        try:
            if not path.is_dir():
                return FolderState.MISSING
            is_filled = _holds_a_file(path)
        except OSError:
            is_filled = True
        if not is_filled:
            return FolderState.EMPTY
        return FolderState.FILLED

    def devices(self) -> dict[str, str]:
        """Return the file system of each root, and of each folder on another than its parent."""
        devices = {}
        for path, identity in self._walk.devices.items():
            folder = to_uri(path)
            devices[folder] = identity
        return devices

    def empty_error(self) -> SourceError:
        """Return the error for a source without images."""
        paths = ", ".join(self.paths) or "no path at all"
        extensions = " ".join(sorted(EXTENSIONS))
        return SourceError(
            f"There are no images under {paths}: looked for files ending in {extensions}. "
            "Name another folder, or --hidden to look into hidden ones."
        )

    def _new_walk(self) -> Walk:
        hidden, exclude = self._hidden, self._exclude
        return Walk(self.roots, hidden=hidden, exclude=exclude)

    def _items(self, walk: Walk) -> Iterator[Item]:
        for path in self._files:
            yield self._item(path, None)
        for path, problem in walk:
            if path in self._files:
                continue
            yield self._item(path, problem)

    def _item(self, path: str, problem: str | None) -> Item:
        """Return the Item of a path. `problem` is the reason if the walk could not read it."""
        uri = to_uri(path)
        label = self._label(path)
        if problem is not None:
            return unreadable_item(uri, label, ImageError(problem))
        try:
            status = os.stat(path)  # noqa: PTH116
            _check_readable(status)
        except (OSError, ImageError) as error:
            return unreadable_item(uri, label, error)

        # A file of size 0, in /proc for example, may be endless or block: it is never opened.
        read: Callable[[], bytes] = bytes
        if status.st_size:
            read = partial(_read_file, path, status.st_mtime_ns)
        mtime_ns = storable_time(status.st_mtime_ns)
        return Item(uri, status.st_size, mtime_ns, label, read)

    def _label(self, path: str) -> str | None:
        if self._labels == "none":
            return None
        return _folder_name(path)


def check_labels(labels: str) -> None:
    """Raise SourceError unless `labels` is one of `Labels`."""
    if labels not in ("folder", "none"):
        raise SourceError(
            f"labels = {labels!r} is not known; expected 'folder' or 'none'."
        )


def _is_inside(path: str, folder: str, separator: str = os.sep) -> bool:
    if path == folder:
        return False
    without_end = folder.rstrip(separator)
    start = without_end + separator
    return path.startswith(start)


def outermost(folders: Sequence[str], separator: str = os.sep) -> list[str]:
    """Return the folders that lie inside no other one."""
    chosen = []
    for folder in folders:
        enclosing = [other for other in folders if _is_inside(folder, other, separator)]
        if not enclosing:
            chosen.append(folder)
    return chosen


def _folder_around(path: str, folders: Sequence[str]) -> str | None:
    """Return the folder that a path lies in, or None."""
    for folder in folders:
        if _is_inside(path, folder):
            return folder
    return None


def _holds_a_file(folder: Path) -> bool:
    """Return whether there is anything but folders in a folder, at any depth."""
    for parent, subfolders, files in os.walk(folder, onerror=_reraise):
        if files:
            return True
        # A link to a folder is listed among the folders, and is not followed.
        for name in subfolders:
            if Path(parent, name).is_symlink():
                return True
    return False


def _reraise(error: OSError) -> NoReturn:
    raise error


def _folder_name(path: str) -> str | None:
    """Return the name of a file's folder as Unicode; invalid bytes become U+FFFD."""
    folder = os.path.dirname(path)  # noqa: PTH120
    name = os.path.basename(folder)  # noqa: PTH119
    name_bytes = os.fsencode(name)
    text = name_bytes.decode(errors="replace")
    return text or None


def _check_readable(status: os.stat_result) -> None:
    """Raise ImageError for a device, a pipe, or a file too large for an image."""
    is_regular = stat.S_ISREG(status.st_mode)
    if not is_regular:
        raise ImageError("not a regular file")
    size = status.st_size
    if size > MAX_FILE_BYTES:
        raise ImageError(f"the file has {size:,} bytes, more than any image")


def _read_file(path: str, mtime_ns: int) -> bytes:
    """Return a file's bytes, after waiting until a later write must leave another time."""
    wait_for_next_time(mtime_ns)
    file = Path(path)
    return file.read_bytes()


def unreadable_item(uri: str, label: str | None, error: Exception) -> Item:
    """Return an Item whose `read` fails. Its stamp never matches, so every run tries it again."""
    read = partial(_fail, error)
    return Item(uri, size=-1, mtime_ns=-1, label=label, read=read)


def _fail(error: Exception) -> NoReturn:
    raise error
