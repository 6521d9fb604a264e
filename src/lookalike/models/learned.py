"""Learned maps: the vectors of a network in, those of a tuned Space out."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt

from lookalike import vectors
from lookalike.errors import ModelError
from lookalike.types import LearnedMap, Model, Purpose, VectorsF16, VectorsF32
from lookalike.vectors.centering import Center

if TYPE_CHECKING:
    from lookalike.models.embedder import Embedder

__all__ = ["LearnedEmbedder", "VectorMap", "encode_array", "network_model"]

# Rows that are mapped at a time.
_MAPPED_ROWS = 1 << 12


def network_model(model: Model) -> Model:
    """Return the Model of the network below a learned map; any other Model as it is."""
    learned = model.learned
    if learned is None:
        return model
    return replace(
        model,
        name=learned.base,
        dim=learned.base_dim,
        unit_length=learned.base_unit_length,
        learned=None,
    )


def encode_array(values: npt.NDArray[Any]) -> str:
    """Return the bytes of an array as text, as a `LearnedMap` holds it."""
    content = values.tobytes()
    encoded = base64.b64encode(content)
    return encoded.decode()


def _decode_array(text: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    content = base64.b64decode(text)
    return np.frombuffer(content, dtype)


class VectorMap:
    """A learned map, ready to use.

    With c a vector minus the center, scaled to unit length, and A the axes, the mapped vector is
    ``unit(concat(c A, c))`` for the purpose ``these-classes``, and ``unit(c - c A A^T)`` for
    ``anything``.

    Parameters
    ----------
    center
        The mean that is subtracted.
    axes
        float16 ``[base_dim, r]``.
    purpose
        ``these-classes`` or ``anything``.

    Attributes
    ----------
    axes
        float16 ``[base_dim, r]``.
    dim
        The length of the mapped vectors.
    """

    def __init__(self, center: Center, axes: VectorsF16, purpose: Purpose) -> None:
        self.axes = axes
        self._center = center
        self._axes_f32 = axes.astype(np.float32)
        self._is_joined = purpose == "these-classes"
        base_dim, axis_count = axes.shape
        self.dim = base_dim
        if self._is_joined:
            self.dim += axis_count

    @classmethod
    def of(cls, model: Model) -> Self:
        """Return the map of a Model that has one.

        Raises
        ------
        ModelError
            If it gives vectors of another length than the Model's.
        """
        learned = cast(LearnedMap, model.learned)
        mean = _decode_array(learned.center, np.float32)
        axes = _decode_array(learned.axes, np.float16)
        center = Center(mean)
        columns = axes.reshape(learned.base_dim, -1)
        vector_map = cls(center, columns, learned.purpose)
        if vector_map.dim != model.dim:
            raise ModelError(
                f"The model {model.name!r} has dim = {model.dim}; its learned map gives "
                f"{vector_map.dim}. Restore the collection from a backup."
            )
        return vector_map

    def apply(self, rows: VectorsF16) -> VectorsF32:
        """Return the mapped vectors of the network's vectors.

        Parameters
        ----------
        rows
            float16 ``[n, base_dim]``.

        Returns
        -------
        mapped
            float32 ``[n, dim]``.
        """
        count = len(rows)
        mapped = np.empty((count, self.dim), np.float32)
        for first in range(0, count, _MAPPED_ROWS):
            part = slice(first, first + _MAPPED_ROWS)
            centered = self._center.center(rows[part])
            mapped[part] = self._map_centered(centered)
        return mapped

    def _map_centered(self, centered: VectorsF32) -> VectorsF32:
        coordinates = centered @ self._axes_f32
        if self._is_joined:
            mapped = np.concatenate([coordinates, centered], axis=1)
        else:
            transposed = self._axes_f32.T
            mapped = centered - coordinates @ transposed
        mapped_f32 = mapped.astype(np.float32, copy=False)
        return vectors.unit_length(mapped_f32)


class LearnedEmbedder:
    """A network followed by a learned map.

    Parameters
    ----------
    model
        A Model with a learned map.
    network
        The embedder of its `network_model`.
    """

    def __init__(self, model: Model, network: Embedder) -> None:
        graph = network.model.graph
        self.model = replace(model, graph=graph)
        self._network = network
        self._map = VectorMap.of(model)

    def embed(self, images: npt.NDArray[np.uint8]) -> VectorsF32:
        """Return float32 ``[n, dim]``."""
        network_vectors = self._network.embed(images)
        return self.map_vectors(network_vectors)

    def map_vectors(self, network_vectors: VectorsF32) -> VectorsF32:
        """Return the mapped vectors of the network's vectors, as those of stored rows are."""
        # Stored vectors are float16. An image and its row get the same vector.
        rounded = network_vectors.astype(np.float16)
        return self._map.apply(rounded)
