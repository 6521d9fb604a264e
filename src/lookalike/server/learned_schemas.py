"""The schema of a Space that was learned from labels, and how it is described."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from lookalike.types import LearnedMap, Purpose

__all__ = ["LearnedField", "describe_learned"]


class MeasuredScore(BaseModel):
    """A mean of class mAPs, or a difference of two."""

    value: float
    interval: Annotated[
        tuple[float, float], Field(description="The bootstrap 95 % interval.")
    ]


class MeasuredGains(BaseModel):
    """The scores of queries that the Space was not learned from."""

    queries: int
    labels: int
    plain: MeasuredScore
    centered: MeasuredScore
    tuned: MeasuredScore
    gain: Annotated[
        MeasuredScore, Field(description="The difference of `tuned` to `plain`.")
    ]
    precision_gain: Annotated[
        MeasuredScore, Field(description="The same difference of precision@1.")
    ]


class LearnedInfo(BaseModel):
    """Where a tuned Space comes from, and how good it is."""

    base: Annotated[str, Field(description="The Space that it was learned from.")]
    purpose: Purpose
    verdict: str
    date: str
    new_images: Annotated[
        MeasuredGains | None, Field(description="The gains on images left out.")
    ]
    new_labels: Annotated[
        MeasuredGains | None, Field(description="The gains on labels left out.")
    ]


LearnedField = Annotated[
    LearnedInfo | None,
    Field(description="How the Space was learned; null unless it was tuned."),
]


def describe_learned(learned: LearnedMap | None) -> dict[str, Any] | None:
    """Return the fields of a `LearnedInfo`."""
    if learned is None:
        return None
    provenance = learned.provenance
    return {
        "base": learned.base,
        "purpose": learned.purpose,
        "verdict": provenance.get("verdict", ""),
        "date": provenance.get("date", ""),
        "new_images": provenance.get("new_images"),
        "new_labels": provenance.get("new_labels"),
    }
