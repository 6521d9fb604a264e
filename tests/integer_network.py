"""A small network with every kind of layer, and its 8-bit version in plain integer arithmetic."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from numpy.lib.stride_tricks import sliding_window_view
from onnx import helper, numpy_helper

from lookalike.models.graphs.builder import Features, GraphBuilder
from lookalike.types import Model

HEIGHT, WIDTH = 24, 20


def tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """Return random weights, with channels of very different sizes as after training."""
    random = np.random.default_rng(seed)
    shapes = {
        "a": (8, 3, 3, 3),
        "deep": (8, 1, 3, 3),
        "left": (8, 8, 1, 1),
        "pair": (8, 4, 3, 3),
        "end": (12, 16, 1, 1),
    }
    found = {}
    for name, shape in shapes.items():
        found[f"{name}.weight"] = random.normal(
            0, 1 / np.sqrt(np.prod(shape[1:])), shape
        )
        found[f"{name}.norm.weight"] = random.uniform(0.2, 3, shape[0])
        found[f"{name}.norm.bias"] = random.normal(0.3, 0.5, shape[0])
        found[f"{name}.norm.running_mean"] = random.normal(0, 0.1, shape[0])
        found[f"{name}.norm.running_var"] = random.uniform(0.5, 1.5, shape[0])
    return found


def network(weights: dict[str, np.ndarray], cut: str = "relu6") -> onnx.ModelProto:
    """Return the float graph: two joined branches, a sum, and each kind of pool."""
    model = Model(
        "small",
        "small",
        "none",
        (HEIGHT, WIDTH),
        12,
        mean=(127.0,) * 3,
        std=(128.0,) * 3,
    )
    net = GraphBuilder(model, weights, epsilon=1e-3)

    def layer(x: Features, name: str, **options) -> Features:
        return getattr(net, cut)(net.convolution(x, name, f"{name}.norm", **options))

    x = layer(net.images(), "a", stride=2)
    deep = layer(x, "deep", groups=8)
    left = net.add(layer(deep, "left"), x)
    right = net.max_pool(net.convolution(deep, "pair", "pair.norm", groups=2), 3)
    both = net.concatenate([left, right])
    return net.build(layer(net.average_pool(both, 3), "end"))


def make_images(count: int = 6) -> np.ndarray:
    """Return smooth random images: their neighboring pixels are similar, as in photographs."""
    noise = np.random.default_rng(1).uniform(
        0, 256, (count, HEIGHT // 4, WIDTH // 4, 3)
    )
    return np.kron(noise, np.ones((1, 4, 4, 1))).astype(np.uint8)


def run(
    proto: onnx.ModelProto, images: np.ndarray, names: list[str] | None = None
) -> list[np.ndarray]:
    """Return the vectors, or the named tensors."""
    watched = onnx.ModelProto()
    watched.CopyFrom(proto)
    if names is not None:
        del watched.graph.output[:]
        kinds = (
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for name in names
        )
        watched.graph.output.extend(kinds)
    session = ort.InferenceSession(
        watched.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(names, {"images": images})


def calibrate_plainly(
    proto: onnx.ModelProto, images: np.ndarray
) -> dict[str, np.ndarray]:
    """Return range and mean of every feature map."""
    names = [
        node.output[0]
        for node in proto.graph.node
        if node.op_type not in {"Transpose", "Flatten"}
    ]
    measured = {}
    for name, values in zip(names, run(proto, images, names), strict=True):
        measured[f"{name}.range"] = np.array([values.min(), values.max()])
        measured[f"{name}.mean"] = values.mean(axis=(0, 2, 3), dtype=np.float64)
    return measured


class IntegerNetwork:
    """Runs the float graph's nodes on integers, as its 8-bit version should."""

    def __init__(self, proto: onnx.ModelProto, measured: dict[str, np.ndarray]) -> None:
        self._nodes = list(proto.graph.node)
        self._given = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in proto.graph.initializer
        }
        self._measured = measured
        self._scales = self._all_scales()

    def vectors(self, images: np.ndarray) -> np.ndarray:
        """Return float64 ``[n, dim]``."""
        maps = {"images": images.astype(np.int64)}
        for node in self._nodes:
            maps[node.output[0]] = self._do(node, maps)
        return maps["vectors"]

    @property
    def last_step(self) -> float:
        """The step of the feature map that is averaged into the vector."""
        return self._scales[self._nodes[-2].input[0]][0]

    def _all_scales(self) -> dict[str, tuple[float, int]]:
        ranges = {
            name.removesuffix(".range"): [
                min(0.0, float(ends[0])),
                max(0.0, float(ends[1])),
            ]
            for name, ends in self._measured.items()
            if name.endswith(".range")
        }
        for _ in self._nodes:
            for node in self._nodes:
                if node.op_type in {"Concat", "MaxPool"}:
                    names = [*node.input, node.output[0]]
                    low, high = (
                        min(ranges[n][0] for n in names),
                        max(ranges[n][1] for n in names),
                    )
                    ranges.update({name: [low, high] for name in names})
        steps = {
            name: np.float32((high - low) / 255) for name, (low, high) in ranges.items()
        }
        scales = {
            name: (float(step), round(-ranges[name][0] / float(step)))
            for name, step in steps.items()
        }
        source = next(
            node for node in self._nodes if node.op_type == "DequantizeLinear"
        )
        return {**scales, source.output[0]: (1 / 128, 127)}

    def _do(self, node: onnx.NodeProto, maps: dict[str, np.ndarray]) -> np.ndarray:
        taken, options = (
            node.input,
            {part.name: helper.get_attribute_value(part) for part in node.attribute},
        )
        x = maps[taken[0]]
        match node.op_type:
            case "Transpose":
                x = x.transpose(options["perm"])
            case "Conv":
                x = self._kept(node, self._convolved(node, x, options))
            case "Add":
                x = self._kept(
                    node, sum(self._real(name, maps[name]) for name in taken)
                )
            case "Concat":
                x = np.concatenate([maps[name] for name in taken], axis=1)
            case "MaxPool":
                x = self._windows(x, options, 0).max(axis=(4, 5))
            case "AveragePool":
                real = self._windows(self._real(taken[0], x), options, np.nan)
                x = self._kept(node, np.nanmean(real, axis=(4, 5)))
            case "GlobalAveragePool":
                x = self._real(taken[0], x).mean(axis=(2, 3))
        return x

    def _convolved(
        self, node: onnx.NodeProto, x: np.ndarray, options: dict
    ) -> np.ndarray:
        step, zero = self._scales[node.input[0]]
        kernel, bias = (self._given[name].astype(np.float64) for name in node.input[1:])
        steps = (
            (np.abs(kernel).max(axis=(1, 2, 3)) / 63)
            .astype(np.float32)
            .astype(np.float64)
        )
        whole = np.rint(kernel / steps[:, None, None, None]).astype(np.int64)
        groups, each = options["group"], len(kernel) // options["group"]
        windows = self._windows(x, options, zero) - zero
        mean = self._measured[f"{node.input[0]}.mean"]
        found = []
        for channel in range(len(kernel)):
            first = channel // each * kernel.shape[1]
            part = slice(first, first + kernel.shape[1])
            sums = np.einsum("nchwij,cij->nhw", windows[:, part], whole[channel])
            gained = (whole[channel] * steps[channel] - kernel[channel]).sum(
                axis=(1, 2)
            ) @ mean[part]
            fine = step * steps[channel]
            found.append((sums + round((bias[channel] - gained) / fine)) * fine)
        assert groups * each == len(found)
        return np.stack(found, axis=1)

    def _windows(self, x: np.ndarray, options: dict, fill: float) -> np.ndarray:
        top, left, bottom, right = options["pads"]
        padded = np.pad(
            x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill
        )
        views = sliding_window_view(padded, tuple(options["kernel_shape"]), axis=(2, 3))
        return views[:, :, :: options["strides"][0], :: options["strides"][1]]

    def _kept(self, node: onnx.NodeProto, real: np.ndarray) -> np.ndarray:
        """Round to the scale of the result, or of its cut."""
        cut = (
            n.output[0]
            for n in self._nodes
            if n.op_type in {"Clip", "Relu"} and n.input[0] == node.output[0]
        )
        step, zero = self._scales[next(cut, node.output[0])]
        return np.clip(np.rint(real / step) + zero, 0, 255).astype(np.int64)

    def _real(self, name: str, whole: np.ndarray) -> np.ndarray:
        step, zero = self._scales[name]
        return (whole - zero) * step
