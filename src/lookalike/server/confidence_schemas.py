"""The schemas of confidences."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AnswerField", "CalibrationField", "ConfidenceField", "MinConfidenceField"]

MinConfidenceField = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="The smallest confidence of a match, in a calibrated Space; by default no "
        "match is left out.",
    ),
]
ConfidenceField = Annotated[
    float | None,
    Field(
        description="The share of the collection's images that are at least as far from their "
        "nearest other image; null unless the Space is calibrated and the query is one image."
    ),
]


class AnswerInfo(BaseModel):
    """How sure an answer is."""

    model_config = ConfigDict(extra="forbid")

    confidence: Annotated[
        float,
        Field(description="The largest confidence of a match, before any is left out."),
    ]
    match: Annotated[
        bool,
        Field(
            description="Whether that is 0.03 or more: something here is like the query."
        ),
    ]
    nearest: Annotated[
        float | None, Field(description="The distance of the nearest match.")
    ]
    hidden: Annotated[
        int, Field(description="The matches left out because of `min_confidence`.")
    ]
    rows: Annotated[
        int, Field(description="The number of images that were calibrated.")
    ]
    version: Annotated[int, Field(description="The version of the collection then.")]
    added: Annotated[int, Field(description="The images that were added since.")]
    removed: Annotated[int, Field(description="The images that were removed since.")]


AnswerField = Annotated[
    AnswerInfo | None,
    Field(description="How sure the answer is; null without a calibration."),
]


class CalibrationInfo(BaseModel):
    """The calibration of a Space."""

    model_config = ConfigDict(extra="forbid")

    rows: Annotated[int, Field(description="The number of images that were measured.")]
    version: Annotated[int, Field(description="The version of the collection then.")]
    added: Annotated[int, Field(description="The images that were added since.")]
    removed: Annotated[int, Field(description="The images that were removed since.")]
    usable: Annotated[
        bool, Field(description="Whether it still describes the collection.")
    ]
    kept: Annotated[
        float,
        Field(
            description="The share of the collection's own images that are answered."
        ),
    ]
    absent: Annotated[
        float | None,
        Field(
            description="The share of images of other kinds that are answered; null without two "
            "labels."
        ),
    ]


CalibrationField = Annotated[
    CalibrationInfo | None,
    Field(description="Whether matches have a confidence; null without a calibration."),
]
