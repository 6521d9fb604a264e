"""How sure a classifier is of each class: the scores of an image as shares."""

from __future__ import annotations

import numpy as np

from lookalike.types import VectorsF32

__all__ = ["class_shares"]

_SMALLEST_SCALE = np.float32(1e-12)


def class_shares(scores: VectorsF32) -> VectorsF32:
    """Return the share of each class: float32 ``[n, classes]``, of which each row sums to 1.

    Parameters
    ----------
    scores
        float32 ``[n, classes]``.
    """
    mean = scores.mean(axis=1, keepdims=True)
    deviation = scores.std(axis=1, keepdims=True)
    # Scores that are all equal have equal shares.
    scale = np.maximum(deviation, _SMALLEST_SCALE)
    differences = scores - mean
    standardized = differences / scale
    largest = standardized.max(axis=1, keepdims=True)
    exponents = standardized - largest
    powers = np.exp(exponents)
    totals = powers.sum(axis=1, keepdims=True)
    shares: VectorsF32 = powers / totals
    return shares
