"""The schemas of maps."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from lookalike.server.schemas import QueryBody, ResponseModel

__all__ = ["MapInfo", "MapPoint", "MapQueryBody", "MapResponse"]


class MapQueryBody(QueryBody):
    """A query to place on a map."""

    method: Literal["tsne", "pca", "umap"] = "tsne"


class MapPoint(ResponseModel):
    """A position on a map, from 0 to 1."""

    x: float
    y: float


class MapInfo(ResponseModel):
    """How a map was made, and its quality."""

    title: str
    summary: Annotated[str, Field(description="One line for people.")]
    seed: int
    parameters: dict[str, Any]
    fidelity: dict[str, Any]
    missing: Annotated[
        int,
        Field(
            description="Images not yet on the map; rebuild the map to include them."
        ),
    ]


class MapResponse(ResponseModel):
    """A map, in columns of equal length."""

    space: str
    method: str
    facts: MapInfo
    ids: list[int]
    x: Annotated[
        list[float], Field(description="From 0 at the left to 1 at the right.")
    ]
    y: Annotated[
        list[float], Field(description="From 0 at the top to 1 at the bottom.")
    ]
    labels: Annotated[
        list[str], Field(description="All labels of the map, or tags if it has none.")
    ]
    label: Annotated[
        list[int],
        Field(description="The position of each image's label in `labels`, or -1."),
    ]
