"""MobileNetV3-Large (Howard et al., 2019, arXiv:1905.02244), with torchvision's tensor names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import onnx

from lookalike.models.graphs.builder import Features, GraphBuilder
from lookalike.models.graphs.options import read_output, refuse_unknown_options
from lookalike.models.tensors import Tensor
from lookalike.types import Model

__all__ = ["build_mobilenet_v3"]


class _InvertedResidual(NamedTuple):
    """A row of the paper's table 1; the numbers of channels come from the weights."""

    kernel: int
    stride: int = 1
    squeezes: bool = False
    hard: bool = False
    expands: bool = True


_ROWS = (
    _InvertedResidual(3, expands=False),
    _InvertedResidual(3, stride=2),
    _InvertedResidual(3),
    _InvertedResidual(5, stride=2, squeezes=True),
    _InvertedResidual(5, squeezes=True),
    _InvertedResidual(5, squeezes=True),
    _InvertedResidual(3, stride=2, hard=True),
    _InvertedResidual(3, hard=True),
    _InvertedResidual(3, hard=True),
    _InvertedResidual(3, hard=True),
    _InvertedResidual(3, squeezes=True, hard=True),
    _InvertedResidual(3, squeezes=True, hard=True),
    _InvertedResidual(5, stride=2, squeezes=True, hard=True),
    _InvertedResidual(5, squeezes=True, hard=True),
    _InvertedResidual(5, squeezes=True, hard=True),
)


def build_mobilenet_v3(model: Model, tensors: Mapping[str, Tensor]) -> onnx.ModelProto:
    """Build the graph up to the Model's output.

    The output is ``features``, the mean over the cells of the last feature map, or ``hidden`` (the
    default): the layer after that mean, from which the classes are computed. Without pooling, each
    cell has its own. There are no options.
    """
    output = read_output(model, ("features", "hidden"), default="hidden")
    refuse_unknown_options(model, ())
    builder = GraphBuilder(model, tensors)
    x = builder.images()

    # The stem.
    x = _normed(builder, x, "features.0", stride=2, kernel=3)
    x = builder.hard_swish(x)
    number = 0
    for row in _ROWS:
        number += 1
        name = f"features.{number}.block"
        x = _inverted_residual(builder, x, name, row)

    # The last convolution.
    number += 1
    name = f"features.{number}"
    x = _normed(builder, x, name)
    x = builder.hard_swish(x)

    if output == "hidden":
        if model.pooling != "none":
            x = builder.channel_means(x)
        x = builder.linear(x, "classifier.0")
        x = builder.hard_swish(x)
    return builder.build(x)


def _inverted_residual(
    builder: GraphBuilder, x: Features, name: str, row: _InvertedResidual
) -> Features:
    """Add a block: expand, filter each channel, weigh the channels, project, add."""
    activate = builder.hard_swish if row.hard else builder.relu
    number = 0
    y = x
    if row.expands:
        y = _normed(builder, y, f"{name}.{number}")
        y = activate(y)
        number += 1
    y = _normed(
        builder,
        y,
        f"{name}.{number}",
        kernel=row.kernel,
        stride=row.stride,
        groups=y.channels,
    )
    y = activate(y)
    number += 1
    if row.squeezes:
        y = _squeeze_excite(builder, y, f"{name}.{number}")
        number += 1
    y = _normed(builder, y, f"{name}.{number}")
    has_residual = row.stride == 1 and x.channels == y.channels
    if has_residual:
        return builder.add(x, y)
    return y


def _squeeze_excite(builder: GraphBuilder, x: Features, name: str) -> Features:
    """Multiply each channel by a factor from 0 to 1, which the means of all channels decide."""
    squeeze = f"{name}.fc1"
    excite = f"{name}.fc2"
    factors = builder.channel_means(x)
    factors = builder.linear(factors, squeeze, rank=4)
    factors = builder.relu(factors)
    factors = builder.linear(factors, excite, rank=4)
    factors = builder.hard_sigmoid(factors)
    return builder.multiply(x, factors)


def _normed(
    builder: GraphBuilder,
    x: Features,
    name: str,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
) -> Features:
    """Add a convolution and its batch normalization, with the same padding on all sides."""
    side = kernel // 2
    return builder.convolution(
        x,
        f"{name}.0",
        f"{name}.1",
        size=(kernel, kernel),
        stride=stride,
        padding=(side, side, side, side),
        groups=groups,
    )
