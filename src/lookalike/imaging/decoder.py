"""Decode the bytes of an image to upright RGB, or refuse them with a reason."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError

from lookalike.errors import FormatError, ImageError
from lookalike.formats import CAMERA_RAW, TIFF, format_names, recognize
from lookalike.imaging import jpeg
from lookalike.imaging.color import may_convert_later
from lookalike.imaging.containers import add_color, is_heif, without_metadata
from lookalike.imaging.frames import first_frame_with_content, has_no_opacity
from lookalike.imaging.jpeg_xl import jpeg_xl_size
from lookalike.imaging.limits import (
    MAX_PIXELS,
    check_pixels,
    too_many_pixels,
    unread,
    unread_format,
)
from lookalike.imaging.pixels import flatten, orientation_of, set_orientation, turned
from lookalike.imaging.process import (
    no_warnings,
    pillow_cap,
    pillow_cap_for,
    silence_decoders,
)
from lookalike.imaging.raw import read_preview

__all__ = ["decode", "decode_small"]

# Pillow can open far more than images, and runs a program for PostScript: only these are tried.
_PILLOW_FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "DIB",
    "TIFF",
    "AVIF",
    "JPEG2000",
)

_BITMAPS = ("BMP", "DIB")

# The most scans times pixels of a JPEG. A small file can hold many scans; these take about 15 s.
_MAX_SCANNED_PIXELS = 20_000_000_000

# TIFF tags.
_TILE_WIDTH, _TILE_HEIGHT = 322, 323

_REFUSED_SIZE = re.compile(r"Image size \(?(\d+)(?:x(\d+))?")

_DAMAGED = "damaged: the file is cut short or broken inside"


class _Decoded(NamedTuple):
    """An image, and its width and height at full scale."""

    image: Image.Image
    full_size: tuple[int, int]


class _Limits(NamedTuple):
    """The most pixels to decode, and the least side to keep: None to decode at full scale."""

    max_pixels: int
    min_side: int | None = None


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image to upright RGB in sRGB, with alpha over white.

    Of an animation, the first frame with content is decoded; of a camera's raw file, its preview.

    Parameters
    ----------
    data
        A file of a format of `lookalike.formats`.
    max_pixels
        The most pixels (width x height) to decode.

    Raises
    ------
    FormatError
        If the bytes are of a kind that is not read. The message is the reason.
    ImageError
        If they are damaged, or hold too many pixels. The message is the reason.
    """
    limits = _Limits(max_pixels)
    decoded = _decode(data, limits)
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
        The image, and its size at full scale. A large one may still have its color profile, which
        `prepare` and `thumbnail` apply after they shrink it.
    """
    limits = _Limits(max_pixels, min_side)
    image, full_size = _decode(data, limits)
    return image, full_size


def _decode(data: bytes, limits: _Limits) -> _Decoded:
    """Decode to upright RGB and turn every error into an ImageError with a plain reason."""
    if not data:
        raise ImageError("the file is empty")
    silence_decoders()
    try:
        with no_warnings:
            decoded = _read(data, limits)
            return _upright(decoded, limits)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(
            "too little memory to decode it", "--retry-failures tries it again"
        ) from None
    # Decoders raise any kind of error for a damaged file: this one image is bad.
    except Exception as error:
        raise _image_error(error, limits.max_pixels) from error


def _upright(decoded: _Decoded, limits: _Limits) -> _Decoded:
    """Turn an image, and convert it to RGB, unless it may be converted after it is shrunk."""
    image, full_size = decoded
    width, height = full_size
    orientation = orientation_of(image)
    # Orientations 5 to 8 turn the image by 90 degrees.
    is_on_its_side = orientation >= 5
    if is_on_its_side:
        full_size = (height, width)

    min_side = limits.min_side
    is_for_shrinking = min_side is not None
    converts_later = is_for_shrinking and may_convert_later(image)
    upright = turned(image)
    if not converts_later:
        upright = flatten(upright)
    return _Decoded(upright, full_size)


def _read(data: bytes, limits: _Limits) -> _Decoded:
    """Decode the pixels as stored, by the reader of the file's format."""
    image_format = recognize(data)
    if image_format is None:
        names = format_names()
        raise FormatError(f"not an image of a known format ({names})")
    if image_format == TIFF:
        from lookalike.imaging.tiff_pages import is_camera_raw

        if is_camera_raw(data):
            image_format = CAMERA_RAW
    if not image_format.is_read:
        raise unread_format(image_format)
    name = image_format.name
    read = _READERS.get(name, _read_with_pillow)
    return read(data, limits)


def _read_jpeg(data: bytes, limits: _Limits) -> _Decoded:
    if jpeg.is_filled_up(data):
        data = _completed_jpeg(data, limits)
    try:
        return _read_with_pillow(data, limits)
    except (ImageError, MemoryError):
        raise
    # Pillow's decoder needs the end marker.
    except Exception:  # noqa: BLE001
        kind = jpeg.unread_kind(data)
        if kind is not None:
            raise unread(kind) from None
        completed = _completed_jpeg(data, limits)
        return _read_with_pillow(completed, limits)


def _completed_jpeg(data: bytes, limits: _Limits) -> bytes:
    """Return a JPEG with its end added; raise ImageError if pixels are missing."""
    at_full_scale = _Limits(limits.max_pixels)

    def decode_all(part: bytes) -> Image.Image:
        decoded = _read_with_pillow(part, at_full_scale)
        return decoded.image

    completed = jpeg.completed(data, decode_all)
    if completed is None:
        raise ImageError(_DAMAGED)
    return completed


def _read_png(data: bytes, limits: _Limits) -> _Decoded:
    try:
        return _read_with_pillow(data, limits)
    except (ImageError, MemoryError):
        raise
    # The metadata may be damaged, or unpack to more than Pillow takes.
    except Exception:  # noqa: BLE001
        reduced = without_metadata(data)
        return _read_with_pillow(reduced, limits)


def _read_heif(data: bytes, limits: _Limits) -> _Decoded:
    if not is_heif(data):
        return _read_with_pillow(data, limits)

    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    formats = ("HEIF",)
    return _read_with_pillow(data, limits, formats=formats)


def _read_jpeg_xl(data: bytes, limits: _Limits) -> _Decoded:
    # The plugin unpacks the image when it opens the file.
    width, height = jpeg_xl_size(data)
    pixels = width * height
    check_pixels(pixels, limits.max_pixels)

    from pillow_jxl import JpegXLImagePlugin

    # Images are decoded in parallel already.
    JpegXLImagePlugin.DECODE_THREADS = 0
    formats = ("JXL",)
    decoded = _read_with_pillow(data, limits, formats=formats, stated_pixels=pixels)
    image = decoded.image
    # The plugin turns all images but those that were JPEGs.
    was_jpeg = getattr(image, "jpeg", False)
    if not was_jpeg:
        set_orientation(image, 1)
    return decoded


def _read_camera_raw(data: bytes, limits: _Limits) -> _Decoded:
    preview = read_preview(data, limits.max_pixels)
    image = preview.image
    if image is not None:
        return _Decoded(image, image.size)
    stored = preview.jpeg or b""
    is_jpeg = stored.startswith(jpeg.JPEG_SIGNATURE)
    if not is_jpeg:
        raise unread("a camera file without a preview")

    decoded = _read_jpeg(stored, limits)
    image = decoded.image
    exif = image.getexif()
    # Some previews state their orientation. The others have the camera's.
    states_orientation = ExifTags.Base.Orientation in exif
    if not states_orientation:
        orientation = preview.orientation
        set_orientation(image, orientation)
    return decoded


def _read_tiff(data: bytes, limits: _Limits) -> _Decoded:
    # Imported on first use, as most collections have no TIFF.
    from lookalike.imaging.tiff import is_for_pillow, read_tiff
    from lookalike.imaging.tiff_pages import find_page

    page = find_page(data)
    if page is None:
        return _read_with_pillow(data, limits)
    # Pillow is fast, and knows many combinations of tags. tifffile knows the others.
    number = page.number
    if number is not None and is_for_pillow(page):
        with suppress(UnidentifiedImageError):
            return _read_with_pillow(data, limits, page=number)
    max_pixels = limits.max_pixels
    image = read_tiff(data, page, max_pixels)
    return _Decoded(image, image.size)


_READERS: dict[str, Callable[[bytes, _Limits], _Decoded]] = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "TIFF": _read_tiff,
    "AVIF": _read_heif,
    "HEIC": _read_heif,
    "JPEG XL": _read_jpeg_xl,
    "camera raw": _read_camera_raw,
}


def _read_with_pillow(
    data: bytes,
    limits: _Limits,
    *,
    formats: tuple[str, ...] = _PILLOW_FORMATS,
    page: int = 0,
    stated_pixels: int | None = None,
) -> _Decoded:
    """Decode with Pillow, a large JPEG at a reduced scale if the limits allow it.

    If the pixels are known already, only a large image waits for other threads to be opened.
    """
    max_pixels, side = limits
    file = io.BytesIO(data)
    raised_cap = pillow_cap(max_pixels)
    if stated_pixels is not None:
        raised_cap = pillow_cap_for(stated_pixels, max_pixels)
    with raised_cap:
        image = Image.open(file, formats=formats)
        if page:
            image.seek(page)

    # Check the size before the pixels take any memory.
    size = image.size
    width, height = size
    pixels = width * height
    tile_pixels = _tile_pixels(image)
    unpacked_pixels = max(pixels, tile_pixels)
    check_pixels(unpacked_pixels, max_pixels)
    is_progressive = "progressive" in image.info
    if is_progressive:
        _check_scans(data, pixels)

    # Some formats check the cap again while loading. Only images above it wait for one another.
    with pillow_cap_for(pixels, max_pixels):
        if side is not None:
            smallest_size = (side, side)
            image.draft(None, smallest_size)
        image.load()
        add_color(image, data)
        visible = _visible(image)
        return _Decoded(visible, size)


def _visible(image: Image.Image) -> Image.Image:
    """Return the frame and the channels that a viewer shows."""
    is_bitmap = image.format in _BITMAPS
    # Many programs leave the fourth byte of a pixel at zero.
    has_unused_alpha = is_bitmap and has_no_opacity(image)
    if has_unused_alpha:
        return image.convert("RGB")
    return first_frame_with_content(image)


def _check_scans(data: bytes, pixels: int) -> None:
    """Raise ImageError for a progressive JPEG whose scans take too long."""
    scans = jpeg.count_scans(data)
    if scans * pixels > _MAX_SCANNED_PIXELS:
        megapixels = pixels / 1e6
        raise ImageError(
            f"a JPEG of {scans:,} passes over {megapixels:,.4g} megapixels, which takes too long"
        )


def _tile_pixels(image: Image.Image) -> int:
    """Return the pixels of a TIFF's tile, which is unpacked whole and may exceed the image."""
    tags = getattr(image, "tag_v2", {})
    width = tags.get(_TILE_WIDTH)
    height = tags.get(_TILE_HEIGHT)
    if not isinstance(width, int):
        return 0
    if not isinstance(height, int):
        return 0
    return width * height


def _image_error(error: Exception, max_pixels: int) -> ImageError:
    """Return the error with the reason of a decoder's error.

    Decoders name the same damage in many ways, so all but the useful messages have one reason.
    """
    text = str(error)
    # A decoder refused the image itself. It names its pixels or its two sides.
    numbers = _REFUSED_SIZE.search(text)
    if numbers:
        width_or_pixels = int(numbers[1])
        second_number = numbers[2]
        height = int(second_number or 1)
        pixels = width_or_pixels * height
        is_too_large = pixels > max_pixels
        if is_too_large:
            return too_many_pixels(pixels, max_pixels)
    is_unknown_bitmap = text.startswith("Unsupported BMP")
    if is_unknown_bitmap:
        _, kind = text.split(maxsplit=1)
        return unread(kind)
    return ImageError(_DAMAGED)
