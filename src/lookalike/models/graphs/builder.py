"""The layers of the architectures: each adds ONNX nodes to a growing graph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from lookalike.errors import ModelError, WeightsError
from lookalike.models.tensors import Tensor
from lookalike.types import Model

__all__ = ["Features", "GraphBuilder", "Padding"]

OPSET = 17
IR_VERSION = 8

# Top, left, bottom, right, as ONNX orders them; or TensorFlow's rules: SAME, with the odd pixel at
# the end, and VALID, without padding.
Padding = tuple[int, int, int, int] | Literal["same", "valid"]


class Features(NamedTuple):
    """A feature map of the graph: its tensor's name and its shape without the batch."""

    name: str
    channels: int
    height: int
    width: int


class GraphBuilder:
    """Builds an ONNX graph layer by layer.

    Parameters
    ----------
    model
        The description: input size, normalization, dimension.
    tensors
        The weights by name.
    epsilon
        The constant that batch normalization adds to the variance; the default is TensorFlow's.
    """

    def __init__(
        self, model: Model, tensors: Mapping[str, Tensor], epsilon: float = 1e-3
    ) -> None:
        self._model = model
        self._tensors = tensors
        self._epsilon = epsilon
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def images(self) -> Features:
        """Add the input, uint8 ``[n, height, width, 3]``, and its normalization."""
        height, width = self._model.size
        mean = np.asarray(self._model.mean, np.float32)
        std = np.asarray(self._model.std, np.float32)
        planes = self._node("Transpose", ["images"], perm=[0, 3, 1, 2])

        is_same_for_channels = len(set(mean)) == 1 and len(set(std)) == 1
        mean_is_uint8 = mean[0] in range(256)
        if is_same_for_channels and mean_is_uint8:
            # (x - mean) / std is how ONNX reads a uint8 tensor with this scale and zero point, so
            # that 8-bit graphs take the images unchanged.
            scale = self._constant(1 / std[0])
            zero_point = self._constant(mean[0], np.uint8)
            normalized = self._node("DequantizeLinear", [planes, scale, zero_point])
        else:
            factor = 1 / std
            floats = self._node("Cast", [planes], to=TensorProto.FLOAT)
            mean_name = self._constant(mean.reshape(1, 3, 1, 1))
            centered = self._node("Sub", [floats, mean_name])
            factor_name = self._constant(factor.reshape(1, 3, 1, 1))
            normalized = self._node("Mul", [centered, factor_name])
        return Features(normalized, channels=3, height=height, width=width)

    def convolution(
        self,
        x: Features,
        weight: str,
        norm: str,
        *,
        size: tuple[int, int] | None = None,
        stride: int = 1,
        padding: Padding = "same",
        groups: int = 1,
    ) -> Features:
        """Add a convolution with its batch normalization folded into it.

        Parameters
        ----------
        x
            The input.
        weight, norm
            The names of the convolution and of its batch normalization in the weights.
        size
            The kernel's required height and width; None accepts those of the weights.
        stride, padding, groups
            As in the paper.
        """
        kernel = self._tensor(f"{weight}.weight", rank=4)
        gamma = self._tensor(f"{norm}.weight", rank=1)
        beta = self._tensor(f"{norm}.bias", rank=1)
        mean = self._tensor(f"{norm}.running_mean", rank=1)
        variance = self._tensor(f"{norm}.running_var", rank=1)

        channels = len(kernel)
        height, width = size or kernel.shape[2:]
        expected = (channels, x.channels // groups, height, width)
        norm_fits = all(len(part) == channels for part in (gamma, beta, mean, variance))
        if kernel.shape != expected or not norm_fits:
            raise WeightsError(
                f"The weights do not fit the architecture: {weight}.weight has the shape "
                f"{list(kernel.shape)}, expected {list(expected)} with a norm of {channels} "
                "channels."
            )

        scale = gamma / np.sqrt(variance + self._epsilon)
        folded_kernel = kernel * scale[:, None, None, None]
        folded_bias = beta - mean * scale
        kernel_name = self._constant(folded_kernel.astype(np.float32))
        bias_name = self._constant(folded_bias.astype(np.float32))

        pads = _pads(x, (height, width), stride, padding)
        name = self._node(
            "Conv",
            [x.name, kernel_name, bias_name],
            kernel_shape=[height, width],
            strides=[stride] * 2,
            pads=pads,
            group=groups,
        )
        out_height, out_width = self._output_size(x, (height, width), stride, pads)
        return Features(name, channels, out_height, out_width)

    def max_pool(
        self, x: Features, side: int, *, stride: int = 1, padding: Padding = "same"
    ) -> Features:
        """Add a pool that takes the maximum of ``side x side`` cells, ignoring the padding."""
        operator = "MaxPool"
        return self._pool(operator, x, side, stride, padding)

    def average_pool(
        self,
        x: Features,
        side: int,
        *,
        stride: int = 1,
        padding: Padding = "same",
        count_include_pad: bool = False,
    ) -> Features:
        """Add a pool that takes the mean of ``side x side`` cells.

        The padding counts as zeros with `count_include_pad`, and is ignored without.
        """
        attributes = {"count_include_pad": int(count_include_pad)}
        return self._pool("AveragePool", x, side, stride, padding, **attributes)

    def concatenate(self, maps: Sequence[Features]) -> Features:
        """Stack the channels of feature maps of the same height and width."""
        if len(maps) == 1:
            return maps[0]
        names = [x.name for x in maps]
        channels = sum(x.channels for x in maps)
        name = self._node("Concat", names, axis=1)
        return maps[0]._replace(name=name, channels=channels)

    def relu(self, x: Features) -> Features:
        """Clip values below 0."""
        name = self._node("Relu", [x.name])
        return x._replace(name=name)

    def relu6(self, x: Features) -> Features:
        """Clip values below 0 and above 6."""
        minimum = self._constant(np.float32(0))
        maximum = self._constant(np.float32(6))
        name = self._node("Clip", [x.name, minimum, maximum])
        return x._replace(name=name)

    def add(self, x: Features, y: Features) -> Features:
        """Add two feature maps of the same shape."""
        name = self._node("Add", [x.name, y.name])
        return x._replace(name=name)

    def build(self, x: Features) -> onnx.ModelProto:
        """Return the finished graph; its output is the mean of `x`, float32 ``[n, dim]``."""
        if x.channels != self._model.dim:
            raise WeightsError(
                f"The model {self._model.name!r} says dim = {self._model.dim}, "
                f"but its weights give {x.channels}."
            )
        pooled = self._node("GlobalAveragePool", [x.name])
        self._nodes.append(helper.make_node("Flatten", [pooled], ["vectors"], axis=1))

        images_shape: list[str | int] = ["n", *self._model.size, 3]
        vectors_shape: list[str | int] = ["n", self._model.dim]
        images = helper.make_tensor_value_info(
            "images", TensorProto.UINT8, images_shape
        )
        vectors = helper.make_tensor_value_info(
            "vectors", TensorProto.FLOAT, vectors_shape
        )
        graph = helper.make_graph(
            self._nodes, self._model.name, [images], [vectors], self._initializers
        )
        proto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="lookalike",
        )
        onnx.checker.check_model(proto)
        return proto

    def _pool(
        self,
        operator: str,
        x: Features,
        side: int,
        stride: int,
        padding: Padding,
        **attributes: Any,
    ) -> Features:
        window = (side, side)
        pads = _pads(x, window, stride, padding)
        name = self._node(
            operator,
            [x.name],
            kernel_shape=window,
            strides=[stride] * 2,
            pads=pads,
            **attributes,
        )
        height, width = self._output_size(x, window, stride, pads)
        return Features(name, x.channels, height, width)

    def _node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node and return its name, which is its output's name too."""
        number = len(self._nodes)
        name = f"{operator.lower()}_{number}"
        node = helper.make_node(operator, inputs, [name], name, **attributes)
        self._nodes.append(node)
        return name

    def _constant(
        self, value: npt.ArrayLike, dtype: type[np.generic] = np.float32
    ) -> str:
        """Add a constant and return its name."""
        number = len(self._initializers)
        name = f"constant_{number}"
        array = np.asarray(value, dtype)
        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def _tensor(self, name: str, *, rank: int) -> npt.NDArray[np.float64]:
        """Return a tensor of the weights, which must have `rank` dimensions."""
        if name not in self._tensors:
            raise WeightsError(
                f"The weights lack the tensor {name}; they are for another architecture."
            )
        array = self._tensors[name]
        if array.ndim != rank:
            raise WeightsError(
                f"The tensor {name} has the shape {array.shape}; expected {rank} dimensions."
            )
        return array.astype(np.float64)

    def _output_size(
        self, x: Features, kernel: tuple[int, int], stride: int, pads: Sequence[int]
    ) -> tuple[int, int]:
        """Return the height and width of a convolution's or pool's output."""
        top, left, bottom, right = pads
        padded_height = x.height + top + bottom
        padded_width = x.width + left + right
        height = (padded_height - kernel[0]) // stride + 1
        width = (padded_width - kernel[1]) // stride + 1
        if min(height, width) < 1:
            raise ModelError(
                f"The model {self._model.name!r} has size = {list(self._model.size)}, too small "
                "for its architecture: nothing of the image is left for the later layers. "
                "Give a larger size."
            )
        return height, width


def _pads(
    x: Features, kernel: tuple[int, int], stride: int, padding: Padding
) -> tuple[int, int, int, int]:
    """Return the padding in cells: top, left, bottom, right."""
    if padding == "valid":
        return (0, 0, 0, 0)
    if isinstance(padding, tuple):
        return padding
    # TensorFlow's SAME: the output has ceil(side / stride) cells, the odd pixel is at the end.
    vertical = _same_padding(x.height, kernel[0], stride)
    horizontal = _same_padding(x.width, kernel[1], stride)
    top = vertical // 2
    left = horizontal // 2
    return (top, left, vertical - top, horizontal - left)


def _same_padding(side: int, kernel: int, stride: int) -> int:
    output_side = math.ceil(side / stride)
    last_start = (output_side - 1) * stride
    padded_side = last_start + kernel
    return max(padded_side - side, 0)
