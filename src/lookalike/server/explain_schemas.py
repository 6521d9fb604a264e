"""The schemas of explanations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from lookalike.server.example_schemas import ImageExampleBody, RequestModel, RowId
from lookalike.server.schemas import ImageFile, ResponseModel

__all__ = ["ExplainBody", "ExplainForm", "ExplainResponse", "ExplainedImageInfo"]


class ExplainBody(RequestModel):
    """Two images to explain."""

    collection: Annotated[
        str | None, Field(description="A collection's name; the first by default.")
    ] = None
    space: Annotated[
        str | None, Field(description="The Space to explain; the first by default.")
    ] = None
    query: Annotated[
        ImageExampleBody,
        Field(description="A row, an upload or an image of the form, or a part of it."),
    ]
    match: Annotated[RowId, Field(description="The row that it is compared with.")]
    format: Annotated[
        Literal["json", "png"],
        Field(
            description="The values of the cells, or both images under their colors."
        ),
    ] = "json"


class ExplainForm(BaseModel):
    """An image, and the row to compare it with."""

    image: Annotated[ImageFile, Field(description="The query.")]
    query: Annotated[str, Field(description="The other fields as JSON.")]


class ExplainedImageInfo(ResponseModel):
    """One of the two images."""

    heat: Annotated[
        list[list[float]],
        Field(
            description="One value for each cell, row by row: by how much the cosine would fall "
            "without it, or the difference of a pixel from 0 to 1."
        ),
    ]
    peak: Annotated[
        list[float],
        Field(description="x and y of the cell that counts most, from 0 to 1."),
    ]
    area: Annotated[
        list[float],
        Field(
            description="The part that the cells cover: x, y, width, height, from 0 to 1."
        ),
    ]
    is_thumbnail: Annotated[
        bool,
        Field(
            description="Whether the thumbnail took the place of an unreadable original."
        ),
    ]


class ExplainResponse(ResponseModel):
    """Which parts of two images make them alike, or where their pixels differ."""

    collection: str
    space: str
    kind: Literal["likeness", "difference"]
    similarity: Annotated[
        float,
        Field(
            description="The cosine at a larger input than in a search; for pixels, 1 minus the "
            "mean difference."
        ),
    ]
    query: ExplainedImageInfo
    match: ExplainedImageInfo
