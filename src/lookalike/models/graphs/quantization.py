"""8-bit graphs: a network's float graph rewritten so that convolutions, sums and pools work on whole numbers.

Activations are uint8 with one scale a tensor, weights int8 with one scale an output channel (Jacob et al., 2018,
arXiv:1712.05877), in ONNX's pairs of QuantizeLinear and DequantizeLinear, which every runtime knows. Weights use 7 of
their 8 bits, so that the sum of two products fits 16 bits: processors without 8-bit dot products compute the same as
those that have them. What rounding the weights shifts on the average is taken off the bias again (Nagel et al.,
2019, arXiv:1906.04721).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from lookalike.errors import WeightsError

__all__ = ["Measured", "activations", "quantize"]

# Of a tensor `t`: "t.range", its least and largest value, and "t.mean", each channel's.
Measured = Mapping[str, npt.NDArray[Any]]

# Those whose result is kept in 8 bits; a cut (ReLU, ReLU6) lies in the result's range and needs no node of its own.
_KEPT = {"Mul", "Conv", "Add", "Concat", "AveragePool", "MaxPool"}
_CUTS = {"Relu", "Clip"}
# Those that give on what they take: all their tensors have one scale, so that nothing is rounded twice.
_PASSED = {"Concat", "MaxPool"}
_WEIGHT_TOP = 63
# What no network comes near, and float32 can still count in.
_LEAST, _MOST = 1e-20, 1e20


class _Scale(NamedTuple):
    """A whole number of 0 to 255 stands for ``(whole - zero) * step``."""

    step: np.float32
    zero: np.uint8


def activations(proto: onnx.ModelProto) -> list[str]:
    """Return the names of the tensors that must be measured for `quantize`, in the graph's order."""
    nodes = proto.graph.node
    taken = [node.input[0] for node in nodes if node.op_type == "Conv"]
    return list(dict.fromkeys([*taken, *_results(nodes).values()]))


def quantize(proto: onnx.ModelProto, measured: Measured) -> onnx.ModelProto:
    """Return the 8-bit version of a graph.

    Parameters
    ----------
    proto
        A graph of `lookalike.models.graphs.builder.GraphBuilder`.
    measured
        Range and mean of each tensor that `activations` names, on real pictures.

    Raises
    ------
    WeightsError
        If what was measured lacks a tensor, or fits another graph.
    """
    return _Quantizer(proto, measured).build()


def _results(nodes: Sequence[onnx.NodeProto]) -> dict[str, str]:
    """Return for each output that is kept the name of the tensor that holds it: its cut's, where it is cut."""
    cuts = {node.input[0]: node.output[0] for node in nodes if node.op_type in _CUTS}
    kept = [node.output[0] for node in nodes if node.op_type in _KEPT]
    return {name: cuts.get(name, name) for name in kept}


def _scales(nodes: Sequence[onnx.NodeProto], measured: Measured) -> dict[str, _Scale]:
    """Return the scale of each tensor that is kept; what is passed on shares the widest range."""
    results = _results(nodes)
    ranges = {name: _measure(measured, name, "range", 2) for name in results.values()}
    shared = {name: {name} for name in ranges}
    for node in nodes:
        if node.op_type in _PASSED:
            # The pictures themselves, where they are taken, have the scale that they came with.
            names = [name for name in (results[node.output[0]], *node.input) if name in ranges]
            together = set().union(*(shared[name] for name in names))
            shared.update(dict.fromkeys(together, together))
    ends = {name: np.array([ranges[other] for other in others]) for name, others in shared.items()}
    return {name: _scale(min(0.0, both.min()), max(0.0, both.max())) for name, both in ends.items()}


def _scale(low: float, high: float) -> _Scale:
    span = high - low
    step = np.float32(span / 255 if span > _LEAST else 1)
    return _Scale(step, np.uint8(np.clip(np.rint(-low / step), 0, 255)))


def _measure(measured: Measured, name: str, what: str, count: int) -> npt.NDArray[np.float64]:
    values = measured.get(f"{name}.{what}")
    if values is None or values.shape != (count,) or not (np.abs(values) < _MOST).all():
        found = "nothing" if values is None else f"an array of shape {list(values.shape)}"
        raise WeightsError(
            f"The calibration holds {found} as {name}.{what}; expected {count} finite numbers. It was measured on "
            "another network. Measure it anew with: scripts/calibrate MODEL FOLDER"
        )
    return values.astype(np.float64)


class _Quantizer:
    """Rewrites a graph node by node."""

    def __init__(self, proto: onnx.ModelProto, measured: Measured) -> None:
        self._proto = proto
        self._measured = measured
        self._results = _results(proto.graph.node)
        self._scales = _scales(proto.graph.node, measured)
        self._given = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def build(self) -> onnx.ModelProto:
        """Return the graph."""
        for node in self._proto.graph.node:
            if node.op_type not in _CUTS or node.output[0] not in self._scales:
                self._rewrite(node)
        graph = self._proto.graph
        whole = helper.make_graph(
            self._nodes, graph.name, graph.input, graph.output, self._initializers
        )
        proto = helper.make_model(
            whole,
            opset_imports=self._proto.opset_import,
            ir_version=self._proto.ir_version,
            producer_name=self._proto.producer_name,
        )
        onnx.checker.check_model(proto)
        return proto

    def _rewrite(self, node: onnx.NodeProto) -> None:
        new = onnx.NodeProto()
        new.CopyFrom(node)
        if node.op_type == "Conv":
            self._round_weights(new)
        else:
            self._initializers += [self._given[name] for name in node.input if name in self._given]
        self._nodes.append(new)
        result = self._results.get(node.output[0])
        if result is not None:
            new.output[0] = f"{result}_real"
            scale = [
                self._constant(part, f"{result}_{what}")
                for what, part in self._scales[result]._asdict().items()
            ]
            self._add("QuantizeLinear", [new.output[0], *scale], f"{result}_whole")
            self._add("DequantizeLinear", [f"{result}_whole", *scale], result)

    def _round_weights(self, node: onnx.NodeProto) -> None:
        """Give a convolution int8 weights and an int32 bias, with one step an output channel."""
        taken, weight, bias = node.input
        kernel, shift = (
            numpy_helper.to_array(self._given[name]).astype(np.float64) for name in (weight, bias)
        )
        step, limit = float(self._step(taken)), 2.0**30
        largest = np.abs(kernel).max(axis=(1, 2, 3))
        # A channel whose weights are next to nothing needs steps in which its bias can still be counted.
        steps = np.maximum(
            largest / _WEIGHT_TOP, np.maximum(np.abs(shift) / (step * limit), 1e-12)
        ).astype(np.float32)
        whole = np.rint(kernel / steps[:, None, None, None])
        missed = (whole * steps[:, None, None, None] - kernel).sum(axis=(2, 3))
        groups = next((part.i for part in node.attribute if part.name == "group"), 1)
        mean = _measure(self._measured, taken, "mean", groups * kernel.shape[1]).reshape(groups, -1)
        # Not by a matrix product, whose sums, and so the graph's hash, would depend on the processor.
        shift = shift - (missed * mean.repeat(len(kernel) // groups, axis=0)).sum(axis=1)
        fine = steps * np.float32(step)
        node.input[1] = self._channels(weight, whole.astype(np.int8), steps)
        node.input[2] = self._channels(
            bias, np.clip(np.rint(shift / fine), -limit, limit).astype(np.int32), fine
        )

    def _step(self, name: str) -> np.float32:
        """Return the step of a tensor; the pictures themselves come in whole numbers already."""
        if name in self._scales:
            return self._scales[name].step
        source = next(node for node in self._proto.graph.node if node.output[0] == name)
        return np.float32(numpy_helper.to_array(self._given[source.input[1]]))

    def _channels(self, name: str, whole: npt.NDArray[Any], steps: npt.NDArray[np.float32]) -> str:
        """Add whole numbers with a step for each output channel, and give them back as reals under a name."""
        parts = {"whole": whole, "step": steps, "zero": np.zeros(len(steps), whole.dtype)}
        inputs = [self._constant(array, f"{name}_{what}") for what, array in parts.items()]
        self._add("DequantizeLinear", inputs, name, axis=0)
        return name

    def _constant(self, array: npt.NDArray[Any] | np.generic, name: str) -> str:
        self._initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def _add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self._nodes.append(
            helper.make_node(
                operator, inputs, [output], f"{operator.lower()}_{output}", **attributes
            )
        )
