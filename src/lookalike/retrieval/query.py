"""What a collection can be searched by."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from PIL import Image

__all__ = ["Queries", "QueryInput", "RowQuery", "WeightedQuery"]


@dataclass(frozen=True, slots=True)
class RowQuery:
    """A query by the vector that the collection holds for the row with this id. No image is read."""

    id: int


QueryInput = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any] | RowQuery


@dataclass(frozen=True, slots=True)
class WeightedQuery:
    """One of several queries, and its weight relative to the others on its side."""

    query: QueryInput
    weight: float = 1.0


Queries = QueryInput | WeightedQuery | Sequence[QueryInput | WeightedQuery]
