"""The files of a listing that are images to index, chosen by their names."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lookalike.formats import readable_extensions
from lookalike.sources.exclusion import (
    IGNORE_FILE,
    Exclusions,
    SkippedFiles,
    is_system_name,
)

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

__all__ = ["EXTENSIONS", "Selection", "extension_of", "kind_name", "select_file"]

# The endings of the images that are read; more with the extras installed.
EXTENSIONS = readable_extensions()

_LONGEST_KIND = 10
_TOP = "/"


def extension_of(name: str) -> str:
    """Return the extension of a file's name in lower case, with its full stop."""
    _, extension = posixpath.splitext(name)
    return extension.lower()


def select_file(name: str, *, is_excluded: bool, skipped: SkippedFiles) -> bool:
    """Return whether a file is an image of a source; count it among the skipped files if not."""
    extension = extension_of(name)
    is_image = extension in EXTENSIONS
    if is_excluded:
        skipped.excluded_files += is_image
        return False
    if not is_image and name != IGNORE_FILE:
        kind = kind_name(extension)
        skipped.other_kinds[kind] += 1
    return is_image


def kind_name(extension: str) -> str:
    """Return an extension as a kind to count; words after a full stop are none."""
    name = extension.removeprefix(".")
    is_short = len(name) <= _LONGEST_KIND
    if is_short and name.isalnum():
        return name
    return ""


@dataclass(frozen=True, slots=True)
class _FolderChoice:
    """Whether the files below a folder are left out.

    Attributes
    ----------
    path
        The folder as the rules see it, without a slash at its end.
    is_left_out
        Whether the folder, or one around it, is hidden, excluded or of the system.
    """

    path: str
    is_left_out: bool


class Selection:
    """Chooses images among files whose paths come from a listing, as in a bucket or on a hub.

    The rules are those of local folders: extensions, hidden names, system folders and the patterns
    of the command. Files of a folder should follow each other. Otherwise the folder's patterns are
    matched again, and an excluded folder is counted again.

    Parameters
    ----------
    hidden
        Whether to include files and folders whose names begin with a full stop.
    exclude
        Patterns of files and folders to leave out.

    Attributes
    ----------
    skipped
        The files and folders left out so far.
    """

    def __init__(self, *, hidden: bool, exclude: GitIgnoreSpec) -> None:
        self.skipped = SkippedFiles()
        self._hidden = hidden
        self._exclusions = Exclusions.below(_TOP, exclude)
        # The folders of the last path, the outermost first.
        self._open_folders: list[_FolderChoice] = []

    def includes(self, path: str) -> bool:
        """Return whether a file is an image to index.

        Parameters
        ----------
        path
            The path below the root; slashes separate its parts.
        """
        *folders, name = path.split("/")
        if self._is_below_left_out(folders):
            return False
        if self._is_hidden(name):
            return False
        full_path = _TOP + path
        is_excluded = self._is_excluded(name, full_path, is_folder=False)
        return select_file(name, is_excluded=is_excluded, skipped=self.skipped)

    def _is_below_left_out(self, folders: list[str]) -> bool:
        """Return whether one of nested folders is left out."""
        choices = self._open_folders
        path = ""
        for depth, name in enumerate(folders):
            path += _TOP + name
            is_known = depth < len(choices) and choices[depth].path == path
            if not is_known:
                del choices[depth:]
                is_left_out = self._leaves_out_folder(name, path)
                choices.append(_FolderChoice(path, is_left_out))
            if choices[depth].is_left_out:
                return True
        return False

    def _leaves_out_folder(self, name: str, path: str) -> bool:
        if self._is_hidden(name):
            return True
        is_excluded = self._is_excluded(name, path, is_folder=True)
        self.skipped.excluded_folders += is_excluded
        return is_excluded

    def _is_hidden(self, name: str) -> bool:
        return name.startswith(".") and not self._hidden

    def _is_excluded(self, name: str, path: str, *, is_folder: bool) -> bool:
        if is_system_name(name):
            return True
        return self._exclusions.excludes(path, is_folder=is_folder)
