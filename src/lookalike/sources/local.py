"""Where images come from: folders, files and lists of them, as a stream of Items."""

from __future__ import annotations

import copy
import os
import stat
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import unquote_to_bytes, urlsplit

from lookalike.errors import ImageError, SourceError
from lookalike.types import Item

__all__ = ["EXTENSIONS", "Labels", "Scan", "from_uri", "prefixes", "to_uri"]

EXTENSIONS = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".gif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
    }
    | {".avif", ".avifs", ".heic", ".heif", ".hif"}
)

# File systems keep time in steps: two writes within one leave the same time. Linux's are of 10 ms at the most.
_STEP = 0.02

Labels = Literal["folder", "none"]

# The most bytes that are read at once: twice what the largest picture takes that is decoded, uncompressed.
_LARGEST = 1 << 31


def to_uri(path: str | os.PathLike[str]) -> str:
    """Return the identity of a local file: its absolute path, or a ``file://`` URI where that is not Unicode."""
    absolute = os.path.abspath(path)  # noqa: PTH100 (Path.resolve would follow links: identity is the name given)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return Path(absolute).as_uri()
    return absolute


def from_uri(uri: str) -> Path:
    """Return the local path that `to_uri` named."""
    if uri.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(urlsplit(uri).path)))
    return Path(uri)


def prefixes(folder: str | os.PathLike[str]) -> list[str]:
    """Return what the uris of the files under a folder begin with: as paths, and as ``file://`` URIs."""
    plain = os.path.abspath(folder).rstrip(os.sep) + os.sep  # noqa: PTH100
    quoted = Path(plain).as_uri().rstrip("/") + "/"
    return [quoted] if to_uri(plain).startswith("file://") else [plain, quoted]


@dataclass(slots=True)
class _Found:
    """A file that a walk came upon, not yet looked at."""

    path: str
    problem: str | None = None


class Scan:
    """The images under some paths, each once, in a fixed order.

    Parameters
    ----------
    paths
        Folders (searched to any depth, for files with an image's extension), single files (any extension), and
        ``@list.txt``: a file with one such path a line, UTF-8.
    labels
        ``folder`` labels an image with the name of the folder it lies in; ``none`` leaves it unlabelled.
    hidden
        Whether files and folders whose name begins with a full stop are taken too.

    Raises
    ------
    SourceError
        If a path does not exist.

    Attributes
    ----------
    paths
        What was asked for, as absolute paths.
    roots
        The folders searched.
    found
        How many files each root held, once the stream has ended.
    unread
        The reason for each root that could not be read to its end, once the stream has ended.
    dangling
        Links met that lead nowhere, once the stream has ended: perhaps to folders on a drive that is not mounted.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        labels: Labels = "folder",
        hidden: bool = False,
    ) -> None:
        if labels not in ("folder", "none"):
            raise SourceError(f"labels = {labels!r} is not known; expected 'folder' or 'none'.")
        self._labels = labels
        self._hidden = hidden
        folders, files = _sort_out(paths)
        self.paths = [*folders, *files]
        self.roots = [
            root for root in folders if not any(_inside(root, other) for other in folders)
        ]
        self._files = [file for file in files if not self._covered(file)]
        self.found = dict.fromkeys(self.roots, 0)
        self.unread: dict[str, str] = {}
        self.dangling: list[str] = []

    def __iter__(self) -> Iterator[Item]:
        return (self._item(found) for found in self._walk())

    def count(self) -> int:
        """Return how many Items the stream will have, by a walk that opens nothing."""
        # On a copy, so that what a stream of this Scan has found and left unread stands.
        return sum(1 for _ in copy.copy(self)._walk())

    def _covered(self, file: str) -> bool:
        """Tell whether a walk of the roots meets the file anyway."""
        for root in self.roots:
            if _inside(file, root):
                inner = Path(file).relative_to(root).parts
                return _is_image(file) and (
                    self._hidden or not any(part.startswith(".") for part in inner)
                )
        return False

    def _walk(self) -> Iterator[_Found]:
        self.found = dict.fromkeys(self.roots, 0)
        self.unread, self.dangling = {}, []
        yield from map(_Found, self._files)
        visited: set[tuple[int, int]] = set()
        linked: deque[tuple[str, str]] = deque()
        for root in self.roots:
            yield from self._descend(root, root, visited, linked)
        # Linked folders come last, so that a picture reachable both ways is met under its real name.
        while linked:
            yield from self._descend(*linked.popleft(), visited, linked)

    def _descend(
        self, root: str, top: str, visited: set[tuple[int, int]], linked: deque[tuple[str, str]]
    ) -> Iterator[_Found]:
        pending = [top]
        while pending:
            folder = pending.pop()
            try:
                status = os.stat(folder)  # noqa: PTH116 (strings throughout: a Path an entry doubles the walk's time)
                if (status.st_dev, status.st_ino) in visited:
                    continue
                visited.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                self.unread[root] = f"{folder}: {error.strerror or error}"
                yield _Found(folder, f"the folder cannot be read: {error.strerror or error}")
                continue
            inner = []
            for entry in entries:
                if not self._hidden and entry.name.startswith("."):
                    continue
                if not _is_folder(entry):
                    if _is_image(entry.name):
                        self.found[root] += 1
                        yield _Found(entry.path)
                    elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
                        self.dangling.append(entry.path)
                elif entry.is_symlink():
                    linked.append((root, entry.path))
                else:
                    inner.append(entry.path)
            pending += reversed(inner)

    def _item(self, found: _Found) -> Item:
        path = found.path
        label = _folder_name(path) if self._labels == "folder" else None
        uri = to_uri(path)
        if found.problem is not None:
            return _unreadable(uri, label, ImageError(found.problem))
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError as error:
            return _unreadable(uri, label, error)
        if not stat.S_ISREG(status.st_mode):
            return _unreadable(uri, label, ImageError("not a regular file"))
        if status.st_size > _LARGEST:
            return _unreadable(
                uri,
                label,
                ImageError(f"the file has {status.st_size:,} bytes, more than any image"),
            )
        # What the system shows as empty files (in /proc, say) may have no end, or wait for ever.
        read = partial(_read, path, status.st_mtime_ns) if status.st_size else bytes
        return Item(uri, status.st_size, status.st_mtime_ns, label, read)


def _sort_out(paths: Sequence[str | os.PathLike[str]]) -> tuple[list[str], list[str]]:
    """Return the absolute folders and files that the user named, lists opened, doubles dropped."""
    folders: dict[str, None] = {}
    files: dict[str, None] = {}
    for given in _open_lists(paths):
        path = os.path.abspath(os.path.expanduser(given))  # noqa: PTH100, PTH111
        if os.path.isdir(path):  # noqa: PTH112
            folders[path] = None
        else:
            files[path] = None
    return list(folders), list(files)


def _open_lists(paths: Sequence[str | os.PathLike[str]]) -> Iterator[str]:
    for given in (os.fspath(path) for path in paths):
        if given.startswith("@"):
            yield from _read_list(Path(given[1:]).expanduser())
        elif os.path.lexists(os.path.expanduser(given)):  # noqa: PTH111
            yield given
        else:
            raise SourceError(
                f"There is no file or folder {given!r}. Check the spelling, or mount the drive it is on."
            )


def _read_list(path: Path) -> Iterator[str]:
    """Yield a list's lines. A file it names that is gone is not an error here: it is reported as one bad image."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceError(f"The list {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"The list {path} is not UTF-8 text ({error.reason}). Expected one path a line."
        ) from error
    if "\0" in text:
        raise SourceError(
            f"The list {path} holds NUL characters. Expected one path a line, as `find -print` gives."
        )
    yield from (line for line in text.split("\n") if line.strip())


def _inside(path: str, folder: str) -> bool:
    return path != folder and path.startswith(folder.rstrip(os.sep) + os.sep)


def _folder_name(path: str) -> str | None:
    """Return the name of the folder a file lies in, as Unicode: bytes that are none become U+FFFD."""
    name = os.path.basename(os.path.dirname(path))  # noqa: PTH119, PTH120
    return os.fsencode(name).decode(errors="replace") or None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122


def _read(path: str, mtime_ns: int) -> bytes:
    """Return a file's bytes, once a write after them would leave another time than `mtime_ns`."""
    left = mtime_ns / 1e9 + _STEP - time.time()
    if 0 < left <= 2 * _STEP:
        time.sleep(left)
    return Path(path).read_bytes()


def _unreadable(uri: str, label: str | None, error: Exception) -> Item:
    """Return an Item whose reading fails with `error`: its stamp never matches, so every run tries again."""

    def read() -> bytes:
        raise error

    return Item(uri, -1, -1, label, read)
