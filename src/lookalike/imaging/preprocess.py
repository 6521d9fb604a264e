"""Prepare decoded images: resize them for a network, and make thumbnails."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike.imaging.color import to_srgb
from lookalike.types import Model

__all__ = [
    "THUMBNAIL_SIDE",
    "center_box",
    "min_decoded_side",
    "open_thumbnail",
    "prepare",
    "thumbnail",
]

THUMBNAIL_SIDE = 160

# A large JPEG keeps at least this many pixels per side, twice the input of most networks or more,
# so that decoding it at a reduced scale changes little.
_MIN_SIDE = 640

# Images larger than the target by this factor are first shrunk by whole numbers, which is faster.
_REDUCING_GAP = 3.0

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def min_decoded_side(model: Model) -> int:
    """Return the `min_side` of `decode_small` for a Model; most Models share one value."""
    width, height = model.size
    return max(_MIN_SIDE, width, height)


def prepare(image: Image.Image, model: Model) -> npt.NDArray[np.uint8]:
    """Resize upright RGB, from `decode` or `decode_small`, to the input size of a Model.

    Returns
    -------
    numpy.ndarray
        uint8 ``[height, width, 3]``.
    """
    height, width = model.size
    box = None
    is_cropped = model.resize == "crop"
    if is_cropped:
        box = center_box(image, model)
    resampling = _FILTERS[model.filter]
    resized = image.resize(
        (width, height), resampling, box=box, reducing_gap=_REDUCING_GAP
    )
    in_srgb = to_srgb(resized)
    return np.asarray(in_srgb)


def thumbnail(image: Image.Image, *, side: int = THUMBNAIL_SIDE) -> bytes:
    """Return upright RGB as a JPEG whose longer side has at most `side` pixels."""
    small = image.copy()
    box = (side, side)
    # Hamming is as sharp as bicubic when an image shrinks, for two thirds of the work.
    resampling = Image.Resampling.HAMMING
    small.thumbnail(box, resampling, _REDUCING_GAP)
    in_srgb = to_srgb(small)
    # Pillow would write the comment of the file, or refuse a long one.
    in_srgb.info.clear()
    file = io.BytesIO()
    in_srgb.save(file, "JPEG", quality=82)
    return file.getvalue()


def open_thumbnail(data: bytes) -> Image.Image:
    """Return the RGB image of a thumbnail that `thumbnail` made."""
    file = io.BytesIO(data)
    opened = Image.open(file)
    return opened.convert("RGB")


def center_box(image: Image.Image, model: Model) -> tuple[float, float, float, float]:
    """Return the centered box with the aspect of a Model's input that ``crop`` keeps.

    It is the largest one unless the Model cuts its input from the middle of a larger image. Its
    edges are left, top, right and bottom, in pixels.
    """
    input_height, input_width = model.size
    aspect = input_width / input_height
    full_width, full_height = image.size
    widest = full_height * aspect
    tallest = full_width / aspect
    share = _kept_share(model)
    width = share * min(full_width, widest)
    height = share * min(full_height, tallest)
    spare_width = full_width - width
    spare_height = full_height - height
    left = spare_width / 2
    top = spare_height / 2
    right = left + width
    bottom = top + height
    return left, top, right, bottom


def _kept_share(model: Model) -> float:
    """Return the share of the shorter side that ``crop`` keeps."""
    side = model.crop_side
    if side is None:
        return 1.0
    return min(model.size) / side
