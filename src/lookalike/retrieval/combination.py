"""Several queries as one vector: the positive ones, minus a share of the negative ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lookalike import vectors
from lookalike.errors import InputError
from lookalike.retrieval.query import Encoder, WeightedQuery
from lookalike.types import VectorsF16

__all__ = ["combine_queries"]

# Queries cancel each other if every number of their sum is below this share of the largest of
# theirs: far above the rounding of float64, far below that of the stored float16.
_LEAST_SHARE = 1e-9


def combine_queries(
    encoder: Encoder,
    positive: Sequence[WeightedQuery],
    negative: Sequence[WeightedQuery],
    gamma: float,
) -> VectorsF16:
    """Return the one vector that stands for some queries, float16 ``[dim]``.

    It is the weighted mean of the positive vectors minus a share of the negative ones, scaled to
    unit length if the Model's vectors are; see `lookalike.vectors.combine`.

    Raises
    ------
    InputError
        If a positive query is missing, or the queries cancel each other.
    """
    if not positive:
        raise InputError(
            "There is nothing to search by. Give at least one image or text that the matches "
            "should resemble."
        )
    if gamma == 0:
        negative = ()
    positive_vectors = _encode_each(encoder, positive)
    if len(positive) == 1 and not negative:
        # Unchanged, so that the distance of a row to itself is 0.
        unchanged: VectorsF16 = positive_vectors[0]
        return unchanged

    negative_vectors = _encode_each(encoder, negative)
    combined = vectors.combine(
        positive=positive_vectors,
        positive_weights=[one.weight for one in positive],
        negative=negative_vectors,
        negative_weights=[one.weight for one in negative],
        gamma=gamma,
    )
    # Vectors that cancel each other leave rounding errors, whose direction means nothing.
    largest = float(np.abs(positive_vectors).max())
    remaining = float(np.abs(combined).max())
    if remaining < _LEAST_SHARE * largest:
        raise InputError(
            "The queries cancel each other. Use different negative queries, or a smaller gamma."
        )
    if encoder.model.unit_length:
        row = combined[np.newaxis].astype(np.float32)
        scaled = vectors.unit_length(row)
        combined = scaled[0].astype(np.float64)
    with np.errstate(over="ignore"):
        rounded: VectorsF16 = combined.astype(np.float16)
    return np.nan_to_num(rounded)


def _encode_each(encoder: Encoder, queries: Sequence[WeightedQuery]) -> VectorsF16:
    """Return the vector of each query, float16 ``[n, dim]``."""
    count = len(queries)
    model = encoder.model
    shape = (count, model.dim)
    encoded = np.empty(shape, np.float16)
    for number, weighted in enumerate(queries):
        query = weighted.query
        vector = query.encode(encoder)
        encoded[number] = vector
    return encoded
