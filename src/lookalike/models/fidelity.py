"""How well an 8-bit network keeps the vectors of its float network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lookalike import vectors
from lookalike.models.embedder import OnnxEmbedder
from lookalike.models.graph_cache import build_graph
from lookalike.types import Model, VectorsF32

__all__ = ["cosine_about_mean"]


def cosine_about_mean(model: Model, images: npt.NDArray[np.uint8]) -> float:
    """Return the mean cosine of a network's 8-bit vectors to its float vectors, about their mean.

    All vectors share a large mean, so that the plain cosine is near 1 even for a poor network. A
    search depends on their differences from it. The mean is that of the float vectors.

    Parameters
    ----------
    model
        An 8-bit Model with its calibration.
    images
        uint8 ``[n, height, width, 3]``, none of which was measured for the calibration.

    Raises
    ------
    WeightsError, ModelError
        If a graph cannot be built or run.
    """
    float_model = replace(model, precision="f32", calibration=None)
    expected = _embed_once(float_model, images)
    found = _embed_once(model, images)

    mean = expected.mean(axis=0)
    expected_directions = vectors.unit_length(expected - mean)
    found_directions = vectors.unit_length(found - mean)
    products = expected_directions * found_directions
    cosines = products.sum(axis=1)
    return float(cosines.mean())


def _embed_once(model: Model, images: npt.NDArray[np.uint8]) -> VectorsF32:
    """Embed images by a graph that is not cached."""
    graph = build_graph(model)
    embedder = OnnxEmbedder(model, graph)
    return embedder.embed(images)
