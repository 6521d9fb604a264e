"""The options of a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lookalike.io.processors import cores

__all__ = ["API", "LOOPBACK", "ServerSettings"]

# The prefix of every REST path.
API = "/api/v1"
# The names under which a browser reaches a server that listens on this machine only.
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The options of a server.

    Attributes
    ----------
    token
        The token that clients must send, or None for no authentication.
    hosts
        The names accepted in a Host header; None accepts any.
    origins
        Web origins, such as ``https://example.org``, whose pages may use this server.
    root_path
        The path prefix under which a proxy serves the server, such as ``/images``, or "".
    originals
        Whether image files may be read, for `original` and for larger thumbnails.
    roots
        Folders that clients may index.
    new_collections
        The folder in which clients may make collections of these folders, or None for nowhere.
    watch_collections
        Whether to serve every collection in that folder, also those that are made later.
    max_upload, max_pixels
        The largest request body in bytes, and the largest image in it in pixels.
    body_seconds
        The time limit for receiving a request body.
    workers, queue_size
        The number of threads that decode and embed images, and of requests that may wait for them.
        One thread more than there are cores, because one often waits for Python's lock.
    upload_cache_bytes, thumbnail_cache_bytes
        The memory for uploaded images and for generated thumbnails.
    refresh_seconds
        The interval between checks for new versions of the collections.
    """

    token: str | None = None
    hosts: frozenset[str] | None = LOOPBACK
    origins: tuple[str, ...] = ()
    root_path: str = ""
    originals: bool = True
    roots: tuple[Path, ...] = ()
    new_collections: Path | None = None
    watch_collections: bool = False
    max_upload: int = 32 << 20
    max_pixels: int = 64_000_000
    body_seconds: float = 30.0
    workers: int = cores() + 1
    queue_size: int = 64
    upload_cache_bytes: int = 256 << 20
    thumbnail_cache_bytes: int = 64 << 20
    refresh_seconds: float = 1.0
