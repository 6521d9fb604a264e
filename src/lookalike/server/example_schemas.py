"""The schemas of the examples of a query: rows, uploads, images of a form, and words."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from lookalike.models.text.reader import MAX_CHARACTERS
from lookalike.server.region_schemas import RegionField

__all__ = [
    "MAX_BATCH_IMAGES",
    "ExampleBody",
    "ImageExample",
    "ImageExampleBody",
    "RequestModel",
    "RowExample",
    "RowId",
    "Sha256",
    "TextExample",
    "UnderstoodInfo",
    "UploadExample",
]

# The largest number of images in the form of a batch of searches.
MAX_BATCH_IMAGES = 64

_EXAMPLE_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", examples=[_EXAMPLE_HASH])]
RowId = Annotated[
    int, Field(ge=0, lt=2**63, description="The id of a row.", examples=[12])
]
Weight = Annotated[
    float,
    Field(
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="Weight: of a positive example relative to the other positive ones; of a "
        "negative one absolute, up to a sum of 1 of all negative ones.",
    ),
]


class RequestModel(BaseModel):
    """The base of request bodies: unknown fields are errors."""

    model_config = ConfigDict(strict=True, extra="forbid")


class RowExample(RequestModel):
    """A row of the collection."""

    id: RowId
    weight: Weight = 1.0
    region: RegionField = None


class UploadExample(RequestModel):
    """An image that was uploaded before."""

    upload: Sha256
    weight: Weight = 1.0
    region: RegionField = None


class ImageExample(RequestModel):
    """An image of the same form: the n-th part named ``image``, counted from 0."""

    image: Annotated[int, Field(ge=0, lt=MAX_BATCH_IMAGES)]
    weight: Weight = 1.0
    region: RegionField = None


class TextExample(RequestModel):
    """Words, in a Space whose Model reads text."""

    text: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_CHARACTERS,
            description="A word or a phrase.",
            examples=["grand piano"],
        ),
    ]
    weight: Weight = 1.0


ImageExampleBody = RowExample | UploadExample | ImageExample
ExampleBody = ImageExampleBody | TextExample


class UnderstoodInfo(BaseModel):
    """What was understood of a text."""

    model_config = ConfigDict(extra="forbid")

    text: str
    words: Annotated[
        list[str],
        Field(
            description="What the search looked for: the classes that the text stands for, or the "
            "text itself if the Space reads any text."
        ),
    ]
    unknown: Annotated[
        list[str], Field(description="The words that were not understood.")
    ]
    confidence: Annotated[
        float | None,
        Field(
            description="How sure the network is that one of the first ten matches shows it; it is "
            "sure from 0.5 on. Null where it cannot be said."
        ),
    ]
