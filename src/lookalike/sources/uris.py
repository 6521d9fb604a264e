"""Uris of images: their form, and the files behind them.

The uri of a local file is its absolute path, or a ``file://`` URI if the path is not valid Unicode.
Other schemes have readers of their own; see `register_reader`. No module outside of this package
turns a uri into a path.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from lookalike.sources.base import UriReader
from lookalike.sources.containers import (
    CONTAINER_SCHEMES,
    STORE_MODULES,
    container_prefix,
    member_name,
    parse_member,
)

__all__ = [
    "browser_link",
    "can_read",
    "display_folder",
    "display_name",
    "display_path",
    "is_address",
    "is_web_address",
    "local_file",
    "local_path",
    "moved_folders",
    "open_uri",
    "read_uri",
    "register_reader",
    "resolve_uri",
    "to_uri",
    "uri_exists",
    "uri_prefixes",
]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")
# A drive of Windows has one letter.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://|(data):", re.IGNORECASE)

_CONTAINER_MODULES = {"parquet": "tables", "tar": "archives", "zip": "archives"}

# Modules of this package with the reader of a scheme, as `READER`. They are imported when the first
# uri of the scheme is read.
READER_MODULES: dict[str, str] = {
    "http": "lookalike.sources.web",
    "https": "lookalike.sources.web",
    "s3": "lookalike.sources.objects",
    "gs": "lookalike.sources.objects",
    "az": "lookalike.sources.objects",
    "hf": "lookalike.sources.hub",
    "parquet": "lookalike.sources.tables",
    "tar": "lookalike.sources.archives",
    "zip": "lookalike.sources.archives",
    # Containers in a store.
    **{
        f"{kind}+{store}": f"lookalike.sources.{module}"
        for kind, module in _CONTAINER_MODULES.items()
        for store in STORE_MODULES
    },
}
_readers: dict[str, UriReader] = {}


def to_uri(path: str | os.PathLike[str]) -> str:
    """Return the uri of a local file.

    This is its absolute path, or a ``file://`` URI if that path is not valid Unicode. Links are not
    followed, because the name is the identity.
    """
    absolute = os.path.abspath(path)  # noqa: PTH100 (Path.resolve follows links)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return Path(absolute).as_uri()
    return absolute


def resolve_uri(
    name: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None
) -> str:
    """Return the uri that a user's text or path names.

    Parameters
    ----------
    name
        A uri, or a path. ``~`` stands for the home folder.
    folder
        The folder of relative paths; the current one if None.
    """
    if isinstance(name, str):
        scheme = _scheme(name)
        if scheme == "file":
            path = local_path(name)
            return to_uri(path)
        if scheme is not None:
            return name
        if is_address(name) and can_read(name):
            # The scheme of an address may be written in any case.
            scheme, _, rest = name.partition(":")
            return f"{scheme.lower()}:{rest}"

    if folder is not None:
        name = Path(folder, name)
    expanded = os.path.expanduser(name)  # noqa: PTH111
    return to_uri(expanded)


def uri_prefixes(folder: str | os.PathLike[str]) -> list[str]:
    """Return the strings that start the uris of all files below a folder (a path or a uri).

    The path of an archive or a Parquet file stands for its members.
    """
    uri = resolve_uri(folder)
    scheme = _scheme(uri)
    if scheme not in {None, "file"}:
        prefix = _with_end(uri, "/")
        if scheme in STORE_MODULES:
            return [prefix, *_member_prefixes(uri)]
        return [prefix]

    path = local_path(uri)
    as_uri = _with_end(path.as_uri(), "/")
    if scheme == "file":
        return [as_uri, *_member_prefixes(os.fspath(path))]
    # A file below a folder with a Unicode name may have a name that is not Unicode.
    as_text = str(path)
    as_path = _with_end(as_text, os.sep)
    return [as_path, as_uri, *_member_prefixes(as_text)]


def read_uri(uri: str) -> bytes:
    """Return the content of the file behind a uri, or raise OSError."""
    reader = _reader(uri)
    return reader.read(uri)


def open_uri(uri: str) -> BufferedReader:
    """Open the regular file behind a uri, or raise OSError. Pipes and devices are refused."""
    reader = _reader(uri)
    return reader.open(uri)


def uri_exists(uri: str) -> bool:
    """Return whether a uri exists; a broken link counts."""
    reader = _reader(uri)
    return reader.exists(uri)


def register_reader(scheme: str, reader: UriReader) -> None:
    """Use a reader for all uris of a scheme, such as ``s3``."""
    _readers[scheme] = reader


def is_address(text: str) -> bool:
    """Return whether a text is an address, such as ``https://...``, not a path."""
    match = _ADDRESS.match(text)
    if match is None:
        return False
    return match[1] is not None


def is_web_address(uri: str) -> bool:
    """Return whether a read of a uri sends a request to any host of the web."""
    scheme = _scheme(uri)
    return scheme in {"http", "https"}


def can_read(uri: str) -> bool:
    """Return whether a uri is a path or has a scheme that is read here, in whatever case.

    ``data:`` addresses are not.
    """
    address = _ADDRESS.match(uri)
    if address is None:
        return True
    scheme = (address[1] or address[2]).lower()
    return scheme == "file" or scheme in READER_MODULES or scheme in _readers


def display_name(uri: str) -> str:
    """Return the file name of a uri as valid Unicode; other bytes become question marks."""
    if uri.startswith("file://"):
        path = local_path(uri)
        encoded = path.name.encode(errors="replace")
        return encoded.decode()
    member = parse_member(uri)
    if member is not None:
        encoded = member_name(member).encode(errors="replace")
        return encoded.decode()
    separator = "/"
    if _scheme(uri) is None:
        separator = os.sep
    parts = uri.split(separator)
    return parts[-1]


def display_folder(uri: str) -> str:
    """Return the folder of a uri as valid Unicode; other bytes become question marks."""
    path = display_path(uri)
    separator = _separator(uri)
    folder, _, _ = path.rpartition(separator)
    encoded = folder.encode(errors="replace")
    return encoded.decode() or separator


def moved_folders(old: str, new: str) -> tuple[str, str] | None:
    """Return the outermost folders that differ between two uris of a file that moved.

    They are None if the name of the file itself differs, or if only one of them is in an archive.

    >>> moved_folders("/old/holiday/day/1.jpg", "/mnt/new/day/1.jpg")
    ('/old/holiday', '/mnt/new')
    """
    if _scheme(old) != _scheme(new):
        return None
    separator = _separator(new)
    old_parts = old.split(separator)
    new_parts = new.split(separator)
    is_same_file = old_parts[-1] == new_parts[-1]
    while old_parts and new_parts and old_parts[-1] == new_parts[-1]:
        old_parts.pop()
        new_parts.pop()
    old_folder = separator.join(old_parts)
    new_folder = separator.join(new_parts)
    if not is_same_file or not old_folder or not new_folder:
        return None
    return old_folder, new_folder


def display_path(uri: str) -> str:
    """Return a local file's path, or any other uri unchanged."""
    if uri.startswith("file://"):
        return str(local_path(uri))
    return uri


def browser_link(uri: str) -> str:
    """Return a ``file://`` or web address that a browser can open, or an empty string."""
    scheme = _scheme(uri)
    if scheme in {"http", "https"}:
        return uri
    if scheme not in {None, "file"}:
        return ""
    try:
        return local_path(uri).as_uri()
    except ValueError:
        # A path of another operating system is not absolute here.
        return ""


def local_file(uri: str) -> Path | None:
    """Return the path of a local file, for commands that move files; None for any other uri."""
    if _scheme(uri) not in {None, "file"}:
        return None
    return local_path(uri)


def local_path(uri: str) -> Path:
    """Return the path from which `to_uri` made a uri. Only this package calls it."""
    if not uri.startswith("file://"):
        return Path(uri)
    parts = urlsplit(uri)
    quoted = parts.path
    name_bytes = unquote_to_bytes(quoted)
    name = os.fsdecode(name_bytes)
    return Path(name)


class _LocalReader:
    """Access to local files."""

    def read(self, uri: str) -> bytes:
        path = local_path(uri)
        return path.read_bytes()

    def open(self, uri: str) -> BufferedReader:
        path = local_path(uri)
        # Without O_NONBLOCK, opening a pipe waits for a writer.
        no_wait = getattr(os, "O_NONBLOCK", 0)
        flags = os.O_RDONLY | no_wait
        descriptor = os.open(path, flags)
        status = os.fstat(descriptor)
        is_regular = stat.S_ISREG(status.st_mode)
        if not is_regular:
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(descriptor, "rb")

    def exists(self, uri: str) -> bool:
        path = local_path(uri)
        return os.path.lexists(path)


_local_reader = _LocalReader()


def _reader(uri: str) -> UriReader:
    scheme = _scheme(uri)
    if scheme in {None, "file"}:
        return _local_reader
    if scheme in READER_MODULES and scheme not in _readers:
        module = import_module(READER_MODULES[scheme])
        register_reader(scheme, module.READER)
    reader = _readers.get(scheme)
    if reader is None:
        problem = f"{scheme}:// uris need a registered reader"
        raise OSError(errno.ENOTSUP, problem, uri)
    return reader


def _member_prefixes(path: str) -> list[str]:
    """Return the strings that start the uris of the members, if a path is one of a container."""
    lowered = path.lower()
    for suffix, kind in CONTAINER_SCHEMES.items():
        if lowered.endswith(suffix):
            prefix = container_prefix(kind, path)
            return [prefix]
    return []


def _separator(uri: str) -> str:
    """Return the character between the folders of a uri."""
    scheme = _scheme(uri)
    if scheme is None:
        return os.sep
    return "/"


def _with_end(text: str, separator: str) -> str:
    stripped = text.rstrip(separator)
    return stripped + separator


def _scheme(uri: str) -> str | None:
    """Return the scheme, or None for a path."""
    match = _SCHEME.match(uri)
    if match is None:
        return None
    return match[1]
