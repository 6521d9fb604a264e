"""Open the source that a user's paths name, whatever their kinds."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Container, Sequence
from importlib import import_module
from typing import NamedTuple, Protocol, Unpack, cast

from lookalike.sources.base import Source
from lookalike.sources.combined import CombinedSource
from lookalike.sources.containers import STORE_MODULES
from lookalike.sources.lists import NamedPaths, expand_lists
from lookalike.sources.local import LocalOptions, LocalSource

# Archives of the other kinds are refused by a message that names those that are read.
_ARCHIVES = (
    ".tar",
    ".tar.gz",
    ".tgz",
    ".zip",
    ".tar.bz2",
    ".tbz2",
    ".tar.xz",
    ".txz",
    ".tar.zst",
    ".7z",
    ".rar",
)

__all__ = ["SOURCE_KINDS", "SourceKind", "SourceOptions", "open_source"]


class SourceOptions(LocalOptions, total=False):
    """The options of `LocalSource`, and those of single kinds of sources."""

    allow_private: bool | None
    refresh: bool


class _Opener(Protocol):
    """Makes the source of all paths of one kind."""

    def __call__(
        self, paths: Sequence[str], **options: Unpack[SourceOptions]
    ) -> Source: ...


class SourceKind(NamedTuple):
    """A kind of source beside local folders, files and lists.

    Attributes
    ----------
    prefixes, suffixes
        How a path of this kind begins and ends, in lower case; empty for any. A folder is never of
        a kind that is recognized by its end.
    module
        The module with a function ``open_paths(paths, **options)`` that returns the source. It is
        imported when the first path of the kind is opened.
    options
        The names of `SourceOptions` that this kind takes beside those of `LocalSource`.
    takes_column
        Whether ``#column`` may follow the path of a file, and must follow that of a folder.
    """

    prefixes: tuple[str, ...]
    suffixes: tuple[str, ...]
    module: str
    options: frozenset[str] = frozenset()
    takes_column: bool = False

    def includes(self, path: str) -> bool:
        """Return whether a path is of this kind."""
        lowered = path.lower()
        if self.prefixes and not lowered.startswith(self.prefixes):
            return False
        if not self.suffixes:
            return True
        if self.takes_column and "#" in path and not os.path.lexists(path):
            file, _, _ = path.rpartition("#")
            is_folder = os.path.isdir(file)  # noqa: PTH112
            return is_folder or file.lower().endswith(self.suffixes)
        is_folder = os.path.isdir(path)  # noqa: PTH112
        return lowered.endswith(self.suffixes) and not is_folder


_STORES = tuple(f"{scheme}://" for scheme in STORE_MODULES)

# The first kind that includes a path opens it.
SOURCE_KINDS: list[SourceKind] = [
    SourceKind(
        prefixes=("http://", "https://"),
        suffixes=(),
        module="lookalike.sources.web",
        options=frozenset({"allow_private", "refresh"}),
    ),
    SourceKind(_STORES, _ARCHIVES, "lookalike.sources.archives"),
    SourceKind(_STORES, (".parquet",), "lookalike.sources.tables", takes_column=True),
    SourceKind(
        prefixes=("s3://", "gs://", "az://"),
        suffixes=(),
        module="lookalike.sources.objects",
    ),
    SourceKind(prefixes=("hf://",), suffixes=(), module="lookalike.sources.hub"),
    SourceKind((), _ARCHIVES, "lookalike.sources.archives"),
    SourceKind((), (".parquet",), "lookalike.sources.tables", takes_column=True),
]


def open_source(
    paths: Sequence[str | os.PathLike[str]], **options: Unpack[SourceOptions]
) -> Source:
    """Return one source for paths of any kinds.

    Parameters
    ----------
    paths
        What `LocalSource` takes, and paths of `SOURCE_KINDS`. A list may name paths of any kind.
    options
        `labels`, `hidden` and `exclude` of `LocalSource`. For addresses also `allow_private` and
        `refresh` of `lookalike.sources.web.WebSource`.

    Raises
    ------
    SourceError
        If a path does not exist or cannot be used, or an option is invalid.
    """
    named = expand_lists(paths)
    local = NamedPaths([], [])
    paths_by_module: dict[str, list[str]] = defaultdict(list)
    kinds: dict[str, SourceKind] = {}
    for names, local_names in zip(named, local, strict=True):
        for name in names:
            kind = _source_kind(name)
            if kind is None:
                local_names.append(name)
            else:
                paths_by_module[kind.module].append(name)
                kinds[kind.module] = kind

    sources: list[Source] = []
    if local.given or local.listed or not paths_by_module:
        local_options = cast(LocalOptions, _only(options, LocalOptions.__annotations__))
        local_source = LocalSource(local.given, listed=local.listed, **local_options)
        sources.append(local_source)
    for module, paths_of_kind in paths_by_module.items():
        open_paths = cast(_Opener, import_module(module).open_paths)
        names_of_options = {*LocalOptions.__annotations__, *kinds[module].options}
        kind_options = _only(options, names_of_options)
        sources.append(open_paths(paths_of_kind, **kind_options))
    if len(sources) == 1:
        return sources[0]
    return CombinedSource(sources)


def _only(options: SourceOptions, names: Container[str]) -> SourceOptions:
    """Return the options with these names."""
    chosen = {name: value for name, value in options.items() if name in names}
    return cast(SourceOptions, chosen)


def _source_kind(path: str) -> SourceKind | None:
    for kind in SOURCE_KINDS:
        if kind.includes(path):
            return kind
    return None
