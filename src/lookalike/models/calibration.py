"""Calibration: how large a network's numbers get on real pictures, which its 8-bit version is made from.

It is measured once and shipped with the model: measured on each machine, it would make another graph on each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from lookalike.models import graphs, tensors, weights
from lookalike.models.graphs import quantization
from lookalike.types import Model

__all__ = ["calibrate"]


def calibrate(
    model: Model, batches: Iterable[npt.NDArray[np.uint8]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Run a Model's float graph on pictures and return what its 8-bit graph needs to know of them.

    Parameters
    ----------
    model
        A Model whose graph is built here; its precision does not matter.
    batches
        Pictures as uint8 ``[n, height, width, 3]``, made by `lookalike.imaging.prepare`: at least one.

    Returns
    -------
    dict
        For each tensor ``t`` between two layers: ``t.range``, its least and largest value, ``[2]``, and ``t.mean``,
        the mean of each channel, ``[channels]``; float32.

    Raises
    ------
    WeightsError, ModelError
        If the graph cannot be built.
    """
    proto = graphs.build(model, tensors.read_tensors(weights.find(model)))
    names = quantization.activations(proto)
    session = _watched(proto, names)
    seen: dict[str, list[tuple[float, float, npt.NDArray[Any]]]] = {name: [] for name in names}
    for batch in batches:
        for picture in batch:
            values = session.run(names, {"images": picture[np.newaxis]})
            for name, value in zip(names, values, strict=True):
                mean = value.mean(axis=(0, 2, 3), dtype=np.float64)
                seen[name].append((float(value.min()), float(value.max()), mean))
    measured = {}
    for name, of_each in seen.items():
        low, high, means = zip(*of_each, strict=True)
        measured[f"{name}.range"] = np.array([min(low), max(high)], np.float32)
        measured[f"{name}.mean"] = np.mean(means, axis=0).astype(np.float32)
    return measured


def _watched(proto: onnx.ModelProto, names: list[str]) -> ort.InferenceSession:
    """Return a session that gives the tensors of these names."""
    del proto.graph.output[:]
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    return ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
