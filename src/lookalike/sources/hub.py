"""Image files in repositories of the Hugging Face hub: ``hf://datasets/owner/name/folder``."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, Unpack
from urllib.parse import quote, unquote

import httpx

from lookalike.errors import SourceError
from lookalike.io.http import (
    RETRY_PAUSES_S,
    SILENCE_S,
    TRANSIENT,
    TransientError,
    trusted_certificates,
    user_agent,
)
from lookalike.io.network import is_offline
from lookalike.sources.clock import with_fraction
from lookalike.sources.containers import ContainerStamp
from lookalike.sources.local import MAX_FILE_BYTES, LocalOptions
from lookalike.sources.remote import RemoteFile, RemoteReader, RemoteSource, parent_name

__all__ = ["CONTAINER_STORE", "READER", "HubListing", "HubSource", "open_paths"]

_HUB_URI = re.compile(
    r"hf://(?:(datasets|models|spaces)/)?([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.*))?",
    re.DOTALL | re.IGNORECASE,
)
_NEXT_PAGE = re.compile(r'<([^>]+)>\s*;[^,]*\brel="?next"?')
_MAX_PAGE_BYTES = 64 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}")

# The answers of the hub for a missing path, unlike those for a missing repository or revision.
_MISSING_PATH = "EntryNotFound"


class _HubAddress(NamedTuple):
    """The parts of a uri.

    Attributes
    ----------
    kind, repository
        ``datasets``, ``models`` or ``spaces``, and ``owner/name``.
    revision
        A branch, tag or commit; None for ``main``.
    path
        The path in the repository, without a slash at its end.
    """

    kind: str
    repository: str
    revision: str | None
    path: str

    @classmethod
    def parse(cls, uri: str) -> _HubAddress:
        """Return the parts of a uri, or raise SourceError if it names no repository."""
        match = _HUB_URI.fullmatch(uri)
        if match is None:
            raise SourceError(
                f"{uri!r} names no repository. Expected an address such as "
                "hf://datasets/owner/name/folder or hf://datasets/owner/name@revision."
            )
        kind = (match[1] or "models").lower()
        path = (match[4] or "").strip("/")
        return cls(kind, match[2], match[3], path)

    @property
    def uri(self) -> str:
        """The uri, without a slash at its end."""
        uri = f"hf://{self._kind_prefix}{self.repository}"
        if self.revision is not None:
            uri += f"@{self.revision}"
        if self.path:
            uri += f"/{self.path}"
        return uri

    def api(self, method: str) -> str:
        """Return the address of a method of the hub's API."""
        endpoint = _endpoint()
        repository = f"{self.kind}/{self.repository}"
        revision = self._quoted_revision
        return f"{endpoint}/api/{repository}/{method}/{revision}"

    def file_url(self) -> str:
        """Return the address of the file's content."""
        endpoint = _endpoint()
        repository = f"{self._kind_prefix}{self.repository}"
        revision = self._quoted_revision
        path = quote(self.path)
        return f"{endpoint}/{repository}/resolve/{revision}/{path}"

    @property
    def _kind_prefix(self) -> str:
        # Addresses of models do not name their kind.
        if self.kind == "models":
            return ""
        return f"{self.kind}/"

    @property
    def _quoted_revision(self) -> str:
        # A revision with slashes is quoted in a uri: refs%2Fconvert%2Fparquet.
        name = self.revision or "main"
        revision = unquote(name)
        return quote(revision, safe="")


class HubListing:
    """The files of repositories; see `lookalike.sources.remote.Listing`."""

    def normalize(self, path: str) -> str:
        """Return the uri of a file or folder, without a slash at its end."""
        address = _HubAddress.parse(path)
        return address.uri

    def list(self, folder: str) -> Iterator[RemoteFile]:
        """Yield the files below a folder, page by page."""
        address = _HubAddress.parse(folder)
        url = address.api("tree")
        if address.path:
            url += f"/{quote(address.path)}"
        page: str | None = f"{url}?recursive=true"
        while page is not None:
            try:
                response = _request("GET", page)
            except FileNotFoundError as error:
                if _MISSING_PATH in str(error):
                    return
                raise
            for entry in _entries(response):
                if entry["type"] == "file":
                    yield _file_of_entry(address, entry)
            page = _next_page(response)

    def find(self, uri: str) -> RemoteFile | None:
        """Return a file, or None if it does not exist."""
        address = _HubAddress.parse(uri)
        entry = _find_entry(address)
        if entry is None:
            return None
        return _file_of_entry(address, entry)

    def pieces(self, uri: str) -> Iterator[bytes]:
        """Yield the content of a file."""
        address = _HubAddress.parse(uri)
        url = address.file_url()
        response = _request("GET", url, max_bytes=MAX_FILE_BYTES)
        yield response.content


class HubSource(RemoteSource):
    """The images of repositories on the hub.

    Parameters
    ----------
    paths
        Such as ``hf://datasets/owner/name``, ``hf://owner/name@revision/folder`` or a single file.
    options
        `labels`, `hidden` and `exclude` of `LocalSource`.

    Raises
    ------
    SourceError
        If the hub cannot be reached or refuses a listing, or an option is invalid.
    """

    def __init__(self, paths: Sequence[str], **options: Unpack[LocalOptions]) -> None:
        listing = HubListing()
        super().__init__(paths, listing, **options)


def open_paths(paths: Sequence[str], **options: Unpack[LocalOptions]) -> HubSource:
    """Return the source of all paths on the hub."""
    return HubSource(paths, **options)


READER = RemoteReader(HubListing())


class _HubContainers:
    """Containers on the hub; see `lookalike.sources.containers.ContainerStore`.

    The version of a container is the commit that its revision named. It is read at that commit, so
    its content stays the same whatever is committed meanwhile.
    """

    # The headers of about 40 photographs in a tar archive.
    buffer_bytes = 1 << 22

    def stamp(self, address: str) -> ContainerStamp:
        target = _HubAddress.parse(address)
        if not target.path:
            problem = "it names a repository, not a file; end it with a slash"
            raise OSError(errno.EINVAL, problem, address)
        try:
            commit = _commit_of(target)
        except FileNotFoundError as error:
            # Unlike a missing file, this says nothing about the container.
            repository = target.repository
            problem = f"there is no repository {repository} with this revision"
            raise OSError(errno.EIO, problem, address) from error
        at_commit = target._replace(revision=commit)
        entry = _find_entry(at_commit)
        if entry is None:
            problem = "there is no such file"
            raise FileNotFoundError(errno.ENOENT, problem, address)
        size = entry["size"]
        time_ns = _time_of_entry(entry)
        return ContainerStamp(size, time_ns, commit)

    def read_range(
        self, address: str, stamp: ContainerStamp, start: int, length: int
    ) -> bytes:
        rest = stamp.size - start
        length = min(length, rest)
        if length <= 0:
            return b""
        target = _HubAddress.parse(address)
        at_commit = target._replace(revision=stamp.version)
        url = at_commit.file_url()
        last = start + length - 1
        byte_range = (start, last)
        response = _request("GET", url, max_bytes=length, byte_range=byte_range)
        content = response.content
        received = len(content)
        if received != length:
            problem = f"the hub sends {received:,} bytes of {length:,}"
            raise OSError(errno.EIO, problem, address)
        return content


CONTAINER_STORE = _HubContainers()


def _commit_of(address: _HubAddress) -> str:
    """Return the commit that a revision names now."""
    revision = address.revision
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    url = address.api("revision")
    question = f"{url}?expand=sha"
    response = _request("GET", question)
    try:
        fields = response.json()
        commit = fields["sha"]
    except (ValueError, TypeError, KeyError) as error:
        problem = "the hub's answer names no commit"
        raise OSError(errno.EIO, problem) from error
    return str(commit)


def _find_entry(address: _HubAddress) -> Mapping[str, Any] | None:
    """Return the entry of a file in its repository's tree, or None if it does not exist."""
    if not address.path:
        return None
    url = address.api("paths-info")
    form = {"paths": address.path, "expand": "false"}
    response = _request("POST", url, form)
    entries = _entries(response)
    for entry in entries:
        if entry["type"] != "file":
            continue
        if entry["path"] == address.path:
            found: Mapping[str, Any] = entry
            return found
    return None


def _file_of_entry(address: _HubAddress, entry: Mapping[str, Any]) -> RemoteFile:
    """Return an entry of a repository's tree as a file."""
    path = entry["path"]
    size = entry["size"]
    time_ns = _time_of_entry(entry)
    address_of_file = address._replace(path=path)
    uri = address_of_file.uri
    folder = parent_name(path)
    read = partial(READER.read, uri)
    return RemoteFile(uri, size, time_ns, folder, read)


def _time_of_entry(entry: Mapping[str, Any]) -> int:
    """Return a stand-in for the time of an entry, because the hub states none.

    It is the hash of the content, as nanoseconds of the first second of 1970, so that another
    content has another time.
    """
    large = entry.get("lfs") or {}
    identity = large.get("oid") or entry["oid"]
    return with_fraction(0, identity)


def _entries(response: httpx.Response) -> Any:
    """Return the entries of a tree, or raise OSError for an answer of another form."""
    try:
        entries = response.json()
    except ValueError as error:
        raise OSError(errno.EIO, "the hub's answer is not JSON") from error
    if not isinstance(entries, list):
        raise OSError(errno.EIO, "the hub's answer is not a list of files")
    return entries


def _next_page(response: httpx.Response) -> str | None:
    headers = response.headers
    link = headers.get("Link", "")
    match = _NEXT_PAGE.search(link)
    if match is None:
        return None
    target = match[1]
    asked = response.url
    page = asked.join(target)
    host = page.host
    if host != asked.host:
        # The request would have the user's token.
        problem = f"the hub continues its list of files at another host, {host}"
        raise OSError(errno.EIO, problem)
    return str(page)


def _request(
    method: str,
    url: str,
    form: Mapping[str, str] | None = None,
    max_bytes: int = _MAX_PAGE_BYTES,
    byte_range: tuple[int, int] | None = None,
) -> httpx.Response:
    """Return the answer to a request, after retries with growing pauses.

    `byte_range` is the first and the last byte of the content to read; None for all of it.

    Raises
    ------
    OSError
        If the network is forbidden, the hub refuses, or the answer has more than `max_bytes`.
    """
    setting = os.environ.get("HF_HUB_OFFLINE", "0")
    is_hub_offline = setting not in {"", "0"}
    if is_offline() or is_hub_offline:
        problem = "LOOKALIKE_OFFLINE or HF_HUB_OFFLINE forbids the network"
        raise OSError(errno.ENETDOWN, problem)
    for pause in (*RETRY_PAUSES_S, None):
        try:
            return _attempt(method, url, form, max_bytes, byte_range)
        except TransientError as error:
            problem = str(error)
        if pause is not None:
            time.sleep(pause)
    raise OSError(errno.EIO, problem)


def _attempt(
    method: str,
    url: str,
    form: Mapping[str, str] | None,
    max_bytes: int,
    byte_range: tuple[int, int] | None,
) -> httpx.Response:
    client = _client()
    token = _token()
    # A redirect to another host is followed without the token.
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    expected = HTTPStatus.OK
    if byte_range is not None:
        first, last = byte_range
        headers["Range"] = f"bytes={first}-{last}"
        headers["Accept-Encoding"] = "identity"
        expected = HTTPStatus.PARTIAL_CONTENT
    with (
        _translate_network_errors(),
        client.stream(method, url, data=form, headers=headers) as response,
    ):
        _check_hub_answer(response, expected)
        size = 0
        pieces = []
        for piece in response.iter_bytes():
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                problem = f"it has more than {max_bytes:,} bytes"
                raise OSError(errno.EFBIG, problem)
        content = b"".join(pieces)
        # The body is decoded already.
        kept = {"Link": response.headers.get("Link", "")}
        return httpx.Response(
            response.status_code,
            headers=kept,
            content=content,
            request=response.request,
        )


@contextmanager
def _translate_network_errors() -> Iterator[None]:
    try:
        yield
    except (httpx.TransportError, httpx.TooManyRedirects) as error:
        reason = str(error) or type(error).__name__
        problem = f"the hub cannot be reached: {reason}"
        raise TransientError(problem) from error


def _check_hub_answer(response: httpx.Response, expected: HTTPStatus) -> None:
    """Raise an error unless the hub sends the content with the expected status."""
    status = response.status_code
    if status == expected:
        return
    phrase = response.reason_phrase
    problem = f"the hub answers {status} {phrase}"
    headers = response.headers
    code = headers.get("X-Error-Code")
    if code is not None:
        problem += f" ({code})"
    if status in TRANSIENT:
        raise TransientError(problem)
    if status == HTTPStatus.NOT_FOUND:
        raise FileNotFoundError(errno.ENOENT, problem)
    is_denied = status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    if is_denied:
        problem += "; a private or gated repository needs a token in HF_TOKEN"
        raise PermissionError(errno.EACCES, problem)
    raise OSError(errno.EIO, problem)


@cache
def _client() -> httpx.Client:
    return httpx.Client(
        verify=trusted_certificates(),
        follow_redirects=True,
        timeout=SILENCE_S,
        headers={"User-Agent": user_agent()},
    )


def _endpoint() -> str:
    chosen = os.environ.get("HF_ENDPOINT")
    endpoint = chosen or "https://huggingface.co"
    return endpoint.rstrip("/")


def _token() -> str | None:
    """Return the user's token: that of HF_TOKEN, or the one that the hub's tools have stored."""
    token = os.environ.get("HF_TOKEN", "").strip()
    if token:
        return token
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    name = os.environ.get("HF_TOKEN_PATH") or f"{home}/token"
    path = Path(name).expanduser()
    try:
        stored = path.read_text()
    except OSError:
        return None
    return stored.strip() or None
