"""The schema of a part of an image, in queries."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

__all__ = ["RegionField"]

_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
RegionField = Annotated[
    list[_Number] | None,
    Field(
        min_length=4,
        max_length=4,
        description="The part of the upright image to search by: x, y, width and height as "
        "fractions of the image, or in pixels if one is above 1; all of it by default. Of a row, "
        "the part is cut from the original, or from the thumbnail where the server cannot read "
        "the original; `from_thumbnails` then names the row.",
        examples=[[0.5, 0.0, 0.5, 1.0]],
    ),
]
