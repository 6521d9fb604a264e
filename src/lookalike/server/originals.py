"""Thumbnails and originals of rows."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

from lookalike import imaging
from lookalike.errors import ImageError
from lookalike.server.problems import Problem
from lookalike.server.registry import CollectionView
from lookalike.server.state import ServerState
from lookalike.sources import open_uri

__all__ = ["Original", "media_type", "original", "thumbnail"]

# Of what is kept with each row: docs/decisions/0018-server.md.
_KEPT_SIDE = imaging.THUMBNAIL_SIDE
# A larger original is too much to decode while someone waits.
_MOST_BYTES = 64 << 20

# Only pictures are ever sent, whatever a file is called: what a browser might run is none of these.
_TYPES = (
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"GIF8[79]a", "image/gif"),
    (rb"RIFF....WEBP", "image/webp"),
    (rb"BM", "image/bmp"),
    (rb"II[*+]\0|MM\0[*+]", "image/tiff"),
    (rb"....ftypavi[fs]", "image/avif"),
    (rb"....ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)", "image/heic"),
)


def media_type(beginning: bytes) -> str | None:
    """Return the media type of a picture by its first bytes; None if it is none."""
    return next((name for pattern, name in _TYPES if re.match(pattern, beginning, re.DOTALL)), None)


async def thumbnail(
    state: ServerState, view: CollectionView, fact: dict[str, Any], side: int
) -> bytes:
    """Return a row's picture as a JPEG whose longer side is at most so many pixels, or that of the kept one.

    The one kept in the table, where it is large enough, or where the original may not be read or is not what was
    indexed.
    """
    key = fact["content"], max(side, _KEPT_SIDE)
    made = state.pictures.get(key)
    if made is None:
        if side > _KEPT_SIDE and state.settings.originals:
            made = await state.work.run(_made, state, fact, side)
        if made is None:
            made = await state.thumbnails.run((view, fact["id"]))
        state.pictures.put(key, made, len(made) + 256)
    return made


def _made(state: ServerState, fact: dict[str, Any], side: int) -> bytes | None:
    """Return a thumbnail made of the original; None if that cannot be had or decoded."""
    with suppress(Problem, ImageError), original(fact).file as file:
        data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            return None
        image, _ = imaging.decode_small(data, least=side, max_pixels=state.settings.max_pixels)
        return imaging.thumbnail(image, side=side)
    return None


@dataclass(slots=True)
class Original:
    """An open file that holds what was indexed.

    Attributes
    ----------
    file
        At its beginning.
    size, media_type, name
        Bytes, what kind of picture it is, and what it is called.
    """

    file: BufferedReader
    size: int
    media_type: str
    name: str


def original(fact: dict[str, Any]) -> Original:
    """Open a row's file, and make sure that it is the picture that was indexed and no other file.

    Its whole content is hashed: a link that was put in its place, or anything else, is not sent.

    Raises
    ------
    Problem
        404, if it is not.
    """
    try:
        file = open_uri(fact["uri"])
    except (OSError, ValueError):
        raise _gone(fact) from None
    try:
        size, kind = os.fstat(file.fileno()).st_size, media_type(file.read(32))
        file.seek(0)
        if (
            size != fact["size"]
            or kind is None
            or hashlib.file_digest(file, "sha256").hexdigest() != fact["content"]
        ):
            raise _gone(fact)
        file.seek(0)
    except OSError:
        file.close()
        raise _gone(fact) from None
    except Problem:
        file.close()
        raise
    return Original(file, size, kind, fact["name"])


def _gone(fact: dict[str, Any]) -> Problem:
    return Problem(
        404,
        "No such original",
        f"The file of row {fact['id']} is not there, or not what was indexed. Index its folder again.",
    )
