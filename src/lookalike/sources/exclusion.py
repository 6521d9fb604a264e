"""The files and folders that a walk leaves out, by their names and by patterns."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike.errors import SourceError
from lookalike.io.reasons import system_reason

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

__all__ = [
    "IGNORE_FILE",
    "Exclusions",
    "SkippedFiles",
    "is_system_name",
    "parse_patterns",
]

IGNORE_FILE = ".lookalikeignore"

# Folders that operating systems and storage devices fill for themselves: thumbnails, recycle bins,
# recovered fragments. AppleDouble files (._*) hold no image, whatever their extension.
_SYSTEM_NAMES = re.compile(
    r"@eaDir|#recycle|\$RECYCLE\.BIN|\.Trash.*|lost\+found|System Volume Information"
    r"|__MACOSX|\._.*",
    re.IGNORECASE,
)


def is_system_name(name: str) -> bool:
    """Return whether a file or folder belongs to the system rather than to a person."""
    match = _SYSTEM_NAMES.fullmatch(name)
    return match is not None


@dataclass(slots=True)
class SkippedFiles:
    """The files, folders and rows that an iteration over a source left out.

    Attributes
    ----------
    other_kinds
        The number of files that are not images, by their extension in lower case without the dot;
        files without an extension count under an empty string. In archives, links, devices, and
        members that a later one of their name replaces count under ``link``, ``device`` and
        ``replaced``.
    excluded_files, excluded_folders
        Images and folders that a pattern excludes, or that belong to the system. The files below
        such a folder are not counted.
    null_images
        The rows of tables without an image.
    """

    other_kinds: Counter[str] = field(default_factory=Counter)
    excluded_files: int = 0
    excluded_folders: int = 0
    null_images: int = 0

    def add(self, other: SkippedFiles) -> None:
        """Add the numbers of another iteration."""
        self.other_kinds.update(other.other_kinds)
        self.excluded_files += other.excluded_files
        self.excluded_folders += other.excluded_folders
        self.null_images += other.null_images


@dataclass(frozen=True, slots=True)
class _PatternList:
    """Patterns in gitignore syntax, and the folder that their paths start from."""

    folder: str
    spec: GitIgnoreSpec

    def verdict(self, path: str, *, is_folder: bool) -> bool | None:
        """Return whether the last pattern that matches excludes a path; None without a match."""
        relative = os.path.relpath(path, self.folder)
        if is_folder:
            # A slash at the end is what patterns of folders match.
            relative += "/"
        spec = self.spec
        result = spec.check_file(relative)
        return result.include


@dataclass(frozen=True, slots=True)
class Exclusions:
    """The patterns that hold in one folder.

    The first list with a matching pattern decides, and in it the last matching pattern.

    Attributes
    ----------
    given
        The patterns of the command, whose paths start from the root.
    ignore_files
        Those of the ``.lookalikeignore`` file of the folder itself, and of the folders above it.
    """

    given: tuple[_PatternList, ...] = ()
    ignore_files: tuple[_PatternList, ...] = ()

    @classmethod
    def below(cls, root: str, spec: GitIgnoreSpec) -> Exclusions:
        """Return the patterns of the command, as they hold at a root."""
        if not len(spec):
            return cls()
        patterns = _PatternList(root, spec)
        return cls(given=(patterns,))

    def inside(self, folder: str) -> Exclusions:
        """Return the patterns that hold in a folder with an ignore file of its own.

        Raises
        ------
        SourceError
            If the file cannot be read, or a pattern in it is invalid.
        """
        path = Path(folder, IGNORE_FILE)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            reason = system_reason(error)
            raise SourceError(f"{IGNORE_FILE} cannot be read: {reason}") from error
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{IGNORE_FILE} is not UTF-8 text ({error.reason})"
            ) from error

        lines = text.splitlines()
        spec = parse_patterns(lines, IGNORE_FILE)
        own = _PatternList(folder, spec)
        ignore_files = (own, *self.ignore_files)
        return Exclusions(self.given, ignore_files)

    def excludes(self, path: str, *, is_folder: bool) -> bool:
        """Return whether a pattern excludes a file or folder of this folder."""
        lists = (*self.given, *self.ignore_files)
        for patterns in lists:
            verdict = patterns.verdict(path, is_folder=is_folder)
            if verdict is not None:
                return verdict
        return False


def parse_patterns(patterns: Sequence[str], place: str) -> GitIgnoreSpec:
    """Return patterns in gitignore syntax, ready to match.

    Raises
    ------
    SourceError
        If a pattern is invalid. The message names `place`, where the patterns come from.
    """
    # A search looks through no folder: it does without.
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(patterns)
    except (ValueError, re.error) as error:
        raise SourceError(
            f"{place} holds an invalid pattern ({error}). Expected gitignore syntax, such as "
            "'*.gif' or 'drafts/'."
        ) from error
