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
        description="The smallest confidence of a match: of an image, in a calibrated Space; of "
        "one word, how sure the network is. By default no match is left out.",
    ),
]
ConfidenceField = Annotated[
    float | None,
    Field(
        description="Of one image, the share of the collection's images that are at least as far "
        "from their nearest other image; null unless the Space is calibrated. Of one word, how "
        "sure the network is that the match shows it; null without `min_confidence`."
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
    Field(
        description="How sure the answer to an image is; null without a calibration. For words, "
        "see `understood`."
    ),
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
