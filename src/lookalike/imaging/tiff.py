"""Read the TIFFs that Pillow does not, or not right: deep samples, planes, CMYK with alpha."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from lookalike.errors import ImageError
from lookalike.formats import is_installed
from lookalike.imaging.color import to_srgb
from lookalike.imaging.limits import check_pixels, unread
from lookalike.imaging.pixels import set_orientation
from lookalike.imaging.scaling import Bytes, sample_range, scale
from lookalike.imaging.tiff_pages import UNSIGNED, TiffDirectory

__all__ = ["is_for_pillow", "read_tiff"]

_NOT_COMPRESSED = 1
# Photometric interpretations.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _INKS = 0, 1, 2, 5
_YCBCR, _CIELAB, _ICCLAB = 6, 8, 9
# Tags.
_ORIENTATION, _PROFILE, _INK_SET = 274, 34675, 332
_CMYK_INKS = 1
# Kinds of extra samples: colors that were multiplied by their alpha or not.
_ASSOCIATED_ALPHA = 1
_ALPHA_KINDS = {_ASSOCIATED_ALPHA, 2}

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

_PILLOW_PHOTOMETRICS = (_BLACK_IS_ZERO, _RGB, _INKS)

# The most bytes of a pixel's samples at the limit of pixels: deeper images may have fewer pixels.
# Their decoding takes up to two and a half times as much memory: less than 24 bytes.
_BYTES_PER_PIXEL = 9

# The most bytes to read for a page. Strips and tiles may share bytes, so that a small file of many
# of them would otherwise be read for hours.
_MAX_SHARED_BYTES = 4 << 30


def is_for_pillow(page: TiffDirectory) -> bool:
    """Return whether Pillow reads a page, and reads it right."""
    coding = page.compression
    if coding not in _PILLOW_CODINGS:
        return False
    is_planar = page.is_planar
    if not page.is_deep:
        has_extra_planes = is_planar and page.has_extra_samples
        return not has_extra_planes
    if coding == _NOT_COMPRESSED:
        return False
    if is_installed("imagecodecs"):
        return False
    return _is_usual(page)


def _is_usual(page: TiffDirectory) -> bool:
    """Return whether a page has the commonest deep pixels, which Pillow unpacks too."""
    samples = page.samples
    if page.bits != 16 or samples == 2:
        return False
    if page.sample_format != UNSIGNED:
        return False
    if page.is_planar and samples > 1:
        return False
    return page.photometric in _PILLOW_PHOTOMETRICS


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
    _check_kind(page)

    from tifffile import TiffFile, TiffPage

    file = BytesIO(data)
    with TiffFile(file) as tiff_file:
        handle = tiff_file.filehandle
        handle.seek(page.offset)
        tiff_page = TiffPage(tiff_file, 0)
        _check_page_size(tiff_page, max_pixels)
        byte_count = len(data)
        _check_shared_bytes(tiff_page, byte_count)
        holds_images = page.compression in _IMAGE_CODINGS
        if holds_images:
            _check_parts(handle, tiff_page)
        values = _samples(tiff_page)
        tags = tiff_page.tags
        orientation = tags.valueof(_ORIENTATION, 1)
        profile = tags.valueof(_PROFILE)
        inks = tags.valueof(_INK_SET, _CMYK_INKS)
        extras = tiff_page.extrasamples
        extra_samples = tuple(extras)

    mode, count = _MODES[page.photometric]
    has_other_inks = mode == "CMYK" and inks != _CMYK_INKS
    if has_other_inks:
        raise unread("TIFF with inks other than cyan, magenta, yellow and black")
    _, _, samples = values.shape
    lacks_colors = samples < count
    if lacks_colors:
        raise ValueError("fewer samples than the colors need")

    image = _image(values, page, extra_samples, profile)
    set_orientation(image, orientation)
    return image


def _check_kind(page: TiffDirectory) -> None:
    """Raise FormatError for colors or a compression that are not read here."""
    if page.photometric not in _MODES:
        raise unread("TIFF of an unusual color type")
    coding = page.compression
    if coding == _NOT_COMPRESSED:
        return
    name = _READ_CODINGS.get(coding)
    if name is None:
        raise unread(f"TIFF with compression {coding}")
    if not is_installed("imagecodecs"):
        raise unread(f"TIFF of {page.bits} bits with {name}", "tiff")


def _check_page_size(page: Any, max_pixels: int) -> None:
    """Raise ImageError for a page that unpacks to more than the limit."""
    page_pixels = page.imagewidth * page.imagelength
    part_pixels = _part_pixels(page)
    pixels = max(page_pixels, part_pixels)
    check_pixels(pixels, max_pixels)
    sample = page.dtype
    is_volume = page.imagedepth != 1
    if sample is None or is_volume:
        raise unread("TIFF of unusual samples")

    # An image of many bytes a pixel counts as one of more pixels.
    pixel_bytes = page.samplesperpixel * sample.itemsize
    total_bytes = pixels * pixel_bytes
    comparable_pixels = total_bytes // _BYTES_PER_PIXEL
    check_pixels(comparable_pixels, max_pixels)


def _check_shared_bytes(page: Any, file_bytes: int) -> None:
    """Raise ImageError if strips or tiles share so many bytes that it takes too long to read them.

    Those that share none have no more bytes than the file.
    """
    part_bytes = sum(page.databytecounts)
    most = max(file_bytes, _MAX_SHARED_BYTES)
    if part_bytes > most:
        raise ImageError("damaged: the parts of the image overlap")


def _part_pixels(page: Any) -> int:
    """Return the most pixels of a tile or strip."""
    width = page.imagewidth
    height = page.imagelength
    if page.is_tiled:
        width = page.tilewidth
        height = page.tilelength
    return int(width * height)


def _check_parts(handle: Any, page: Any) -> None:
    """Raise ImageError if a strip or tile is an image of more pixels than its place holds."""
    most_pixels = _part_pixels(page)
    offsets = page.dataoffsets
    sizes = page.databytecounts
    for offset, size in zip(offsets, sizes, strict=True):
        handle.seek(offset)
        part = handle.read(size)
        file = BytesIO(part)
        try:
            image = Image.open(file, formats=_IMAGE_CODING_FORMATS)
        except UnidentifiedImageError:
            raise unread("TIFF with parts of an unusual kind") from None
        width, height = image.size
        pixels = width * height
        if pixels > most_pixels:
            raise ImageError("damaged: a part of the image is larger than its place")


def _samples(page: Any) -> npt.NDArray[Any]:
    """Return the samples of a page, ``[height, width, samples]``."""
    values: npt.NDArray[Any] = page.asarray(maxworkers=1)
    match page.axes:
        case "YX":
            return values[..., np.newaxis]
        case "SYX":
            return np.moveaxis(values, 0, -1)
        case "YXS":
            return values
    raise unread("TIFF of an unusual shape")


def _image(
    values: npt.NDArray[Any],
    page: TiffDirectory,
    extra_samples: tuple[int, ...],
    profile: bytes | None,
) -> Image.Image:
    mode, count = _MODES[page.photometric]
    color = values[..., :count]
    is_lab = mode == "LAB"
    to_pixels = _lab if is_lab else _scaled
    pixels = to_pixels(color, page)
    is_inverted = page.photometric == _WHITE_IS_ZERO
    if is_inverted:
        pixels = 255 - pixels

    alpha = None
    first_extra = extra_samples[:1]
    kinds = set(first_extra)
    alpha_kinds = kinds & _ALPHA_KINDS
    if alpha_kinds:
        extra = values[..., count]
        alpha = _full_scale(extra)
    is_associated = _ASSOCIATED_ALPHA in kinds
    if alpha is not None and is_associated:
        pixels = _unassociated(pixels, alpha)

    image = _from_pixels(mode, pixels)
    info = image.info
    info["icc_profile"] = profile
    if alpha is None:
        return image
    # Pillow has no mode for CMYK or Lab with alpha.
    in_srgb = to_srgb(image)
    rgb = in_srgb.convert("RGB")
    opacity = _from_pixels("L", alpha)
    rgb.putalpha(opacity)
    return rgb


def _scaled(color: npt.NDArray[Any], page: TiffDirectory) -> Bytes:
    """Return samples in 8 bits, scaled by the range that the file or its samples state."""
    sample = color.dtype
    is_unsigned = sample.kind == "u"
    stated = page.max_sample_value
    if page.bits == 8 and is_unsigned:
        return np.ascontiguousarray(color)
    if stated is not None and is_unsigned:
        largest = color.max()
        white = max(stated, largest, 1)
        return scale(color, 0, float(white))

    stored_bits = 8 * sample.itemsize
    is_packed = page.bits < stored_bits
    if is_packed and is_unsigned:
        # Packed samples of 10, 12 or 14 bits use all of them.
        values = 1 << page.bits
        return scale(color, 0, values - 1)
    if page.photometric == _INKS:
        # An image of little ink is a bright one, not one of fewer bits.
        return _full_scale(color)
    black, white = sample_range(color)
    return scale(color, black, white)


def _full_scale(values: npt.NDArray[Any]) -> Bytes:
    """Return samples in 8 bits, scaled by the full range of their type."""
    sample = values.dtype
    if sample == np.uint8:
        return np.ascontiguousarray(values)
    white = 1.0
    is_float = sample.kind == "f"
    if not is_float:
        limits = np.iinfo(sample)
        white = float(limits.max)
    return scale(values, 0, white)


def _lab(color: npt.NDArray[Any], page: TiffDirectory) -> Bytes:
    """Return Lab in 8 bits, with signed a and b."""
    sample = color.dtype
    if sample == np.uint16:
        color = color >> 8
    elif sample != np.uint8:
        raise unread("TIFF of Lab colors with unusual samples")
    lab = color.astype(np.uint8)
    if page.photometric == _ICCLAB:
        a_and_b = lab[..., 1:]
        a_and_b ^= 128
    return lab


def _unassociated(pixels: Bytes, alpha: Bytes) -> Bytes:
    """Return colors that were multiplied by their alpha as they were before."""
    opacity = np.maximum(alpha, 1)
    unassociated = np.empty_like(pixels)
    # Row by row, so that wider copies stay small.
    rows = zip(pixels, opacity[..., np.newaxis], unassociated, strict=True)
    for row, row_opacity, result in rows:
        wide = row.astype(np.uint16)
        wide *= 255
        wide //= row_opacity
        np.minimum(wide, 255, out=wide)
        result[:] = wide
    return unassociated


def _from_pixels(mode: str, pixels: Bytes) -> Image.Image:
    height, width, *_ = pixels.shape
    size = (width, height)
    contiguous = np.ascontiguousarray(pixels)
    return Image.frombuffer(mode, size, contiguous, "raw", mode, 0, 1)
