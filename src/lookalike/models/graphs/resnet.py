"""ResNet with bottleneck blocks (He et al., 2015, arXiv:1512.03385), as torchvision computes it.

The stride of a stage is in the 3 x 3 convolution of its first block. Tensors have torchvision's
names, or those of Classy Vision, in which SSCD was trained (Pizzi et al., 2022, arXiv:2202.10261).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import onnx

from lookalike.errors import ModelError
from lookalike.models.graphs.builder import Features, GraphBuilder
from lookalike.models.graphs.options import read_output, refuse_unknown_options
from lookalike.models.tensors import Tensor
from lookalike.types import Model

__all__ = ["build_resnet"]

# The number of blocks in each stage, by the number of layers.
_BLOCK_COUNTS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_BLOCK_OUTPUTS = ("layer1", "layer2", "layer3", "layer4", "embedding")
_EPSILON = 1e-5
_MAX_POWER = 100

# Classy Vision's names of the layers, and torchvision's.
_CLASSY_NAMES = (
    (r"^initial_block\._module\.0\.", "conv1."),
    (r"^initial_block\._module\.1\.", "bn1."),
    (r"^embeddings\.1\.", "fc."),
    (r"\.convolutional_block\.0\.", ".conv1."),
    (r"\.convolutional_block\.1\.", ".bn1."),
    (r"\.convolutional_block\.3\.", ".conv2."),
    (r"\.convolutional_block\.4\.", ".bn2."),
    (r"\.convolutional_block\.6\.", ".conv3."),
    (r"\.bn\.", ".bn3."),
)
_CLASSY_BLOCK = re.compile(r"^blocks\.(\d+)\.block\d+-(\d+)\.")


def build_resnet(model: Model, tensors: Mapping[str, Tensor]) -> onnx.ModelProto:
    """Build the graph up to the Model's output, and the mean over its cells.

    The output is a stage, ``layer1`` to ``layer4`` (the default), or ``embedding``: the linear
    layer ``fc`` after ``layer4``. Without pooling, each cell has its own embedding.

    Options
    -------
    depth
        The number of layers: 50 (the default), 101 or 152.
    power
        The power p of the generalized mean ``mean(x ** p) ** (1 / p)`` over the cells. The default
        is 1, the plain mean.
    """
    output = read_output(model, _BLOCK_OUTPUTS, default="layer4")
    refuse_unknown_options(model, ("depth", "power"))
    stages = _read_stages(model)
    power = _read_power(model)
    named = _rename_from_classy(tensors)
    builder = GraphBuilder(model, named, epsilon=_EPSILON)
    x = builder.images()

    # The stem.
    x = builder.convolution(
        x, "conv1", "bn1", size=(7, 7), stride=2, padding=(3, 3, 3, 3)
    )
    x = builder.relu(x)
    x = builder.max_pool(x, 3, stride=2, padding=(1, 1, 1, 1))
    for number, blocks in enumerate(stages, start=1):
        stage = f"layer{number}"
        # The first stage keeps the size of the stem's output.
        stride = 1 if number == 1 else 2
        x = _stage(builder, x, stage, blocks, stride)
        if stage == output:
            break

    if model.pooling != "none":
        x = builder.channel_means(x, power=power)
    if output == "embedding":
        x = builder.linear(x, "fc")
    return builder.build(x)


def _stage(
    builder: GraphBuilder, x: Features, name: str, blocks: int, stride: int
) -> Features:
    """Add the blocks of a stage; the first one has its stride."""
    for number in range(blocks):
        block = f"{name}.{number}"
        block_stride = stride if number == 0 else 1
        x = _bottleneck(builder, x, block, block_stride)
    return x


def _bottleneck(builder: GraphBuilder, x: Features, name: str, stride: int) -> Features:
    """Add a block: reduce the channels, filter, restore them, and add the input."""
    y = builder.convolution(x, f"{name}.conv1", f"{name}.bn1", size=(1, 1))
    y = builder.relu(y)
    y = builder.convolution(
        y,
        f"{name}.conv2",
        f"{name}.bn2",
        size=(3, 3),
        stride=stride,
        padding=(1, 1, 1, 1),
    )
    y = builder.relu(y)
    y = builder.convolution(y, f"{name}.conv3", f"{name}.bn3", size=(1, 1))

    # The input is projected where its shape differs.
    shortcut = x
    if x[1:] != y[1:]:
        shortcut = builder.convolution(
            x,
            f"{name}.downsample.0",
            f"{name}.downsample.1",
            size=(1, 1),
            stride=stride,
        )
    total = builder.add(y, shortcut)
    return builder.relu(total)


def _read_stages(model: Model) -> tuple[int, ...]:
    depth = model.options.get("depth", 50)
    # Another type may have no hash.
    stages = _BLOCK_COUNTS.get(depth) if isinstance(depth, int) else None
    if stages is None:
        known = ", ".join(map(str, _BLOCK_COUNTS))
        raise ModelError(
            f"The model {model.name!r} has the option depth = {depth!r}; expected one of {known}."
        )
    return stages


def _read_power(model: Model) -> float:
    power = model.options.get("power", 1)
    is_number = isinstance(power, int | float) and not isinstance(power, bool)
    if not is_number or not 1 <= power <= _MAX_POWER:
        raise ModelError(
            f"The model {model.name!r} has the option power = {power!r}; expected a number from 1 "
            f"to {_MAX_POWER}."
        )
    return float(power)


def _rename_from_classy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under torchvision's names, which stay as they are."""
    renamed = {}
    for name, tensor in tensors.items():
        new_name = name.removeprefix("backbone.")
        new_name = _CLASSY_BLOCK.sub(_stage_and_block, new_name)
        for pattern, replacement in _CLASSY_NAMES:
            new_name = re.sub(pattern, replacement, new_name)
        renamed[new_name] = tensor
    return renamed


def _stage_and_block(match: re.Match[str]) -> str:
    """Return torchvision's prefix of a block, which counts stages from 1."""
    stage, block = match.groups()
    number = int(stage) + 1
    return f"layer{number}.{block}."
