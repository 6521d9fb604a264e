"""Convert images to sRGB, from the color space that their file states."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from PIL import Image

from lookalike.imaging.profiles import profile_from_code_points, profile_from_gamma

if TYPE_CHECKING:
    from lookalike.imaging.conversion import Conversion

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

# Images of fewer pixels are converted before they are shrunk.
_MANY_PIXELS = 500_000

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


def _conversion_by(profile: bytes | None) -> Conversion | None:
    """Return the conversion of a profile; None to leave the colors as they are."""
    if profile is None:
        return None
    mode = _mode_of(profile)
    if mode is None:
        return None
    # Most images state no other color space, so a search does not load Little CMS.
    from lookalike.imaging.conversion import conversion

    return conversion(profile, mode)


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
    info = image.info
    has_transparent_color = "transparency" in info
    alpha_endings = ("A", "a")
    has_alpha = mode.endswith(alpha_endings)
    is_transparent = has_alpha or has_transparent_color
    if is_transparent:
        alpha_mode = color_mode + "A"
        with_alpha = image.convert(alpha_mode)
        color = with_alpha.convert(color_mode)
        alpha = with_alpha.getchannel("A")
        return color, alpha
    has_other_mode = mode != color_mode
    if has_other_mode:
        image = image.convert(color_mode)
    return image, None
