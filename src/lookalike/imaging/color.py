"""Convert images to sRGB, from the color space that their file states."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from io import BytesIO
from typing import NamedTuple

import numpy as np
from cachetools import LRUCache, cached
from PIL import Image, ImageCms

from lookalike.imaging.profiles import profile_from_code_points, profile_from_gamma
from lookalike.imaging.scaling import Bytes

__all__ = ["CODE_POINTS", "may_convert_later", "to_srgb"]

# The key of an image's `info` for two code points of ITU-T H.273: primaries and transfer.
CODE_POINTS = "lookalike_code_points"

# The mode of the pixels that a profile's color space describes.
_PROFILE_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}

# The classes of profiles for pixels: scanners, displays, printers and color spaces.
_PROFILE_CLASSES = {b"scnr", b"mntr", b"prtr", b"spac"}

# Profiles of printers have 0.5 to 3 MB. Larger ones are ignored: a small image could carry one
# that takes seconds to load.
_MAX_PROFILE_BYTES = 4 << 20

# The type of tags that chain any number of stages: 300 kB of them take a minute for each image.
# Profiles of cameras, displays and printers use tables and curves instead.
_UNBOUNDED_ELEMENTS = b"mpet"

# A profile is sRGB's own if it moves no color by more levels than this.
_SAME_LEVELS = 2

# Images of a curve that moves no gray by more levels are shrunk first if they have many pixels.
_NEAR_LEVELS = 12
_MANY_PIXELS = 500_000

# Conversions to keep. One of CMYK takes about 1 MB.
_MAX_CONVERSIONS = 32

# For modes with alpha, palettes, single bits or other coordinates, the mode of their colors.
_COLOR_MODES = {
    "1": "L",
    "LA": "L",
    "La": "L",
    "P": "RGB",
    "PA": "RGB",
    "RGBA": "RGB",
    "RGBa": "RGB",
    "YCbCr": "RGB",
}


class _Conversion(NamedTuple):
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


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert an image by its profile, or else by its code points or its gamma.

    A profile that is broken, or made for other pixels, is ignored.

    Returns
    -------
    PIL.Image.Image
        RGB, or RGBA if the image has alpha; the image itself if there is nothing to convert.
    """
    profile = _profile_of(image)
    if profile is None:
        return image
    with suppress(Exception):
        return _convert(image, profile)
    return image


def _profile_of(image: Image.Image) -> bytes | None:
    info = image.info
    profile = info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        return profile
    code_points = info.get(CODE_POINTS)
    # The keys are those of pillow-heif.
    nclx = info.get("nclx_profile")
    if isinstance(nclx, dict):
        code_points = (
            nclx.get("color_primaries"),
            nclx.get("transfer_characteristics"),
        )
    if code_points is not None:
        primaries, transfer = code_points
        return profile_from_code_points(primaries, transfer)
    return _profile_of_png(image)


def _profile_of_png(image: Image.Image) -> bytes | None:
    """Return the profile of gAMA and cHRM chunks, which an sRGB chunk overrules."""
    info = image.info
    if "srgb" in info:
        return None
    gamma = info.get("gamma")
    if not isinstance(gamma, float):
        return None
    chromaticities = info.get("chromaticity")
    if chromaticities is not None:
        chromaticities = tuple(chromaticities)
    return profile_from_gamma(gamma, chromaticities)


def may_convert_later(image: Image.Image) -> bool:
    """Return whether an image may be converted after it is shrunk, for a fraction of the work.

    So it is if the image is large RGB, and its curve is near sRGB's: then the mean of two colors
    is nearly the same in both color spaces.
    """
    width, height = image.size
    pixels = width * height
    if pixels < _MANY_PIXELS:
        return False
    has_transparent_color = "transparency" in image.info
    if image.mode != "RGB" or has_transparent_color:
        return False
    with suppress(Exception):
        profile = _profile_of(image)
        conversion = _conversion_by(profile)
        if conversion is not None:
            return conversion.keeps_grays
    return False


def _convert(image: Image.Image, profile: bytes) -> Image.Image:
    conversion = _conversion_by(profile)
    if conversion is None:
        return image

    color, alpha = _split(image)
    mode = conversion.mode
    is_gray = color.mode == "L"
    if mode == "RGB" and is_gray:
        color = color.convert("RGB")
    if color.mode != mode:
        return image
    converted = conversion.apply(color)
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _conversion_by(profile: bytes | None) -> _Conversion | None:
    """Return the conversion of a profile; None to leave the colors as they are."""
    if profile is None:
        return None
    mode = _mode_of(profile)
    if mode is None:
        return None
    return _conversion(profile, mode)


def _mode_of(profile: bytes) -> str | None:
    """Return the mode of the pixels that a profile is made for; None if it is not used."""
    profile_class = profile[12:16]
    color_space = profile[16:20]
    if profile_class not in _PROFILE_CLASSES:
        return None
    if len(profile) > _MAX_PROFILE_BYTES:
        return None
    if _UNBOUNDED_ELEMENTS in profile:
        return None
    return _PROFILE_MODES.get(color_space)


def _split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colors of an image, and its alpha: None if it has none."""
    mode = image.mode
    color_mode = _COLOR_MODES.get(mode, mode)
    has_transparent_color = "transparency" in image.info
    has_alpha = mode.endswith(("A", "a"))
    if has_alpha or has_transparent_color:
        alpha_mode = color_mode + "A"
        with_alpha = image.convert(alpha_mode)
        color = with_alpha.convert(color_mode)
        alpha = with_alpha.getchannel("A")
        return color, alpha
    if mode != color_mode:
        image = image.convert(color_mode)
    return image, None


def _conversion_key(profile: bytes, mode: str) -> tuple[bytes, str]:
    # The profiles themselves would take far more memory than their hashes.
    sha256 = hashlib.sha256(profile)
    digest = sha256.digest()
    return digest, mode


@cached(LRUCache(_MAX_CONVERSIONS), key=_conversion_key, lock=threading.Lock())
def _conversion(profile: bytes, mode: str) -> _Conversion | None:
    """Return the conversion to sRGB; None if the profile is broken or is sRGB's own."""
    try:
        file = BytesIO(profile)
        source = ImageCms.ImageCmsProfile(file)
        if mode == "L":
            return _gray_conversion(source)
        transform = _transform(source, mode)
        if mode != "RGB":
            return _Conversion(transform, mode)
        gray_change = _largest_change(transform, _grays())
        color_change = _largest_change(transform, _colors())
    # Little CMS finds many kinds of damage. Such a profile counts as missing.
    except Exception:  # noqa: BLE001
        return None
    if max(gray_change, color_change) <= _SAME_LEVELS:
        return None
    keeps_grays = gray_change <= _NEAR_LEVELS
    return _Conversion(transform, mode, keeps_grays)


def _transform(
    source: ImageCms.ImageCmsProfile,
    mode: str,
    flags: ImageCms.Flags = ImageCms.Flags.NONE,
) -> ImageCms.ImageCmsTransform:
    """Return a transform to sRGB, with the perceptual intent."""
    core_profile = ImageCms.createProfile("sRGB")
    srgb = ImageCms.ImageCmsProfile(core_profile)
    return ImageCms.ImageCmsTransform(
        source,
        srgb,
        mode,
        "RGB",
        ImageCms.Intent.PERCEPTUAL,
        flags=flags,
    )


def _gray_conversion(source: ImageCms.ImageCmsProfile) -> _Conversion | None:
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
    return _Conversion(
        transform,
        mode="L",
        gray_table=table,
    )


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
    rgb = np.stack(
        [column, column, column],
        axis=-1,
    )
    return rgb[np.newaxis]


def _colors() -> Bytes:
    """Return colors on a regular grid over the cube of RGB, ``[27, 27, 3]``."""
    steps = np.linspace(0, 255, 9)
    levels = steps.astype(np.uint8)
    axes = np.meshgrid(
        levels,
        levels,
        levels,
    )
    grid = np.stack(axes, axis=-1)
    return grid.reshape(27, 27, 3)
