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
from lookalike.types import Model, VectorsF32

__all__ = ["Features", "GraphBuilder", "Padding"]

OPSET = 17
IR_VERSION = 8

# The generalized mean takes smaller values for this one, as its publishers do.
_LEAST_POSITIVE = 1e-6

# Top, left, bottom, right, as ONNX orders them; or TensorFlow's rules: SAME, with the odd pixel at
# the end, and VALID, without padding.
Padding = tuple[int, int, int, int] | Literal["same", "valid"]


class Features(NamedTuple):
    """A feature map of the graph: its tensor's name and its shape without the batch."""

    name: str
    channels: int
    height: int
    width: int


class _BatchNorm(NamedTuple):
    """The weights of a batch normalization, one number per channel."""

    gamma: npt.NDArray[np.float64]
    beta: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]

    def fits(self, channels: int) -> bool:
        """Return whether every weight has a number for each of the channels."""
        lengths = {len(weight) for weight in self}
        return lengths == {channels}

    def to_affine(
        self, epsilon: float
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the scale and the offset with which the normalization is ``scale * x + offset``.

        It is defined as ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``.
        """
        deviation = np.sqrt(self.variance + epsilon)
        scale = self.gamma / deviation
        shift = self.mean * scale
        offset = self.beta - shift
        return scale, offset


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
        model = self._model
        # From [n, height, width, 3] to [n, 3, height, width].
        channels_first = [0, 3, 1, 2]
        planes = self._node("Transpose", ["images"], perm=channels_first)

        mean = np.asarray(model.mean, np.float32)
        std = np.asarray(model.std, np.float32)
        first_mean = mean[0]
        first_std = std[0]
        is_same_for_channels = _is_constant(mean) and _is_constant(std)
        mean_is_uint8 = first_mean in range(256)
        if is_same_for_channels and mean_is_uint8:
            normalized = self._normalize_by_scale(planes, first_mean, first_std)
        else:
            normalized = self._normalize_channels(planes, mean, std)
        height, width = model.size
        return Features(normalized, channels=3, height=height, width=width)

    def _normalize_by_scale(
        self, planes: str, mean: np.float32, std: np.float32
    ) -> str:
        """Add the normalization of uint8 images that is the same for all channels.

        ``(x - mean) / std`` is how ONNX reads a uint8 tensor with this scale and zero point, so
        that 8-bit graphs take the images unchanged.
        """
        scale = self._constant(1 / std)
        zero_point = self._constant(mean, np.uint8)
        return self._node("DequantizeLinear", [planes, scale, zero_point])

    def _normalize_channels(
        self, planes: str, mean: VectorsF32, std: VectorsF32
    ) -> str:
        """Add a normalization of each channel by its own mean and deviation."""
        # The shape that broadcasts over [n, 3, height, width].
        per_channel = (1, 3, 1, 1)
        offset = mean.reshape(per_channel)
        factor = (1 / std).reshape(per_channel)

        floats = self._node("Cast", [planes], to=TensorProto.FLOAT)
        offset_name = self._constant(offset)
        centered = self._node("Sub", [floats, offset_name])
        factor_name = self._constant(factor)
        return self._node("Mul", [centered, factor_name])

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
        batch_norm = self._read_batch_norm(norm)

        # Check the shapes.
        shape = list(kernel.shape)
        channels = len(kernel)
        channels_per_group = x.channels // groups
        window = size or kernel.shape[2:]
        expected = [channels, channels_per_group, *window]
        if shape != expected or not batch_norm.fits(channels):
            raise WeightsError(
                f"The weights do not fit the architecture: {weight}.weight has the shape "
                f"{shape}, expected {expected} with a norm of {channels} channels."
            )

        # The normalization of the output is a scale and an offset for each output channel.
        scale, offset = batch_norm.to_affine(self._epsilon)
        folded_kernel = kernel * scale[:, None, None, None]
        kernel_name = self._constant(folded_kernel)
        bias_name = self._constant(offset)

        pads = _pads(x, window, stride, padding)
        name = self._node(
            "Conv",
            [x.name, kernel_name, bias_name],
            kernel_shape=window,
            strides=[stride] * 2,
            pads=pads,
            group=groups,
        )
        out_height, out_width = self._output_size(x, window, stride, pads)
        return Features(name, channels, out_height, out_width)

    def max_pool(
        self, x: Features, side: int, *, stride: int = 1, padding: Padding = "same"
    ) -> Features:
        """Add a pool that takes the maximum of ``side x side`` cells, ignoring the padding."""
        return self._pool("MaxPool", x, side, stride, padding)

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
        return self._pool(
            "AveragePool",
            x,
            side,
            stride,
            padding,
            count_include_pad=int(count_include_pad),
        )

    def concatenate(self, maps: Sequence[Features]) -> Features:
        """Stack the channels of feature maps of the same height and width."""
        first = maps[0]
        if len(maps) == 1:
            return first
        names = []
        channels = 0
        for x in maps:
            names.append(x.name)
            channels += x.channels
        name = self._node("Concat", names, axis=1)
        return first._replace(name=name, channels=channels)

    def linear(self, x: Features, name: str, *, rank: int = 2) -> Features:
        """Add a linear layer of the channels of each cell, with its bias.

        Parameters
        ----------
        x
            The input.
        name
            The name of the layer in the weights.
        rank
            2 if its weights are a matrix ``[out, in]``, 4 if they are a 1 x 1 convolution's.
        """
        weight = self._tensor(f"{name}.weight", rank=rank)
        bias = self._tensor(f"{name}.bias", rank=1)
        shape = list(weight.shape)
        channels = len(weight)
        expected = [channels, x.channels, 1, 1][:rank]
        if shape != expected or len(bias) != channels:
            raise WeightsError(
                f"The weights do not fit the architecture: {name}.weight has the shape {shape}, "
                f"expected {expected} with a bias of {channels} numbers."
            )
        kernel = weight.reshape(channels, x.channels, 1, 1)
        kernel_name = self._constant(kernel)
        bias_name = self._constant(bias)
        inputs = [x.name, kernel_name, bias_name]
        output = self._node("Conv", inputs, kernel_shape=[1, 1])
        return x._replace(name=output, channels=channels)

    def relu(self, x: Features) -> Features:
        """Clip values below 0."""
        return self._elementwise("Relu", x)

    def relu6(self, x: Features) -> Features:
        """Clip values below 0 and above 6."""
        minimum = self._constant(np.float32(0))
        maximum = self._constant(np.float32(6))
        return self._elementwise("Clip", x, minimum, maximum)

    def hard_swish(self, x: Features) -> Features:
        """Multiply values by their `hard_sigmoid`."""
        return self._elementwise("HardSwish", x)

    def hard_sigmoid(self, x: Features) -> Features:
        """Map values to 0 to 1: ``relu6(x + 3) / 6``."""
        name = self._node("HardSigmoid", [x.name], alpha=1 / 6, beta=0.5)
        return x._replace(name=name)

    def add(self, x: Features, y: Features) -> Features:
        """Add two feature maps of the same shape."""
        return self._elementwise("Add", x, y.name)

    def multiply(self, x: Features, factors: Features) -> Features:
        """Multiply a feature map by another one, or by one number for each channel."""
        return self._elementwise("Mul", x, factors.name)

    def channel_means(self, x: Features, *, power: float = 1.0) -> Features:
        """Add the mean over all cells, as a feature map of one cell.

        With a power p other than 1, it is the generalized mean ``mean(x ** p) ** (1 / p)``
        (Radenović et al., 2018, arXiv:1711.02512) of values that are not negative.
        """
        name = x.name
        if power == 1:
            name = self._node("GlobalAveragePool", [name])
            return Features(name, x.channels, height=1, width=1)

        least = self._constant(np.float32(_LEAST_POSITIVE))
        positive = self._node("Clip", [name, least])
        # Powers of shares of the largest cell stay within the range of 16-bit numbers.
        largest = self._node("GlobalMaxPool", [positive])
        shares = self._node("Div", [positive, largest])
        exponent = self._constant(np.float32(power))
        powers = self._node("Pow", [shares, exponent])
        mean = self._node("GlobalAveragePool", [powers])
        inverse = self._constant(np.float32(1 / power))
        mean_share = self._node("Pow", [mean, inverse])
        output = self._node("Mul", [mean_share, largest])
        return Features(output, x.channels, height=1, width=1)

    def build(self, x: Features) -> onnx.ModelProto:
        """Return the finished graph.

        Its output is the mean of `x`, float32 ``[n, dim]``; or `x` itself, float32 ``[n, dim, rows,
        columns]``, if the Model's pooling is ``none``.
        """
        model = self._model
        if x.channels != model.dim:
            raise WeightsError(
                f"The model {model.name!r} says dim = {model.dim}, "
                f"but its weights give {x.channels}."
            )
        output_shape: list[str | int] = ["n", model.dim]
        if model.pooling == "none":
            last = helper.make_node("Identity", [x.name], ["cells"])
            output_shape += [x.height, x.width]
        else:
            pooled = self._node("GlobalAveragePool", [x.name])
            last = helper.make_node("Flatten", [pooled], ["vectors"], axis=1)
        self._nodes.append(last)
        (output_name,) = last.output

        images_shape: list[str | int] = ["n", *model.size, 3]
        images = helper.make_tensor_value_info(
            "images", TensorProto.UINT8, images_shape
        )
        output = helper.make_tensor_value_info(
            output_name, TensorProto.FLOAT, output_shape
        )
        graph = helper.make_graph(
            self._nodes, model.name, [images], [output], self._initializers
        )
        proto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="lookalike",
        )
        onnx.checker.check_model(proto)
        return proto

    def _elementwise(self, operator: str, x: Features, *others: str) -> Features:
        """Add a node whose output has the shape of `x`, its first input."""
        inputs = [x.name, *others]
        name = self._node(operator, inputs)
        return x._replace(name=name)

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
        kind = operator.lower()
        name = f"{kind}_{number}"
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
        tensor = numpy_helper.from_array(array, name)
        self._initializers.append(tensor)
        return name

    def _read_batch_norm(self, name: str) -> _BatchNorm:
        gamma = self._tensor(f"{name}.weight", rank=1)
        beta = self._tensor(f"{name}.bias", rank=1)
        mean = self._tensor(f"{name}.running_mean", rank=1)
        variance = self._tensor(f"{name}.running_var", rank=1)
        return _BatchNorm(gamma, beta, mean, variance)

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
        kernel_height, kernel_width = kernel
        padded_height = x.height + top + bottom
        padded_width = x.width + left + right
        height = _count_steps(padded_height, kernel_height, stride)
        width = _count_steps(padded_width, kernel_width, stride)
        if height < 1 or width < 1:
            model = self._model
            size = list(model.size)
            raise ModelError(
                f"The model {model.name!r} has size = {size}, too small "
                "for its architecture: nothing of the image is left for the later layers. "
                "Give a larger size."
            )
        return height, width


def _is_constant(values: VectorsF32) -> bool:
    distinct = set(values)
    return len(distinct) == 1


def _count_steps(side: int, kernel: int, stride: int) -> int:
    """Return the number of positions of a kernel along a padded side."""
    last_start = side - kernel
    steps = last_start // stride
    return steps + 1


def _pads(
    x: Features, kernel: tuple[int, int], stride: int, padding: Padding
) -> tuple[int, int, int, int]:
    """Return the padding in cells: top, left, bottom, right."""
    if padding == "valid":
        return (0, 0, 0, 0)
    if isinstance(padding, tuple):
        return padding
    kernel_height, kernel_width = kernel
    top, bottom = _same_padding(x.height, kernel_height, stride)
    left, right = _same_padding(x.width, kernel_width, stride)
    return (top, left, bottom, right)


def _same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the cells before and after a side by TensorFlow's rule SAME.

    The output has ``ceil(side / stride)`` cells. The odd pixel is at the end.
    """
    output_side = math.ceil(side / stride)
    steps = output_side - 1
    last_start = steps * stride
    padded_side = last_start + kernel
    missing = padded_side - side
    padding = max(missing, 0)
    before = padding // 2
    after = padding - before
    return before, after
