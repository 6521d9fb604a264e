"""EfficientNet-Lite: EfficientNet (Tan and Le, 2019, arXiv:1905.11946) without squeeze-excite, with ReLU6.

Tensor names are those of rwightman's PyTorch EfficientNets: ``_conv_stem``, ``_blocks.N``, ``_conv_head``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy.typing as npt
import onnx

from lookalike.errors import ModelError
from lookalike.models.graphs.builder import Features, GraphBuilder
from lookalike.types import Model

__all__ = ["build"]


class _Stage(NamedTuple):
    kernel: int
    stride: int
    expand: int
    channels: int
    repeat: int


_STAGES = (
    _Stage(3, 1, 1, 16, 1),
    _Stage(3, 2, 6, 24, 2),
    _Stage(5, 2, 6, 40, 2),
    _Stage(3, 2, 6, 80, 3),
    _Stage(5, 1, 6, 112, 3),
    _Stage(5, 2, 6, 192, 4),
    _Stage(3, 1, 6, 320, 1),
)


def build(model: Model, tensors: Mapping[str, npt.NDArray[Any]]) -> onnx.ModelProto:
    """Return the graph up to the mean of the head's 7 x 7 cells. Option: ``depth``, the factor on repeats."""
    depth = _depth(model)
    network = GraphBuilder(model, tensors, eps=1e-3)
    x = network.relu6(network.convolution(network.images(), "_conv_stem", "_bn0", stride=2))
    for index, stage in enumerate(_blocks(depth)):
        x = _block(network, x, f"_blocks.{index}", stage)
    return network.build(network.relu6(network.convolution(x, "_conv_head", "_bn1")))


def _depth(model: Model) -> float:
    if model.output not in {"", "head"}:
        raise ModelError(
            f"The model {model.name!r} has output = {model.output!r}; EfficientNet-Lite knows only 'head'."
        )
    for key, value in model.options.items():
        if key != "depth" or not isinstance(value, int | float) or not 0 < value <= 10:
            raise ModelError(
                f"The model {model.name!r} has the option {key} = {value!r}; expected depth = 0 to 10."
            )
    return float(model.options.get("depth", 1.0))


def _blocks(depth: float) -> list[_Stage]:
    """Return one entry a block: only a stage's first strides, and Lite scales neither its first nor last stage."""
    blocks = []
    for stage in _STAGES:
        scaled = (
            stage.repeat if stage in (_STAGES[0], _STAGES[-1]) else math.ceil(stage.repeat * depth)
        )
        blocks += [stage, *[stage._replace(stride=1)] * (scaled - 1)]
    return blocks


def _block(network: GraphBuilder, x: Features, name: str, stage: _Stage) -> Features:
    """Inverted residual: expand, filter each channel, project; the widths are read from the weights."""
    y = x
    if stage.expand > 1:
        y = network.relu6(network.convolution(y, f"{name}._expand_conv", f"{name}._bn0"))
    y = network.convolution(
        y, f"{name}._depthwise_conv", f"{name}._bn1", stride=stage.stride, groups=y.channels
    )
    y = network.convolution(network.relu6(y), f"{name}._project_conv", f"{name}._bn2")
    return network.add(x, y) if stage.stride == 1 and x.channels == y.channels else y
