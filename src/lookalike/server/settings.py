"""The options of a server."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from lookalike.errors import InputError
from lookalike.io.processors import cores

__all__ = ["API", "LOOPBACK", "OPEN_PATHS", "ServerSettings"]

# The prefix of every REST path.
API = "/api/v1"
# The paths of the REST interface that need no token; a client signs in by the last.
OPEN_PATHS = {f"{API}/health", f"{API}/ready", f"{API}/session"}
# The names under which a browser reaches a server that listens on this machine only.
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Browsers store about four kilobytes in a cookie.
_MAX_TOKEN_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The options of a server.

    Attributes
    ----------
    token
        The token that clients must send, or None for no authentication: printable ASCII.
    hosts
        The names accepted in a Host header; None accepts any.
    origins
        Web origins, such as ``https://example.org``, whose pages may use this server.
    root_path
        The path prefix under which a proxy serves the server, such as ``/images``, or "".
    trusted_proxies
        Addresses and networks of proxies whose ``X-Forwarded-Proto`` and ``X-Forwarded-For`` are
        believed, beside those of this machine.
    access_log
        Whether each request is printed to standard error.
    originals
        Whether image files may be read, for `original` and for larger thumbnails.
    roots
        Folders that clients may index.
    new_collections
        The folder in which clients may make collections of these folders, or None for nowhere.
    watch_collections
        Whether to serve every collection in that folder, also those that are made later.
    read_only
        Whether jobs that change a collection, or make one, are refused.
    max_upload, max_pixels
        The largest request body in bytes, and the largest image in it in pixels.
    body_seconds
        The time limit for receiving a request body.
    workers, queue_size
        The number of threads that decode and embed images, and of requests that may wait for them.
        One thread more than there are cores, because one often waits for Python's lock.
    upload_cache_bytes, thumbnail_cache_bytes
        The memory for uploaded images and for generated thumbnails.
    refresh_seconds, remote_refresh_seconds
        The interval between checks for new versions of the collections in folders, and of those in
        object storage, where a check costs two requests.

    Raises
    ------
    InputError
        If the token or a proxy's address is invalid, or if a server that is read-only has roots.
    """

    token: str | None = None
    hosts: frozenset[str] | None = LOOPBACK
    origins: tuple[str, ...] = ()
    root_path: str = ""
    trusted_proxies: tuple[str, ...] = ()
    access_log: bool = False
    originals: bool = True
    roots: tuple[Path, ...] = ()
    new_collections: Path | None = None
    watch_collections: bool = False
    read_only: bool = False
    max_upload: int = 32 << 20
    max_pixels: int = 64_000_000
    body_seconds: float = 30.0
    workers: int = cores() + 1
    queue_size: int = 64
    upload_cache_bytes: int = 64 << 20
    thumbnail_cache_bytes: int = 64 << 20
    refresh_seconds: float = 1.0
    remote_refresh_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.read_only and self.roots:
            root = self.roots[0]
            raise InputError(
                f"A read-only server cannot index the root {root}. "
                "Leave out either --root or --read-only."
            )
        if self.token is not None:
            _check_token(self.token)
        for address in self.trusted_proxies:
            _check_address(address)


def _check_token(token: str) -> None:
    """Check that a token can be sent in a header and in a cookie.

    Raises
    ------
    InputError
        If it is empty, too long, begins or ends with a space, or has other characters than
        printable ASCII. The message does not repeat the token.
    """
    length = len(token)
    if not 1 <= length <= _MAX_TOKEN_LENGTH:
        raise InputError(
            f"The token has {length} characters; expected 1 to {_MAX_TOKEN_LENGTH}. "
            "Choose another one."
        )
    is_printable = token.isascii() and token.isprintable()
    if not is_printable or token != token.strip():
        raise InputError(
            "The token has characters that headers cannot carry. Use letters, digits and "
            "punctuation of ASCII, without spaces at either end."
        )


def _check_address(address: str) -> None:
    try:
        ip_network(address)
    except ValueError:
        raise InputError(
            f"The proxy {address!r} is not an IP address. Name an address such as 10.0.0.2, or a "
            "network such as 10.0.0.0/24."
        ) from None
