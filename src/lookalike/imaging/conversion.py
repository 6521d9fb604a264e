"""Transforms from a color profile to sRGB, by Little CMS.

Only images that state another color space than sRGB need them.
"""

from __future__ import annotations

import hashlib
import threading
from io import BytesIO
from typing import NamedTuple

import numpy as np
from cachetools import LRUCache, cached
from PIL import Image, ImageCms

from lookalike.imaging.scaling import Bytes

__all__ = ["Conversion", "conversion"]

# A profile is sRGB's own if it moves no color by more levels than this.
_SAME_LEVELS = 2

# An image whose grays move by no more levels may be shrunk before it is converted.
_NEAR_LEVELS = 12

# Conversions to keep. One of CMYK takes about 1 MB.
_MAX_CONVERSIONS = 32


class Conversion(NamedTuple):
    """A transform from a mode to sRGB, and whether it leaves grays nearly as they are.

    Gray has a table instead: Little CMS takes only 33 samples of its curve.
    """

    transform: ImageCms.ImageCmsTransform
    mode: str
    keeps_grays: bool = False
    gray_table: bytes | None = None

    def apply(self, image: Image.Image) -> Image.Image:
        """Return an image of the profile's mode in sRGB, without a profile."""
        table = self.gray_table
        if table is None:
            transform = self.transform
            converted = transform.apply(image)
        else:
            converted = image.point(table)
        converted.info.clear()
        return converted


def _conversion_key(profile: bytes, mode: str) -> tuple[bytes, str]:
    # The profiles themselves would take far more memory than their hashes.
    sha256 = hashlib.sha256(profile)
    digest = sha256.digest()
    return digest, mode


@cached(LRUCache(_MAX_CONVERSIONS), key=_conversion_key, lock=threading.Lock())
def conversion(profile: bytes, mode: str) -> Conversion | None:
    """Return the conversion to sRGB; None if the profile is broken or is sRGB's own."""
    try:
        file = BytesIO(profile)
        source = ImageCms.ImageCmsProfile(file)
        if mode == "L":
            return _gray_conversion(source)
        transform = _transform(source, mode)
        if mode != "RGB":
            return Conversion(transform, mode)
        gray_change = _largest_change(transform, _grays())
        color_change = _largest_change(transform, _colors())
    # Little CMS finds many kinds of damage. Such a profile counts as missing.
    except Exception:  # noqa: BLE001
        return None
    if max(gray_change, color_change) <= _SAME_LEVELS:
        return None
    keeps_grays = gray_change <= _NEAR_LEVELS
    return Conversion(transform, mode, keeps_grays)


def _transform(
    source: ImageCms.ImageCmsProfile,
    mode: str,
    flags: ImageCms.Flags = ImageCms.Flags.NONE,
) -> ImageCms.ImageCmsTransform:
    """Return a transform to sRGB, with the perceptual intent."""
    core_profile = ImageCms.createProfile("sRGB")
    srgb = ImageCms.ImageCmsProfile(core_profile)
    return ImageCms.ImageCmsTransform(
        source, srgb, mode, "RGB", ImageCms.Intent.PERCEPTUAL, flags=flags
    )


def _gray_conversion(source: ImageCms.ImageCmsProfile) -> Conversion | None:
    """Return the conversion of gray; None if it moves none by more than two levels."""
    exactly = ImageCms.Flags.NOOPTIMIZE
    transform = _transform(source, "L", exactly)
    levels = np.arange(256, dtype=np.uint8)
    row = levels[np.newaxis]
    ramp = Image.fromarray(row)
    converted = transform.apply(ramp)
    green = converted.getchannel("G")
    table = green.tobytes()

    new_levels = np.asarray(green, np.int16)
    change = np.abs(new_levels - row)
    if change.max() <= _SAME_LEVELS:
        return None
    return Conversion(transform, mode="L", gray_table=table)


def _largest_change(transform: ImageCms.ImageCmsTransform, colors: Bytes) -> int:
    """Return by how many levels a transform moves an RGB color at most."""
    image = Image.fromarray(colors)
    converted = transform.apply(image)
    after = np.asarray(converted, np.int16)
    change = np.abs(after - colors)
    largest = change.max()
    return int(largest)


def _grays() -> Bytes:
    """Return the grays from black to white as RGB, ``[1, 256, 3]``."""
    levels = np.arange(256)
    column = levels.astype(np.uint8)
    rgb = np.stack([column, column, column], axis=-1)
    return rgb[np.newaxis]


def _colors() -> Bytes:
    """Return colors on a regular grid over the cube of RGB, ``[27, 27, 3]``."""
    steps = np.linspace(0, 255, 9)
    levels = steps.astype(np.uint8)
    axes = np.meshgrid(levels, levels, levels)
    grid = np.stack(axes, axis=-1)
    return grid.reshape(27, 27, 3)
