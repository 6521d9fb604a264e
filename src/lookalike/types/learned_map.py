"""The description of a map that was learned from labels, as a Model holds it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["LearnedMap", "Purpose"]

Purpose = Literal["these-classes", "anything"]


@dataclass(frozen=True, slots=True)
class LearnedMap:
    """A map from the vectors of one Space to those of another, learned from labels.

    Attributes
    ----------
    base
        The name of the Space whose vectors are mapped, and of its Model.
    base_dim, base_unit_length
        The length of these vectors, and whether they are scaled to length 1.
    purpose
        ``these-classes`` sets coordinates of the labels beside each vector; ``anything`` shrinks
        the directions in which images of one label differ.
    center
        float32 ``[base_dim]`` in base64, the mean that is subtracted from each vector.
    axes
        float16 ``[base_dim, r]`` in base64, the learned directions.
    provenance
        Where the map comes from: labels, numbers of images, seed, date and gains, as
        `lookalike tune` measured them. It decides nothing.
    """

    base: str
    base_dim: int
    base_unit_length: bool
    purpose: Purpose
    center: str = field(repr=False)
    axes: str = field(repr=False)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A hash of everything that decides the vectors, 64 hexadecimal digits."""
        parts = (self.base, str(self.base_dim), str(self.base_unit_length))
        text = " ".join((*parts, self.purpose, self.center, self.axes))
        content = text.encode()
        return hashlib.sha256(content).hexdigest()
