"""Local folders, files and lists of them, as a stream of Items."""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NoReturn

from lookalike.errors import ImageError, SourceError
from lookalike.sources.base import FolderState
from lookalike.sources.uris import local_path, to_uri, uri_exists, uri_prefixes
from lookalike.types import Item

__all__ = ["EXTENSIONS", "Labels", "LocalSource"]

Labels = Literal["folder", "none"]

_JPEG = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"}
_PNG = {".png", ".apng"}
_BITMAP = {".bmp", ".dib", ".tif", ".tiff", ".gif", ".webp"}
_HEIF = {".avif", ".avifs", ".heic", ".heif", ".hif"}

EXTENSIONS = frozenset(_JPEG | _PNG | _BITMAP | _HEIF)

# Two writes within one step of a file system's clock leave the same time. Linux has steps of at
# most 10 ms.
_CLOCK_STEP = 0.02

# The largest file that is read: twice the size of the largest decodable image without compression.
_MAX_FILE_BYTES = 1 << 31


class LocalSource:
    """The images under some paths, each once, in a fixed order.

    Parameters
    ----------
    paths
        Folders (searched to any depth, for files with an image's extension), single files (any
        extension), and ``@list.txt``: a UTF-8 file with one such path per line.
    labels
        ``folder`` labels an image with the name of its folder; ``none`` leaves it unlabeled.
    hidden
        Whether to include files and folders whose names begin with a full stop.

    Raises
    ------
    SourceError
        If a path does not exist.

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
    ) -> None:
        if labels not in ("folder", "none"):
            raise SourceError(
                f"labels = {labels!r} is not known; expected 'folder' or 'none'."
            )
        self._labels = labels
        self._hidden = hidden
        folders, files = _split_paths(paths)
        self.paths = [*folders, *files]
        self.roots = _outermost(folders)
        self._walk = self._new_walk()
        self._files: list[str] = []
        for file in files:
            if not self._walk_meets(file):
                self._files.append(file)

    def __iter__(self) -> Iterator[Item]:
        walk = self._new_walk()
        self._walk = walk
        return self._items(walk)

    def count(self) -> int:
        """Return the number of Items, by a walk of its own that opens no file."""
        count = len(self._files)
        for _ in self._new_walk():
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
        """Return the links that lead nowhere, perhaps to folders of a drive that is not mounted."""
        return self._walk.broken_links

    def prefixes(self, root: str) -> list[str]:
        """Return the strings that start the uris of all files below a folder."""
        return uri_prefixes(root)

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
        return FolderState.FILLED if is_filled else FolderState.EMPTY

    def devices(self) -> dict[str, str]:
        """Return the file system of each root, and of each folder on another than its parent."""
        devices = self._walk.devices
        return {to_uri(path): identity for path, identity in devices.items()}

    def empty_error(self) -> SourceError:
        """Return the error for a source without images."""
        paths = ", ".join(self.paths) or "no path at all"
        extensions = " ".join(sorted(EXTENSIONS))
        return SourceError(
            f"There are no images under {paths}: looked for files ending in {extensions}. "
            "Name another folder, or --hidden to look into hidden ones."
        )

    def _new_walk(self) -> _Walk:
        return _Walk(self.roots, hidden=self._hidden)

    def _items(self, walk: _Walk) -> Iterator[Item]:
        for path in self._files:
            yield self._item(path, None)
        for path, problem in walk:
            yield self._item(path, problem)

    def _item(self, path: str, problem: str | None) -> Item:
        """Return the Item of a path. `problem` is the reason if the walk could not read it."""
        uri = to_uri(path)
        label = self._label(path)
        if problem is not None:
            return _unreadable_item(uri, label, ImageError(problem))
        try:
            status = os.stat(path)  # noqa: PTH116
            _check_readable(status)
        except (OSError, ImageError) as error:
            return _unreadable_item(uri, label, error)

        size = status.st_size
        mtime_ns = status.st_mtime_ns
        # A file of size 0, in /proc for example, may be endless or block: it is never opened.
        read: Callable[[], bytes] = bytes
        if size:
            read = partial(_read, path, mtime_ns)
        return Item(uri, size, mtime_ns, label, read)

    def _label(self, path: str) -> str | None:
        if self._labels == "none":
            return None
        return _folder_name(path)

    def _walk_meets(self, file: str) -> bool:
        """Return whether the walk of the roots yields a file that was also named by itself."""
        for root in self.roots:
            if not _is_inside(file, root):
                continue
            if not _is_image(file):
                return False
            if self._hidden:
                return True
            parts = Path(file).relative_to(root).parts
            return not any(part.startswith(".") for part in parts)
        return False


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to list.

    Attributes
    ----------
    path
        Its path.
    root
        The root below which the walk reached it.
    parent_device
        The device number of its parent; None for a root.
    """

    path: str
    root: str
    parent_device: int | None = None


class _Walk:
    """One pass over folders that yields each image file and each folder that cannot be read.

    Each path comes with the reason if it cannot be read. Paths are strings throughout, because a
    Path object for each entry doubles the time.
    """

    def __init__(self, roots: Sequence[str], *, hidden: bool) -> None:
        self.file_counts = dict.fromkeys(roots, 0)
        self.unreadable_roots: dict[str, str] = {}
        self.broken_links: list[str] = []
        self.devices: dict[str, str] = {}
        self._hidden = hidden
        # Device and inode of each folder, so that links cannot lead in circles.
        self._visited: set[tuple[int, int]] = set()
        # The roots, then the linked folders that the walk meets. Links come last, so that an image
        # reachable both ways has its real name.
        self._waiting: deque[_Folder] = deque()
        for root in self.file_counts:
            top = _Folder(root, root)
            self._waiting.append(top)

    def __iter__(self) -> Iterator[tuple[str, str | None]]:
        while self._waiting:
            folder = self._waiting.popleft()
            yield from self._descend(folder)

    def _descend(self, top: _Folder) -> Iterator[tuple[str, str | None]]:
        """Walk one folder and its subfolders, depth first and by name. Linked folders wait."""
        pending = [top]
        while pending:
            folder = pending.pop()
            path = folder.path
            try:
                status = os.stat(path)  # noqa: PTH116
                entries = self._list(path, status)
            except OSError as error:
                reason = error.strerror or str(error)
                self.unreadable_roots[top.root] = f"{path}: {reason}"
                problem = f"the folder cannot be read: {reason}"
                yield path, problem
                continue

            device = status.st_dev
            if device != folder.parent_device:
                self.devices[path] = _file_system(path, device)
            subfolders = []
            for entry in entries:
                is_hidden = entry.name.startswith(".")
                if is_hidden and not self._hidden:
                    continue
                if not _is_folder(entry):
                    if _is_image(entry.name):
                        self.file_counts[top.root] += 1
                        yield entry.path, None
                    elif _is_broken_link(entry):
                        self.broken_links.append(entry.path)
                    continue
                subfolder = _Folder(entry.path, top.root, device)
                if entry.is_symlink():
                    self._waiting.append(subfolder)
                else:
                    subfolders.append(subfolder)
            # The last one is popped first.
            pending += reversed(subfolders)

    def _list(self, folder: str, status: os.stat_result) -> list[os.DirEntry[str]]:
        """Return the entries of a folder by name; none if the folder was listed before."""
        identity = (status.st_dev, status.st_ino)
        if identity in self._visited:
            return []
        self._visited.add(identity)
        with os.scandir(folder) as listing:
            entries = list(listing)
        entries.sort(key=_entry_name)
        return entries


def _split_paths(
    paths: Sequence[str | os.PathLike[str]],
) -> tuple[list[str], list[str]]:
    """Return the absolute folders and files that the user named, each once, with lists read."""
    folders: dict[str, None] = {}
    files: dict[str, None] = {}
    for name in _expand_lists(paths):
        expanded = os.path.expanduser(name)  # noqa: PTH111
        path = os.path.abspath(expanded)  # noqa: PTH100
        if os.path.isdir(path):  # noqa: PTH112
            folders[path] = None
        else:
            files[path] = None
    return list(folders), list(files)


def _expand_lists(paths: Sequence[str | os.PathLike[str]]) -> Iterator[str]:
    for path in paths:
        name = os.fspath(path)
        if name.startswith("@"):
            yield from _read_list(Path(name[1:]).expanduser())
        elif os.path.lexists(os.path.expanduser(name)):  # noqa: PTH111
            yield name
        else:
            raise SourceError(
                f"There is no file or folder {name!r}. "
                "Check the spelling, or mount the drive it is on."
            )


def _read_list(path: Path) -> Iterator[str]:
    """Yield the lines of a list. A missing file in it is not an error here, but one bad image."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or error
        raise SourceError(f"The list {path} cannot be read: {reason}.") from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"The list {path} is not UTF-8 text ({error.reason}). Expected one path a line."
        ) from error
    if "\0" in text:
        raise SourceError(
            f"The list {path} holds NUL characters. "
            "Expected one path a line, as `find -print` gives."
        )
    for line in text.split("\n"):
        if line.strip():
            yield line


def _is_inside(path: str, folder: str) -> bool:
    if path == folder:
        return False
    without_end = folder.rstrip(os.sep)
    start = without_end + os.sep
    return path.startswith(start)


def _outermost(folders: Sequence[str]) -> list[str]:
    """Return the folders that lie inside no other one."""
    outermost = []
    for folder in folders:
        enclosing = [other for other in folders if _is_inside(folder, other)]
        if not enclosing:
            outermost.append(folder)
    return outermost


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


def _file_system(path: str, device: int) -> str:
    """Return an identity of the file system of a folder.

    The number of a device may be given to another drive later, so the identity includes the id of
    the file system, where the system has it.
    """
    file_system_id = 0
    # Windows has no statvfs; a network share may refuse it.
    with suppress(AttributeError, OSError):
        file_system_id = os.statvfs(path).f_fsid
    return f"{device:x}-{file_system_id:x}"


def _folder_name(path: str) -> str | None:
    """Return the name of a file's folder as Unicode; invalid bytes become U+FFFD."""
    folder = os.path.dirname(path)  # noqa: PTH120
    name = os.path.basename(folder)  # noqa: PTH119
    name_bytes = os.fsencode(name)
    text = name_bytes.decode(errors="replace")
    return text or None


def _entry_name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_broken_link(entry: os.DirEntry[str]) -> bool:
    if not entry.is_symlink():
        return False
    target_exists = os.path.exists(entry.path)  # noqa: PTH110
    return not target_exists


def _is_image(name: str) -> bool:
    _, extension = os.path.splitext(name)  # noqa: PTH122
    lowered = extension.lower()
    return lowered in EXTENSIONS


def _check_readable(status: os.stat_result) -> None:
    """Raise ImageError for a device, a pipe, or a file too large for an image."""
    is_regular = stat.S_ISREG(status.st_mode)
    if not is_regular:
        raise ImageError("not a regular file")
    size = status.st_size
    if size > _MAX_FILE_BYTES:
        raise ImageError(f"the file has {size:,} bytes, more than any image")


def _read(path: str, mtime_ns: int) -> bytes:
    """Return a file's bytes, after waiting until a later write must leave another time."""
    mtime = mtime_ns / 1e9
    next_step = mtime + _CLOCK_STEP
    wait = next_step - time.time()
    # A longer wait means that the file's time lies in the future: no wait would help.
    longest_wait = 2 * _CLOCK_STEP
    if 0 < wait <= longest_wait:
        time.sleep(wait)
    return Path(path).read_bytes()


def _unreadable_item(uri: str, label: str | None, error: Exception) -> Item:
    """Return an Item whose `read` fails. Its stamp never matches, so every run tries it again."""
    read = partial(_fail, error)
    return Item(uri, size=-1, mtime_ns=-1, label=label, read=read)


def _fail(error: Exception) -> NoReturn:
    raise error
