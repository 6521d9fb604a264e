"""What the person who starts a server decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lookalike.io.processors import cores

__all__ = ["API", "LOOPBACK", "Settings"]

API = "/api/v1"
# The names by which a browser on this machine reaches a server that only this machine can reach.
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server behaves.

    Attributes
    ----------
    token
        What a client must show, or None where none is asked for.
    hosts
        The names that a request's Host header may hold; None for any.
    origins
        Web origins, such as ``https://example.org``, whose pages may ask this server too.
    root_path
        Where a proxy has put the server: ``/pictures``, or an empty text.
    originals
        Whether the files themselves may be read: for `original`, and for larger thumbnails.
    roots
        Folders that may be indexed on demand.
    max_upload, max_pixels
        The most bytes of a request's body, and the most pixels of a picture in it.
    body_seconds
        How long a request's body may take to arrive.
    workers, waiting
        How many pictures are worked on at once, and how many requests may wait for their turn. One more than there are
        cores, for one is often waiting for Python's lock.
    uploads, thumbnails
        Bytes of memory that pictures sent by clients, and small pictures made for them, may take.
    refresh_seconds
        How often it is looked whether a collection has changed.
    """

    token: str | None = None
    hosts: frozenset[str] | None = LOOPBACK
    origins: tuple[str, ...] = ()
    root_path: str = ""
    originals: bool = True
    roots: tuple[Path, ...] = ()
    max_upload: int = 32 << 20
    max_pixels: int = 64_000_000
    body_seconds: float = 30.0
    workers: int = cores() + 1
    waiting: int = 64
    uploads: int = 256 << 20
    thumbnails: int = 64 << 20
    refresh_seconds: float = 1.0
