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

__all__ = [
    "flatten",
    "from_array",
    "orientation_of",
    "set_orientation",
    "turned",
    "upright",
]

_ALPHA_MODES = {"RGBA", "LA", "PA", "RGBa", "La"}
# The shape of an array's third dimension.
_CHANNELS = {(3,), (4,)}
# Float, and integers of 32 or 16 bits.
_DEEP_GRAY_MODES = ("F", "I")


def upright(image: Image.Image) -> Image.Image:
    """Convert any Pillow image to RGB, as viewers show it.

    It is turned as its EXIF says, its color profile is applied, alpha is over white, and deep gray
    is scaled to 8 bits.
    """
    upright_image = turned(image)
    return flatten(upright_image)


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
    mode = image.mode
    is_deep_gray = mode.startswith(_DEEP_GRAY_MODES)
    if is_deep_gray:
        image = _from_deep_gray(image)
    image = to_srgb(image)

    mode = image.mode
    has_alpha = mode in _ALPHA_MODES
    has_transparent_color = "transparency" in image.info
    if has_alpha or has_transparent_color:
        return _over_white(image)
    if mode == "RGB":
        return image
    rgb = image.convert("RGB")
    # A profile that was not applied is one for other pixels, or broken.
    rgb.info.clear()
    return rgb


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation; 1, the normal one, if the EXIF block is unreadable."""
    with suppress(Exception):
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        return int(orientation)
    return 1


def set_orientation(image: Image.Image, orientation: int) -> None:
    """State the EXIF orientation of an image."""
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = orientation


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
    channels = shape[2:]
    is_image = channels in _CHANNELS
    if len(shape) == 2:
        is_image = True
    if 0 in shape or array.dtype != np.uint8:
        is_image = False
    if not is_image:
        given = f"{array.dtype} {list(shape)}"
        raise ImageError(
            f"an array of {given} cannot be used as an image; "
            "expected uint8 [height, width], [height, width, 3] or [height, width, 4]"
        )
    image = Image.fromarray(array)
    return upright(image)


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        # Pillow converts gray with premultiplied alpha to no other mode.
        image = image.convert("LA")
    size = image.size
    white = Image.new("RGBA", size, "white")
    with_alpha = image.convert("RGBA")
    blended = Image.alpha_composite(white, with_alpha)
    return blended.convert("RGB")


def _from_deep_gray(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit or float gray to 8 bits."""
    values = np.asarray(image)
    limits = sample_range(values)
    scaled = scale(values, *limits)
    gray = Image.fromarray(scaled)
    original_info = image.info
    info = dict(original_info)
    # A transparent value is one of the 65,536, not of the 256.
    info.pop("transparency", None)
    gray.info = info
    return gray
