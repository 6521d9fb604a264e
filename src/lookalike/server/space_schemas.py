"""The schemas of a search in several Spaces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

__all__ = ["MetricField", "SpacesField"]

_MAX_SPACES = 16

SpacesField = Annotated[
    list[str] | None,
    Field(
        min_length=1,
        max_length=_MAX_SPACES,
        description="Several Spaces, in place of `space`: their answers are fused by rank. The "
        "fused answer has up to 1,000 matches, on as many pages as needed.",
    ),
]
MetricField = Annotated[
    Literal["euclidean", "rank fusion"],
    Field(
        description="What `distance` is: between vectors, or of several Spaces from 0, first in "
        "all, to 1."
    ),
]
