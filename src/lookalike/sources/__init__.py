"""Image sources, and the functions that read a uri."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lookalike.sources.uris import (
    browser_link,
    can_read,
    display_folder,
    display_name,
    display_path,
    is_web_address,
    local_file,
    moved_folders,
    open_uri,
    read_uri,
    register_reader,
    resolve_uri,
    to_uri,
    uri_exists,
    uri_prefixes,
)

if TYPE_CHECKING:
    from lookalike.sources.base import FolderState as FolderState
    from lookalike.sources.base import Source as Source
    from lookalike.sources.base import UriReader as UriReader
    from lookalike.sources.exclusion import SkippedFiles as SkippedFiles
    from lookalike.sources.local import Labels as Labels
    from lookalike.sources.local import LocalOptions as LocalOptions
    from lookalike.sources.local import LocalSource as LocalSource
    from lookalike.sources.opening import SourceOptions as SourceOptions
    from lookalike.sources.opening import open_source as open_source
    from lookalike.sources.selection import EXTENSIONS as EXTENSIONS

__all__ = [
    "EXTENSIONS",
    "FolderState",
    "Labels",
    "LocalOptions",
    "LocalSource",
    "SkippedFiles",
    "Source",
    "SourceOptions",
    "UriReader",
    "browser_link",
    "can_read",
    "display_folder",
    "display_name",
    "display_path",
    "is_web_address",
    "local_file",
    "moved_folders",
    "open_source",
    "open_uri",
    "read_uri",
    "register_reader",
    "resolve_uri",
    "to_uri",
    "uri_exists",
    "uri_prefixes",
]

# A search reads uris and lists no source, so the names of sources are imported on first use.
_MODULE_OF = {
    "EXTENSIONS": "selection",
    "FolderState": "base",
    "Labels": "local",
    "LocalOptions": "local",
    "LocalSource": "local",
    "SkippedFiles": "exclusion",
    "Source": "base",
    "SourceOptions": "opening",
    "UriReader": "base",
    "open_source": "opening",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULE_OF[name]}")
    return getattr(module, name)
