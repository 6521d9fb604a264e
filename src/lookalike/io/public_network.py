"""Connections to hosts of the public internet alone.

A host is resolved once. All of its addresses are checked, and the connection is made to a checked
one, so a name cannot resolve to another address in between.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpcore

__all__ = ["Network", "PrivateAddressError", "UnknownHostError", "is_public"]

# The networks that belong to nobody on the public internet, by IANA's registries of special-purpose
# addresses. Python's own lists differ between its versions.
_SPECIAL_IPV4 = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    # It looks public. Every machine at Azure reaches the provider's own services there.
    "168.63.129.16/32",
)
# Of IPv6, only the global unicast addresses are public, without these.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6 = ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
# Addresses of IPv6 that stand for one of IPv4, in its last four bytes.
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")

_special_ipv4 = [ipaddress.IPv4Network(text) for text in _SPECIAL_IPV4]
_special_ipv6 = [ipaddress.IPv6Network(text) for text in _SPECIAL_IPV6]


class PrivateAddressError(OSError):
    """A host is not on the public internet."""


class UnknownHostError(OSError):
    """A host's name has no address."""


def is_public(text: str) -> bool:
    """Return whether an IP address belongs to a host on the public internet.

    Loopback, private, link-local, shared, reserved and multicast addresses do not, the metadata
    services of clouds among them. An IPv6 address that holds one of IPv4 is as public as that.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        embedded = _embedded_ipv4(address)
        if embedded is None:
            is_unicast = address in _GLOBAL_UNICAST
            is_special = any(address in network for network in _special_ipv6)
            return is_unicast and not is_special
        address = embedded
    is_special = any(address in network for network in _special_ipv4)
    return not is_special


def _embedded_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that packets to an IPv6 address reach, or None."""
    is_translated = address in _TRANSLATED
    if is_translated:
        last_bytes = address.packed[-4:]
        return ipaddress.IPv4Address(last_bytes)
    return address.ipv4_mapped


def _host_addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host, which may be a name or an address in any spelling."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        problem = f"the host {host} is unknown"
        raise UnknownHostError(None, problem) from error
    addresses = [str(address[0]) for *_, address in found]
    return list(dict.fromkeys(addresses))


class Network(httpcore.NetworkBackend):
    """Connects to hosts, and ends what takes longer than the deadline of its thread.

    Parameters
    ----------
    allow_private
        Whether to connect to hosts that are not on the public internet.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._backend = httpcore.SyncBackend()
        self._thread = threading.local()

    def set_deadline(self, deadline: float) -> None:
        """Set when the requests of this thread end, by `time.monotonic`."""
        self._thread.deadline = deadline

    def timeout(self, wanted: float | None) -> float:
        """Return a timeout that ends at the deadline at the latest.

        Raises
        ------
        TimeoutError
            If the deadline has passed.
        """
        now = time.monotonic()
        remaining: float = self._thread.deadline - now
        if remaining <= 0:
            raise TimeoutError
        if wanted is None:
            return remaining
        return min(wanted, remaining)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers.

        Raises
        ------
        PrivateAddressError
            If any address of the host is not public.
        UnknownHostError
            If it has none.
        TimeoutError
            If the deadline of this thread has passed.
        httpcore.ConnectError, httpcore.ConnectTimeout
            If none of its addresses answers.
        """
        addresses = _host_addresses(host, port)
        if not self._allow_private:
            for address in addresses:
                _require_public(host, address)

        error: Exception | None = None
        for address in addresses:
            try:
                stream = self._backend.connect_tcp(
                    address, port, self.timeout(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                error = failure
            else:
                return _TimedStream(stream, self)
        raise error or UnknownHostError(None, f"the host {host} has no address")


def _require_public(host: str, address: str) -> None:
    if is_public(address):
        return
    resolved = ""
    if address != host:
        resolved = f", {address},"
    problem = f"the host {host}{resolved} is not on the public internet"
    raise PrivateAddressError(None, problem)


class _TimedStream(httpcore.NetworkStream):
    """A connection whose waits end at the deadline of the thread that uses it."""

    def __init__(self, stream: httpcore.NetworkStream, network: Network) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        remaining = self._network.timeout(timeout)
        return self._stream.read(max_bytes, remaining)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        remaining = self._network.timeout(timeout)
        self._stream.write(buffer, remaining)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        timeout = self._network.timeout(timeout)
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _TimedStream(stream, self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
