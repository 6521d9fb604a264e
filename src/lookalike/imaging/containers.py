"""Read from files what Pillow leaves unread: color statements, and the type of the container."""

from __future__ import annotations

import struct
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

# Chunks that decoders may ignore: transparent colors, and the orientation.
_USEFUL_CHUNKS = {b"tRNS", b"eXIf"}

# The boxes that describe an AVIF or JPEG 2000 image come first.
_BOX_BYTES = 1 << 20
_NCLX = b"colrnclx"
_NCLX_BYTES = 12
# A JPEG 2000 color box of a restricted or any ICC profile: method 2 or 3, precedence, accuracy.
_JP2_PROFILES = (b"colr\x02", b"colr\x03")
_JP2_PROFILE_START = 11

# The beginning of a BMP of version 5: the size of its header, its color space, and the offset and
# the size of its profile.
_BMP_V5 = struct.Struct("<14xI52x4s52xII")
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
    info = image.info
    if info.get("icc_profile"):
        return
    match image.format:
        case "PNG":
            info[CODE_POINTS] = _png_code_points(data)
        case "AVIF":
            info[CODE_POINTS] = _avif_code_points(data)
        case "JPEG2000":
            info["icc_profile"] = _jpeg_2000_profile(data)
        case "BMP":
            info["icc_profile"] = _bmp_profile(data)


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
        name = chunk.name
        # A lower-case first letter marks a chunk that decoders may ignore.
        first_letter = name[:1]
        is_needed = not first_letter.islower()
        if name in _USEFUL_CHUNKS:
            is_needed = chunk.is_sound
        if is_needed:
            whole = chunk.whole
            chunks.append(whole)
    return b"".join(chunks)


def _png_chunks(data: bytes) -> Iterator[_Chunk]:
    start = len(PNG_SIGNATURE)
    while start < len(data):
        name_start = start + 4
        length_bytes = data[start:name_start]
        length = int.from_bytes(length_bytes)
        end = start + _PNG_CHUNK_OVERHEAD
        end += length
        whole = data[start:end]
        name_and_body = whole[4:-4]
        checksum_bytes = whole[-4:]
        stated = int.from_bytes(checksum_bytes)
        checksum = zlib.crc32(name_and_body)
        yield _Chunk(
            name=name_and_body[:4],
            body=name_and_body[4:],
            whole=whole,
            is_sound=checksum == stated,
        )
        start = end


def _png_code_points(data: bytes) -> tuple[int, int] | None:
    """Return the primaries and the transfer of a cICP chunk."""
    # The chunk comes before the pixels. The search is fast, and finds nothing in most files.
    pixels_start = data.find(b"IDAT")
    chunk_start = data.find(b"cICP", 0, pixels_start)
    if chunk_start < 0:
        return None
    for name, body, _, is_sound in _png_chunks(data):
        if name == b"IDAT":
            break
        if name != b"cICP":
            continue
        if is_sound and len(body) == 4:
            primaries, transfer, _, _ = body
            return primaries, transfer
    return None


def _avif_code_points(data: bytes) -> tuple[int, int] | None:
    """Return the primaries and the transfer of the first color box of an AVIF file."""
    start = data.find(_NCLX, 0, _BOX_BYTES)
    is_absent = start < 0
    if is_absent:
        return None
    end = start + _NCLX_BYTES
    box = data[start:end]
    fields = box[8:]
    is_cut_off = len(fields) < 4
    if is_cut_off:
        return None
    primaries, transfer = struct.unpack(">HH", fields)
    return primaries, transfer


def _jpeg_2000_profile(data: bytes) -> bytes | None:
    for mark in _JP2_PROFILES:
        name_start = data.find(mark, 0, _BOX_BYTES)
        start = name_start - 4
        if start < 0:
            continue
        length_bytes = data[start:name_start]
        length = int.from_bytes(length_bytes)
        end = start + length
        box = data[start:end]
        return box[_JP2_PROFILE_START:]
    return None


def _bmp_profile(data: bytes) -> bytes | None:
    """Return the profile that a BMP of version 5 embeds."""
    if len(data) < _BMP_V5.size:
        return None
    fields = _BMP_V5.unpack_from(data)
    header_size, color_space, offset, size = fields
    if header_size != _BMP_V5_SIZE:
        return None
    if color_space != _BMP_EMBEDDED:
        return None
    start = _BMP_HEADER + offset
    end = start + size
    return data[start:end]
