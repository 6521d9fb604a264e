"""OpenVINO gives the vectors of ONNX Runtime, also from many threads, and explains its limits."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from lookalike import imaging
from lookalike.errors import ModelError
from lookalike.models import embedder
from lookalike.models.registry import resolve
from lookalike.store.table import Table
from lookalike.types import Model

pytestmark = pytest.mark.slow

BASES = ["efficientnet-lite0", "efficientnet-lite0-int8"]


@pytest.fixture(autouse=True, scope="module")
def _installed():
    # Not imported here: with its telemetry, OpenVINO forks.
    if find_spec("openvino") is None:
        pytest.skip("needs openvino: pip install 'lookalike[openvino]'")


@pytest.fixture(scope="module")
def prepared(sample) -> np.ndarray:
    model = resolve("efficientnet-lite0")
    files = sorted(sample.glob("*/*_0001.jpg"))
    return np.stack(
        [imaging.prepare(imaging.decode(file.read_bytes()), model) for file in files]
    )


def by_openvino(name: str, **changes) -> Model:
    return replace(resolve(name), runtime="openvino", **changes)


@pytest.mark.slow
def test_float_vectors_match_onnx_runtime(prepared):
    expected = embedder.load(resolve("efficientnet-lite0")).embed(prepared)
    for threads in (0, 1, 2):
        found = embedder.load(by_openvino("efficientnet-lite0"), threads=threads).embed(
            prepared
        )
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_8_bit_vectors_are_close_to_onnx_runtime(prepared):
    """The runtimes round differently, so the runtime is part of a Model."""
    expected = embedder.load(resolve("efficientnet-lite0-int8")).embed(prepared)
    model = by_openvino("efficientnet-lite0-int8")
    cosines = (embedder.load(model).embed(prepared) * expected).sum(axis=1)
    assert cosines.mean() >= 0.99
    assert model.fingerprint != resolve("efficientnet-lite0-int8").fingerprint
    assert (
        embedder.load(model).model.graph
        == embedder.load(resolve("efficientnet-lite0-int8")).model.graph
    )


@pytest.mark.parametrize("name", BASES)
def test_threads_share_an_embedder_without_mixing_results(name, prepared):
    network = embedder.load(by_openvino(name), threads=1)
    alone = [
        network.embed(prepared[index : index + 1]) for index in range(len(prepared))
    ]
    with ThreadPoolExecutor(4) as pool:
        orders = list(range(len(prepared))) * 5
        together = list(
            pool.map(lambda index: network.embed(prepared[index : index + 1]), orders)
        )
    for index, vectors in zip(orders, together, strict=True):
        np.testing.assert_allclose(vectors, alone[index], atol=1e-6)
    np.testing.assert_allclose(
        network.embed(prepared), np.concatenate(alone), atol=1e-5
    )


def test_users_own_graph_runs(tmp_path, prepared):
    """The images are normalized for a file that takes floats, as with ONNX Runtime."""
    import onnx
    from onnx import TensorProto, helper

    # Means of means: a single mean of 50,176 numbers would depend on the order of its sum.
    cells = helper.make_node(
        "AveragePool", ["x"], ["c"], kernel_shape=[16, 16], strides=[16, 16]
    )
    means = helper.make_node("ReduceMean", ["c"], ["p"], axes=[2, 3])
    nodes = [cells, means, helper.make_node("Flatten", ["p"], ["y"])]
    sides = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 224, 224])]
    graph = helper.make_graph(
        nodes,
        "g",
        sides,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
    )
    onnx.save(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ),
        tmp_path / "net.onnx",
    )
    model = resolve(tmp_path / "net.onnx")
    expected = embedder.load(model).embed(prepared)
    np.testing.assert_allclose(
        embedder.load(replace(model, runtime="openvino")).embed(prepared),
        expected,
        atol=1e-5,
    )
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    broken = replace(
        model,
        weights=replace(model.weights, file=str(tmp_path / "broken.onnx"), sha256=None),
    )
    with pytest.raises(
        ModelError, match=r"broken\.onnx cannot be loaded: .*Give a valid \.onnx file"
    ):
        embedder.load(replace(broken, runtime="openvino"))


def test_bf16_runs_only_on_processors_that_support_it(prepared):
    import openvino

    model = by_openvino("efficientnet-lite0", precision="bf16")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(
            ModelError,
            match=r"'efficientnet-lite0' computes in bf16.*it knows .*FP32.*int8 or f32",
        ):
            embedder.load(model)
        return
    expected = embedder.load(resolve("efficientnet-lite0")).embed(prepared)
    found = embedder.load(model).embed(prepared)
    assert (found * expected).sum(axis=1).min() > 0.99
    assert np.abs(found - expected).max() > 1e-5


def test_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        ModelError,
        match=r"'efficientnet-lite0' runs on OpenVINO.*pip install 'lookalike\[openvino\]'",
    ):
        embedder.load(by_openvino("efficientnet-lite0"))


@pytest.mark.slow
def test_openvino_indexes_and_searches_without_telemetry(sample, tmp_path):
    """A plain import of OpenVINO sends requests and stores an identifier in the home folder."""
    (tmp_path / "home").mkdir()
    (tmp_path / "fast.toml").write_text(
        'base = "efficientnet-lite0-int8"\nruntime = "openvino"\n'
    )
    script = f"""if True:
        import lookalike, os
        os.register_at_fork(before=lambda: print("forked"))
        lookalike.index({str(sample)!r}, "c", models=["fast.toml"])
        print(*lookalike.search("c", {str(sample / "car" / "car_0001.jpg")!r}, k=3).labels)"""
    home = {**os.environ, "HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=home,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout == "car car car\n"
    assert done.stderr == ""
    assert list((tmp_path / "home").iterdir()) == []
    assert Table.open(tmp_path / "c").models["fast"].runtime == "openvino"
