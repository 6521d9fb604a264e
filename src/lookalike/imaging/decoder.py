"""Decode the bytes of an image to upright RGB, or refuse them with a reason."""

from __future__ import annotations

import ctypes
import io
import logging
import math
import re
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError, _imaging

from lookalike.errors import ImageError

__all__ = ["MAX_PIXELS", "decode", "decode_small", "from_array", "upright"]

MAX_PIXELS = 200_000_000

# Pillow can open far more than images, and runs a program for PostScript: only these are tried.
_PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF")
_FORMAT_NAMES = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC"
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A PNG chunk has a length, a name and a checksum of 4 bytes each around its data.
_PNG_CHUNK_OVERHEAD = 12

# The first bytes of a known format: such a file is damaged, not of another format.
_KNOWN_SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|II[*+]\0|MM\0[*+]|RIFF....WEBP|BM.{4}\0{4}|....ftyp(?:avi[fs]|%b)"
    % b"|".join(_HEIF_BRANDS),
    re.DOTALL,
)

# The start-of-scan marker: a progressive JPEG has several scans of its pixels.
_JPEG_SCAN = b"\xff\xda"
# The most passes times pixels of a JPEG. A small file can hold many passes; these take about 15 s.
_MAX_PASSED_PIXELS = 20_000_000_000

_ALPHA_MODES = {"RGBA", "LA", "PA", "RGBa", "La"}

# TIFF tags.
_TILE_WIDTH, _TILE_HEIGHT = 322, 323

_DAMAGED = "damaged: the file is cut short or broken inside"

# Held while Pillow's process-wide cap on pixels is changed.
_cap_lock = threading.Lock()


class _Decoded(NamedTuple):
    """An image, and its width and height at full scale."""

    image: Image.Image
    full_size: tuple[int, int]


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode the first frame of an image to upright RGB, with alpha over white.

    Parameters
    ----------
    data
        A JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file.
    max_pixels
        The most pixels (width x height) to decode.

    Raises
    ------
    ImageError
        If the bytes are of another format, are damaged, or hold too many pixels. The message is the
        reason.
    """
    decoded = _decode(data, max_pixels, min_side=None)
    return decoded.image


def decode_small(
    data: bytes, *, min_side: int, max_pixels: int = MAX_PIXELS
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode an image as `decode` does, but a large JPEG at a half, quarter or eighth of its size.

    A JPEG decodes at these scales for a fraction of the work.

    Parameters
    ----------
    data, max_pixels
        As for `decode`, with the same errors.
    min_side
        No side is shrunk below this number of pixels; `min_decoded_side` returns it for a Model.

    Returns
    -------
    image, (width, height)
        The image, and its size at full scale.
    """
    decoded = _decode(data, max_pixels, min_side)
    return decoded.image, decoded.full_size


def upright(image: Image.Image) -> Image.Image:
    """Convert any Pillow image to RGB: turned as its EXIF says, alpha over white, 16 bits to 8."""
    # exif_transpose copies the image even if its orientation is normal.
    if _orientation(image) != 1:
        with suppress(Exception):
            image = ImageOps.exif_transpose(image)

    mode = image.mode
    has_transparent_color = "transparency" in image.info
    is_deep_gray = mode in {"F", "I"} or mode.startswith("I;16")
    if is_deep_gray:
        return _from_deep_gray(image)
    if mode in _ALPHA_MODES or has_transparent_color:
        return _over_white(image)
    if mode == "RGB":
        return image
    return image.convert("RGB")


def from_array(array: npt.NDArray[Any]) -> Image.Image:
    """Convert an array to upright RGB.

    Parameters
    ----------
    array
        uint8 ``[height, width]`` (gray), ``[height, width, 3]`` (RGB) or ``[height, width, 4]``
        (RGBA).

    Raises
    ------
    ImageError
        If the array has another type or shape.
    """
    shape = array.shape
    is_gray = len(shape) == 2
    has_channels = len(shape) == 3 and shape[2] in {3, 4}
    is_empty = 0 in shape
    has_shape = (is_gray or has_channels) and not is_empty
    if array.dtype != np.uint8 or not has_shape:
        raise ImageError(
            f"an array of {array.dtype} {list(shape)} cannot be used as an image; "
            "expected uint8 [height, width], [height, width, 3] or [height, width, 4]"
        )
    image = Image.fromarray(array)
    return upright(image)


def _decode(data: bytes, max_pixels: int, min_side: int | None) -> _Decoded:
    """Decode to upright RGB and turn every error into an ImageError with a plain reason."""
    if not data:
        raise ImageError("the file is empty")
    _silence_decoders()
    try:
        with _no_warnings:
            image, (width, height) = _load(data, max_pixels, min_side)
            # Orientations 5 to 8 turn the image by 90 degrees.
            is_turned = _orientation(image) >= 5
            full_size = (height, width) if is_turned else (width, height)
            return _Decoded(upright(image), full_size)
    except ImageError:
        raise
    except UnidentifiedImageError:
        if _KNOWN_SIGNATURES.match(data):
            raise ImageError(_DAMAGED) from None
        raise ImageError(f"not an image of a known format ({_FORMAT_NAMES})") from None
    except MemoryError:
        raise ImageError(
            "too little memory to decode it; --retry-failures tries it again"
        ) from None
    # Pillow's decoders raise any kind of error for a damaged file: this one image is bad.
    except Exception as error:
        raise ImageError(_reason(error, max_pixels)) from error


def _load(data: bytes, max_pixels: int, min_side: int | None) -> _Decoded:
    """Decode the pixels as stored, a large JPEG at a reduced scale if `min_side` allows it."""
    try:
        return _open_and_load(data, max_pixels, min_side)
    except (ImageError, MemoryError):
        raise
    except Exception:
        # The metadata of a PNG may be damaged, or unpack to more than Pillow takes.
        if not data.startswith(_PNG_SIGNATURE):
            raise
        return _open_and_load(_without_metadata(data), max_pixels, min_side)


def _open_and_load(data: bytes, max_pixels: int, min_side: int | None) -> _Decoded:
    formats: tuple[str, ...] = _PILLOW_FORMATS
    if _is_heif(data):
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
        formats = ("HEIF", *formats)

    with _pillow_cap(max_pixels) as previous_cap:
        image = Image.open(io.BytesIO(data), formats=formats)

    # Check the size before the pixels take any memory.
    size = image.size
    pixels = image.width * image.height
    unpacked_pixels = max(pixels, _tile_pixels(image))
    if unpacked_pixels > max_pixels:
        reason = _too_many_pixels(unpacked_pixels, max_pixels)
        raise ImageError(reason)

    passes = 1
    if "progressive" in image.info:
        passes = data.count(_JPEG_SCAN)
    if passes * pixels > _MAX_PASSED_PIXELS:
        megapixels = pixels / 1e6
        raise ImageError(
            f"a JPEG of {passes:,} passes over {megapixels:,.4g} megapixels, which takes too long"
        )

    # Some formats check the cap again while loading. Only images above it wait for one another.
    with _pillow_cap(max_pixels) if pixels > previous_cap else nullcontext():
        if min_side is not None:
            image.draft(None, (min_side, min_side))
        image.load()
    return _Decoded(image, size)


def _is_heif(data: bytes) -> bool:
    """Return whether a file needs the HEIF decoder.

    AVIF and HEIC share a container. An AVIF file may state the container's brand as its own, and
    name ``avif`` among the compatible brands only.
    """
    box_name = data[4:8]
    main_brand = data[8:12]
    if box_name != b"ftyp":
        return False
    if main_brand not in _HEIF_BRANDS:
        return False
    box_length = int.from_bytes(data[:4])
    end = min(box_length, 256)
    brands = data[8:end]
    return b"avif" not in brands


def _without_metadata(data: bytes) -> bytes:
    """Return a PNG reduced to the chunks that decide its pixels and their orientation."""
    chunks = [_PNG_SIGNATURE]
    start = len(_PNG_SIGNATURE)
    while start < len(data):
        name_start = start + 4
        length = int.from_bytes(data[start:name_start])
        end = start + _PNG_CHUNK_OVERHEAD + length
        checksum_start = end - 4
        name_and_body = data[name_start:checksum_start]
        name = name_and_body[:4]
        checksum = int.from_bytes(data[checksum_start:end])

        # A lower-case first letter marks a chunk that decoders may ignore.
        first_letter = name[:1]
        is_needed = not first_letter.islower()
        if name in {b"tRNS", b"eXIf"}:
            is_needed = zlib.crc32(name_and_body) == checksum
        if is_needed:
            chunk = data[start:end]
            chunks.append(chunk)
        start = end
    return b"".join(chunks)


def _tile_pixels(image: Image.Image) -> int:
    """Return the pixels of a TIFF's tile, which is unpacked whole and may exceed the image."""
    tags = getattr(image, "tag_v2", {})
    width = tags.get(_TILE_WIDTH)
    height = tags.get(_TILE_HEIGHT)
    if isinstance(width, int) and isinstance(height, int):
        return width * height
    return 0


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        # Pillow converts gray with premultiplied alpha to no other mode.
        image = image.convert("LA")
    with_alpha = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    blended = Image.alpha_composite(white, with_alpha)
    return blended.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1, the normal one, if the EXIF block is unreadable."""
    with suppress(Exception):
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        return int(orientation)
    return 1


def _from_deep_gray(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit or float gray to 8 bits.

    16-bit images are scaled by their full range. The others are scaled by the smallest usual range
    that holds their values. NaN and infinity become black.
    """
    stored = np.asarray(image)
    values = stored.astype(np.float64)
    np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)

    white = 65535.0
    if not image.mode.startswith("I;16"):
        white = _smallest_white(values.max(), image.mode)

    values *= 255.0 / white
    np.clip(values, 0, 255, out=values)
    np.rint(values, out=values)
    gray = Image.fromarray(values.astype(np.uint8))
    return gray.convert("RGB")


def _smallest_white(largest: float, mode: str) -> float:
    """Return the end of the smallest usual range that holds a value, or else the value itself."""
    ranges = [255.0, 65535.0]
    if mode == "F":
        ranges = [1.0, *ranges]
    for white in ranges:
        if largest <= white:
            return white
    return largest


class _NoWarnings:
    """Suppress warnings while any thread decodes.

    The filters belong to the process. The first thread in suppresses them and the last one out
    restores them: threads that each did both would restore the suppression of another one, and
    leave it in place for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._filters = warnings.catch_warnings(action="ignore")

    def __enter__(self) -> None:
        with self._lock:
            if self._threads == 0:
                self._filters = warnings.catch_warnings(action="ignore")
                self._filters.__enter__()
            self._threads += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if self._threads == 0:
                self._filters.__exit__(None, None, None)


_no_warnings = _NoWarnings()


@cache
def _silence_decoders() -> None:
    """Keep decoders from printing about damaged files; they raise their findings anyway."""
    logger = logging.getLogger("PIL")
    logger.addHandler(logging.NullHandler())
    # libtiff is linked into Pillow's extension module, and prints by itself.
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(None)


@contextmanager
def _pillow_cap(max_pixels: int) -> Iterator[float]:
    """Raise Pillow's cap on pixels to `max_pixels` and yield the previous one.

    Pillow enforces twice its number. The cap belongs to the process, so it is never lowered. It is
    never lifted either, because some formats allocate the whole image while it is opened.
    """
    with _cap_lock:
        previous = Image.MAX_IMAGE_PIXELS
        if previous is not None:
            half = -(-max_pixels // 2)
            Image.MAX_IMAGE_PIXELS = max(previous, half)
        try:
            yield math.inf if previous is None else previous
        finally:
            Image.MAX_IMAGE_PIXELS = previous


def _too_many_pixels(pixels: int, max_pixels: int) -> str:
    megapixels = pixels / 1e6
    count = f"{megapixels:.4g}"
    if megapixels > 1000:
        count = f"{megapixels:,.0f}"
    max_megapixels = max_pixels / 1e6
    limit = f"{max_megapixels:,.4g}"
    return f"{count} megapixels, more than the limit of {limit} (--max-megapixels raises it)"


def _reason(error: Exception, max_pixels: int) -> str:
    """Return the reason for a decoder's error.

    Decoders name the same damage in many ways, so all but the useful messages have one reason.
    """
    text = str(error)
    text = text.strip().rstrip(".")
    # A decoder refused the image itself. It names its pixels or its two sides.
    numbers = re.search(r"Image size \(?(\d+)(?:x(\d+))?", text)
    if numbers:
        width_or_pixels = int(numbers[1])
        height = int(numbers[2] or 1)
        pixels = width_or_pixels * height
        if pixels > max_pixels:
            return _too_many_pixels(pixels, max_pixels)
    if text.startswith("Unsupported BMP"):
        first_letter = text[0].lower()
        return first_letter + text[1:]
    return _DAMAGED
