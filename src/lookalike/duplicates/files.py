"""Facts of original files that the collection does not hold: pixels, time of capture, EXIF."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from PIL import ExifTags, Image

from lookalike.errors import LookalikeError
from lookalike.imaging import decode
from lookalike.sources import is_web_address, open_uri, read_uri

__all__ = ["FileFacts", "pixel_hash", "read_facts"]

_EXIF_TIME = "%Y:%m:%d %H:%M:%S"


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
    """Return a hash of the decoded pixels of a file; None if it cannot be read.

    Web addresses are not read.
    """
    if is_web_address(uri):
        return None
    try:
        image = decode(read_uri(uri))
    except (OSError, LookalikeError, MemoryError):
        return None
    width, height = image.size
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    digest.update(image.tobytes())
    return digest.digest()
