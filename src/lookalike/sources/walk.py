"""A walk over folders that yields each image file once, in a fixed order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lookalike.errors import SourceError
from lookalike.io.reasons import system_reason
from lookalike.sources.exclusion import (
    IGNORE_FILE,
    Exclusions,
    SkippedFiles,
    is_system_name,
)
from lookalike.sources.selection import EXTENSIONS, extension_of, select_file

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

__all__ = ["Walk"]


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to list.

    Attributes
    ----------
    path, root
        The folder, and the root below which the walk reached it.
    exclusions
        The patterns that hold in the folder that contains it.
    parent_device
        The device number of the folder that contains it; None for a root.
    """

    path: str
    root: str
    exclusions: Exclusions
    parent_device: int | None = None


class Walk:
    """One pass over folders that yields each image file and each folder that cannot be read.

    Each path comes with the reason if it cannot be read. Paths are strings throughout, because a
    Path object for each entry doubles the time.

    Parameters
    ----------
    roots
        The folders to search.
    hidden
        Whether to include files and folders whose names begin with a full stop.
    exclude
        Patterns of files and folders to leave out, as seen from each root.

    Attributes
    ----------
    file_counts
        The number of images met so far, by root.
    unreadable_roots
        The roots with a folder that could not be read, each with the reason.
    broken_links
        Links that lead nowhere, perhaps to folders of a drive that is not mounted.
    devices
        The file system of each root, and of each folder on another one than its parent, by path.
    skipped
        The files and folders left out so far.
    """

    def __init__(
        self, roots: Sequence[str], *, hidden: bool, exclude: GitIgnoreSpec
    ) -> None:
        self.file_counts = dict.fromkeys(roots, 0)
        self.unreadable_roots: dict[str, str] = {}
        self.broken_links: list[str] = []
        self.devices: dict[str, str] = {}
        self.skipped = SkippedFiles()
        self._hidden = hidden
        # Device and inode of each folder, so that links cannot lead in circles.
        self._visited: set[tuple[int, int]] = set()
        # The roots, then the linked folders that the walk meets. Links come last, so that an image
        # reachable both ways has its real name.
        self._waiting: deque[_Folder] = deque()
        for root in self.file_counts:
            exclusions = Exclusions.below(root, exclude)
            top = _Folder(root, root, exclusions)
            self._waiting.append(top)

    def __iter__(self) -> Iterator[tuple[str, str | None]]:
        while self._waiting:
            top = self._waiting.popleft()
            yield from self._descend(top)

    def _descend(self, top: _Folder) -> Iterator[tuple[str, str | None]]:
        """Walk one folder and its subfolders, depth first and by name. Linked folders wait."""
        pending = [top]
        while pending:
            folder = pending.pop()
            try:
                status = os.stat(folder.path)  # noqa: PTH116
                entries = self._list(folder.path, status)
                exclusions = _exclusions_inside(folder, entries)
            except (OSError, SourceError) as error:
                reason = system_reason(error)
                self.unreadable_roots[folder.root] = f"{folder.path}: {reason}"
                problem = f"the folder cannot be read: {reason}"
                yield folder.path, problem
                continue

            device = status.st_dev
            if device != folder.parent_device:
                self.devices[folder.path] = _file_system(folder.path, device)
            subfolders: list[_Folder] = []
            for entry in entries:
                is_hidden = entry.name.startswith(".")
                if is_hidden and not self._hidden:
                    continue
                if not _is_folder(entry):
                    if self._meets_image(entry, exclusions):
                        self.file_counts[folder.root] += 1
                        yield entry.path, None
                elif _is_excluded(entry, exclusions, is_folder=True):
                    self.skipped.excluded_folders += 1
                else:
                    subfolder = _Folder(entry.path, folder.root, exclusions, device)
                    queue = self._waiting if entry.is_symlink() else subfolders
                    queue.append(subfolder)
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

    def _meets_image(self, entry: os.DirEntry[str], exclusions: Exclusions) -> bool:
        """Return whether a file is an image of the walk; count it among the skipped if not."""
        is_image = extension_of(entry.name) in EXTENSIONS
        # Whatever a broken link is named, rows below it must not be taken for missing.
        if not is_image and _is_broken_link(entry):
            self.broken_links.append(entry.path)
            return False
        is_excluded = _is_excluded(entry, exclusions, is_folder=False)
        return select_file(entry.name, is_excluded=is_excluded, skipped=self.skipped)


def _exclusions_inside(
    folder: _Folder, entries: Sequence[os.DirEntry[str]]
) -> Exclusions:
    """Return the patterns that hold for the entries of a folder."""
    for entry in entries:
        if entry.name == IGNORE_FILE:
            return folder.exclusions.inside(folder.path)
    return folder.exclusions


def _is_excluded(
    entry: os.DirEntry[str], exclusions: Exclusions, *, is_folder: bool
) -> bool:
    if is_system_name(entry.name):
        return True
    return exclusions.excludes(entry.path, is_folder=is_folder)


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
