"""Architectures: each a function from named tensors to an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt
import onnx

from lookalike.errors import ModelError
from lookalike.models.graphs import efficientnet_lite, inception_v3
from lookalike.types import Model

__all__ = ["ARCHITECTURES", "build"]

Build = Callable[[Model, Mapping[str, npt.NDArray[Any]]], onnx.ModelProto]

ARCHITECTURES: dict[str, Build] = {
    "efficientnet-lite": efficientnet_lite.build,
    "inception-v3": inception_v3.build,
}


def build(model: Model, tensors: Mapping[str, npt.NDArray[Any]]) -> onnx.ModelProto:
    """Return the Model's graph: uint8 ``[n, height, width, 3]`` in, float32 ``[n, dim]`` out.

    Raises
    ------
    ModelError
        If there is no such architecture or output.
    WeightsError
        If a tensor is missing or has another shape than the architecture needs.
    """
    if model.architecture not in ARCHITECTURES:
        known = ", ".join([*ARCHITECTURES, "onnx", "pixels"])
        raise ModelError(
            f"The model {model.name!r} has the architecture {model.architecture!r}; known are {known}."
        )
    return ARCHITECTURES[model.architecture](model, tensors)
