"""Open the source that a user's paths name, whatever their kinds."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple, Protocol, Unpack, cast

from lookalike.sources.base import Source
from lookalike.sources.combined import CombinedSource
from lookalike.sources.local import LocalOptions, LocalSource

__all__ = ["SOURCE_KINDS", "SourceKind", "open_source"]


class _Opener(Protocol):
    """Makes the source of all paths of one kind."""

    def __call__(
        self, paths: Sequence[str], **options: Unpack[LocalOptions]
    ) -> Source: ...


class SourceKind(NamedTuple):
    """A kind of source beside local folders, files and lists.

    Attributes
    ----------
    prefixes, suffixes
        How a path of this kind begins or ends, in lower case. A folder is never of a kind that is
        recognized by its end.
    module
        The module with a function ``open_paths(paths, **options)`` that returns the source. It is
        imported when the first path of the kind is opened.
    """

    prefixes: tuple[str, ...]
    suffixes: tuple[str, ...]
    module: str

    def includes(self, path: str) -> bool:
        """Return whether a path is of this kind."""
        lowered = path.lower()
        if self.prefixes and lowered.startswith(self.prefixes):
            return True
        is_folder = os.path.isdir(path)  # noqa: PTH112
        return bool(self.suffixes) and lowered.endswith(self.suffixes) and not is_folder


# The first kind that includes a path opens it.
SOURCE_KINDS: list[SourceKind] = []


def open_source(
    paths: Sequence[str | os.PathLike[str]], **options: Unpack[LocalOptions]
) -> Source:
    """Return one source for paths of any kinds.

    Parameters
    ----------
    paths
        What `LocalSource` takes, and paths of `SOURCE_KINDS`.
    options
        `labels`, `hidden` and `exclude` of `LocalSource`.

    Raises
    ------
    SourceError
        If a path does not exist or cannot be used, or an option is invalid.
    """
    local_paths: list[str] = []
    paths_by_module: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        name = os.fspath(path)
        kind = _kind_of(name)
        if kind is None:
            local_paths.append(name)
        else:
            paths_by_module[kind.module].append(name)

    sources: list[Source] = []
    if local_paths or not paths_by_module:
        sources.append(LocalSource(local_paths, **options))
    for module, paths_of_kind in paths_by_module.items():
        open_paths = cast(_Opener, import_module(module).open_paths)
        sources.append(open_paths(paths_of_kind, **options))
    if len(sources) == 1:
        return sources[0]
    return CombinedSource(sources)


def _kind_of(path: str) -> SourceKind | None:
    for kind in SOURCE_KINDS:
        if kind.includes(path):
            return kind
    return None
