"""Read from files what Pillow leaves unread: color statements, and the type of the container."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

from lookalike.formats import HEIF_BRANDS
from lookalike.imaging.color import CODE_POINTS

__all__ = ["PNG_SIGNATURE", "add_color", "is_heif", "without_metadata"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A PNG chunk has a length, a name and a checksum of 4 bytes each around its data.
_PNG_CHUNK_OVERHEAD = 12

# The boxes that describe an AVIF or JPEG 2000 image come first.
_BOX_BYTES = 1 << 20
_NCLX = b"colrnclx"
# A JPEG 2000 color box of a restricted or any ICC profile: method 2 or 3, precedence, accuracy.
_JP2_PROFILES = (b"colr\x02", b"colr\x03")
_JP2_PROFILE_START = 7

# Offsets within a BMP's header of version 5, and the size of that header.
_BMP_HEADER = 14
_BMP_V5_SIZE = 124
_BMP_EMBEDDED = b"DEBM"


class _Chunk(NamedTuple):
    """A chunk of a PNG: its name, its data, the whole chunk, and whether its checksum is right."""

    name: bytes
    body: bytes
    whole: bytes
    is_sound: bool


def add_color(image: Image.Image, data: bytes) -> None:
    """Add to an image's `info` the profile or code points that Pillow does not read."""
    if image.info.get("icc_profile"):
        return
    if image.format == "PNG":
        code_points = _png_code_points(data)
        if code_points is not None:
            image.info[CODE_POINTS] = code_points
    elif image.format == "AVIF":
        code_points = _avif_code_points(data)
        if code_points is not None:
            image.info[CODE_POINTS] = code_points
    elif image.format == "JPEG2000":
        image.info["icc_profile"] = _jpeg_2000_profile(data)
    elif image.format == "BMP":
        image.info["icc_profile"] = _bmp_profile(data)


def is_heif(data: bytes) -> bool:
    """Return whether a file needs the HEIF decoder.

    AVIF and HEIC share a container. An AVIF file may state the container's brand as its own, and
    name ``avif`` among the compatible brands only.
    """
    box_name = data[4:8]
    main_brand = data[8:12]
    if box_name != b"ftyp":
        return False
    if main_brand not in HEIF_BRANDS:
        return False
    box_length = int.from_bytes(data[:4])
    end = min(box_length, 256)
    brands = data[8:end]
    return b"avif" not in brands


def without_metadata(data: bytes) -> bytes:
    """Return a PNG reduced to the chunks that decide its pixels and their orientation."""
    chunks = [PNG_SIGNATURE]
    for chunk in _png_chunks(data):
        # A lower-case first letter marks a chunk that decoders may ignore.
        first_letter = chunk.name[:1]
        is_needed = not first_letter.islower()
        if chunk.name in {b"tRNS", b"eXIf"}:
            is_needed = chunk.is_sound
        if is_needed:
            chunks.append(chunk.whole)
    return b"".join(chunks)


def _png_chunks(data: bytes) -> Iterator[_Chunk]:
    start = len(PNG_SIGNATURE)
    while start < len(data):
        name_start = start + 4
        length = int.from_bytes(data[start:name_start])
        end = start + _PNG_CHUNK_OVERHEAD + length
        checksum_start = end - 4
        name_and_body = data[name_start:checksum_start]
        checksum = int.from_bytes(data[checksum_start:end])
        yield _Chunk(
            name=name_and_body[:4],
            body=name_and_body[4:],
            whole=data[start:end],
            is_sound=zlib.crc32(name_and_body) == checksum,
        )
        start = end


def _png_code_points(data: bytes) -> tuple[int, int] | None:
    """Return the primaries and the transfer of a cICP chunk."""
    # The chunk comes before the pixels. The search is fast, and finds nothing in most files.
    if data.find(b"cICP", 0, data.find(b"IDAT")) < 0:
        return None
    for chunk in _png_chunks(data):
        if chunk.name == b"IDAT":
            break
        if chunk.name == b"cICP" and chunk.is_sound and len(chunk.body) == 4:
            return chunk.body[0], chunk.body[1]
    return None


def _avif_code_points(data: bytes) -> tuple[int, int] | None:
    """Return the primaries and the transfer of the first color box of an AVIF file."""
    start = data.find(_NCLX, 0, _BOX_BYTES)
    if start < 0:
        return None
    start += len(_NCLX)
    primaries = int.from_bytes(data[start : start + 2])
    transfer = int.from_bytes(data[start + 2 : start + 4])
    return primaries, transfer


def _jpeg_2000_profile(data: bytes) -> bytes | None:
    for mark in _JP2_PROFILES:
        start = data.find(mark, 0, _BOX_BYTES)
        if start >= 4:
            length = int.from_bytes(data[start - 4 : start])
            end = start - 4 + length
            return data[start + _JP2_PROFILE_START : end]
    return None


def _bmp_profile(data: bytes) -> bytes | None:
    """Return the profile that a BMP of version 5 embeds."""
    header = data[_BMP_HEADER : _BMP_HEADER + _BMP_V5_SIZE]
    header_size = int.from_bytes(header[:4], "little")
    color_space = header[56:60]
    if header_size != _BMP_V5_SIZE or color_space != _BMP_EMBEDDED:
        return None
    start = _BMP_HEADER + int.from_bytes(header[112:116], "little")
    size = int.from_bytes(header[116:120], "little")
    return data[start : start + size]
