"""Calibration: measure the ranges of a network's activations on images, for its 8-bit version.

The result is measured once and shipped with the model. Measured on each machine, it would give a
different graph on each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
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


def calibrate(model: Model, batches: Iterable[npt.NDArray[np.uint8]]) -> dict[str, VectorsF32]:
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
    numbers = tensors.read_tensors(weights.find(model))
    proto = graphs.build(model, numbers)
    names = activation_names(proto)
    session = _open_session(proto, names)

    minima: dict[str, list[float]] = defaultdict(list)
    maxima: dict[str, list[float]] = defaultdict(list)
    means: dict[str, list[npt.NDArray[Any]]] = defaultdict(list)
    for batch in batches:
        for image in batch:
            activations = session.run(names, {"images": image[np.newaxis]})
            for name, values in zip(names, activations, strict=True):
                channel_means = values.mean(axis=(0, 2, 3), dtype=np.float64)
                minima[name].append(values.min())
                maxima[name].append(values.max())
                means[name].append(channel_means)

    calibration = {}
    for name in names:
        limits = [min(minima[name]), max(maxima[name])]
        mean = np.mean(means[name], axis=0)
        calibration[f"{name}.range"] = np.array(limits, np.float32)
        calibration[f"{name}.mean"] = mean.astype(np.float32)
    return calibration


def _open_session(proto: onnx.ModelProto, names: list[str]) -> ort.InferenceSession:
    """Return a session whose outputs are the named tensors."""
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
    return ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
