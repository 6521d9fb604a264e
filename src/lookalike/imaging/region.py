"""A part of an image, as a rectangle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from lookalike.errors import InputError

__all__ = ["MIN_REGION_SIDE", "Region", "RegionInput", "as_region"]

# Smaller parts hold too little to search by.
MIN_REGION_SIDE = 8

_EXPECTED = (
    "expected x,y,width,height as fractions of the image from 0 to 1, such as 0.5,0,0.5,1, or in "
    "pixels"
)
# Fractions that were rounded to a few digits may reach beyond the image by this much.
_TOLERANCE = 0.001


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of an image as viewers show it, that is, turned as its EXIF says.

    Attributes
    ----------
    x, y
        The left and the upper edge.
    width, height
        The size. All four are fractions of the image from 0 to 1, or pixels if one is above 1.

    Raises
    ------
    InputError
        If a value is not a finite number, or is below 0, or the region is empty.
    """

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        values = self.to_list()
        for value in values:
            is_number = isinstance(value, int | float | np.number)
            if not is_number or not math.isfinite(value):
                raise InputError(f"The region {values} is invalid; {_EXPECTED}.")
        if min(values) < 0 or self.width == 0 or self.height == 0:
            raise InputError(
                f"The region {self} is empty or begins outside of the image; {_EXPECTED}."
            )

    def __str__(self) -> str:
        values = self.to_list()
        written = []
        for value in values:
            text = f"{value:g}"
            written.append(text)
        return ",".join(written)

    @classmethod
    def parse(cls, text: str) -> Region:
        """Return the region of a text such as ``0.5,0,0.5,1``.

        Raises
        ------
        InputError
            If the text is anything else.
        """
        try:
            parts = text.split(",")
            values = [float(part) for part in parts]
        except ValueError:
            values = []
        if len(values) != 4:
            raise InputError(f"The region {text!r} is invalid; {_EXPECTED}.")
        return cls(*values)

    def to_list(self) -> list[float]:
        """Return x, y, width and height."""
        return [self.x, self.y, self.width, self.height]

    def fractions(self, size: tuple[int, int]) -> Region:
        """Return the region as fractions of an image of a width and height in pixels.

        Raises
        ------
        InputError
            If the region reaches beyond the image.
        """
        width, height = size
        region = self
        if max(self.to_list()) > 1:
            region = Region(
                self.x / width,
                self.y / height,
                self.width / width,
                self.height / height,
            )
        right = region.x + region.width
        bottom = region.y + region.height
        if max(right, bottom) > 1 + _TOLERANCE:
            raise InputError(
                f"The region {self} reaches beyond the image, which is {width} x {height} pixels. "
                "Give a part within it."
            )
        return region

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return the left, upper, right and lower edge in pixels of an image of a size.

        Raises
        ------
        InputError
            If the region reaches beyond the image, or is smaller than 8 pixels.
        """
        width, height = size
        region = self.fractions(size)
        left = round(region.x * width)
        top = round(region.y * height)
        right_edge = region.x + region.width
        right = min(width, round(right_edge * width))
        lower_edge = region.y + region.height
        bottom = min(height, round(lower_edge * height))

        region_width = right - left
        region_height = bottom - top
        shorter = min(region_width, region_height)
        if shorter < MIN_REGION_SIDE:
            raise InputError(
                f"The region {self} is {region_width} x {region_height} pixels of the image, which "
                f"is {width} x {height}; expected at least {MIN_REGION_SIDE} pixels a side. Give a "
                "larger part."
            )
        return left, top, right, bottom

    def crop(self, image: Image.Image) -> Image.Image:
        """Return the region of an upright image.

        Raises
        ------
        InputError
            As `box`.
        """
        size = image.size
        box = self.box(size)
        return image.crop(box)


RegionInput = Region | Sequence[float]


def as_region(value: Any) -> Region:
    """Return a Region, or four numbers as one.

    Raises
    ------
    InputError
        If the value is anything else.
    """
    if isinstance(value, Region):
        return value
    is_sequence = isinstance(value, list | tuple | np.ndarray)
    if not is_sequence or len(value) != 4:
        raise InputError(f"The region {value!r} is invalid; {_EXPECTED}.")
    return Region(*value)
