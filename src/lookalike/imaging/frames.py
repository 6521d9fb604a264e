"""Choose the frame of an animation that stands for it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from PIL import Image

__all__ = ["first_frame_with_content"]

_ANIMATED_FORMATS = {"GIF", "PNG", "WEBP", "AVIF"}

# How far to look: the frames, and their pixels in all.
_MAX_FRAMES = 1000
_MAX_PIXELS = 400_000_000

# Lossy formats do not give a single color exactly.
_SAME_LEVELS = 2


def first_frame_with_content(image: Image.Image) -> Image.Image:
    """Return the first frame that is not of one color, or else the first frame.

    Many animations begin with an empty frame, and fade in.

    Parameters
    ----------
    image
        A file opened by Pillow, with its first frame loaded.
    """
    if image.format not in _ANIMATED_FORMATS or not _is_blank(image):
        return image
    if getattr(image, "n_frames", 1) == 1:
        return image

    first = image.copy()
    pixels = image.width * image.height
    frames = min(_MAX_FRAMES, _MAX_PIXELS // pixels)
    # A damaged frame ends the animation, as its end does.
    with suppress(Exception):
        for number in range(1, frames):
            image.seek(number)
            image.load()
            if not _is_blank(image):
                return image
    return first


def _is_blank(image: Image.Image) -> bool:
    """Return whether an image is transparent or of one color."""
    if image.mode in {"P", "PA"} or "transparency" in image.info:
        image = image.convert("RGBA")
    if "A" in image.getbands():
        _, largest_alpha = image.getchannel("A").getextrema()
        if largest_alpha == 0:
            return True
    bands: list[Any] = [band.getextrema() for band in image.split()]
    return all(largest - smallest <= _SAME_LEVELS for smallest, largest in bands)
