"""The schemas of a batch of searches."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from lookalike.server.schemas import (
    MAX_BATCH_IMAGES,
    ImageFile,
    ProblemBody,
    RequestModel,
    ResponseModel,
    SearchResponse,
)

__all__ = ["MAX_SEARCHES", "BatchBody", "BatchForm", "BatchResponse", "BatchResult"]

# The largest number of searches in a batch.
MAX_SEARCHES = 64


class BatchBody(RequestModel):
    """Many searches."""

    searches: Annotated[
        list[dict[str, Any]],
        Field(
            min_length=1,
            max_length=MAX_SEARCHES,
            description="Each as a `SearchBody`; an invalid one has a problem of its own.",
        ),
    ]


class BatchForm(BaseModel):
    """Many searches and their images."""

    image: Annotated[
        list[ImageFile],
        Field(
            min_length=1,
            max_length=MAX_BATCH_IMAGES,
            description="Images that the searches refer to by number.",
        ),
    ]
    query: Annotated[str, Field(description="The searches as JSON, a `BatchBody`.")]


class BatchResult(ResponseModel):
    """The outcome of one search of a batch: an answer or a problem."""

    answer: SearchResponse | None
    problem: ProblemBody | None


class BatchResponse(ResponseModel):
    """The outcomes of a batch of searches, in their order."""

    results: list[BatchResult]
