"""EfficientNet-Lite: EfficientNet (Tan and Le, 2019, arXiv:1905.11946) with two changes.

It has no squeeze-and-excitation, and its activation is ReLU6. Tensors have the names of
rwightman's PyTorch EfficientNets: ``_conv_stem``, ``_blocks.N``, ``_conv_head``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import onnx

from lookalike.errors import ModelError
from lookalike.models.graphs.builder import Features, GraphBuilder
from lookalike.models.tensors import Tensor
from lookalike.types import Model

__all__ = ["build_efficientnet_lite"]


class _Stage(NamedTuple):
    """A stage of the paper's table 1, between the stem and the head."""

    kernel: int
    stride: int
    expand: int
    channels: int
    repeat: int


_STAGES = (
    _Stage(kernel=3, stride=1, expand=1, channels=16, repeat=1),
    _Stage(kernel=3, stride=2, expand=6, channels=24, repeat=2),
    _Stage(kernel=5, stride=2, expand=6, channels=40, repeat=2),
    _Stage(kernel=3, stride=2, expand=6, channels=80, repeat=3),
    _Stage(kernel=5, stride=1, expand=6, channels=112, repeat=3),
    _Stage(kernel=5, stride=2, expand=6, channels=192, repeat=4),
    _Stage(kernel=3, stride=1, expand=6, channels=320, repeat=1),
)


def build_efficientnet_lite(
    model: Model, tensors: Mapping[str, Tensor]
) -> onnx.ModelProto:
    """Build the graph up to the head, followed by the mean over its cells.

    The option ``depth`` multiplies the number of blocks per stage.
    """
    depth = _read_depth(model)
    blocks = _blocks(depth)
    builder = GraphBuilder(model, tensors)
    x = builder.images()

    # The stem.
    x = builder.convolution(x, "_conv_stem", "_bn0", stride=2)
    x = builder.relu6(x)
    for number, block in enumerate(blocks):
        name = f"_blocks.{number}"
        x = _mbconv(builder, x, name, block)

    # The head.
    x = builder.convolution(x, "_conv_head", "_bn1")
    x = builder.relu6(x)
    return builder.build(x)


def _read_depth(model: Model) -> float:
    """Return the option ``depth``, after checking that the Model asks for nothing else."""
    if model.output not in {"", "head"}:
        raise ModelError(
            f"The model {model.name!r} has output = {model.output!r}; "
            "EfficientNet-Lite knows only 'head'."
        )
    options = model.options
    for key, value in options.items():
        if key != "depth" or not _is_depth(value):
            raise ModelError(
                f"The model {model.name!r} has the option {key} = {value!r}; "
                "expected depth = 0 to 10."
            )
    depth = options.get("depth", 1.0)
    return float(depth)


def _is_depth(value: object) -> bool:
    if not isinstance(value, int | float):
        return False
    return 0 < value <= 10


def _blocks(depth: float) -> list[_Stage]:
    """Return one entry per block. Only a stage's first block has its stride."""
    blocks: list[_Stage] = []
    first, *_, last = _STAGES
    ends = {first, last}
    for stage in _STAGES:
        repeat = stage.repeat
        # Lite does not scale the first and the last stage.
        is_scaled = stage not in ends
        if is_scaled:
            scaled = repeat * depth
            repeat = math.ceil(scaled)
        blocks.append(stage)
        later_block = stage._replace(stride=1)
        later_count = repeat - 1
        for _ in range(later_count):
            blocks.append(later_block)
    return blocks


def _mbconv(builder: GraphBuilder, x: Features, name: str, block: _Stage) -> Features:
    """Add an inverted residual block: expand, filter each channel, project, add.

    The numbers of channels come from the weights.
    """
    y = x
    # Expand.
    if block.expand > 1:
        y = builder.convolution(y, f"{name}._expand_conv", f"{name}._bn0")
        y = builder.relu6(y)
    # Filter each channel.
    stride = block.stride
    y = builder.convolution(
        y, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, groups=y.channels
    )
    y = builder.relu6(y)
    # Project.
    y = builder.convolution(y, f"{name}._project_conv", f"{name}._bn2")
    has_residual = stride == 1 and x.channels == y.channels
    if has_residual:
        return builder.add(x, y)
    return y
