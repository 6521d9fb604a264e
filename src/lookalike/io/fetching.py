"""Fetch small files from the web, politely and from the public internet alone.

Only modules that are loaded when an address is read import this one: it takes longer than a search.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpcore
import httpx

from lookalike.io.hosts import Hosts
from lookalike.io.http import (
    TRANSIENT,
    TransientError,
    trusted_certificates,
    user_agent,
)
from lookalike.io.network import is_offline
from lookalike.io.public_network import Network

__all__ = ["FetchLimits", "Fetcher", "parse_address", "shared_fetcher"]

_MAX_BYTES = 64 << 20

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WITH_CONTENT = frozenset({200, 203})
_MISSING = frozenset({404, 410})
_REFUSED = frozenset({401, 403, 451})
# A server that names a later time is asked again after a day.
_LONGEST_PAUSE_S = 86_400.0


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """The limits of a Fetcher.

    Attributes
    ----------
    max_bytes
        The longest body that is read.
    concurrent, interval
        The most requests to a host at a time, and the seconds between the starts of two.
    connect_s, silence_s, total_s
        The longest wait for a connection, for the next bytes, and for the whole file with its
        redirects and retries.
    redirects
        The most redirects that are followed.
    pauses
        The seconds before each retry.
    retry_after_s
        The longest pause of a server's Retry-After that is waited for.
    """

    max_bytes: int = _MAX_BYTES
    concurrent: int = 4
    interval: float = 0.05
    connect_s: float = 10.0
    silence_s: float = 20.0
    total_s: float = 60.0
    redirects: int = 5
    pauses: tuple[float, ...] = (0.5, 1.0, 2.0)
    retry_after_s: float = 30.0


def parse_address(text: str) -> httpx.URL:
    """Return an address of the web.

    Raises
    ------
    ValueError
        If the text is another one, or has a user name or a password. The message is the reason.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"not a valid address: {error}") from error
    if url.scheme not in {"http", "https"}:
        raise ValueError(f"{url.scheme or 'no scheme'}: is not http or https")
    if url.host == "" or url.port == 0:
        raise ValueError("not a valid address: it has no host")
    if url.userinfo:
        raise ValueError("addresses with a user name or password are not read")
    return url


class Fetcher:
    """Fetches files from the web.

    It sends no cookies and no credentials, follows redirects to addresses that it would also fetch
    itself, and uses no proxy: a proxy would connect to hosts that were not checked. Threads may
    share it.

    Parameters
    ----------
    allow_private
        Whether to connect to hosts that are not on the public internet.
    limits
        The limits of size, time and number.
    """

    def __init__(
        self, *, allow_private: bool = False, limits: FetchLimits | None = None
    ) -> None:
        self._limits = limits or FetchLimits()
        self._network = Network(allow_private=allow_private)
        self._hosts = Hosts(
            self._limits.concurrent, self._limits.interval, self._limits.retry_after_s
        )
        self._pool = httpcore.ConnectionPool(
            ssl_context=trusted_certificates(),
            max_connections=None,
            max_keepalive_connections=32,
            keepalive_expiry=15.0,
            network_backend=self._network,
        )
        # Compressed bytes could unpack to any size.
        self._headers = [
            (b"User-Agent", user_agent().encode()),
            (b"Accept-Encoding", b"identity"),
        ]
        self._timeouts = {
            "connect": self._limits.connect_s,
            "read": self._limits.silence_s,
            "write": self._limits.silence_s,
        }

    def fetch(self, address: str) -> bytes:
        """Return the body of the answer to a GET request.

        Raises
        ------
        FileNotFoundError
            If the server answers that it has no such file.
        PermissionError
            If it refuses to send it.
        OSError
            If the address cannot be fetched for another reason, which is the error's ``strerror``.
        """
        try:
            url = parse_address(address)
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error)) from error
        if is_offline():
            problem = "LOOKALIKE_OFFLINE forbids the network"
            raise OSError(errno.ENETDOWN, problem)

        budget = _Budget(self._limits.total_s)
        for pause in (*self._limits.pauses, None):
            try:
                return self._follow(url, budget)
            except TransientError as error:
                problem = str(error)
            except TimeoutError:
                problem = f"not complete after {self._limits.total_s:g} s"
                break
            if pause is not None:
                time.sleep(pause)
                budget.seconds -= pause
        raise OSError(errno.EIO, problem)

    def _follow(self, url: httpx.URL, budget: _Budget) -> bytes:
        """Return the body that an address and its redirects lead to."""
        for _ in range(self._limits.redirects + 1):
            with self._turn(url, budget):
                answer = self._request(url)
            if isinstance(answer, bytes):
                return answer
            url = answer
        problem = f"more than {self._limits.redirects} redirects"
        raise OSError(errno.ELOOP, problem)

    @contextmanager
    def _turn(self, url: httpx.URL, budget: _Budget) -> Iterator[None]:
        """Wait for a turn at a host; only the time of the turn itself counts."""
        with self._hosts.turn(url.host):
            start = time.monotonic()
            self._network.set_deadline(start + budget.seconds)
            try:
                yield
            finally:
                budget.seconds -= time.monotonic() - start

    def _request(self, url: httpx.URL) -> bytes | httpx.URL:
        """Send one request; return the body, or the address that it redirects to."""
        target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        headers = [(b"Host", url.netloc), *self._headers]
        extensions = {"timeout": self._timeouts}
        stream = self._pool.stream(
            "GET", target, headers=headers, extensions=extensions
        )
        with _translate_errors(url.host), stream as response:
            return self._answer(url, response)

    def _answer(self, url: httpx.URL, response: httpcore.Response) -> bytes | httpx.URL:
        headers = httpx.Headers(response.headers)
        status = response.status
        has_content = status in _WITH_CONTENT
        is_redirect = status in _REDIRECTS
        is_missing = status in _MISSING
        is_refused = status in _REFUSED
        is_transient = status in TRANSIENT
        if has_content:
            return self._body(response, headers)
        location = headers.get("Location")
        if is_redirect and location is not None:
            return _redirected(url, location)

        shown_status = _name_of(status)
        problem = f"the server answered {shown_status}"
        if is_missing:
            raise FileNotFoundError(errno.ENOENT, problem)
        if is_refused:
            raise PermissionError(errno.EACCES, problem)
        if is_transient:
            pause = _retry_after(headers)
            host = url.host
            self._hosts.pause(host, pause)
            raise TransientError(problem)
        raise OSError(errno.EIO, problem)

    def _body(self, response: httpcore.Response, headers: httpx.Headers) -> bytes:
        """Return the body, or raise OSError as soon as it is too long."""
        encoding = headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            problem = "the content is compressed, which was not asked for"
            raise OSError(errno.EIO, problem)
        limits = self._limits
        limit = limits.max_bytes
        length = headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > limit:
            raise _too_long(limit)
        size = 0
        chunks = []
        for chunk in response.iter_stream():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                raise _too_long(limit)
        return b"".join(chunks)


@dataclass(slots=True)
class _Budget:
    """The time that is left for a file."""

    seconds: float


@contextmanager
def _translate_errors(host: str) -> Iterator[None]:
    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        cause = _cause_of(error)
        problem = f"the host {host} cannot be reached: {cause}"
        raise OSError(errno.EHOSTUNREACH, problem) from error
    except httpcore.TimeoutException as error:
        raise TransientError("the server stopped sending") from error
    except (httpcore.NetworkError, httpcore.RemoteProtocolError) as error:
        cause = _cause_of(error)
        problem = f"the connection broke off: {cause}"
        raise TransientError(problem) from error
    except httpcore.LocalProtocolError as error:
        cause = _cause_of(error)
        problem = f"the request cannot be sent: {cause}"
        raise OSError(errno.EINVAL, problem) from error


def _too_long(limit: int) -> OSError:
    problem = f"longer than the {limit:,} bytes that are read of an address"
    return OSError(errno.EFBIG, problem)


def _cause_of(error: Exception) -> str:
    """Return the reason of an error, without a number if the system has words for it."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(error) or type(error).__name__


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    """Return the address of a redirect, checked like one of a list."""
    try:
        joined = url.join(location)
        address = str(joined)
        return parse_address(address)
    except (ValueError, httpx.InvalidURL) as error:
        problem = f"the server redirects to an address that is not read: {error}"
        raise OSError(errno.EINVAL, problem) from error


def _name_of(status: int) -> str:
    """Return a status with its usual name, not with one that the server chooses."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _retry_after(headers: httpx.Headers) -> float:
    """Return the seconds for which a server asks to be left alone; 0 if it does not."""
    value = headers.get("Retry-After", "")
    if value.isdecimal():
        return min(float(value), _LONGEST_PAUSE_S)
    try:
        time_named = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    seconds = time_named - time.time()
    return min(max(seconds, 0.0), _LONGEST_PAUSE_S)


_shared: dict[bool, Fetcher] = {}
_shared_lock = threading.Lock()


def shared_fetcher(*, allow_private: bool) -> Fetcher:
    """Return the Fetcher of this process, so that its limits hold across all threads."""
    with _shared_lock:
        fetcher = _shared.get(allow_private)
        if fetcher is None:
            fetcher = Fetcher(allow_private=allow_private)
            _shared[allow_private] = fetcher
        return fetcher
