"""Convert pixels of any type to upright RGB in sRGB."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from lookalike.errors import ImageError
from lookalike.imaging.color import to_srgb
from lookalike.imaging.scaling import sample_range, scale

__all__ = ["flatten", "from_array", "orientation_of", "turned", "upright"]

_ALPHA_MODES = {"RGBA", "LA", "PA", "RGBa", "La"}


def upright(image: Image.Image) -> Image.Image:
    """Convert any Pillow image to RGB, as viewers show it.

    It is turned as its EXIF says, its color profile is applied, alpha is over white, and deep gray
    is scaled to 8 bits.
    """
    return flatten(turned(image))


def turned(image: Image.Image) -> Image.Image:
    """Turn and mirror an image as its EXIF says."""
    # exif_transpose copies the image even if its orientation is normal.
    if orientation_of(image) == 1:
        return image
    with suppress(Exception):
        return ImageOps.exif_transpose(image)
    return image


def flatten(image: Image.Image) -> Image.Image:
    """Convert an image to RGB in sRGB, with alpha over white, as it lies."""
    is_deep_gray = image.mode in {"F", "I"} or image.mode.startswith("I;16")
    if is_deep_gray:
        image = _from_deep_gray(image)
    image = to_srgb(image)

    has_transparent_color = "transparency" in image.info
    if image.mode in _ALPHA_MODES or has_transparent_color:
        return _over_white(image)
    if image.mode == "RGB":
        return image
    return image.convert("RGB")


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation; 1, the normal one, if the EXIF block is unreadable."""
    with suppress(Exception):
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        return int(orientation)
    return 1


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


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        # Pillow converts gray with premultiplied alpha to no other mode.
        image = image.convert("LA")
    with_alpha = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    blended = Image.alpha_composite(white, with_alpha)
    return blended.convert("RGB")


def _from_deep_gray(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit or float gray to 8 bits."""
    values = np.asarray(image)
    black, white = sample_range(values)
    scaled = scale(values, black, white)
    gray = Image.fromarray(scaled)
    gray.info.update(image.info)
    # A transparent value is one of the 65,536, not of the 256.
    gray.info.pop("transparency", None)
    return gray
