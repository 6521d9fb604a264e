"""The schemas of reviews."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lookalike.review.results import ReviewPart
from lookalike.server.schemas import ResponseModel, RowInfo

__all__ = ["ReviewResponse"]


class ReviewedImage(RowInfo):
    """An image of a review."""

    explanation: Annotated[
        str, Field(description="Why it is listed, in words; empty in a cluster.")
    ]
    suggested: Annotated[
        str | None, Field(description="The label that fits a doubtful one better.")
    ]
    score: Annotated[
        float | None, Field(description="How much better the suggested label fits.")
    ]
    agreeing: Annotated[
        int | None,
        Field(description="How many of its nearest images have the suggested label."),
    ]
    neighbors: Annotated[
        int | None, Field(description="The number of these nearest images.")
    ]
    distance: Annotated[
        float | None,
        Field(
            description="Of an outlier, to its k-th nearest image; of a diverse image, to those "
            "before it."
        ),
    ]
    represents: Annotated[
        int | None,
        Field(description="The number of images that a diverse image is nearest to."),
    ]


class ReviewGroup(ResponseModel):
    """Images of a part: those of a cluster, or all."""

    title: Annotated[
        str, Field(description="The name of a cluster; empty in other parts.")
    ]
    total: Annotated[int, Field(description="The number of images of the group.")]
    images: list[ReviewedImage]


class ReviewPartInfo(ResponseModel):
    """A part of a review in words."""

    part: ReviewPart
    title: str
    summary: Annotated[str, Field(description="A sentence with its figures.")]
    total: Annotated[
        int, Field(description="The number of clusters, or of the images listed.")
    ]


class ReviewResponse(ResponseModel):
    """A page of one part of a review."""

    version: Annotated[
        int, Field(description="The version of the collection that was reviewed.")
    ]
    is_outdated: Annotated[
        bool, Field(description="Whether the collection has changed since.")
    ]
    space: Annotated[str, Field(description="The Space whose vectors were compared.")]
    images: Annotated[int, Field(description="The number of reviewed images.")]
    notes: list[str]
    parts: list[ReviewPartInfo]
    groups: list[ReviewGroup]
    next: Annotated[int | None, Field(description="The `offset` of the next page.")]
