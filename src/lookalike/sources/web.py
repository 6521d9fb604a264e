"""Images at addresses of the web: ``http://`` and ``https://``.

An address is named by itself or by a list, so it has no root, and indexing never removes it. Its
row is kept as it is until a refresh is asked for: to ask the server of each address whether it has
changed takes about as long as to read it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from io import BufferedReader
from urllib.parse import unquote

from lookalike.errors import SourceError
from lookalike.io.fetching import shared_fetcher
from lookalike.io.network import allows_private, is_offline
from lookalike.sources.base import FolderState
from lookalike.sources.containers import bytes_file
from lookalike.sources.exclusion import SkippedFiles
from lookalike.sources.local import Labels, check_labels
from lookalike.sources.remote import parent_name
from lookalike.types import UNKNOWN_SIZE, UNKNOWN_TIME, Item

__all__ = ["READER", "WebSource", "open_paths"]


class WebSource:
    """The images at some addresses, each once, in the order of their first mention.

    Parameters
    ----------
    addresses
        ``http://`` and ``https://`` addresses.
    labels
        ``folder`` labels an image with the last folder of its address; ``none`` leaves it
        unlabeled.
    allow_private
        Whether to read from hosts that are not on the public internet; by default, whether
        ``LOOKALIKE_ALLOW_PRIVATE`` is set.
    refresh
        Whether to read addresses again that the collection has.

    Raises
    ------
    SourceError
        If an address has a user name or a password, or ``LOOKALIKE_OFFLINE`` forbids the network.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        labels: Labels = "folder",
        allow_private: bool | None = None,
        refresh: bool = False,
    ) -> None:
        check_labels(labels)
        if is_offline():
            raise SourceError(
                f"{len(addresses):,} addresses were named, and LOOKALIKE_OFFLINE forbids the "
                "network. Unset it, or name local files."
            )
        for address in addresses:
            _check_no_password(address)
        if allow_private is None:
            allow_private = allows_private()
        self._addresses = dict.fromkeys(addresses)
        self._labels = labels
        self._allow_private = allow_private
        self._refresh = refresh

    @property
    def roots(self) -> list[str]:
        """No roots: an address that leaves the list keeps its row."""
        return []

    def __iter__(self) -> Iterator[Item]:
        # With a time, an address has changed since it was read.
        mtime_ns = time.time_ns() if self._refresh else UNKNOWN_TIME
        for address in self._addresses:
            label = None if self._labels == "none" else _last_folder(address)
            read = partial(_read_address, address, allow_private=self._allow_private)
            yield Item(address, UNKNOWN_SIZE, mtime_ns, label, read, is_remote=True)

    def count(self) -> int:
        """Return the number of addresses."""
        return len(self._addresses)

    def completed(self) -> Mapping[str, int]:
        """Return no root."""
        return {}

    def unreachable(self) -> Sequence[str]:
        """Return no uri: nothing is removed in any case."""
        return []

    def skipped(self) -> SkippedFiles:
        """Return no file: all addresses are read."""
        return SkippedFiles()

    def prefixes(self, folder: str) -> Sequence[str]:
        """Raise ValueError: addresses have no roots."""
        raise ValueError(f"{folder!r} is not a root: addresses have none")

    def exists(self, uri: str) -> bool:
        """Return whether a uri is one of the addresses."""
        return uri in self._addresses

    def folders_of(self, uri: str) -> Sequence[str]:  # noqa: ARG002
        """Return no folder."""
        return []

    def folder_state(self, folder: str) -> FolderState:  # noqa: ARG002
        """Return that addresses have no folders."""
        return FolderState.MISSING

    def devices(self) -> Mapping[str, str]:
        """Return no file system."""
        return {}

    def empty_error(self) -> SourceError:
        """Return the error for no addresses at all."""
        return SourceError("No address was named. Name at least one.")


def open_paths(
    paths: Sequence[str],
    *,
    labels: Labels = "folder",
    hidden: bool = False,  # noqa: ARG001 (addresses are named by themselves)
    exclude: Sequence[str] = (),  # noqa: ARG001
    allow_private: bool | None = None,
    refresh: bool = False,
) -> WebSource:
    """Return the source of some addresses, their schemes in lower case."""
    addresses = []
    for path in paths:
        scheme, separator, rest = path.partition("://")
        address = scheme.lower() + separator + rest
        addresses.append(address)
    return WebSource(
        addresses, labels=labels, allow_private=allow_private, refresh=refresh
    )


class _WebReader:
    """Access to files at addresses."""

    def read(self, uri: str) -> bytes:
        allow_private = allows_private()
        return _read_address(uri, allow_private=allow_private)

    def open(self, uri: str) -> BufferedReader:
        data = self.read(uri)
        return bytes_file(data)

    def exists(self, uri: str) -> bool:  # noqa: ARG002
        # Addresses are never missing, so no row is moved or removed because a server is down.
        return True


READER = _WebReader()


def _read_address(address: str, *, allow_private: bool) -> bytes:
    # The shared Fetcher is looked up here, because an Item may be sent to another process.
    fetcher = shared_fetcher(allow_private=allow_private)
    return fetcher.fetch(address)


def _split_address(address: str) -> tuple[str, str]:
    """Return what stands before and after the first slash of an address, without its query."""
    _, _, rest = address.partition("://")
    for mark in "?#":
        rest, _, _ = rest.partition(mark)
    authority, _, path = rest.partition("/")
    return authority, path


def _check_no_password(address: str) -> None:
    authority, _ = _split_address(address)
    _, at, host = authority.rpartition("@")
    if at:
        raise SourceError(
            f"An address at {host} has a user name or a password, which the collection would store "
            "for everyone to read. Leave them out, or download the images."
        )


def _last_folder(address: str) -> str | None:
    """Return the name of the last folder in an address, or None."""
    _, path = _split_address(address)
    name = parent_name(path)
    if name is None:
        return None
    return unquote(name)
