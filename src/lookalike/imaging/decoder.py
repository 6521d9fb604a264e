"""From bytes to upright RGB, and from there to what a Model takes and to a thumbnail."""

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
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError, _imaging

from lookalike.errors import ImageError
from lookalike.types import Model

__all__ = [
    "MAX_PIXELS",
    "decode",
    "decode_small",
    "from_array",
    "least_side",
    "prepare",
    "thumbnail",
    "upright",
]

MAX_PIXELS = 200_000_000

THUMBNAIL_SIDE = 160

# What is left of a large JPEG's sides at the least: twice and more of what most networks take, so that little changes.
_SMALL = 640
# From so many times the target's side on, a picture is first shrunk by whole numbers.
_REDUCING_GAP = 3.0

# Pillow can open far more than pictures (PostScript runs a program): only these are tried.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_PNG = b"\x89PNG\r\n\x1a\n"
_BEGINNINGS = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|II[*+]\0|MM\0[*+]|RIFF....WEBP|BM.{4}\0{4}|....ftyp(?:avi[fs]|%b)"
    % b"|".join(_HEIF_BRANDS),
    re.DOTALL,
)
# A JPEG may go over its pixels as often as it likes, in few bytes; so many take some 15 seconds.
_MOST_PASSES = 20_000_000_000
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

_DAMAGED = "damaged: the file is cut short or broken inside"

_opening = threading.Lock()


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the first frame of an encoded image as upright RGB, alpha over white.

    Parameters
    ----------
    data
        A JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file.
    max_pixels
        The most pixels (width x height) that are decoded.

    Raises
    ------
    ImageError
        With the reason, if the bytes are no such image, are damaged, or hold too many pixels.
    """
    return _decoded(data, max_pixels, None)[0]


def decode_small(
    data: bytes, *, least: int, max_pixels: int = MAX_PIXELS
) -> tuple[Image.Image, tuple[int, int]]:
    """Return a picture as `decode` does, and its width and height; a large JPEG at a half, quarter or eighth of them.

    Such scales are what a JPEG gives for a fraction of the work.

    Parameters
    ----------
    data, max_pixels
        As for `decode`, as are the errors.
    least
        No side is shrunk below so many pixels: what `least_side` gives for a Model.
    """
    return _decoded(data, max_pixels, least)


def least_side(model: Model) -> int:
    """Return how many pixels of a side are to be left for a Model: the same for all but those that take very many."""
    return max(_SMALL, *model.size)


def _decoded(
    data: bytes, max_pixels: int, least: int | None
) -> tuple[Image.Image, tuple[int, int]]:
    if not data:
        raise ImageError("the file is empty")
    _hush()
    try:
        with _quiet:
            image, (width, height) = _load(data, max_pixels, least)
            lying = _orientation(image) >= 5
            return upright(image), (height, width) if lying else (width, height)
    except ImageError:
        raise
    except UnidentifiedImageError:
        if _BEGINNINGS.match(data):
            raise ImageError(_DAMAGED) from None
        known = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC"
        raise ImageError(f"not an image of a known format ({known})") from None
    except MemoryError:
        raise ImageError(
            "too little memory to decode it; --retry-failures tries it again"
        ) from None
    # Pillow's decoders raise whatever a damaged file leads them to; each means this one image is bad.
    except Exception as error:
        raise ImageError(_reason(error, max_pixels)) from error


def upright(image: Image.Image) -> Image.Image:
    """Return any Pillow image as RGB: turned as its EXIF says, alpha over white, 16 bits scaled to 8."""
    # Pillow copies the picture even where there is nothing to turn.
    if _orientation(image) != 1:
        with suppress(Exception):
            image = ImageOps.exif_transpose(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in {"F", "I"} or image.mode.startswith("I;16"):
        return _from_deep(image)
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        coloured = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured).convert(
            "RGB"
        )
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    # An EXIF block that cannot be read says nothing about the pixels.
    with suppress(Exception):
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def from_array(array: npt.NDArray[Any]) -> Image.Image:
    """Return uint8 ``[height, width]`` (grey), ``[height, width, 3]`` (RGB) or ``[…, 4]`` (RGBA) as upright RGB.

    Raises
    ------
    ImageError
        If the array has another type or shape.
    """
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in {3, 4})
    if array.dtype != np.uint8 or not shaped or 0 in array.shape:
        raise ImageError(
            f"an array of {array.dtype} {list(array.shape)} is no picture; "
            "expected uint8 [height, width], [height, width, 3] or [height, width, 4]"
        )
    return upright(Image.fromarray(array))


def prepare(image: Image.Image, model: Model) -> npt.NDArray[np.uint8]:
    """Return upright RGB resized to what a Model takes: uint8 ``[height, width, 3]``."""
    height, width = model.size
    box = None if model.resize == "squash" else _centre(image, width / height)
    return np.asarray(image.resize((width, height), _FILTERS[model.filter], box, _REDUCING_GAP))


def thumbnail(image: Image.Image, *, side: int = THUMBNAIL_SIDE) -> bytes:
    """Return upright RGB as a JPEG whose longer side is at most `side` pixels."""
    small = image.copy()
    # As sharp as bicubic where a picture shrinks, for two thirds of the work.
    small.thumbnail((side, side), Image.Resampling.HAMMING, _REDUCING_GAP)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=82)
    return file.getvalue()


class _Quiet:
    """No warnings while any thread decodes: the first one in silences, the last one out puts things back.

    Threads that each silenced and restored would put back one another's silence, and leave it behind for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._silence = warnings.catch_warnings(action="ignore")

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._silence = warnings.catch_warnings(action="ignore")
                self._silence.__enter__()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._silence.__exit__(None, None, None)


_quiet = _Quiet()


def _load(data: bytes, max_pixels: int, least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """Return the picture as the file has it, at a reduced scale where that may be, and its size at full scale."""
    try:
        return _read(data, max_pixels, least)
    except (ImageError, MemoryError):
        raise
    except Exception:
        # What a PNG says beside its pixels may be damaged, or unpack to more than Pillow takes.
        if not data.startswith(_PNG):
            raise
        return _read(_bare(data), max_pixels, least)


def _read(data: bytes, max_pixels: int, least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    formats: tuple[str, ...] = _FORMATS
    # An AVIF file may call itself by the brand of the container that both share, and name its own among the others.
    brands = data[8 : min(int.from_bytes(data[:4]), 256)]
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and b"avif" not in brands:
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
        formats = ("HEIF", *formats)
    with _own_cap(max_pixels) as pillows_cap:
        image = Image.open(io.BytesIO(data), formats=formats)
    size, pixels = image.size, image.width * image.height
    if max(pixels, _tile(image)) > max_pixels:
        raise ImageError(_too_large(max(pixels, _tile(image)), max_pixels))
    passes = data.count(b"\xff\xda") if "progressive" in image.info else 1
    if passes * pixels > _MOST_PASSES:
        raise ImageError(
            f"a JPEG of {passes:,} passes over {pixels / 1e6:,.4g} megapixels, which takes too long"
        )
    # Some formats are held to the cap once more; only pictures that large wait for one another.
    with _own_cap(max_pixels) if pixels > pillows_cap else nullcontext():
        if least is not None:
            image.draft(None, (least, least))
        image.load()
    return image, size


def _bare(data: bytes) -> bytes:
    """Return a PNG with no more than what decides its pixels and how they lie."""
    parts, start = [_PNG], len(_PNG)
    while start < len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4])
        name, body, check = (
            data[start + 4 : start + 8],
            data[start + 4 : end - 4],
            data[end - 4 : end],
        )
        # A small first letter: a decoder can do without.
        critical = not name[:1].islower()
        if critical or (name in {b"tRNS", b"eXIf"} and zlib.crc32(body) == int.from_bytes(check)):
            parts.append(data[start:end])
        start = end
    return b"".join(parts)


def _tile(image: Image.Image) -> int:
    """Return how many pixels a TIFF unpacks at once: those of a tile, which may be larger than the picture."""
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(322), tags.get(323)
    return width * height if isinstance(width, int) and isinstance(height, int) else 0


@cache
def _hush() -> None:
    """Keep decoders from writing about damaged files on standard error; what they find is raised all the same."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(AttributeError, OSError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


@contextmanager
def _own_cap(max_pixels: int) -> Iterator[float]:
    """Raise Pillow's cap, which it enforces at twice its number, to `max_pixels`; give what it was.

    It is a setting of the whole process, so it is never lowered, and never lifted: some formats take memory for
    the whole picture while they are opened.
    """
    with _opening:
        saved = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None if saved is None else max(saved, -(-max_pixels // 2))
        try:
            yield math.inf if saved is None else saved
        finally:
            Image.MAX_IMAGE_PIXELS = saved


def _from_deep(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit or float grey to 8 bits: 16-bit by its full range, the rest by what they hold."""
    # What is no number is black.
    values = np.nan_to_num(
        np.asarray(image).astype(np.float64), copy=False, nan=0.0, posinf=0.0, neginf=0.0
    )
    if image.mode.startswith("I;16"):
        top = 65535.0
    else:
        tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        top = next((top for top in tops if values.max() <= top), values.max())
    values *= 255.0 / top
    np.clip(values, 0, 255, out=values)
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8)).convert("RGB")


def _centre(image: Image.Image, aspect: float) -> tuple[float, float, float, float]:
    """Return the largest centred box of the aspect (width / height)."""
    width = min(image.width, image.height * aspect)
    height = min(image.height, image.width / aspect)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return left, top, left + width, top + height


def _too_large(pixels: int, max_pixels: int) -> str:
    found = f"{pixels / 1e6:,.0f}" if pixels > 1e9 else f"{pixels / 1e6:.4g}"
    return f"{found} megapixels, more than the limit of {max_pixels / 1e6:,.4g} (--max-megapixels raises it)"


def _reason(error: Exception, max_pixels: int) -> str:
    """Say in our words what a decoder found, but where its own say more: each has its own for the same damage."""
    text = str(error).strip().rstrip(".")
    # Refused by a decoder itself, which names the picture's pixels, or its sides.
    if sides := re.search(r"Image size \(?(\d+)(?:x(\d+))?", text):
        pixels = int(sides[1]) * int(sides[2] or 1)
        if pixels > max_pixels:
            return _too_large(pixels, max_pixels)
    return f"{text[0].lower()}{text[1:]}" if text.startswith("Unsupported BMP") else _DAMAGED
