"""Inception-v3 (Szegedy et al., 2015, "Rethinking the Inception Architecture", arXiv:1512.00567).

Tensors have the names of torchvision and timm: ``Conv2d_1a_3x3.conv.weight``,
``Mixed_5b.branch5x5_2.bn.bias``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import numpy as np
import onnx

from lookalike.errors import ModelError, WeightsError
from lookalike.models.graphs.builder import Features, GraphBuilder
from lookalike.models.graphs.options import read_output, refuse_unknown_options
from lookalike.models.tensors import Tensor
from lookalike.types import Model

__all__ = ["build_inception_v3"]


@dataclass(frozen=True, slots=True)
class _Conv:
    """A convolution, its batch normalization and a ReLU."""

    height: int
    width: int
    stride: int = 1
    padding: Literal["same", "valid"] = "same"


@dataclass(frozen=True, slots=True)
class _Fork:
    """Two convolutions of the same input, side by side; it can only end a branch."""

    first: _Conv
    second: _Conv


class _Pool(Enum):
    MEAN = "3 x 3, keeps the size"
    MAX = "3 x 3, stride 2, without padding"


_Layer = _Conv | _Fork | _Pool

# The branches of a block by name. They have the same input, and their outputs are concatenated.
_Branches = Mapping[str, tuple[_Layer, ...]]

_1X1 = _Conv(1, 1)
_3X3 = _Conv(3, 3)
_5X5 = _Conv(5, 5)
_1X7 = _Conv(1, 7)
_7X1 = _Conv(7, 1)
_3X3_VALID = _Conv(3, 3, padding="valid")
_3X3_STRIDE_2 = _Conv(3, 3, stride=2, padding="valid")
_1X3_AND_3X1 = _Fork(_Conv(1, 3), _Conv(3, 1))

# Cells of 35 x 35: figures 4 and 5 of the paper in one.
_INCEPTION_A: _Branches = {
    "branch1x1": (_1X1,),
    "branch5x5": (_1X1, _5X5),
    "branch3x3dbl": (_1X1, _3X3, _3X3),
    "branch_pool": (_Pool.MEAN, _1X1),
}
# From 35 x 35 to 17 x 17: figure 10.
_INCEPTION_B: _Branches = {
    "branch3x3": (_3X3_STRIDE_2,),
    "branch3x3dbl": (_1X1, _3X3, _3X3_STRIDE_2),
    "branch_pool": (_Pool.MAX,),
}
# Cells of 17 x 17: figure 6, which factors each 7 x 7 convolution.
_INCEPTION_C: _Branches = {
    "branch1x1": (_1X1,),
    "branch7x7": (_1X1, _1X7, _7X1),
    "branch7x7dbl": (_1X1, _7X1, _1X7, _7X1, _1X7),
    "branch_pool": (_Pool.MEAN, _1X1),
}
# From 17 x 17 to 8 x 8.
_INCEPTION_D: _Branches = {
    "branch3x3": (_1X1, _3X3_STRIDE_2),
    "branch7x7x3": (_1X1, _1X7, _7X1, _3X3_STRIDE_2),
    "branch_pool": (_Pool.MAX,),
}
# Cells of 8 x 8: figure 7, with wide outputs.
_INCEPTION_E: _Branches = {
    "branch1x1": (_1X1,),
    "branch3x3": (_1X1, _1X3_AND_3X1),
    "branch3x3dbl": (_1X1, _3X3, _1X3_AND_3X1),
    "branch_pool": (_Pool.MEAN, _1X1),
}

# The blocks in the order of the network. A block outside the inception modules has one branch.
_BLOCKS: Mapping[str, _Branches] = {
    "Conv2d_1a_3x3": {"": (_3X3_STRIDE_2,)},
    "Conv2d_2a_3x3": {"": (_3X3_VALID,)},
    "Conv2d_2b_3x3": {"": (_3X3,)},
    "maxpool1": {"": (_Pool.MAX,)},
    "Conv2d_3b_1x1": {"": (_1X1,)},
    "Conv2d_4a_3x3": {"": (_3X3_VALID,)},
    "maxpool2": {"": (_Pool.MAX,)},
    "Mixed_5b": _INCEPTION_A,
    "Mixed_5c": _INCEPTION_A,
    "Mixed_5d": _INCEPTION_A,
    "Mixed_6a": _INCEPTION_B,
    "Mixed_6b": _INCEPTION_C,
    "Mixed_6c": _INCEPTION_C,
    "Mixed_6d": _INCEPTION_C,
    "Mixed_6e": _INCEPTION_C,
    "Mixed_7a": _INCEPTION_D,
    "Mixed_7b": _INCEPTION_E,
    "Mixed_7c": _INCEPTION_E,
}

# The values of each option, the default first.
_OPTIONS: dict[str, tuple[Any, ...]] = {
    "count_include_pad": (True, False),
    "naming": ("torchvision", "keras"),
}

# The parts of a batch normalization: torchvision's names and Keras's.
_KERAS_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def build_inception_v3(model: Model, tensors: Mapping[str, Tensor]) -> onnx.ModelProto:
    """Build the graph up to the block that the Model's output names, and the mean over its cells.

    The output is a block's name in lower case, by default ``mixed_7c``. Later blocks need no
    weights.

    Options
    -------
    count_include_pad
        Whether the mean pools count their padding as zeros: true, the default, in torchvision and
        timm; false in TensorFlow and Keras.
    naming
        The tensor names of the weights: ``torchvision``, the default, which timm uses too, or
        ``keras``.
    """
    blocks = {block.lower(): block for block in _BLOCKS}
    output = read_output(model, blocks, default="mixed_7c")
    last_block = blocks[output]
    options = _read_options(model)
    naming = options["naming"]
    if naming == "keras":
        tensors = _rename_from_keras(tensors)
    count_include_pad = options["count_include_pad"]
    builder = GraphBuilder(model, tensors)
    x = builder.images()
    for block, branches in _BLOCKS.items():
        outputs: list[Features] = []
        for branch in branches:
            outputs += _add_branch(builder, x, block, branch, count_include_pad)
        x = builder.concatenate(outputs)
        if block == last_block:
            break
    return builder.build(x)


def _add_branch(
    builder: GraphBuilder, x: Features, block: str, branch: str, count_include_pad: bool
) -> list[Features]:
    """Add the layers of a branch and return its outputs: two if it ends with a fork."""
    for name, layer in _named_layers(block, branch):
        if layer is _Pool.MEAN:
            x = builder.average_pool(x, 3, count_include_pad=count_include_pad)
        elif layer is _Pool.MAX:
            x = builder.max_pool(x, 3, stride=2, padding="valid")
        elif isinstance(layer, _Fork):
            first = _add_convolution(builder, x, f"{name}a", layer.first)
            second = _add_convolution(builder, x, f"{name}b", layer.second)
            return [first, second]
        elif isinstance(layer, _Conv):
            x = _add_convolution(builder, x, name, layer)
    return [x]


def _add_convolution(
    builder: GraphBuilder, x: Features, name: str, layer: _Conv
) -> Features:
    convolved = builder.convolution(
        x,
        f"{name}.conv",
        f"{name}.bn",
        size=(layer.height, layer.width),
        stride=layer.stride,
        padding=layer.padding,
    )
    return builder.relu(convolved)


def _named_layers(block: str, branch: str) -> Iterator[tuple[str, _Layer]]:
    """Yield the layers of a branch, each with the prefix of its tensors' names.

    The layers of a branch with several convolutions are numbered: ``Mixed_5b.branch5x5_1``.
    """
    branches = _BLOCKS[block]
    layers = branches[branch]
    prefix = block
    if branch:
        prefix = f"{block}.{branch}"
    convolutions = [layer for layer in layers if not isinstance(layer, _Pool)]
    is_numbered = len(convolutions) > 1
    for number, layer in enumerate(layers, start=1):
        name = prefix
        if is_numbered:
            name = f"{prefix}_{number}"
        yield name, layer


def _convolution_names() -> list[str]:
    """Return the names of all convolutions, in the order in which Keras creates them."""
    names = []
    for block, branches in _BLOCKS.items():
        for branch in branches:
            layers = _named_layers(block, branch)
            for name, layer in layers:
                if isinstance(layer, _Conv):
                    names.append(name)
                elif isinstance(layer, _Fork):
                    first = f"{name}a"
                    second = f"{name}b"
                    names += [first, second]
    return names


def _read_options(model: Model) -> dict[str, Any]:
    """Return the value of every option, after checking those that the Model sets."""
    options = {}
    for key, choices in _OPTIONS.items():
        default = choices[0]
        options[key] = default
    refuse_unknown_options(model, _OPTIONS)
    for key, value in model.options.items():
        choices = _OPTIONS[key]
        is_choice = _is_choice(value, choices)
        if not is_choice:
            shown = [json.dumps(choice) for choice in choices]
            expected = " or ".join(shown)
            raise ModelError(
                f"The model {model.name!r} has the option {key} = {value!r}; expected {expected}."
            )
        options[key] = value
    return options


def _is_choice(value: Any, choices: tuple[Any, ...]) -> bool:
    # The type is compared because 1 == True.
    expected_type = type(choices[0])
    if type(value) is not expected_type:
        return False
    return value in choices


def _rename_from_keras(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Keras's tensors under torchvision's names.

    Keras names them ``conv2d_1/kernel`` and ``batch_normalization_1/beta``. It numbers layers in
    the order of their creation, starting from any number, so the order of the numbers identifies
    them. Keras creates the layers in the order of the tables above. It omits gamma, which is 1.
    """
    names = _convolution_names()
    convolutions = _layers_in_order(tensors, "conv2d")
    norms = _layers_in_order(tensors, "batch_normalization")
    count = len(convolutions)
    norm_count = len(norms)
    most = len(names)
    if count != norm_count or not 0 < count <= most:
        raise WeightsError(
            f"The weights hold {count} convolutions (conv2d_1, …) and {norm_count} norms "
            f"(batch_normalization_1, …); expected the same number of both, 1 to {most}. "
            "Give Keras's InceptionV3."
        )

    renamed = {}
    for name, convolution, norm in zip(names, convolutions, norms, strict=False):
        kernel = convolution.get("kernel")
        if kernel is not None and kernel.ndim == 4:
            # From [height, width, in, out] to [out, in, height, width].
            transposed = kernel.transpose(3, 2, 0, 1)
            renamed[f"{name}.conv.weight"] = transposed
        beta = norm.get("beta")
        if beta is not None:
            ones = np.ones_like(beta)
            norm.setdefault("gamma", ones)
        for part, keras_part in _KERAS_NORM.items():
            if keras_part in norm:
                tensor = norm[keras_part]
                renamed[f"{name}.bn.{part}"] = tensor
    return renamed


def _layers_in_order(
    tensors: Mapping[str, Tensor], kind: str
) -> list[dict[str, Tensor]]:
    """Return the tensors of each layer of a kind, sorted by number; the first may have none."""
    pattern = re.compile(rf"{kind}(?:_(\d+))?/(\w+)")
    layers: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = pattern.fullmatch(name)
        if match is None:
            continue
        digits, part = match.groups()
        number = int(digits or 0)
        layer = layers.setdefault(number, {})
        layer[part] = tensor
    numbers = sorted(layers)
    return [layers[number] for number in numbers]
