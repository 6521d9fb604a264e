"""Download one file: resume it after a break, verify it, and move it into place when it is whole.

Only callers that download import this module: importing httpx takes longer than a search.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

import httpx

from lookalike.errors import DownloadError, InputError
from lookalike.io.files import DISK_FULL, file_lock, hash_file
from lookalike.io.http import (
    RETRY_PAUSES_S,
    SILENCE_S,
    TRANSIENT,
    TransientError,
    trusted_certificates,
    user_agent,
)
from lookalike.io.network import is_offline

__all__ = ["download"]

_Progress = Callable[[int, int | None], None]


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    size: int | None = None,
    progress: _Progress | None = None,
) -> Path:
    """Make the file at a URL available at ``target``, and return ``target``.

    A target that already is the right file is used as it is. Otherwise the bytes are written to
    ``<target>.part``. An interrupted download leaves that file behind, and the next call resumes
    it. The target appears once the file is complete and verified. Processes that want the same
    target wait for each other. ``LOOKALIKE_OFFLINE=1`` forbids the network.

    Parameters
    ----------
    url
        An http or https address. The proxies of the environment are used.
    target
        The file to write. Its folder is created.
    sha256
        The file's expected hash in 64 hexadecimal digits. None accepts any bytes.
    size
        The file's expected size in bytes.
    progress
        Called with the bytes so far and the total, or None if the server does not send the total.
        Never called if the target already is the right file.

    Raises
    ------
    InputError
        If the URL or the target cannot be used.
    DownloadError
        If the server cannot be reached, refuses the request or keeps closing the connection; if
        the file has another hash or size; if the disk is full; if the network is forbidden.
    """
    _check_arguments(url, target)
    expected_hash = None if sha256 is None else sha256.lower()
    job = _Job(url, target, expected_hash, size, progress or _no_progress)
    try:
        if job.is_complete():
            return target
        if is_offline():
            raise DownloadError(
                f"{url} is needed at {target}, and LOOKALIKE_OFFLINE forbids the network. "
                f"{job.manual_step()}, or unset LOOKALIKE_OFFLINE and run again."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(target.with_name(f"{target.name}.lock")):
            # Another process may have fetched the file while this one waited.
            if not job.is_complete():
                _fetch(job)
                _verify_part(job)
                _publish(job)
    except OSError as error:
        raise _disk_error(job, error) from error
    return target


@dataclass(frozen=True, slots=True)
class _PartInfo:
    """The remote file that a part file is the beginning of."""

    url: str
    validator: str | None  # a strong ETag or a Last-Modified date, for If-Range
    total: int | None


@dataclass(frozen=True, slots=True)
class _Job:
    """One requested file, and the files beside it while it is incomplete."""

    url: str
    target: Path
    sha256: str | None
    size: int | None
    progress: _Progress

    @property
    def part(self) -> Path:
        return self._beside_target(".part")

    @property
    def info_path(self) -> Path:
        return self._beside_target(".part.json")

    def _beside_target(self, suffix: str) -> Path:
        target = self.target
        name = f"{target.name}{suffix}"
        return target.with_name(name)

    def is_complete(self) -> bool:
        if not self.target.is_file():
            return False
        size = self.target.stat().st_size
        if self.size not in {None, size}:
            return False
        if self.sha256 is None:
            return True
        return hash_file(self.target) == self.sha256

    def read_info(self) -> _PartInfo | None:
        try:
            text = self.info_path.read_text("utf-8")
            entries = json.loads(text)
            info = _PartInfo(**entries)
        except (FileNotFoundError, ValueError, TypeError):
            return None
        if info.url != self.url:
            return None
        return info

    def part_size(self) -> int:
        if not self.part.is_file():
            return 0
        return self.part.stat().st_size

    def total(self) -> int | None:
        if self.size is not None:
            return self.size
        info = self.read_info()
        if info is None:
            return None
        return info.total

    def start(self, info: _PartInfo) -> None:
        """Start from the first byte.

        The old bytes are removed before the new info is written, so that it never describes them.
        """
        entries = asdict(info)
        text = json.dumps(entries)
        self.discard()
        self.info_path.write_text(text, "utf-8")
        self.part.touch()

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.info_path.unlink(missing_ok=True)

    def manual_step(self) -> str:
        return f"Put the file at {self.target} by hand"


def _no_progress(_done: int, _total: int | None) -> None:
    """Report to nobody."""


def _check_arguments(url: str, target: Path) -> None:
    try:
        parts = httpx.URL(url)
        is_usable = (
            parts.scheme in {"http", "https"} and parts.host != "" and parts.port != 0
        )
    except httpx.InvalidURL:
        is_usable = False
    is_encoded = url.isascii() and url.isprintable() and " " not in url
    if not (is_usable and is_encoded):
        raise InputError(
            f"{url!r} cannot be downloaded. Give an http or https address, percent-encoded."
        )
    if target.is_dir():
        raise InputError(
            f"{target} is a folder, but {url} must be saved as a file. Give the path of a file."
        )


def _fetch(job: _Job) -> None:
    """Complete the part file, with a new attempt after each transient failure."""
    attempts = len(RETRY_PAUSES_S) + 1
    with _open_client() as client:
        for attempt in range(1, attempts + 1):
            try:
                _request_rest(job, client)
            except TransientError as error:
                if attempt == 1 and not error.connected:
                    raise DownloadError(
                        f"{job.url} cannot be reached: {error}. Check the address, the network "
                        f"and the proxy (https_proxy), and run again. {job.manual_step()} if this "
                        "machine has no network."
                    ) from error
                if attempt == attempts:
                    total = job.total() or "an unknown number of"
                    raise DownloadError(
                        f"{job.url} broke off after {job.part_size()} of {total} bytes, at the "
                        f"last of {attempts} attempts: {error}. Run again to continue where it "
                        f"stopped. {job.manual_step()} if that does not help."
                    ) from error
                time.sleep(RETRY_PAUSES_S[attempt - 1])
            else:
                return


def _open_client() -> httpx.Client:
    # The bytes must arrive as they are stored: a compressed answer has no byte ranges.
    headers = {"User-Agent": user_agent(), "Accept-Encoding": "identity"}
    try:
        return httpx.Client(
            headers=headers,
            timeout=SILENCE_S,
            follow_redirects=True,
            # httpx has a fixed list of its own.
            verify=trusted_certificates(),
        )
    # An unknown kind of proxy, or SOCKS without the package for it.
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise DownloadError(
            f"The proxy that the environment names cannot be used: {error}. "
            "Correct https_proxy, http_proxy or all_proxy, and run again."
        ) from error


def _request_rest(job: _Job, client: httpx.Client) -> None:
    """Request the missing bytes once, and append them to the part file."""
    info = job.read_info()
    if info is None or not _is_resumable(job, info):
        job.discard()
    have = job.part_size()
    is_whole = have > 0 and have == job.total()
    if is_whole:
        return

    headers = _range_headers(have, info)
    stream = client.stream("GET", job.url, headers=headers)
    with _translate_http_errors(job), stream as response:
        have = _receive(job, response, have)
    expected = job.total() or 0
    if have < expected:
        raise TransientError("the connection was closed early")


def _is_resumable(job: _Job, info: _PartInfo) -> bool:
    # Without a hash or a validator, nothing shows whether the rest belongs to these first bytes.
    if info.validator is not None:
        return True
    return job.sha256 is not None


def _receive(job: _Job, response: httpx.Response, have: int) -> int:
    """Write a response to the part file, which has `have` bytes, and return its new size."""
    _check_status(job, response)
    start, total = _parse_content_range(response, have)
    _check_size(job, total)
    if start == 0:
        validator = _validator(response)
        info = _PartInfo(job.url, validator, total)
        job.start(info)
    return _append(job, response, start)


@contextlib.contextmanager
def _translate_http_errors(job: _Job) -> Iterator[None]:
    try:
        yield
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise DownloadError(
            f"{job.url} was refused: {error} "
            f"Check the address. {job.manual_step()} if it has moved."
        ) from error
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise TransientError(error, connected=False) from error
    except httpx.TransportError as error:
        raise TransientError(error) from error


def _range_headers(have: int, info: _PartInfo | None) -> dict[str, str]:
    if have == 0 or info is None:
        return {}
    headers = {"Range": f"bytes={have}-"}
    if info.validator is not None:
        headers["If-Range"] = info.validator
    return headers


def _check_status(job: _Job, response: httpx.Response) -> None:
    if response.is_success:
        return
    status = f"HTTP {response.status_code} {response.reason_phrase}"
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        job.discard()
        raise TransientError(f"{status}: the bytes so far do not begin this file")
    if response.status_code in TRANSIENT:
        raise TransientError(status)
    raise DownloadError(
        f"{job.url} was refused: {status}. Check the address. {job.manual_step()} if it has moved."
    )


def _parse_content_range(response: httpx.Response, have: int) -> tuple[int, int | None]:
    """Return the first byte's position in the file, and the file's size if it is known."""
    length = _content_length(response)
    is_partial = response.status_code == HTTPStatus.PARTIAL_CONTENT
    if not is_partial:
        return 0, length

    headers = response.headers
    content_range = headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
    if match is None or int(match[1]) != have:
        raise TransientError(f"asked for the bytes from {have}, the server sent others")
    # The server sends * for an unknown total. The response may have a length all the same.
    total = match[2]
    if total != "*":
        return have, int(total)
    if length is None:
        return have, None
    return have, have + length


def _content_length(response: httpx.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    if not length.isdecimal():
        return None
    return int(length)


def _validator(response: httpx.Response) -> str | None:
    """Return the value that identifies this version of the file in an If-Range header."""
    headers = response.headers
    etag: str | None = headers.get("ETag")
    if etag is not None:
        # If-Range does not accept weak ETags (RFC 9110, section 13.1.5).
        is_weak = etag.startswith("W/")
        if not is_weak:
            return etag
    last_modified: str | None = headers.get("Last-Modified")
    return last_modified


def _append(job: _Job, response: httpx.Response, have: int) -> int:
    """Append the response to the part file's first ``have`` bytes, and return the new size."""
    total = job.total()
    job.progress(have, total)
    with job.part.open("ab") as file:
        # Chunks come as they arrive, so that a break loses none of the received bytes.
        for chunk in response.iter_raw():
            file.write(chunk)
            have += len(chunk)
            job.progress(have, total)
            # A response that is too long is not the expected file. It may be endless.
            is_too_long = total is not None and have > total
            if is_too_long:
                break
    return have


def _verify_part(job: _Job) -> None:
    size = job.part_size()
    _check_size(job, size)
    sha256 = job.sha256
    if sha256 is None:
        return
    actual = hash_file(job.part)
    if actual != sha256:
        expected = f"the sha256 {sha256}"
        raise _wrong_file(job, expected, actual)


def _check_size(job: _Job, size: int | None) -> None:
    """Refuse a file whose size is known and differs from the expected one."""
    expected = job.size
    if expected is None or size is None:
        return
    if size == expected:
        return
    raise _wrong_file(job, f"{expected} bytes", f"{size} bytes")


def _publish(job: _Job) -> None:
    """Move the part file to the target."""
    part = job.part
    with part.open("rb+") as file:
        descriptor = file.fileno()
        os.fsync(descriptor)
    part.replace(job.target)
    job.info_path.unlink(missing_ok=True)


def _wrong_file(job: _Job, expected: str, actual: str) -> DownloadError:
    job.discard()
    return DownloadError(
        f"{job.url} is not the promised file: expected {expected}, got {actual}. The downloaded "
        "bytes were removed. The file has changed on the server or was damaged on the way, or a "
        f"proxy or login page answered. Run again. {job.manual_step()} if that does not help."
    )


def _disk_error(job: _Job, error: OSError) -> DownloadError:
    folder = job.target.parent
    if error.errno not in DISK_FULL:
        return DownloadError(
            f"{job.url} cannot be written to {job.target}: {error}. "
            f"Check the folder {folder} and its permissions."
        )
    total = job.total()
    needed = "more space" if total is None else f"{total - job.part_size()} more bytes"
    return DownloadError(
        f"The disk of the folder {folder} is full: {job.url} needs {needed}. "
        "Free them and run again to continue."
    )
