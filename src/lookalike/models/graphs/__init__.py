"""Architectures: functions that build an ONNX graph from named tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from lookalike.errors import ModelError
from lookalike.models.graphs.efficientnet_lite import build_efficientnet_lite
from lookalike.models.graphs.inception_v3 import build_inception_v3
from lookalike.models.graphs.mobilenet_v3 import build_mobilenet_v3
from lookalike.models.graphs.resnet import build_resnet
from lookalike.models.tensors import Tensor
from lookalike.types import Model

__all__ = ["ARCHITECTURES", "build"]

_Build = Callable[[Model, Mapping[str, Tensor]], onnx.ModelProto]

ARCHITECTURES: dict[str, _Build] = {
    "efficientnet-lite": build_efficientnet_lite,
    "inception-v3": build_inception_v3,
    "mobilenet-v3": build_mobilenet_v3,
    "resnet": build_resnet,
}


def build(model: Model, tensors: Mapping[str, Tensor]) -> onnx.ModelProto:
    """Build the Model's graph: uint8 ``[n, height, width, 3]`` in, float32 ``[n, dim]`` out.

    If the Model's pooling is ``none``, the output is the feature map, float32 ``[n, dim, rows,
    columns]``.

    Raises
    ------
    ModelError
        If the architecture or output does not exist.
    WeightsError
        If a tensor is missing or has another shape than the architecture needs.
    """
    build_architecture = ARCHITECTURES.get(model.architecture)
    if build_architecture is None:
        known = ", ".join([*ARCHITECTURES, "onnx", "pixels"])
        raise ModelError(
            f"The model {model.name!r} has the architecture {model.architecture!r}; "
            f"known are {known}."
        )
    return build_architecture(model, tensors)
