"""The layers that the architectures are written in, each adding ONNX nodes to one growing graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from lookalike.errors import ModelError, WeightsError
from lookalike.types import Model

__all__ = ["Features", "GraphBuilder", "Padding"]

OPSET = 17
IR_VERSION = 8

# The four sides as ONNX orders them, or TensorFlow's words: SAME, whose odd pixel goes to the end, and VALID, none.
Padding = tuple[int, int, int, int] | Literal["same", "valid"]


class Features(NamedTuple):
    """A feature map of the graph: its tensor's name and its shape without the batch."""

    name: str
    channels: int
    height: int
    width: int


class GraphBuilder:
    """An ONNX graph in the making.

    Parameters
    ----------
    model
        The description: input size, normalisation, dimension.
    tensors
        The weights by name.
    eps
        The constant that batch normalisation adds to the variance.
    """

    def __init__(self, model: Model, tensors: Mapping[str, npt.NDArray[Any]], eps: float) -> None:
        self._model = model
        self._tensors = tensors
        self._eps = eps
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def images(self) -> Features:
        """Take uint8 ``[n, height, width, 3]``, the normalisation included."""
        height, width = self._model.size
        planes = self._add("Transpose", ["images"], perm=[0, 3, 1, 2])
        mean, std = (np.asarray(x, np.float32) for x in (self._model.mean, self._model.std))
        if len(set(mean)) == len(set(std)) == 1 and mean[0] in range(256):
            # (x - mean) / std is what a uint8 with this scale and zero stands for: 8-bit graphs take it as it is.
            scale = [self._constant(1 / std[0]), self._constant(mean[0], np.uint8)]
            return Features(self._add("DequantizeLinear", [planes, *scale]), 3, height, width)
        floats = self._add("Cast", [planes], to=TensorProto.FLOAT)
        centred = self._add("Sub", [floats, self._constant(mean.reshape(1, 3, 1, 1))])
        scaled = self._add("Mul", [centred, self._constant((1 / std).reshape(1, 3, 1, 1))])
        return Features(scaled, 3, height, width)

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
        """Convolve and batch-normalise, the latter folded into the former; a `size` is what the kernel must have."""
        kernel = self._tensor(f"{weight}.weight", rank=4)
        gamma, beta, mean, variance = (
            self._tensor(f"{norm}.{part}", rank=1)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        out, (high, wide) = len(kernel), size or kernel.shape[2:]
        expected = (out, x.channels // groups, high, wide)
        if kernel.shape != expected or any(
            len(part) != out for part in (gamma, beta, mean, variance)
        ):
            raise WeightsError(
                f"The weights do not fit the architecture: {weight}.weight has the shape {list(kernel.shape)}, "
                f"expected {list(expected)} with a norm of {out} channels."
            )
        scale = gamma / np.sqrt(variance + self._eps)
        folded = kernel * scale[:, None, None, None], beta - mean * scale
        names = [self._constant(array.astype(np.float32)) for array in folded]
        pads = self._pads(x, (high, wide), stride, padding)
        name = self._add(
            "Conv",
            [x.name, *names],
            kernel_shape=[high, wide],
            strides=[stride] * 2,
            pads=pads,
            group=groups,
        )
        return Features(name, out, *self._shrunk(x, (high, wide), stride, pads))

    def max_pool(
        self, x: Features, side: int, *, stride: int = 1, padding: Padding = "same"
    ) -> Features:
        """Take the largest of each window of ``side x side`` cells; the padding is never the largest."""
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
        """Take the mean of each window of ``side x side`` cells, in which padding counts as zeros or not at all."""
        return self._pool(
            "AveragePool", x, side, stride, padding, count_include_pad=int(count_include_pad)
        )

    def concatenate(self, maps: Sequence[Features]) -> Features:
        """Stack the channels of feature maps of one height and width."""
        if len(maps) == 1:
            return maps[0]
        name = self._add("Concat", [x.name for x in maps], axis=1)
        return maps[0]._replace(name=name, channels=sum(x.channels for x in maps))

    def relu(self, x: Features) -> Features:
        """Cut at 0."""
        return x._replace(name=self._add("Relu", [x.name]))

    def relu6(self, x: Features) -> Features:
        """Cut at 0 and at 6."""
        bounds = [self._constant(np.float32(0)), self._constant(np.float32(6))]
        return x._replace(name=self._add("Clip", [x.name, *bounds]))

    def add(self, x: Features, y: Features) -> Features:
        """Add two feature maps of one shape."""
        return x._replace(name=self._add("Add", [x.name, y.name]))

    def build(self, x: Features) -> onnx.ModelProto:
        """Pool a feature map by its mean and close the graph: float32 ``[n, dim]`` out."""
        if x.channels != self._model.dim:
            raise WeightsError(
                f"The model {self._model.name!r} says dim = {self._model.dim}, but its weights give {x.channels}."
            )
        pooled = self._add("GlobalAveragePool", [x.name])
        self._nodes.append(helper.make_node("Flatten", [pooled], ["vectors"], axis=1))
        images = helper.make_tensor_value_info(
            "images", TensorProto.UINT8, ["n", *self._model.size, 3]
        )
        vectors = helper.make_tensor_value_info(
            "vectors", TensorProto.FLOAT, ["n", self._model.dim]
        )
        graph = helper.make_graph(
            self._nodes, self._model.name, [images], [vectors], self._initializers
        )
        opset = helper.make_opsetid("", OPSET)
        proto = helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="lookalike"
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
        pads = self._pads(x, window, stride, padding)
        shape = {"kernel_shape": window, "strides": [stride] * 2, "pads": pads}
        name = self._add(operator, [x.name], **shape, **attributes)
        return Features(name, x.channels, *self._shrunk(x, window, stride, pads))

    def _add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def _constant(self, array: npt.ArrayLike, kind: type[np.generic] = np.float32) -> str:
        name = f"constant_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(np.asarray(array, kind), name))
        return name

    def _tensor(self, name: str, *, rank: int) -> npt.NDArray[np.float64]:
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

    @staticmethod
    def _pads(
        x: Features, kernel: tuple[int, int], stride: int, padding: Padding
    ) -> tuple[int, ...]:
        if padding == "valid":
            return (0, 0, 0, 0)
        if isinstance(padding, tuple):
            return padding
        total = [
            max((-(-side // stride) - 1) * stride + k - side, 0)
            for side, k in zip(x[2:], kernel, strict=True)
        ]
        before = [pad // 2 for pad in total]
        return (*before, *(pad - first for pad, first in zip(total, before, strict=True)))

    def _shrunk(
        self, x: Features, kernel: tuple[int, int], stride: int, pads: Sequence[int]
    ) -> tuple[int, int]:
        padded = (x.height + pads[0] + pads[2], x.width + pads[1] + pads[3])
        height, width = ((side - k) // stride + 1 for side, k in zip(padded, kernel, strict=True))
        if min(height, width) < 1:
            raise ModelError(
                f"The model {self._model.name!r} has size = {list(self._model.size)}, too small for its architecture: "
                "nothing of the picture is left for the later layers. Give a larger size."
            )
        return height, width
