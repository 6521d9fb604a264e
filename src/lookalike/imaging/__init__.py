"""Decode encoded images and prepare them for networks."""

from lookalike.imaging.decoder import decode, decode_small
from lookalike.imaging.limits import MAX_PIXELS
from lookalike.imaging.pixels import from_array, upright
from lookalike.imaging.preprocess import (
    THUMBNAIL_SIDE,
    center_box,
    min_decoded_side,
    open_thumbnail,
    prepare,
    thumbnail,
)
from lookalike.imaging.region import Region, RegionInput, as_region

__all__ = [
    "MAX_PIXELS",
    "THUMBNAIL_SIDE",
    "Region",
    "RegionInput",
    "as_region",
    "center_box",
    "decode",
    "decode_small",
    "from_array",
    "min_decoded_side",
    "open_thumbnail",
    "prepare",
    "thumbnail",
    "upright",
]
