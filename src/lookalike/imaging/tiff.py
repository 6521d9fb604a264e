"""Read the TIFFs that Pillow does not, or not right: deep samples, planes, CMYK with alpha."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from lookalike.errors import ImageError
from lookalike.formats import is_installed
from lookalike.imaging.color import to_srgb
from lookalike.imaging.limits import check_pixels, unread
from lookalike.imaging.scaling import Bytes, sample_range, scale
from lookalike.imaging.tiff_pages import TiffDirectory

__all__ = ["is_for_pillow", "read_tiff"]

_NOT_COMPRESSED = 1
# Photometric interpretations.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _INKS = 0, 1, 2, 5
_YCBCR, _CIELAB, _ICCLAB = 6, 8, 9
# Tags.
_ORIENTATION, _PROFILE, _INK_SET = 274, 34675, 332
_CMYK_INKS = 1
_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = 1, 2

# For each photometric interpretation, the mode of the image and its number of samples.
_MODES = {
    _WHITE_IS_ZERO: ("L", 1),
    _BLACK_IS_ZERO: ("L", 1),
    _RGB: ("RGB", 3),
    _INKS: ("CMYK", 4),
    _YCBCR: ("RGB", 3),
    _CIELAB: ("LAB", 3),
    _ICCLAB: ("LAB", 3),
}

# Compressions of bytes; the size of what they unpack to is known beforehand.
_BYTE_CODINGS = {
    5: "LZW",
    8: "Deflate",
    32773: "PackBits",
    32946: "Deflate",
    34925: "LZMA",
    50000: "Zstandard",
}
# Compressions that are image formats. Their own headers state a size, which is checked.
_IMAGE_CODINGS = {
    7: "JPEG",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    50001: "WebP",
}
_READ_CODINGS = _BYTE_CODINGS | _IMAGE_CODINGS
_IMAGE_CODING_FORMATS = ("JPEG", "JPEG2000", "WEBP")
# The usual libtiff, which Pillow brings, unpacks these of 8 bits.
_PILLOW_CODINGS = {1, 2, 3, 4, 6, 7, 32771, 32809, *_BYTE_CODINGS}

# The most bytes of a pixel's samples at the limit of pixels: deeper images may have fewer pixels.
_BYTES_PER_PIXEL = 12


def is_for_pillow(page: TiffDirectory) -> bool:
    """Return whether Pillow reads a page, and reads it right."""
    if page.compression not in _PILLOW_CODINGS:
        return False
    if not page.is_deep:
        return not (page.is_planar and page.has_extra_samples)
    if is_installed("imagecodecs") or page.compression == _NOT_COMPRESSED:
        return False
    # Without imagecodecs, Pillow still unpacks the commonest deep pixels.
    is_usual = page.photometric in {1, 2, 5} and page.sample_format == 1
    is_whole = not page.is_planar or page.samples == 1
    return page.bits == 16 and is_usual and is_whole and page.samples != 2


def read_tiff(data: bytes, page: TiffDirectory, max_pixels: int) -> Image.Image:
    """Read a page with tifffile, as it lies.

    Returns
    -------
    PIL.Image.Image
        L, RGB, RGBA, CMYK or LAB, with its color profile and orientation.

    Raises
    ------
    ImageError
        If the page is of a kind that is not read, or has too many pixels. Damage raises any error.
    """
    if page.photometric not in _MODES:
        raise unread("TIFF of an unusual color type")
    _check_coding(page)

    from tifffile import TiffFile, TiffPage

    with TiffFile(BytesIO(data)) as file:
        file.filehandle.seek(page.offset)
        tiff_page = TiffPage(file, 0)
        _check_size(tiff_page, max_pixels)
        if page.compression in _IMAGE_CODINGS:
            _check_parts(file, tiff_page)
        values = _samples(tiff_page)
        tags = {tag.code: tag for tag in tiff_page.tags}
        orientation = _tag_value(tags, _ORIENTATION, 1)
        profile = _tag_value(tags, _PROFILE, None)
        inks = _tag_value(tags, _INK_SET, _CMYK_INKS)
        extra_samples = tuple(int(kind) for kind in tiff_page.extrasamples)

    mode, count = _MODES[page.photometric]
    if mode == "CMYK" and inks != _CMYK_INKS:
        raise unread("TIFF with inks other than cyan, magenta, yellow and black")
    if values.shape[2] < count:
        raise ImageError("damaged: the file is cut short or broken inside")

    image = _image(values, page, extra_samples, profile)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return image


def _check_coding(page: TiffDirectory) -> None:
    """Raise FormatError for a compression that is not read here."""
    coding = page.compression
    if coding == _NOT_COMPRESSED:
        return
    name = _READ_CODINGS.get(coding)
    if name is None:
        raise unread(f"TIFF with compression {coding}")
    if not is_installed("imagecodecs"):
        raise unread(f"TIFF of {page.bits} bits with {name}", "tiff")


def _check_size(page: Any, max_pixels: int) -> None:
    """Raise ImageError for a page that unpacks to more than the limit."""
    pixels = page.imagewidth * page.imagelength
    part_pixels = 0
    if page.is_tiled:
        part_pixels = page.tilewidth * page.tilelength
    check_pixels(max(pixels, part_pixels), max_pixels)
    if page.dtype is None or page.imagedepth != 1 or pixels == 0:
        raise unread("TIFF of unusual samples")

    # An image of many bytes a pixel counts as one of more pixels.
    pixel_bytes = page.samplesperpixel * page.dtype.itemsize
    total_bytes = max(pixels, part_pixels) * pixel_bytes
    check_pixels(total_bytes // _BYTES_PER_PIXEL, max_pixels)


def _check_parts(file: Any, page: Any) -> None:
    """Raise ImageError if a strip or tile is an image of more pixels than its place holds."""
    most_pixels = page.imagewidth * page.imagelength
    if page.is_tiled:
        most_pixels = page.tilewidth * page.tilelength
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.filehandle.seek(offset)
        part = file.filehandle.read(size)
        try:
            image = Image.open(BytesIO(part), formats=_IMAGE_CODING_FORMATS)
        except UnidentifiedImageError:
            raise unread("TIFF with parts of an unusual kind") from None
        if image.width * image.height > most_pixels:
            raise ImageError("damaged: a part of the image is larger than its place")


def _samples(page: Any) -> npt.NDArray[Any]:
    """Return the samples of a page, ``[height, width, samples]``."""
    values: npt.NDArray[Any] = page.asarray(maxworkers=1)
    if page.axes == "YX":
        return values[:, :, np.newaxis]
    if page.axes == "SYX":
        return np.moveaxis(values, 0, -1)
    if page.axes == "YXS":
        return values
    raise unread("TIFF of an unusual shape")


def _image(
    values: npt.NDArray[Any],
    page: TiffDirectory,
    extra_samples: tuple[int, ...],
    profile: bytes | None,
) -> Image.Image:
    mode, count = _MODES[page.photometric]
    color = values[:, :, :count]
    pixels = _lab(color, page) if mode == "LAB" else _scaled(color, page)
    if page.photometric == _WHITE_IS_ZERO:
        pixels = 255 - pixels

    first_extra = extra_samples[0] if extra_samples else 0
    alpha: Bytes | None = None
    if first_extra in {_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA}:
        alpha = _full_scale(values[:, :, count])
    if alpha is not None and first_extra == _ASSOCIATED_ALPHA:
        pixels = _unassociated(pixels, alpha)

    image = _from_pixels(mode, pixels)
    if isinstance(profile, bytes):
        image.info["icc_profile"] = profile
    if alpha is None:
        return image
    # Pillow has no mode for CMYK or Lab with alpha.
    in_srgb = to_srgb(image)
    rgb = in_srgb.convert("RGB")
    rgb.putalpha(_from_pixels("L", alpha))
    return rgb


def _scaled(color: npt.NDArray[Any], page: TiffDirectory) -> Bytes:
    """Return samples in 8 bits, scaled by the range that the file or its samples state."""
    if color.dtype == np.uint8 and page.bits == 8:
        return np.ascontiguousarray(color)
    stated = page.max_sample_value
    if stated is not None and color.dtype.kind == "u":
        largest = int(color.max())
        return scale(color, 0.0, float(max(stated, largest, 1)))
    if color.dtype.kind == "u" and page.bits < 8 * color.dtype.itemsize:
        # Packed samples of 10, 12 or 14 bits use all of them.
        return scale(color, 0.0, float(2**page.bits - 1))
    if page.photometric == _INKS:
        # An image of little ink is a bright one, not one of fewer bits.
        return _full_scale(color)
    black, white = sample_range(color)
    return scale(color, black, white)


def _full_scale(values: npt.NDArray[Any]) -> Bytes:
    """Return samples in 8 bits, scaled by the full range of their type."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    white = 1.0
    if values.dtype.kind in "ui":
        white = float(np.iinfo(values.dtype).max)
    return scale(values, 0.0, white)


def _lab(color: npt.NDArray[Any], page: TiffDirectory) -> Bytes:
    """Return Lab in 8 bits, with signed a and b."""
    if color.dtype == np.uint16:
        color = color >> 8
    elif color.dtype != np.uint8:
        raise unread("TIFF of Lab colors with unusual samples")
    lab = color.astype(np.uint8)
    if page.photometric == _ICCLAB:
        lab[:, :, 1:] ^= 128
    return lab


def _unassociated(pixels: Bytes, alpha: Bytes) -> Bytes:
    """Return colors that were multiplied by their alpha as they were before."""
    opaque = np.maximum(alpha, 1)[:, :, np.newaxis]
    divided = np.empty_like(pixels)
    # Row by row, so that wider copies stay small.
    for row in range(len(pixels)):
        full = pixels[row].astype(np.uint16) * 255 // opaque[row]
        divided[row] = np.minimum(full, 255)
    return divided


def _from_pixels(mode: str, pixels: Bytes) -> Image.Image:
    height, width = pixels.shape[:2]
    contiguous = np.ascontiguousarray(pixels)
    return Image.frombuffer(mode, (width, height), contiguous, "raw", mode, 0, 1)


def _tag_value(tags: dict[int, Any], code: int, default: Any) -> Any:
    tag = tags.get(code)
    return default if tag is None else tag.value
