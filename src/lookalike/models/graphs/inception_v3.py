"""Inception-v3 (Szegedy et al., 2015, "Rethinking the Inception Architecture for Computer Vision", arXiv:1512.00567).

Tensor names are those of torchvision and timm: ``Conv2d_1a_3x3.conv.weight``, ``Mixed_5b.branch5x5_2.bn.bias``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from lookalike.errors import ModelError, WeightsError
from lookalike.models.graphs.builder import Features, GraphBuilder
from lookalike.types import Model

__all__ = ["build"]

Tensor = npt.NDArray[Any]

# A block is branches side by side, one a line, whose ends are joined. `1x7` is a convolution, by its kernel's height
# and width, that keeps the map's size; `3x3/2` goes in steps of 2, without padding; `1x3|3x1` are two side by side.
# `mean` is a pool that keeps the size, `max` one that halves it.

# A grid of 35 x 35: the paper's figures 4 and 5 in one.
_A = {
    "branch1x1": "1x1",
    "branch5x5": "1x1 5x5",
    "branch3x3dbl": "1x1 3x3 3x3",
    "branch_pool": "mean 1x1",
}
# Figure 10: from 35 x 35 to 17 x 17.
_B = {
    "branch3x3": "3x3/2",
    "branch3x3dbl": "1x1 3x3 3x3/2",
    "branch_pool": "max",
}
# Figure 6: 17 x 17, each 7 x 7 taken apart.
_C = {
    "branch1x1": "1x1",
    "branch7x7": "1x1 1x7 7x1",
    "branch7x7dbl": "1x1 7x1 1x7 7x1 1x7",
    "branch_pool": "mean 1x1",
}
# From 17 x 17 to 8 x 8.
_D = {
    "branch3x3": "1x1 3x3/2",
    "branch7x7x3": "1x1 1x7 7x1 3x3/2",
    "branch_pool": "max",
}
# Figure 7: 8 x 8, the ends spread wide.
_E = {
    "branch1x1": "1x1",
    "branch3x3": "1x1 1x3|3x1",
    "branch3x3dbl": "1x1 3x3 1x3|3x1",
    "branch_pool": "mean 1x1",
}

_BLOCKS = {
    "Conv2d_1a_3x3": {"": "3x3/2"},
    "Conv2d_2a_3x3": {"": "3x3/1"},
    "Conv2d_2b_3x3": {"": "3x3"},
    "maxpool1": {"": "max"},
    "Conv2d_3b_1x1": {"": "1x1"},
    "Conv2d_4a_3x3": {"": "3x3/1"},
    "maxpool2": {"": "max"},
    "Mixed_5b": _A,
    "Mixed_5c": _A,
    "Mixed_5d": _A,
    "Mixed_6a": _B,
    "Mixed_6b": _C,
    "Mixed_6c": _C,
    "Mixed_6d": _C,
    "Mixed_6e": _C,
    "Mixed_7a": _D,
    "Mixed_7b": _E,
    "Mixed_7c": _E,
}
_POOLS = ("mean", "max")

# What each option may be, the default first.
_OPTIONS: dict[str, tuple[Any, ...]] = {
    "count_include_pad": (True, False),
    "naming": ("torchvision", "keras"),
}

_KERAS_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def build(model: Model, tensors: Mapping[str, Tensor]) -> onnx.ModelProto:
    """Return the graph up to the block that the Model's output names, and the mean over its cells.

    The output is a block's name in lower case, ``mixed_7c`` if none is given; later blocks need no weights. Options:
    ``count_include_pad``, whether the mean pools count their padding as zeros (true, the default, in torchvision and
    timm; false in TensorFlow and Keras), and ``naming``, whose tensor names the weights have: ``torchvision``, the
    default and timm's too, or ``keras``.
    """
    last, options = _last_block(model), _options(model)
    network = GraphBuilder(
        model, _from_keras(tensors) if options["naming"] == "keras" else tensors, eps=1e-3
    )
    x = network.images()
    for block, branches in _BLOCKS.items():
        ends: list[Features] = []
        for branch in branches:
            y = [x]
            for step in _steps(
                block, branch
            ):  # only the last one spreads, so there is one map to go on from
                y = [
                    _apply(network, y[0], word, name, options["count_include_pad"])
                    for name, word in step.items()
                ]
            ends += y
        x = network.concatenate(ends)
        if block == last:
            break
    return network.build(x)


def _apply(
    network: GraphBuilder, x: Features, word: str, name: str, count_include_pad: bool
) -> Features:
    if word == "mean":
        return network.average_pool(x, 3, count_include_pad=count_include_pad)
    if word == "max":
        return network.max_pool(x, 3, stride=2, padding="valid")
    sides, strided, stride = word.partition("/")
    high, wide = map(int, sides.split("x"))
    y = network.convolution(
        x,
        f"{name}.conv",
        f"{name}.bn",
        size=(high, wide),
        stride=int(stride or 1),
        padding="valid" if strided else "same",
    )
    return network.relu(y)


def _steps(block: str, branch: str) -> list[dict[str, str]]:
    """Return a branch's steps, each ``{its tensors' prefix: word}``.

    Where a branch has several convolutions they are numbered (``branch5x5_1``); two side by side are a and b.
    """
    words = _BLOCKS[block][branch].split()
    prefix = f"{block}.{branch}" if branch else block
    numbered = sum(word not in _POOLS for word in words) > 1
    steps = []
    for number, word in enumerate(words, start=1):
        name = f"{prefix}_{number}" if numbered else prefix
        letters = ("a", "b") if "|" in word else ("",)
        steps.append(
            {f"{name}{letter}": side for letter, side in zip(letters, word.split("|"), strict=True)}
        )
    return steps


def _last_block(model: Model) -> str:
    blocks = {block.lower(): block for block in _BLOCKS}
    output = model.output or "mixed_7c"
    if output not in blocks:
        raise ModelError(
            f"The model {model.name!r} has output = {output!r}; expected one of {', '.join(blocks)}."
        )
    return blocks[output]


def _options(model: Model) -> dict[str, Any]:
    for key, value in model.options.items():
        if key not in _OPTIONS:
            raise ModelError(
                f"The model {model.name!r} has the option {key!r}; expected {' or '.join(_OPTIONS)}."
            )
        choices = _OPTIONS[key]
        if type(value) is not type(choices[0]) or value not in choices:
            expected = " or ".join(map(json.dumps, choices))
            raise ModelError(
                f"The model {model.name!r} has the option {key} = {value!r}; expected {expected}."
            )
    return {key: choices[0] for key, choices in _OPTIONS.items()} | dict(model.options)


def _from_keras(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Keras's tensors (``conv2d_1/kernel``, ``batch_normalization_1/beta``) under torchvision's names.

    Keras numbers its layers as it makes them, from whatever number the process has come to, so the order of the
    numbers tells which is which; it makes them in the order of the tables above. It leaves gamma out, which is 1.
    """
    names = [
        name
        for block, branches in _BLOCKS.items()
        for branch in branches
        for step in _steps(block, branch)
        for name, word in step.items()
        if word not in _POOLS
    ]
    kernels, norms = (_in_order(tensors, kind) for kind in ("conv2d", "batch_normalization"))
    if len(kernels) != len(norms) or not 0 < len(kernels) <= len(names):
        raise WeightsError(
            f"The weights hold {len(kernels)} convolutions (conv2d_1, …) and {len(norms)} norms (batch_normalization_1,"
            f" …); expected 1 to {len(names)} of each, as many of one as of the other. Give Keras's InceptionV3."
        )
    named = {}
    for name, kernel, norm in zip(names, kernels, norms, strict=False):
        if "kernel" in kernel and kernel["kernel"].ndim == 4:
            named[f"{name}.conv.weight"] = kernel["kernel"].transpose(
                3, 2, 0, 1
            )  # from height, width, in, out
        if "beta" in norm:
            norm.setdefault("gamma", np.ones_like(norm["beta"]))
        named |= {
            f"{name}.bn.{ours}": norm[theirs]
            for ours, theirs in _KERAS_NORM.items()
            if theirs in norm
        }
    return named


def _in_order(tensors: Mapping[str, Tensor], kind: str) -> list[dict[str, Tensor]]:
    """Return the tensors of each layer of a kind, by the layers' numbers; the first may have none."""
    layers: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if found := re.fullmatch(rf"{kind}(?:_(\d+))?/(\w+)", name):
            layers.setdefault(int(found[1] or 0), {})[found[2]] = tensor
    return [layers[number] for number in sorted(layers)]
