"""Objects in Amazon S3, Google Cloud Storage, Azure Blob Storage and stores that work like them.

obstore is the client. Credentials, endpoints and regions come from its environment variables. Only
functions import it, because the package ``lookalike`` works without it.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from lookalike.errors import SourceError
from lookalike.io.reasons import first_line
from lookalike.io.requests import run_interruptibly
from lookalike.io.times import microseconds_of
from lookalike.sources.clock import with_fraction

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

__all__ = [
    "INSTALL_CLOUD",
    "STORE_SCHEMES",
    "Address",
    "find_object",
    "get_object",
    "get_range",
    "list_objects",
    "open_prefix",
    "stamp_time",
]

STORE_SCHEMES = ("s3", "gs", "az")

INSTALL_CLOUD = "pip install 'lookalike[cloud]'"

# Variables that obstore reads, by the beginning of their names.
_SETTINGS = ("AWS_", "AZURE_", "GOOGLE_")
# Those of them that hold the address of a server.
_ENDPOINT_VARIABLES = (
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AZURE_ENDPOINT",
    "AZURE_STORAGE_ENDPOINT",
    "GOOGLE_BASE_URL",
)
_AZURE_ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"

# Pauses of 0.1, 0.2, 0.4 ... 5 s, about 16 s in all, before a request fails.
_MAX_RETRIES = 8
_FIRST_PAUSE = timedelta(milliseconds=100)
_LONGEST_PAUSE = timedelta(seconds=5)
_RETRY_TIMEOUT = timedelta(seconds=60)
# For one request with its body; a body that was cut is continued by another request.
_REQUEST_TIMEOUT = timedelta(seconds=120)

# A page of a listing that was cut while it was sent is not retried by obstore.
_PAGE_PAUSES_S = (0.1, 0.5, 2.0)
_PAGE_SIZE = 1000

_HTTP_STATUS = re.compile(r"status code: (\d{3}[\w ]*)")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_RETRIED = re.compile(r"after (\d+) retries")
# The computer that gives credentials to programs inside a cloud. It exists only there.
_CREDENTIALS_SERVER = "169.254.169.254"
_QUERY = re.compile(r"\?\S*")
# The answer to a request whose If-Match is not met.
_CHANGED = "412"
_DENIED_STATUSES = ("401", "403")


class Address(NamedTuple):
    """The parts of an object's uri, or of a prefix without the slash at its end.

    Attributes
    ----------
    scheme, bucket
        The kind of store, and the bucket or container.
    key
        The name in the bucket, which is not quoted; empty for the bucket itself.
    """

    scheme: str
    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Address:
        """Return the parts of a uri, or raise SourceError if it names no bucket."""
        scheme, _, rest = uri.partition("://")
        bucket, _, key = rest.partition("/")
        if not bucket:
            example = f"{scheme}://bucket/folder"
            raise SourceError(
                f"{uri!r} names no bucket. Expected an address such as {example}."
            )
        kind = scheme.lower()
        name = key.rstrip("/")
        return cls(kind, bucket, name)

    @property
    def uri(self) -> str:
        """The uri, without a slash at its end."""
        bucket = f"{self.scheme}://{self.bucket}"
        if not self.key:
            return bucket
        return f"{bucket}/{self.key}"

    def sibling(self, key: str) -> Address:
        """Return the address of another key in the same bucket."""
        return self._replace(key=key)


def list_objects(prefix: Address) -> Iterator[ObjectMeta]:
    """Yield the objects below a prefix, page by page, in the order of the store.

    Raises
    ------
    OSError
        If the listing cannot be read to its end. All objects before were yielded once.
    """
    pauses = list(_PAGE_PAUSES_S)
    last_key: str | None = None
    while True:
        try:
            for page in _pages(prefix, last_key):
                yield from page
                last_key = page[-1]["path"]
                pauses = list(_PAGE_PAUSES_S)
        except _CutError:
            if not pauses:
                raise
            pause = pauses.pop(0)
            time.sleep(pause)
        else:
            return


def find_object(address: Address) -> ObjectMeta | None:
    """Return the metadata of an object, or None if it does not exist.

    Raises
    ------
    OSError
        If the store cannot be reached or denies access.
    """
    if not address.key:
        return None
    try:
        with _translate_store_errors(address):
            store = _open_store(address)
            return run_interruptibly(lambda: store.head(address.key))
    except FileNotFoundError:
        return None


def get_object(address: Address, max_bytes: int) -> Iterator[bytes]:
    """Yield the content of an object in pieces.

    Raises
    ------
    OSError
        If the object is missing, cannot be read, or has more than `max_bytes`.
    """
    with _translate_store_errors(address):
        store = _open_store(address)
        result = run_interruptibly(lambda: store.get(address.key))
        size = result.meta["size"]
    if size > max_bytes:
        problem = f"it has {size:,} bytes, more than any image"
        raise OSError(errno.EFBIG, problem, address.uri)
    with _translate_store_errors(address):
        pieces = iter(result.stream())
        while True:
            piece = run_interruptibly(lambda: next(pieces, None))
            if piece is None:
                return
            yield bytes(piece)


def get_range(
    address: Address, start: int, length: int, e_tag: str
) -> tuple[ObjectMeta, bytes]:
    """Return the metadata of an object, and at most `length` bytes from `start`.

    Raises
    ------
    OSError
        If the object is missing, cannot be read, or has another ETag. An empty `e_tag` fits all.
    """
    options: GetOptions = {"range": (start, start + length)}
    # HTTP compares weak tags with nothing.
    if e_tag and not e_tag.startswith("W/"):
        options["if_match"] = e_tag
    with _translate_store_errors(address):
        store = _open_store(address)

        def read() -> tuple[ObjectMeta, bytes]:
            result = store.get(address.key, options=options)
            content = result.bytes()
            return result.meta, bytes(content)

        return run_interruptibly(read)


def stamp_time(meta: ObjectMeta) -> int:
    """Return the time of an object in nanoseconds, with a fraction that depends on its ETag.

    Many stores have times of whole seconds. The fraction makes a second write within the same
    second visible. Listings and single requests of a store may have times of different precision,
    so that the store's own fraction counts only without an ETag.
    """
    last_modified = meta["last_modified"]
    microseconds = microseconds_of(last_modified)
    time_ns = microseconds * 1000
    e_tag = meta["e_tag"]
    if e_tag is None:
        return time_ns
    # Some stores quote ETags in one place and not in another.
    tag = e_tag.removeprefix("W/").strip('"')
    return with_fraction(time_ns, tag)


class _CutError(OSError):
    """A page of a listing whose connection was cut."""


def _pages(prefix: Address, last_key: str | None) -> Iterator[Any]:
    """Yield the pages of a listing behind a key."""
    with _translate_store_errors(prefix):
        store = _open_store(prefix)
        stream = store.list(prefix.key or None, offset=last_key, chunk_size=_PAGE_SIZE)
        pages = iter(stream)
    while True:
        with _translate_store_errors(prefix):
            page = run_interruptibly(lambda: next(pages, None))
        if page is None:
            return
        if page:
            yield page


def _open_store(address: Address) -> ObjectStore:
    """Return the store of the bucket of an address."""
    bucket = address.sibling("")
    return open_prefix(bucket)


def open_prefix(address: Address) -> ObjectStore:
    """Return a store of the objects below an address, which names them from there.

    There is one for each environment, so that changes of it count.
    """
    settings = []
    for name, value in os.environ.items():
        if name.startswith(_SETTINGS):
            settings.append((name, value))
    settings.sort()
    return _cached_store(address.uri, tuple(settings))


@lru_cache(maxsize=64)
def _cached_store(url: str, settings: tuple[tuple[str, str], ...]) -> ObjectStore:
    try:
        # It waits for another thread that imports the package at this moment, as the import of a
        # module of it does not.
        import obstore
    except ImportError as error:
        problem = f"object storage needs a further package: {INSTALL_CLOUD}"
        raise OSError(errno.ENOTSUP, problem, url) from error

    variables = dict(settings)
    options: dict[str, Any] = {}
    if url.startswith("az:") and _AZURE_ACCOUNT in variables:
        # obstore takes the account from the environment too late to open an az:// address.
        options["account_name"] = variables[_AZURE_ACCOUNT]
    open_url: Any = obstore.store.from_url
    backoff = {"init_backoff": _FIRST_PAUSE, "max_backoff": _LONGEST_PAUSE, "base": 2}
    store: ObjectStore = open_url(
        url,
        client_options=_client_options(variables),
        retry_config={
            "max_retries": _MAX_RETRIES,
            "backoff": backoff,
            "retry_timeout": _RETRY_TIMEOUT,
        },
        **options,
    )
    return store


def _client_options(variables: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {"timeout": _REQUEST_TIMEOUT}
    for name in _ENDPOINT_VARIABLES:
        # The user names an endpoint without encryption, as those of MinIO in one's own network.
        endpoint = variables.get(name, "")
        is_unencrypted = endpoint.startswith("http://")
        if is_unencrypted:
            options["allow_http"] = True
    return options


@contextmanager
def _translate_store_errors(address: Address) -> Iterator[None]:
    """Raise the errors of obstore as OSError with a reason of a few words."""
    try:
        yield
    except FileNotFoundError as error:
        problem = "there is no such object"
        raise FileNotFoundError(errno.ENOENT, problem, address.uri) from error
    except OSError:
        raise
    # ValueError is an invalid path; the other errors share a base class of obstore.
    except Exception as error:
        if not _is_store_error(error):
            raise
        raise _to_os_error(error, address) from error


def _is_store_error(error: Exception) -> bool:
    from obstore.exceptions import BaseError

    return isinstance(error, BaseError | ValueError)


def _to_os_error(error: Exception, address: Address) -> OSError:
    """Return an OSError for an error of obstore.

    Its message begins with a line for people. What follows it may hold an answer of the store, and
    an address may hold a signature.
    """
    text = str(error)
    status = _HTTP_STATUS.search(text)
    if _CREDENTIALS_SERVER in text:
        problem = (
            "there are no credentials in the environment, such as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY; a public bucket needs AWS_SKIP_SIGNATURE=true"
        )
        return PermissionError(errno.EACCES, problem, address.uri)
    if status is not None:
        code = _CODE.search(text)
        code_name = None if code is None else code[1]
        return _error_of_status(status[1].strip(), code_name, address)

    message = first_line(error)
    reason = _QUERY.sub("", message)
    if "invalid path" in reason or isinstance(error, ValueError):
        problem = f"a key is not a path: {reason}"
        return OSError(errno.EINVAL, problem, address.uri)
    _, _, cause = reason.rpartition(" - ")
    retried = _RETRIED.search(message)
    if retried is not None:
        problem = f"the store cannot be reached in {retried[1]} retries: {cause}"
        return OSError(errno.EIO, problem, address.uri)
    return _CutError(errno.EIO, cause, address.uri)


def _error_of_status(status: str, code: str | None, address: Address) -> OSError:
    """Return an OSError for an answer of a store, such as ``403 Forbidden``."""
    if status.startswith(_CHANGED):
        problem = "the object that holds it changed while it was read"
        return OSError(errno.EBUSY, problem, address.uri)
    problem = f"the store answers {status}"
    if code is not None:
        problem += f" ({code})"
    if status.startswith(_DENIED_STATUSES):
        return PermissionError(errno.EACCES, problem, address.uri)
    return OSError(errno.EIO, problem, address.uri)
