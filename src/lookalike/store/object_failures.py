"""The causes of errors of an object store, found in the texts of Lance and obstore."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from lookalike.errors import CollectionError, ReadOnlyError

__all__ = ["is_access_failure", "object_store_error"]

_DENIED = re.compile(
    r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|AuthenticationFailed"
    r"|\b40[13] (Forbidden|Unauthorized)|PermissionDenied|Unauthenticated"
)
# How the text of an error shows its cause, and what to say. The first that matches counts: the
# service that gives out credentials answers with errors of its own, such as a missing permission.
_CAUSES = {
    r"latest/api/token|169\.254\.169\.254|AWS credentials|CredentialsNotLoaded"
    r"|metadata\.google\.internal|Missing (credential|account)|Account must be specified": (
        "there are no credentials for {scheme}://. Set {keys}."
    ),
    r"NoSuchBucket|ContainerNotFound|bucket does not exist": (
        "there is no bucket {bucket!r} {place}. Make the bucket, or correct the address {url}."
    ),
    r"PermanentRedirect|AuthorizationHeaderMalformed|\b301 Moved": (
        "the bucket {bucket!r} is in another region. Set AWS_REGION to the region of the bucket."
    ),
    r"HTTP error: builder error|URL scheme is not allowed": (
        "the store {place} is not encrypted. Use an https:// endpoint, or set AWS_ALLOW_HTTP=true "
        "for a server on your own network."
    ),
    r"error sending request|dns error|Connection refused|tcp connect error|timed out"
    r"|connection closed|error decoding response body": (
        "the store {place} does not answer. Check the network and the endpoint{variable}, then run "
        "the command again. Everything that was committed is safe."
    ),
    r"SlowDown|ServerBusy|status code: (429|5\d\d)": (
        "the store {place} is overloaded or has failed. Run the command again later. Everything "
        "that was committed is safe."
    ),
}

_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_ENDPOINTS = {"s3": "AWS_ENDPOINT_URL", "gs": "", "az": "AZURE_STORAGE_ENDPOINT"}


def object_store_error(
    subject: str, url: str, error: BaseException, *, writes: bool, creates: bool
) -> CollectionError | None:
    """Return the error for a failure of an object store, or None if `error` has another cause.

    Parameters
    ----------
    subject
        The beginning of the message: the object and the operation that failed.
    url
        The collection's address.
    error
        The error that Lance or obstore raised.
    writes, creates
        Whether the operation writes, and whether it makes a new collection.
    """
    text = str(error)
    parts = urlsplit(url)
    variable = _ENDPOINTS[parts.scheme]
    endpoint = os.environ.get(variable, "")
    scheme = parts.scheme
    keys = _KEYS[scheme]
    place = f"behind {scheme}://"
    if endpoint:
        place = f"at {endpoint}"
    facts = {
        "scheme": scheme,
        "bucket": parts.netloc,
        "url": url,
        "keys": keys,
        "place": place,
        "variable": f" in {variable}" if variable else "",
    }
    for pattern, reason in _CAUSES.items():
        found = re.search(pattern, text, re.IGNORECASE)
        if found:
            cause = reason.format(**facts)
            return CollectionError(f"{subject}: {cause}")
    is_denied = _DENIED.search(text)
    if is_denied:
        return _denied_error(subject, url, keys, writes=writes, creates=creates)
    return None


def _denied_error(
    subject: str, url: str, keys: str, *, writes: bool, creates: bool
) -> CollectionError:
    if creates:
        return ReadOnlyError(
            f"{subject}: the credentials may not write there. Check {keys}, or name another "
            "address with -c or LOOKALIKE_COLLECTION."
        )
    if writes:
        return ReadOnlyError(
            f"{subject}: the credentials may not write there. You can still search it. To change "
            f"it, check {keys}, or work on a copy made with: lookalike restore {url} -c NEW"
        )
    return CollectionError(
        f"{subject}: the credentials may not read it. Check {keys}. They need the right to list "
        "and to read everything below the address."
    )


def is_access_failure(error: BaseException) -> bool:
    """Return whether a store has refused or not answered, which says nothing about its objects."""
    text = str(error)
    causes = [*_CAUSES, _DENIED.pattern]
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in causes)
