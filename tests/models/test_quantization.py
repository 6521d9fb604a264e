"""8-bit graphs match plain integer arithmetic, and are close to the float graph."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from integer_network import (
    HEIGHT,
    WIDTH,
    IntegerNetwork,
    calibrate_plainly,
    make_images,
    network,
    run,
)
from integer_network import tensors as random_tensors
from lookalike.errors import WeightsError
from lookalike.models import embedder, tensors, weights
from lookalike.models.graphs import build
from lookalike.models.graphs.builder import GraphBuilder
from lookalike.models.graphs.quantization import activation_names, quantize
from lookalike.models.registry import resolve
from lookalike.types import Model


def scales(proto: onnx.ModelProto) -> dict[str, tuple[float, int]]:
    """Return step and zero of each quantized tensor."""
    given = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer
    }
    kept = [node for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    return {
        n.output[0].removesuffix("_whole"): (
            float(given[n.input[1]]),
            int(given[n.input[2]]),
        )
        for n in kept
    }


@pytest.mark.parametrize("cut", ["relu", "relu6"])
@pytest.mark.parametrize("seed", range(3))
def test_vectors_match_integer_arithmetic(cut, seed):
    proto = network(random_tensors(seed), cut)
    measured = calibrate_plainly(proto, make_images())
    plain = IntegerNetwork(proto, measured)
    (found,) = run(quantize(proto, measured), make_images())
    with warnings.catch_warnings(action="ignore"):
        expected = plain.vectors(make_images())
    # A sum halfway between two integers may be rounded either way.
    assert np.abs(found - expected).max() < plain.last_step
    assert np.abs(found - expected).mean() < 0.01 * plain.last_step
    (floats,) = run(proto, make_images())
    assert np.abs(found - floats).mean() < 0.5 * plain.last_step


@pytest.mark.parametrize(("cut", "most"), [("relu", np.inf), ("relu6", 6.0)])
def test_activation_functions_need_no_node(cut, most):
    given = random_tensors()
    given["end.norm.bias"] = np.linspace(-12, 12, 12)
    proto = network(given, cut)
    small = quantize(proto, calibrate_plainly(proto, make_images()))
    assert {"Relu", "Clip"} & {node.op_type for node in proto.graph.node}
    assert not {"Relu", "Clip"} & {node.op_type for node in small.graph.node}
    (vectors,) = run(small, make_images())
    assert vectors.min() == 0
    assert 4 < vectors.max() <= most * (1 + 1e-6)


def test_only_the_named_activations_need_calibration():
    proto = network(random_tensors())
    measured = calibrate_plainly(proto, make_images())
    needed = {
        f"{name}.{what}": measured[f"{name}.{what}"]
        for name in activation_names(proto)
        for what in ("range", "mean")
    }
    assert len(needed) < len(measured)
    assert quantize(proto, needed) == quantize(proto, measured)


def test_inputs_and_output_of_concat_and_max_pool_share_a_scale():
    proto = network(random_tensors())
    (concat,) = (node for node in proto.graph.node if node.op_type == "Concat")
    (pool,) = (node for node in proto.graph.node if node.op_type == "MaxPool")
    together = {*concat.input, concat.output[0], pool.input[0], pool.output[0]}
    for wide in together:
        # The others take the scale of the widest, whichever it is.
        measured = {
            **calibrate_plainly(proto, make_images()),
            f"{wide}.range": np.array([-20.0, 60.0]),
        }
        found = scales(quantize(proto, measured))
        assert {found[name] for name in together} == {(np.float32(80 / 255), 64)}
    others = {scale for name, scale in found.items() if name not in together}
    assert len(others) > 3
    assert (np.float32(80 / 255), 64) not in others


def test_pooled_images_keep_their_own_scale():
    net = GraphBuilder(
        Model(
            "m", "m", "none", (HEIGHT, WIDTH), 3, mean=(127.0,) * 3, std=(128.0,) * 3
        ),
        {},
        epsilon=0.0,
    )
    proto = net.build(net.max_pool(net.images(), 3))
    (found,), (expected,) = (
        run(p, make_images())
        for p in (quantize(proto, calibrate_plainly(proto, make_images())), proto)
    )
    np.testing.assert_allclose(found, expected, atol=1 / 128)


def error(measured: dict[str, np.ndarray], proto: onnx.ModelProto) -> float:
    """Return the mean error of each element over the images: the part that the errors share."""
    (found,), (expected,) = (
        run(quantize(proto, measured), make_images()),
        run(proto, make_images()),
    )
    return float(np.abs((found - expected).mean(axis=0)).mean())


def test_bias_corrects_the_error_of_rounded_weights():
    corrected, plain = [], []
    for seed in range(5):
        proto = network(random_tensors(seed))
        measured = calibrate_plainly(proto, make_images())
        corrected.append(error(measured, proto))
        plain.append(
            error(
                {n: x if n.endswith(".range") else 0 * x for n, x in measured.items()},
                proto,
            )
        )
    assert np.mean(corrected) < 0.6 * np.mean(plain)


def test_channel_without_weights_keeps_its_bias():
    given = random_tensors()
    given["end.weight"][[2, 5]] = 0
    given["end.norm.bias"][[2, 5]] = 5.5, 1e-3
    given["end.norm.running_mean"][[2, 5]] = 0
    proto = network(given)
    measured = calibrate_plainly(proto, make_images())
    (vectors,) = run(quantize(proto, measured), make_images())
    step = IntegerNetwork(proto, measured).last_step
    np.testing.assert_allclose(
        vectors[:, [2, 5]], [[5.5, 1e-3]] * len(vectors), atol=step / 2 + 1e-6
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda x: None, "nothing"),
        (lambda x: np.zeros(7), r"an array of shape \[7\]"),
        (lambda x: x * np.nan, r"an array of shape \[\d+\]"),
    ],
)
@pytest.mark.parametrize("what", ["range", "mean"])
def test_calibration_of_another_network_is_refused(what, change, found):
    proto = network(random_tensors())
    name = activation_names(proto)[1]
    measured = calibrate_plainly(proto, make_images())
    changed = change(measured.pop(f"{name}.{what}"))
    if changed is not None:
        measured[f"{name}.{what}"] = changed
    with pytest.raises(
        WeightsError,
        match=rf"holds {found} as {name}\.{what}; .*another network\. .*scripts/calibrate",
    ):
        quantize(proto, measured)


# The catalog's models


def test_weights_use_seven_bits():
    """With 8 bits, sums of two products saturate on processors without 8-bit dot products."""
    model = resolve("efficientnet-lite0-int8")
    proto = build(model, tensors.read_tensors(weights.find(model)))
    proto = quantize(proto, tensors.read_tensors(weights.find(model, "calibration")))
    kernels = [
        numpy_helper.to_array(x)
        for x in proto.graph.initializer
        if x.data_type == onnx.TensorProto.INT8
    ]
    kernels = [kernel for kernel in kernels if kernel.ndim == 4]
    assert len(kernels) == 49
    largest = np.concatenate(
        [np.abs(kernel.astype(int)).max(axis=(1, 2, 3)) for kernel in kernels]
    )
    assert largest.max() == 63
    assert (largest == 63).mean() > 0.99


@pytest.mark.parametrize("name", ["efficientnet-lite0-int8", "efficientnet-lite2-int8"])
def test_building_twice_gives_the_same_graph(name, tmp_path, monkeypatch):
    found = []
    for place in ("one", "two"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place))
        found.append(embedder.load(resolve(name)).model.graph)
    assert found[0] == found[1]
    assert len(found[0]) == 64


def test_calibration_of_a_larger_network_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lite0, lite2 = (
        resolve("efficientnet-lite0-int8"),
        resolve("efficientnet-lite2-int8"),
    )
    with pytest.raises(WeightsError, match="measured on another network"):
        embedder.load(replace(lite2, calibration=lite0.calibration))
