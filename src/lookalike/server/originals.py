"""The image files of rows, opened only if their content is the indexed one."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

from lookalike.server.problems import Problem
from lookalike.sources import is_web_address, open_uri

__all__ = ["Original", "media_type", "open_original", "read_original"]

# The server sends nothing but images, whatever a file is called. A browser executes none of these.
_SIGNATURES = (
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"GIF8[79]a", "image/gif"),
    (rb"RIFF....WEBP", "image/webp"),
    (rb"BM", "image/bmp"),
    (rb"II[*+]\0|MM\0[*+]", "image/tiff"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "image/jp2"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "image/jxl"),
    (rb"....ftypcrx |II(?:RO|RS|U\0)|MMOR|FUJIFILMCCD-RAW ", "image/x-dcraw"),
    (rb"....ftypavi[fs]", "image/avif"),
    (rb"....ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)", "image/heic"),
)
_SIGNATURE_BYTES = 32

# Decoding a larger original would keep the client waiting too long.
_MAX_DECODED_BYTES = 64 << 20


@dataclass(slots=True)
class Original:
    """An open file whose content was verified.

    Attributes
    ----------
    file
        Positioned at its beginning; the caller closes it.
    size, media_type, name
        The number of bytes, the type of the image, and the file's name.
    """

    file: BufferedReader
    size: int
    media_type: str
    name: str


def open_original(row: dict[str, Any]) -> Original:
    """Open the file of a row and verify that it is the image that was indexed.

    The whole content is hashed, so a replaced file or a link to another one is never sent. An
    address of the web is never read: a visitor could make the server send requests.

    Parameters
    ----------
    row
        The row as `RowCache` returns it.

    Raises
    ------
    Problem
        404, if the file is missing or has other content.
    """
    if is_web_address(row["uri"]):
        raise Problem(
            404,
            "Original not found",
            f"The image of row {row['id']} is on the web, and this server does not fetch it. "
            "Open the address in uri.",
        )
    try:
        file = open_uri(row["uri"])
    except (OSError, ValueError):
        raise _original_not_found(row) from None
    with suppress(OSError):
        original = _verified(file, row)
        if original is not None:
            return original
    file.close()
    raise _original_not_found(row)


def read_original(row: dict[str, Any]) -> bytes:
    """Return the file of a row, verified as `open_original` does.

    Raises
    ------
    Problem
        404, if the file is missing or has other content, or is too large to decode for a request.
    """
    original = open_original(row)
    with original.file as file:
        data = file.read(_MAX_DECODED_BYTES + 1)
    if len(data) > _MAX_DECODED_BYTES:
        raise _original_not_found(row)
    return data


def media_type(beginning: bytes) -> str | None:
    """Return the media type of an image by its first bytes, or None for other content."""
    for pattern, name in _SIGNATURES:
        if re.match(pattern, beginning, re.DOTALL):
            return name
    return None


def _verified(file: BufferedReader, row: dict[str, Any]) -> Original | None:
    """Return the original if size, type and hash match the row."""
    size = file.seek(0, os.SEEK_END)
    if size != row["size"]:
        return None
    file.seek(0)
    beginning = file.read(_SIGNATURE_BYTES)
    kind = media_type(beginning)
    if kind is None:
        return None
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256")
    sha256 = digest.hexdigest()
    if sha256 != row["content"]:
        return None
    file.seek(0)
    return Original(file, size, kind, row["name"])


def _original_not_found(row: dict[str, Any]) -> Problem:
    return Problem(
        404,
        "Original not found",
        f"The file of row {row['id']} is missing or has changed since it was indexed. "
        "Index its folder again.",
    )
