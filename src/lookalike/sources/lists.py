"""The folders and files that a user names, among them lists such as ``@list.txt``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lookalike.errors import SourceError
from lookalike.io.reasons import system_reason
from lookalike.sources.uris import can_read, is_address

__all__ = ["NamedPaths", "expand_lists", "split_paths"]

_STANDARD_INPUT = "@-"


class NamedPaths(NamedTuple):
    """The paths and addresses that a user named.

    Attributes
    ----------
    given
        Those that are arguments. Paths must exist.
    listed
        Those that lists name. A missing one is a bad image, and no reason to stop.
    """

    given: list[str]
    listed: list[str]


def expand_lists(paths: Sequence[str | os.PathLike[str]]) -> NamedPaths:
    """Return the paths with ``~`` expanded, and those of lists such as ``@list.txt``.

    Raises
    ------
    SourceError
        If a list cannot be read, or if it names paths of which none exists.
    """
    named = NamedPaths([], [])
    for path in paths:
        name = os.fspath(path)
        expanded = os.path.expanduser(name)  # noqa: PTH111
        # A file or folder may itself be named @something.
        if os.path.lexists(expanded):
            named.given.append(expanded)
        elif name == _STANDARD_INPUT:
            named.listed.extend(_paths_of_standard_input())
        elif name.startswith("@"):
            list_path = Path(name[1:]).expanduser()
            named.listed.extend(_paths_of_list(list_path))
        else:
            named.given.append(name)
    return named


def split_paths(named: NamedPaths) -> tuple[list[str], list[str]]:
    """Return the absolute folders and files among local paths, each once.

    Raises
    ------
    SourceError
        If a given path does not exist.
    """
    for name in named.given:
        _require_path(name)
    folders: dict[str, None] = {}
    files: dict[str, None] = {}
    for name in (*named.given, *named.listed):
        path = os.path.abspath(name)  # noqa: PTH100
        is_folder = os.path.isdir(path)  # noqa: PTH112
        if is_folder:
            folders[path] = None
        else:
            files[path] = None
    return list(folders), list(files)


def _require_path(name: str) -> None:
    if os.path.lexists(name):
        return
    if is_address(name) or not can_read(name):
        raise SourceError(
            f"{name!r} is an address that is not fetched. "
            "Download the images, and name their folder."
        )
    raise SourceError(
        f"There is no file or folder {name!r}. "
        "Check the spelling, or mount the drive it is on."
    )


def _paths_of_standard_input() -> list[str]:
    place = "on standard input"
    content = sys.stdin.buffer.read()
    paths = []
    for line in _lines(content, place):
        path = _expand(line)
        paths.append(path)
    return _require_existing(paths, place)


def _paths_of_list(list_path: Path) -> list[str]:
    try:
        content = list_path.read_bytes()
    except OSError as error:
        reason = system_reason(error)
        raise SourceError(f"The list {list_path} cannot be read: {reason}.") from error

    place = str(list_path)
    paths = []
    for line in _lines(content, place):
        path = _expand(line)
        if not is_address(path) and not os.path.lexists(path):
            beside_list = os.path.join(list_path.parent, path)  # noqa: PTH118
            if os.path.lexists(beside_list):
                path = beside_list
        paths.append(path)
    return _require_existing(paths, place)


def _lines(content: bytes, place: str) -> Iterator[str]:
    """Yield the lines of a list that are not blank."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"The list {place} is not UTF-8 text ({error.reason}). "
            "Expected one path or address a line."
        ) from error
    if "\0" in text:
        raise SourceError(
            f"The list {place} holds NUL characters. "
            "Expected one path a line, as `find -print` gives."
        )
    for line in text.split("\n"):
        if line.strip():
            yield line


def _expand(line: str) -> str:
    """Return the path of a line, without the carriage return that Windows writes at its end.

    An address has no spaces around it either.
    """
    stripped = line.strip()
    if is_address(stripped):
        return stripped
    path = os.path.expanduser(line)  # noqa: PTH111
    without_return = path.removesuffix("\r")
    if os.path.lexists(path):
        return path
    return without_return


def _require_existing(paths: list[str], place: str) -> list[str]:
    """Return the paths, unless all are missing. A single missing path is one bad image."""
    for path in paths:
        if is_address(path) or os.path.lexists(path):
            return paths
    if paths:
        first = paths[0]
        raise SourceError(
            f"The list {place} names no existing path; its first one is {first!r}. "
            "Relative paths start from the current folder, or from the folder of the list."
        )
    return paths
