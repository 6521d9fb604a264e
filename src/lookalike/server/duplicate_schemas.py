"""The schemas of duplicates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lookalike.server.example_schemas import RowId
from lookalike.server.schemas import RequestModel, ResponseModel, RowInfo

__all__ = ["DuplicatesResponse", "VerdictBody", "VerdictResponse"]

_MAX_PAIRS = 1000
_Tier = Literal["identical", "copy", "similar"]


class DuplicateInfo(RowInfo):
    """An image of a group of duplicates."""

    format: Annotated[str | None, Field(description="The format's name, if known.")]
    tier: Annotated[
        _Tier | None,
        Field(
            description="How it compares with the image to keep; null for that image."
        ),
    ]
    explanation: Annotated[str, Field(description="The reason in words.")]
    figures: Annotated[str, Field(description="The figures behind the reason.")]
    is_protected: Annotated[
        bool, Field(description="Whether it lies in a protected folder.")
    ]


class DuplicateGroupInfo(ResponseModel):
    """An image to keep, and the images that match it."""

    keeper: DuplicateInfo
    copies: list[DuplicateInfo]


class TierCounts(ResponseModel):
    """The number of copies of each tier, over all groups."""

    identical: int
    copies: Annotated[int, Field(alias="copy")]
    similar: int


class DuplicatesResponse(ResponseModel):
    """A page of groups of duplicates."""

    version: Annotated[
        int, Field(description="The version of the collection that was searched.")
    ]
    is_outdated: Annotated[
        bool, Field(description="Whether the collection has changed since.")
    ]
    groups: list[DuplicateGroupInfo]
    total: Annotated[int, Field(description="The number of groups of the tier.")]
    next: Annotated[int | None, Field(description="The `offset` of the next page.")]
    tiers: TierCounts
    removable_bytes: Annotated[
        int, Field(description="The size of the copies of the tier, in bytes.")
    ]
    command: Annotated[
        str,
        Field(
            description="The command that shows what the removal of the copies of the tier would "
            "do. The server removes no files."
        ),
    ]
    notes: list[str]


class VerdictBody(RequestModel):
    """A verdict on pairs of images."""

    collection: Annotated[
        str | None, Field(description="A collection's name; the first by default.")
    ] = None
    pairs: Annotated[
        list[Annotated[list[RowId], Field(min_length=2, max_length=2)]],
        Field(min_length=1, max_length=_MAX_PAIRS, description="Two row ids each."),
    ]
    verdict: Annotated[
        Literal["different", "none"],
        Field(
            description="`different`: they are not duplicates, and are not found again. `none`: "
            "forget that."
        ),
    ] = "different"


class VerdictResponse(ResponseModel):
    """The number of verdicts that changed."""

    changed: int
