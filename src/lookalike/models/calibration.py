"""Calibration: measure the ranges of a network's activations on images, for its 8-bit version.

The result is shipped with the model, or measured once, by the run that makes a Space, and stored
in the Space's Model: measured on each machine, it would give a different graph on each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from lookalike.models import graphs, tensors, weights
from lookalike.models.graphs.quantization import activation_names
from lookalike.types import Model, VectorsF32

__all__ = ["calibrate"]


def calibrate(
    model: Model, batches: Iterable[npt.NDArray[np.uint8]]
) -> dict[str, VectorsF32]:
    """Run a Model's float graph on images and measure the activations that quantization needs.

    Parameters
    ----------
    model
        A Model whose graph is built by `lookalike.models.graphs`, in any precision.
    batches
        Images as uint8 ``[n, height, width, 3]``, prepared by `lookalike.imaging.prepare`; at
        least one image.

    Returns
    -------
    dict
        For each tensor ``t`` between two layers: ``t.range``, float32 ``[2]``, its minimum and
        maximum; and ``t.mean``, float32 ``[channels]``, the mean of each channel.

    Raises
    ------
    WeightsError, ModelError
        If the graph cannot be built.
    """
    # The float graph, with every activation as an output.
    path = weights.find(model)
    numbers = tensors.read_tensors(path)
    proto = graphs.build(model, numbers)
    names = activation_names(proto)
    session = _open_session(proto, names)

    # Each image adds to the statistics of every activation.
    statistics = [_Statistics() for _ in names]
    for batch in batches:
        for image in batch:
            inputs = {"images": image[np.newaxis]}
            activations = session.run(names, inputs)
            for measured, values in zip(statistics, activations, strict=True):
                measured.add(values)

    calibration = {}
    for name, measured in zip(names, statistics, strict=True):
        calibration[f"{name}.range"] = measured.limits()
        calibration[f"{name}.mean"] = measured.channel_mean()
    return calibration


@dataclass(slots=True)
class _Statistics:
    """The statistics of one tensor, with an entry for each image."""

    minima: list[float] = field(default_factory=list)
    maxima: list[float] = field(default_factory=list)
    channel_means: list[npt.NDArray[Any]] = field(default_factory=list)

    def add(self, values: npt.NDArray[Any]) -> None:
        """Add the values of one image, ``[1, channels, height, width]``."""
        minimum = values.min()
        self.minima.append(minimum)
        maximum = values.max()
        self.maxima.append(maximum)
        all_but_channels = (0, 2, 3)
        means = values.mean(axis=all_but_channels, dtype=np.float64)
        self.channel_means.append(means)

    def limits(self) -> VectorsF32:
        """Return the minimum and the maximum of all images."""
        low = min(self.minima)
        high = max(self.maxima)
        return np.array([low, high], np.float32)

    def channel_mean(self) -> VectorsF32:
        """Return the mean of each channel over all images."""
        overall = np.mean(self.channel_means, axis=0)
        mean: VectorsF32 = overall.astype(np.float32)
        return mean


def _open_session(proto: onnx.ModelProto, names: list[str]) -> ort.InferenceSession:
    """Return a session whose outputs are the named tensors."""
    graph = proto.graph
    outputs = graph.output
    del outputs[:]
    number_type = TensorProto.FLOAT
    for name in names:
        output = helper.make_tensor_value_info(name, number_type, None)
        outputs.append(output)
    content = proto.SerializeToString()
    providers = ["CPUExecutionProvider"]
    return ort.InferenceSession(content, providers=providers)
