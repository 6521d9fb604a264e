"""Quantization: rewrite a float graph so that its convolutions, sums and pools use 8-bit integers.

Activations are uint8 with one scale per tensor, weights int8 with one scale per output channel
(Jacob et al., 2018, arXiv:1712.05877). The graph uses ONNX's pairs of QuantizeLinear and
DequantizeLinear, which every runtime knows.

Weights use 7 of their 8 bits, so that the sum of two products fits in 16 bits. Processors without
8-bit dot products then compute the same results as those with them. The mean error from rounding
the weights is subtracted from the bias (Nagel et al., 2019, arXiv:1906.04721).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from lookalike.errors import WeightsError
from lookalike.models.tensors import Tensor

__all__ = ["Calibration", "activation_names", "quantize"]

# For a tensor `t`: "t.range", its minimum and maximum, and "t.mean", the mean of each channel.
Calibration = Mapping[str, Tensor]

# The operators whose outputs become 8-bit tensors. An activation function (ReLU, ReLU6) after one
# of them needs no node: the range of the 8-bit tensor clips the values.
_QUANTIZED_OPERATORS = {
    "Mul",
    "Conv",
    "Add",
    "Concat",
    "AveragePool",
    "MaxPool",
    "HardSwish",
}
_ACTIVATION_FUNCTIONS = {"Relu", "Clip"}

# The operators that pass values on. Their inputs and output share one scale, so that no value is
# rounded twice.
_SHARED_SCALE_OPERATORS = {"Concat", "MaxPool"}

_MAX_WEIGHT = 63
_MAX_BIAS = 2.0**30

# Beyond the values of any network, but within the range of float32.
_MIN_RANGE, _MAX_VALUE = 1e-20, 1e20


class _Scale(NamedTuple):
    """The integer q, 0 to 255, represents ``(q - zero) * step``."""

    step: np.float32
    zero: np.uint8


def activation_names(proto: onnx.ModelProto) -> list[str]:
    """Return the names of the tensors to calibrate for `quantize`, in the graph's order."""
    nodes = proto.graph.node
    names = []
    for node in nodes:
        if node.op_type == "Conv":
            name = node.input[0]
            names.append(name)
    outputs = _quantized_outputs(nodes)
    names += outputs.values()
    # A dictionary keeps the order and each name once.
    unique_names = dict.fromkeys(names)
    return list(unique_names)


def quantize(proto: onnx.ModelProto, calibration: Calibration) -> onnx.ModelProto:
    """Return the 8-bit version of a graph.

    Parameters
    ----------
    proto
        A graph of `lookalike.models.graphs.builder.GraphBuilder`.
    calibration
        Range and mean of each tensor in `activation_names`, measured on real images.

    Raises
    ------
    WeightsError
        If the calibration lacks a tensor or belongs to another graph.
    """
    quantizer = _Quantizer(proto, calibration)
    return quantizer.build()


def _quantized_outputs(nodes: Sequence[onnx.NodeProto]) -> dict[str, str]:
    """Return the tensor to quantize for each output of a quantized operator.

    If an activation function follows, that is the function's output.
    """
    # From the input of each activation function to its output.
    activated = {}
    for node in nodes:
        if node.op_type in _ACTIVATION_FUNCTIONS:
            name = node.input[0]
            output = node.output[0]
            activated[name] = output
    outputs = {}
    for node in nodes:
        if node.op_type in _QUANTIZED_OPERATORS:
            name = node.output[0]
            outputs[name] = activated.get(name, name)
    return outputs


def _choose_scales(
    nodes: Sequence[onnx.NodeProto], calibration: Calibration
) -> dict[str, _Scale]:
    """Return the scale of each quantized tensor."""
    outputs = _quantized_outputs(nodes)
    ranges = {}
    output_names = outputs.values()
    for name in output_names:
        ranges[name] = _calibrated(calibration, name, "range", 2)

    groups = _scale_groups(nodes, outputs)
    scales = {}
    for name, group in groups.items():
        # The range includes zero, which padding needs.
        low = 0.0
        high = 0.0
        for member in group:
            minimum, maximum = ranges[member]
            low = min(low, minimum)
            high = max(high, maximum)
        scale = _to_scale(low, high)
        scales[name] = scale
    return scales


def _scale_groups(
    nodes: Sequence[onnx.NodeProto], outputs: Mapping[str, str]
) -> dict[str, set[str]]:
    """Group the tensors that must share a scale: the one of the widest range.

    Each quantized tensor has an entry, the group that it belongs to.
    """
    groups = {name: {name} for name in outputs.values()}
    for node in nodes:
        if node.op_type not in _SHARED_SCALE_OPERATORS:
            continue
        result = node.output[0]
        output = outputs[result]
        merged = groups[output]
        for name in node.input:
            # The images have no group: they keep the scale that they come with.
            if name in groups:
                merged = merged | groups[name]
        for name in merged:
            groups[name] = merged
    return groups


def _to_scale(low: float, high: float) -> _Scale:
    span = high - low
    # Any step represents a constant zero.
    width = 1.0
    if span > _MIN_RANGE:
        width = span / 255
    step = np.float32(width)
    zero = np.rint(-low / step)
    zero = np.clip(zero, 0, 255)
    return _Scale(step, np.uint8(zero))


def _calibrated(
    calibration: Calibration, name: str, statistic: str, count: int
) -> npt.NDArray[np.float64]:
    """Return a statistic of a tensor, which must be `count` finite numbers."""
    key = f"{name}.{statistic}"
    values = calibration.get(key)
    if values is None or values.shape != (count,) or not _is_finite(values):
        found = "nothing"
        if values is not None:
            shape = list(values.shape)
            found = f"an array of shape {shape}"
        raise WeightsError(
            f"The calibration holds {found} as {key}; expected {count} finite "
            "numbers. It was measured on another network. Measure this network with: "
            "scripts/calibrate MODEL FOLDER"
        )
    return values.astype(np.float64)


def _is_finite(values: Tensor) -> bool:
    sizes = np.abs(values)
    # NaN compares as false.
    are_small = sizes < _MAX_VALUE
    return bool(are_small.all())


class _Quantizer:
    """Rewrites a graph node by node."""

    def __init__(self, proto: onnx.ModelProto, calibration: Calibration) -> None:
        self._proto = proto
        self._calibration = calibration
        graph = proto.graph
        nodes = graph.node
        self._outputs = _quantized_outputs(nodes)
        self._scales = _choose_scales(nodes, calibration)
        # The node that computes each tensor, and the constants by name.
        self._sources = {node.output[0]: node for node in nodes}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def build(self) -> onnx.ModelProto:
        """Return the 8-bit graph."""
        for node in self._proto.graph.node:
            is_function = node.op_type in _ACTIVATION_FUNCTIONS
            is_clipped_by_range = is_function and node.output[0] in self._scales
            if not is_clipped_by_range:
                self._rewrite(node)

        graph = self._proto.graph
        quantized = helper.make_graph(
            self._nodes, graph.name, graph.input, graph.output, self._initializers
        )
        proto = helper.make_model(
            quantized,
            opset_imports=self._proto.opset_import,
            ir_version=self._proto.ir_version,
            producer_name=self._proto.producer_name,
        )
        onnx.checker.check_model(proto)
        return proto

    def _rewrite(self, node: onnx.NodeProto) -> None:
        """Add a node to the new graph, with its output quantized if it has a scale."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if node.op_type == "Conv" and self._has_step(node.input[0]):
            self._quantize_convolution(copy)
        else:
            self._keep_constants(node)
        self._nodes.append(copy)

        result = node.output[0]
        output = self._outputs.get(result)
        if output is not None:
            real = f"{output}_real"
            copy.output[0] = real
            self._quantize_activation(real, output)

    def _keep_constants(self, node: onnx.NodeProto) -> None:
        """Add the constants among a node's inputs to the new graph as they are."""
        for name in node.input:
            constant = self._constants.get(name)
            if constant is not None:
                self._initializers.append(constant)

    def _quantize_activation(self, real: str, output: str) -> None:
        """Quantize the tensor `real`, and dequantize it under the name `output`."""
        scale = self._scales[output]
        step = self._constant(scale.step, f"{output}_step")
        zero = self._constant(scale.zero, f"{output}_zero")
        whole = f"{output}_whole"
        self._add_node("QuantizeLinear", [real, step, zero], whole)
        self._add_node("DequantizeLinear", [whole, step, zero], output)

    def _quantize_convolution(self, node: onnx.NodeProto) -> None:
        """Give a convolution int8 weights and an int32 bias, with one step per output channel.

        The kernel is ``[out, in, height, width]``.
        """
        input_name, kernel_name, bias_name = node.input
        kernel = self._read_constant(kernel_name)
        bias = self._read_constant(bias_name)
        input_step = self._step_of(input_name)

        # Round the weights.
        steps = _choose_weight_steps(kernel, bias, input_step)
        kernel_steps = steps[:, None, None, None]
        quantized_kernel = np.rint(kernel / kernel_steps)

        # Rounding the weights shifts the mean output by error * mean input. Subtract that.
        rounded_kernel = quantized_kernel * kernel_steps
        error = rounded_kernel - kernel
        total_error = error.sum(axis=(2, 3))
        mean_inputs = self._mean_inputs(node, kernel)
        # Not a matrix product: its sums, and with them the graph's hash, depend on the processor.
        shifts = total_error * mean_inputs
        total_shift = shifts.sum(axis=1)
        corrected_bias = bias - total_shift

        # Round the bias.
        bias_steps = steps * input_step
        quantized_bias = np.rint(corrected_bias / bias_steps)
        quantized_bias = np.clip(quantized_bias, -_MAX_BIAS, _MAX_BIAS)

        int8_kernel = quantized_kernel.astype(np.int8)
        int32_bias = quantized_bias.astype(np.int32)
        node.input[1] = self._add_weights(kernel_name, int8_kernel, steps)
        node.input[2] = self._add_weights(bias_name, int32_bias, bias_steps)

    def _mean_inputs(
        self, convolution: onnx.NodeProto, kernel: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return the mean of each input channel of each output channel, ``[out, in]``."""
        outputs, inputs, _, _ = kernel.shape
        groups = _group_count(convolution)
        name = convolution.input[0]
        channels = groups * inputs
        means = _calibrated(self._calibration, name, "mean", channels)
        means_by_group = means.reshape(groups, inputs)
        outputs_per_group = outputs // groups
        return means_by_group.repeat(outputs_per_group, axis=0)

    def _read_constant(self, name: str) -> npt.NDArray[np.float64]:
        tensor = self._constants[name]
        values = numpy_helper.to_array(tensor)
        return values.astype(np.float64)

    def _has_step(self, name: str) -> bool:
        """Return whether a tensor is one of integers: the mean over all cells is not."""
        source = self._sources[name]
        return name in self._scales or source.op_type == "DequantizeLinear"

    def _step_of(self, name: str) -> np.float32:
        """Return the step of a tensor. The images are integers with a step of their own."""
        scale = self._scales.get(name)
        if scale is not None:
            return scale.step
        source = self._sources[name]
        _, step_name, _ = source.input
        tensor = self._constants[step_name]
        step = numpy_helper.to_array(tensor)
        return np.float32(step)

    def _add_weights(
        self, name: str, quantized: npt.NDArray[Any], steps: npt.NDArray[np.float32]
    ) -> str:
        """Add integers with a step per output channel, and dequantize them under `name`."""
        zeros = np.zeros(len(steps), quantized.dtype)
        whole = self._constant(quantized, f"{name}_whole")
        step = self._constant(steps, f"{name}_step")
        zero = self._constant(zeros, f"{name}_zero")
        inputs = [whole, step, zero]
        self._add_node("DequantizeLinear", inputs, name, axis=0)
        return name

    def _constant(self, value: npt.NDArray[Any] | np.generic, name: str) -> str:
        array = np.asarray(value)
        tensor = numpy_helper.from_array(array, name)
        self._initializers.append(tensor)
        return name

    def _add_node(
        self, operator: str, inputs: Sequence[str], output: str, **attributes: Any
    ) -> None:
        name = f"{operator.lower()}_{output}"
        node = helper.make_node(operator, inputs, [output], name, **attributes)
        self._nodes.append(node)


def _choose_weight_steps(
    kernel: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
    input_step: np.float32,
) -> npt.NDArray[np.float32]:
    """Return the step of each output channel's weights.

    The step maps the largest weight of a channel to 63. A channel whose weights are nearly zero
    needs a larger step, so that its bias, counted in the same steps, fits.
    """
    all_but_outputs = (1, 2, 3)
    weight_sizes = np.abs(kernel)
    largest_weights = weight_sizes.max(axis=all_but_outputs)
    steps_for_weights = largest_weights / _MAX_WEIGHT

    bias_sizes = np.abs(bias)
    largest_bias = float(input_step) * _MAX_BIAS
    steps_for_bias = bias_sizes / largest_bias

    smallest_steps = np.maximum(steps_for_bias, 1e-12)
    steps = np.maximum(steps_for_weights, smallest_steps)
    narrow: npt.NDArray[np.float32] = steps.astype(np.float32)
    return narrow


def _group_count(convolution: onnx.NodeProto) -> int:
    for attribute in convolution.attribute:
        if attribute.name == "group":
            return int(attribute.i)
    return 1
