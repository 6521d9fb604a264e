"""Image sources, and the functions that read a uri."""

from lookalike.sources.base import FolderState, Source, UriReader
from lookalike.sources.exclusion import SkippedFiles
from lookalike.sources.local import Labels, LocalOptions, LocalSource
from lookalike.sources.opening import SourceOptions, open_source
from lookalike.sources.selection import EXTENSIONS
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
