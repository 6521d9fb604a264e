"""Download one file: resumed where it stopped, verified, and put in place whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lookalike.errors import DownloadError, InputError
from lookalike.io.files import DISK_FULL, is_same_file, try_lock

__all__ = ["download", "file_lock"]

_CHUNK = 1 << 18  # bytes; small enough that an interrupt is felt at once
_TIMEOUT_S = 30.0  # for each wait on the network, not for the whole file
_PAUSES_S = (0.5, 1.0, 2.0, 4.0)  # between the tries
_POLL_S = 0.1  # between two looks at a lock that another process holds
_PASSING = frozenset(
    {408, 425, 429, 500, 502, 503, 504}
)  # HTTP states that a later try may find gone

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

    A target that is already the right file is used as it is. Otherwise the bytes gather in ``<target>.part``, which
    an interruption leaves behind and the next call goes on with; the target appears when the file is complete and
    verified. Two processes that want the same target take turns. ``LOOKALIKE_OFFLINE=1`` forbids the network.

    Parameters
    ----------
    url
        An http or https address. The proxies of the environment are honoured.
    target
        The file to write; its folder is made.
    sha256
        64 hexadecimal digits that the file must hash to. None takes whatever the server sends.
    size
        Bytes that the file must have.
    progress
        Called with the bytes so far and the bytes in all, or None where the server does not tell. Not called for a
        target that is already there.

    Raises
    ------
    InputError
        If the URL or the target cannot be used.
    DownloadError
        If the server cannot be reached, refuses or keeps breaking off; if the file is not the promised one; if the
        disk is full; if the network is forbidden.
    """
    _check(url, target)
    job = _Job(url, target, None if sha256 is None else sha256.lower(), size, progress or _silent)
    try:
        if job.is_done():
            return target
        if os.environ.get("LOOKALIKE_OFFLINE", "0") not in {"", "0"}:
            raise DownloadError(
                f"{url} is needed at {target} and LOOKALIKE_OFFLINE forbids the network. {job.by_hand()}, or unset "
                "LOOKALIKE_OFFLINE and run again."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(target.with_name(f"{target.name}.lock")):
            if not job.is_done():  # another process may have fetched it while this one waited
                _fetch(job)
                _finish(job)
    except OSError as error:
        raise DownloadError(_disk_trouble(job, error)) from error
    return target


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the file ``path`` for this process or thread alone, waiting for whoever holds it.

    The lock is the operating system's, so one that crashed leaves nothing held. The file is removed at the end;
    on Windows, which keeps open files, it stays, empty.

    Raises
    ------
    OSError
        If the file cannot be made or locked.
    """
    while True:
        with path.open("ab") as file:
            # The holder removes the file: a lock on a removed one would exclude nobody.
            if try_lock(file) and is_same_file(file, path):
                try:
                    yield
                finally:
                    with contextlib.suppress(OSError):
                        path.unlink()
                return
        time.sleep(_POLL_S)


@dataclass(frozen=True, slots=True)
class _Note:
    """What the bytes in the part file are the beginning of."""

    url: str
    validator: str | None  # a strong ETag, or a Last-Modified: what If-Range takes
    total: int | None


@dataclass(frozen=True, slots=True)
class _Job:
    """One file wanted, and what lies beside it until it is whole."""

    url: str
    target: Path
    sha256: str | None
    size: int | None
    progress: _Progress

    @property
    def part(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def note_path(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part.json")

    def is_done(self) -> bool:
        if not self.target.is_file() or self.size not in {None, self.target.stat().st_size}:
            return False
        return self.sha256 is None or _sha256_of(self.target) == self.sha256

    def note(self) -> _Note | None:
        try:
            note = _Note(**json.loads(self.note_path.read_text("utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return note if note.url == self.url else None

    def length(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def total(self) -> int | None:
        note = self.note()
        return self.size if self.size is not None or note is None else note.total

    def begin(self, note: _Note) -> None:
        """Start anew; the note comes after the old bytes are gone, so that it never describes those."""
        self.forget()
        self.note_path.write_text(json.dumps(asdict(note)), "utf-8")
        self.part.touch()

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note_path.unlink(missing_ok=True)

    def by_hand(self) -> str:
        return f"Put the file at {self.target} by hand"


def _silent(_done: int, _total: int | None) -> None:
    """Report to nobody."""


class _BrokenOffError(Exception):
    """The network failed in a way that another try may mend."""

    def __init__(self, reason: object, *, reached: bool = True) -> None:
        super().__init__(str(reason) or type(reason).__name__)
        self.reached = reached


def _check(url: str, target: Path) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not (usable and url.isascii() and url.isprintable() and " " not in url):
        raise InputError(
            f"{url!r} cannot be downloaded. Give an http or https address, percent-encoded."
        )
    if target.is_dir():
        raise InputError(
            f"{target} is a folder, and {url} is to become a file there. Give the path of a file."
        )


def _fetch(job: _Job) -> None:
    """Make the part file whole, in as many tries as are allowed."""
    for nth, pause in enumerate((*_PAUSES_S, None), start=1):
        try:
            _go_on(job)
        except _BrokenOffError as error:
            if nth == 1 and not error.reached:
                raise DownloadError(
                    f"{job.url} cannot be reached: {error}. Check the address, the network and the proxy "
                    f"(https_proxy), and run again. {job.by_hand()} where there is no network."
                ) from error
            if pause is None:
                raise DownloadError(
                    f"{job.url} broke off after {job.length()} of {job.total() or 'an unknown number of'} bytes, at "
                    f"the last of {nth} tries: {error}. Run again to continue where it stopped. {job.by_hand()} if "
                    "that does not help."
                ) from error
            time.sleep(pause)
        else:
            return


def _go_on(job: _Job) -> None:
    """Make one request, and write what it gives behind what is there."""
    note = job.note()
    if note is None or (note.validator is None and job.sha256 is None):
        job.forget()  # nothing would tell whether the rest belongs to this beginning
    have = job.length()
    if have and have == job.total():
        return
    with _open(job, _range_headers(have, note)) as response:
        start, total = _announced(response, have)
        if job.size is not None and total not in {None, job.size}:
            raise _other_file(job, f"{job.size} bytes", f"{total} bytes")
        if start == 0:
            job.begin(_Note(job.url, _validator(response), total))
        have = _append(job, response, start)
    if have < (job.total() or 0):
        raise _BrokenOffError("the connection was closed early")


def _append(job: _Job, response: http.client.HTTPResponse, have: int) -> int:
    """Write the response behind the part file's ``have`` bytes, and return how many there are now."""
    total = job.total()
    job.progress(have, total)
    with job.part.open("ab") as file:
        for chunk in _chunks(response):
            file.write(chunk)
            have += len(chunk)
            job.progress(have, total)
            if total is not None and have > total:
                break  # not the promised file: its end need not be waited for
    return have


def _range_headers(have: int, note: _Note | None) -> dict[str, str]:
    if not have or note is None:
        return {}
    condition = {"If-Range": note.validator} if note.validator else {}
    return {"Range": f"bytes={have}-", **condition}


def _open(job: _Job, headers: dict[str, str]) -> http.client.HTTPResponse:
    # Only these handlers: a redirection must not lead to file: or ftp:.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    request = urllib.request.Request(job.url, headers={"User-Agent": "lookalike", **headers})  # noqa: S310  # checked
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refused(job, error) from error
    except urllib.error.URLError as error:
        raise _BrokenOffError(error.reason, reached=False) from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(error) from error
    return response


def _refused(job: _Job, error: urllib.error.HTTPError) -> Exception:
    state = f"HTTP {error.code} {error.reason}"
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        job.forget()
        return _BrokenOffError(f"{state}: what was there is no beginning of this file")
    if error.code in _PASSING:
        return _BrokenOffError(state)
    return DownloadError(
        f"{job.url} was refused: {state}. Check the address. {job.by_hand()} if it has moved."
    )


def _announced(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Return the byte at which the response begins, and the bytes of the whole file."""
    length = response.headers.get("Content-Length", "")
    rest = int(length) if length.isdecimal() else None
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0, rest
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != have:
        raise _BrokenOffError(f"asked for the bytes from {have}, the server sent others")
    if found[2] != "*":
        return have, int(found[2])
    return have, None if rest is None else have + rest


def _validator(response: http.client.HTTPResponse) -> str | None:
    etag = response.headers.get("ETag")
    if etag is not None and not etag.startswith(
        "W/"
    ):  # RFC 9110, 13.1.5: If-Range takes no weak ETag
        return etag
    return response.headers.get("Last-Modified")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(
                _CHUNK
            )  # what has come, without waiting for more: a break then loses nothing
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenOffError(error) from error
        if not chunk:
            return
        yield chunk


def _finish(job: _Job) -> None:
    """Verify the part file and give it the target's name."""
    if job.size is not None and job.length() != job.size:
        raise _other_file(job, f"{job.size} bytes", f"{job.length()} bytes")
    if job.sha256 is not None and (found := _sha256_of(job.part)) != job.sha256:
        raise _other_file(job, f"the sha256 {job.sha256}", found)
    with job.part.open("rb+") as file:
        os.fsync(file.fileno())
    job.part.replace(job.target)
    job.note_path.unlink(missing_ok=True)


def _other_file(job: _Job, expected: str, found: str) -> DownloadError:
    job.forget()
    return DownloadError(
        f"{job.url} is not the promised file: expected {expected}, got {found}. What came was removed. The file was "
        f"changed there or damaged on its way; a proxy or a login page may have answered. Run again. {job.by_hand()} "
        "if that does not help."
    )


def _disk_trouble(job: _Job, error: OSError) -> str:
    folder = job.target.parent
    if error.errno not in DISK_FULL:
        return f"{job.url} cannot be written to {job.target}: {error}. Check the folder {folder} and its permissions."
    total = job.total()
    need = "more space" if total is None else f"{total - job.length()} more bytes"
    return f"The disk of the folder {folder} is full: {job.url} needs {need}. Free them and run again to continue."


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
