"""Image sources, and the functions that read a uri."""

from lookalike.sources.base import FolderState, Source, UriReader
from lookalike.sources.local import EXTENSIONS, Labels, LocalSource
from lookalike.sources.uris import (
    browser_link,
    display_name,
    display_path,
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
    "LocalSource",
    "Source",
    "UriReader",
    "browser_link",
    "display_name",
    "display_path",
    "open_uri",
    "read_uri",
    "register_reader",
    "resolve_uri",
    "to_uri",
    "uri_exists",
    "uri_prefixes",
]
