"""Facts of original files that the collection does not hold: pixels, time of capture, EXIF."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageSequence

from lookalike.formats import CAMERA_RAW, TIFF, recognize
from lookalike.imaging import decode
from lookalike.imaging.process import no_warnings
from lookalike.imaging.tiff_pages import is_camera_raw
from lookalike.sources import is_web_address, open_uri, read_uri

__all__ = ["FileFacts", "pixel_hash", "read_facts"]

_EXIF_TIME = "%Y:%m:%d %H:%M:%S"
_OPAQUE = 255
# A layout of Pillow such as RGB;16B. The letter is the order of the bytes; BGR;16 has 5 bits.
_DEEP_MODE = re.compile(r";16[A-Z]")


class _DepthField(NamedTuple):
    """Where a format states the bits of its first color.

    Attributes
    ----------
    mark
        The bytes that the field follows.
    distance
        From the start of the mark to the field, in bytes.
    eight_bits
        The field's value for 8 bits.
    """

    mark: bytes
    distance: int
    eight_bits: int


_HEIF_DEPTH = _DepthField(b"pixi", 9, 8)
# Pillow's decoders of these formats do not name the depth.
_DEPTH_FIELDS = {
    "AVIF": _HEIF_DEPTH,
    "HEIC": _HEIF_DEPTH,
    # The start of the code stream, and its SIZ segment.
    "JPEG 2000": _DepthField(b"\xff\x4f\xff\x51", 42, 7),
}


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Facts of an original file.

    Attributes
    ----------
    captured
        When the camera took the photograph; None if the file does not say it.
    exif_tags
        The number of its EXIF entries.
    """

    captured: datetime | None = None
    exif_tags: int = 0


def read_facts(uri: str) -> FileFacts:
    """Return the facts of a file; none if it cannot be read. Web addresses are not read."""
    if is_web_address(uri):
        return FileFacts()
    try:
        with open_uri(uri) as file, Image.open(file) as image:
            exif = image.getexif()
            details = exif.get_ifd(ExifTags.IFD.Exif)
    # Damaged metadata raises errors of every kind.
    except Exception:  # noqa: BLE001
        return FileFacts()
    tags = len(exif) + len(details)
    return FileFacts(_captured(details), tags)


def _captured(details: dict[int, object]) -> datetime | None:
    """Return the time of capture, with fractions of a second where the camera wrote them."""
    text = str(details.get(ExifTags.Base.DateTimeOriginal, ""))
    fraction = str(details.get(ExifTags.Base.SubsecTimeOriginal, "")).strip(" \0")
    try:
        captured = datetime.strptime(text.strip(" \0"), _EXIF_TIME)
    except ValueError:
        return None
    if fraction.isdigit():
        microseconds = fraction[:6].ljust(6, "0")
        captured = captured.replace(microsecond=int(microseconds))
    return captured


def pixel_hash(uri: str) -> bytes | None:
    """Return a hash of all pixels of a file; None if they cannot be compared exactly.

    Transparency and further frames count. A camera's raw file and a file with more than 8 bits a
    color hold more than is decoded, so they have no hash. Web addresses are not read.
    """
    if is_web_address(uri):
        return None
    try:
        with no_warnings:
            data = read_uri(uri)
            return _hash_pixels(data)
    # Damaged files raise errors of every kind.
    except Exception:  # noqa: BLE001
        return None


def _hash_pixels(data: bytes) -> bytes | None:
    """Return a hash of what is decoded, and of the pixels that decoding drops."""
    if _is_raw(data) or _states_deep_colors(data):
        return None
    decoded = decode(data)
    width, height = decoded.size
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    digest.update(decoded.tobytes())
    with Image.open(io.BytesIO(data)) as image:
        if _has_deep_colors(image):
            return None
        for pixels in _undecoded(image):
            digest.update(pixels)
    return digest.digest()


def _is_raw(data: bytes) -> bool:
    """Return whether a file holds what a camera's sensor recorded."""
    image_format = recognize(data)
    if image_format is TIFF:
        return is_camera_raw(data)
    return image_format is CAMERA_RAW


def _states_deep_colors(data: bytes) -> bool:
    """Return whether a file states more than 8 bits a color in a field of its format."""
    image_format = recognize(data)
    if image_format is None or image_format.name not in _DEPTH_FIELDS:
        return False
    field = _DEPTH_FIELDS[image_format.name]
    start = data.find(field.mark)
    at = start + field.distance
    if start < 0 or at >= len(data):
        return False
    # In JPEG 2000 the highest bit is that of a sign.
    value = data[at] & 0x7F
    return value > field.eight_bits


def _has_deep_colors(image: Image.Image) -> bool:
    """Return whether a file has more than 8 bits a color. Pillow's mode names gray ones only."""
    if image.mode.startswith(("I", "F")):
        return True
    tiles = getattr(image, "tile", ())
    return any(_has_deep_mode(tile.args) for tile in tiles)


def _has_deep_mode(arguments: object) -> bool:
    """Return whether the arguments of a decoder name the layout of 16 bits a color."""
    # Beside the layout there are numbers, such as the length of a row.
    values = arguments if isinstance(arguments, tuple) else (arguments,)
    names = [value for value in values if isinstance(value, str)]
    found = map(_DEEP_MODE.search, names)
    return any(found)


def _undecoded(image: Image.Image) -> Iterator[bytes]:
    """Yield the pixels that `decode` drops: of a transparent image, and of further frames."""
    frames = ImageSequence.Iterator(image)
    for number, frame in enumerate(frames):
        is_further = number > 0
        if is_further or _is_transparent(frame):
            pixels = frame.convert("RGBA")
            yield pixels.tobytes()


def _is_transparent(frame: Image.Image) -> bool:
    """Return whether any pixel lets the background through."""
    if not frame.has_transparency_data:
        return False
    pixels = frame.convert("RGBA")
    alpha = pixels.getchannel("A")
    values = np.asarray(alpha)
    least = values.min()
    return bool(least < _OPAQUE)
