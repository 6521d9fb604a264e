"""Choose the frame of an animation that stands for it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from PIL import Image

__all__ = ["first_frame_with_content", "has_no_opacity"]

_ANIMATED_FORMATS = {"GIF", "PNG", "WEBP", "AVIF"}
_PALETTE_MODES = {"P", "PA"}

# How far to look: the frames, and their pixels in all.
_MAX_FRAMES = 1000
_MAX_PIXELS = 400_000_000

# Lossy formats do not give a single color exactly.
_FLAT_LEVELS = 2


def first_frame_with_content(image: Image.Image) -> Image.Image:
    """Return the first frame that is not of one color, or else the first frame.

    Many animations begin with an empty frame, and fade in.

    Parameters
    ----------
    image
        A file opened by Pillow, with its first frame loaded.
    """
    if image.format not in _ANIMATED_FORMATS:
        return image
    # Other formats state the number of their frames; those of a GIF are counted one by one.
    is_gif = image.format == "GIF"
    if not is_gif and not _is_animated(image):
        return image
    if not _is_blank(image):
        return image
    if is_gif and not _is_animated(image):
        return image

    first = image.copy()
    width, height = image.size
    pixels = width * height
    affordable = _MAX_PIXELS // pixels
    frames = min(_MAX_FRAMES, affordable)
    # A damaged frame ends the animation, as its end does.
    with suppress(Exception):
        for number in range(1, frames):
            image.seek(number)
            image.load()
            if not _is_blank(image):
                return image
    return first


def _is_animated(image: Image.Image) -> bool:
    frame_count = getattr(image, "n_frames", 1)
    return frame_count > 1


def _is_blank(image: Image.Image) -> bool:
    """Return whether an image is transparent or of one color."""
    has_transparent_color = "transparency" in image.info
    has_palette = image.mode in _PALETTE_MODES
    if has_palette or has_transparent_color:
        image = image.convert("RGBA")
    if has_no_opacity(image):
        return True
    for band in image.split():
        extrema: Any = band.getextrema()
        smallest, largest = extrema
        span = largest - smallest
        if span > _FLAT_LEVELS:
            return False
    return True


def has_no_opacity(image: Image.Image) -> bool:
    """Return whether an image has alpha, and it is zero everywhere."""
    bands = image.getbands()
    if "A" not in bands:
        return False
    alpha = image.getchannel("A")
    _, largest = alpha.getextrema()
    return largest == 0
