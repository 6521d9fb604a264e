"""Query and path parameters that several routes share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

__all__ = ["CollectionName", "RowIdParameter", "WhereFilter"]

CollectionName = Annotated[
    str | None,
    Query(description="A collection's name; the first by default.", max_length=1000),
]
RowIdParameter = Annotated[
    int, Path(ge=0, lt=2**63, description="The id of a row.", examples=[0])
]
WhereFilter = Annotated[
    str | None,
    Query(
        max_length=10_000,
        description="A filter; only images that satisfy it are returned.",
    ),
]
