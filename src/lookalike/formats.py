"""The image formats that are read: their names, their extensions, and how their files begin.

This is the one list. Sources take their extensions from it, and the decoder takes its formats. Some
formats need a package of an extra; they are read as soon as it is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

__all__ = [
    "CAMERA_RAW",
    "FORMATS",
    "HEIF_BRANDS",
    "TIFF",
    "ImageFormat",
    "format_names",
    "is_installed",
    "readable_extensions",
    "recognize",
]

# The brands of HEIC files, and of the container that AVIF shares with them.
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_HEIF_SIGNATURE = rb"....ftyp(?:%b)" % b"|".join(HEIF_BRANDS)
_JPEG_2000_SIGNATURE = rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"
_JPEG_XL_SIGNATURE = rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"
# A file of Windows, or only the device-independent bitmap in it, with one plane.
_BMP_SIGNATURE = rb"BM.{4}\0{4}|[\x28\x40\x6c\x7c]\0{3}.{8}\x01\0"
# CR2 is a TIFF with a mark of its own; ORF and RW2 replace TIFF's number; CR3 has boxes, as HEIC.
_RAW_SIGNATURE = rb"II\*\0....CR\x02|....ftypcrx |II(?:RO|RS|U\0)|MMOR|FUJIFILMCCD-RAW "


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """A format that is read.

    Attributes
    ----------
    name
        As it is shown to users.
    extensions
        In lower case, with the full stop.
    signature
        A regular expression for the first bytes of a file.
    package, extra
        The package that reads it, and the extra that installs the package; None if every
        installation reads it.
    """

    name: str
    extensions: tuple[str, ...]
    signature: bytes
    package: str | None = None
    extra: str | None = None

    @property
    def is_read(self) -> bool:
        """Whether this installation reads the format."""
        package = self.package
        if package is None:
            return True
        return is_installed(package)


CAMERA_RAW = ImageFormat(
    "camera raw",
    (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"),
    _RAW_SIGNATURE,
    package="rawpy",
    extra="raw",
)
TIFF = ImageFormat("TIFF", (".tif", ".tiff"), rb"II[*+]\0|MM\0[*+]")

# CR2 files begin as TIFFs do, so camera files come first.
FORMATS = (
    ImageFormat("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), rb"\xff\xd8\xff"),
    ImageFormat("PNG", (".png", ".apng"), rb"\x89PNG"),
    ImageFormat("WebP", (".webp",), rb"RIFF....WEBP"),
    ImageFormat("GIF", (".gif",), rb"GIF8"),
    ImageFormat("BMP", (".bmp", ".dib"), _BMP_SIGNATURE),
    CAMERA_RAW,
    TIFF,
    ImageFormat("AVIF", (".avif", ".avifs"), rb"....ftypavi[fs]"),
    ImageFormat("HEIC", (".heic", ".heif", ".hif"), _HEIF_SIGNATURE),
    ImageFormat(
        "JPEG 2000",
        (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        _JPEG_2000_SIGNATURE,
    ),
    ImageFormat(
        "JPEG XL", (".jxl",), _JPEG_XL_SIGNATURE, package="pillow_jxl", extra="jxl"
    ),
)


@cache
def is_installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    spec = find_spec(package)
    return spec is not None


@cache
def readable_extensions() -> frozenset[str]:
    """Return the extensions of the formats that this installation reads."""
    extensions: list[str] = []
    for image_format in _readable():
        extensions += image_format.extensions
    return frozenset(extensions)


@cache
def format_names() -> str:
    """Return the names of the formats that this installation reads, as shown to users."""
    names: list[str] = []
    for image_format in _readable():
        name = image_format.name
        names.append(name)
    return ", ".join(names)


def recognize(data: bytes) -> ImageFormat | None:
    """Return the format that a file begins as; None for all others."""
    for image_format in FORMATS:
        signature = image_format.signature
        found = re.match(signature, data, re.DOTALL)
        if found:
            return image_format
    return None


def _readable() -> Iterator[ImageFormat]:
    for image_format in FORMATS:
        if image_format.is_read:
            yield image_format
