"""Vectors match the described network, computed in plain NumPy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper

from lookalike.errors import ModelError, WeightsError
from lookalike.io import files
from lookalike.models import embedder, tensors, weights
from lookalike.models.registry import resolve
from lookalike.types import Model, Weights

HEIGHT, WIDTH, CHANNELS = 6, 5, 4
MEAN, STD = (10.0, 20.0, 30.0), (50.0, 60.0, 70.0)
RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(size=(CHANNELS, 3, 2, 2)).astype(np.float32)
IMAGES = RANDOM.integers(0, 256, (7, HEIGHT, WIDTH, 3), dtype=np.uint8)
FULL, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def network(
    path: Path,
    *,
    layout: str = "NCHW",
    kind: int = FULL,
    shape: tuple = ("n", HEIGHT, WIDTH),
) -> Path:
    """Write a graph of one convolution, with its map, its cells and their mean as outputs."""
    nodes = []

    def add(operator: str, inputs: list[str], output: str, **attributes) -> None:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))

    count, *sides = shape
    planes = "images"
    if layout == "NHWC":
        planes = "planes"
        add("Transpose", ["images"], planes, perm=[0, 3, 1, 2])
    add("Conv", [planes, "kernel"], "filtered", kernel_shape=[2, 2])
    if layout == "NHWC":
        add("Transpose", ["filtered"], "map", perm=[0, 2, 3, 1])
    else:
        add("Identity", ["filtered"], "map")
    add("Reshape", ["filtered", "flat"], "rows")
    add("Transpose", ["rows"], "tokens", perm=[0, 2, 1])
    add("ReduceMean", ["rows"], "mean", axes=[2], keepdims=0)
    dims = [count, 3, *sides] if layout == "NCHW" else [count, *sides, 3]
    cells = [side - 1 if isinstance(side, int) else None for side in sides]
    numbers = KERNEL if kind == FULL else KERNEL.astype(np.float16)
    initializers = [numpy_helper.from_array(numbers, "kernel")]
    initializers.append(
        numpy_helper.from_array(np.array([0, CHANNELS, -1], np.int64), "flat")
    )
    shapes = {
        "map": [count, CHANNELS, *cells]
        if layout == "NCHW"
        else [count, *cells, CHANNELS],
        "tokens": [count, None, CHANNELS],
        "mean": [count, CHANNELS],
    }
    outputs = [
        helper.make_tensor_value_info(name, kind, dims) for name, dims in shapes.items()
    ]
    inputs = [helper.make_tensor_value_info("images", kind, dims)]
    graph = helper.make_graph(nodes, "small", inputs, outputs, initializers)
    onnx.save(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ),
        path,
    )
    return path


def describe(path: Path, **changes) -> Model:
    model = Model("small", "small", "onnx", (HEIGHT, WIDTH), CHANNELS, mean=MEAN, std=STD,
                  output="map",
                  unit_length=False, weights=Weights(str(path)))  # fmt: skip
    return replace(model, **changes)


def feature_map() -> np.ndarray:
    """Return the convolution in float64, ``[n, height, width, channels]``."""
    normal = (IMAGES.astype(np.float64) - MEAN) / STD
    return np.einsum(
        "nhwcij,ocij->nhwo",
        sliding_window_view(normal, (2, 2), axis=(1, 2)),
        KERNEL.astype(np.float64),
    )


def load(path: Path, *, threads: int = 1, **changes) -> embedder.Embedder:
    return embedder.load(describe(path, **changes), threads=threads)


# A user's graph


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_cells_of_a_feature_map(tmp_path, layout):
    path = network(tmp_path / "small.onnx", layout=layout, shape=(2, HEIGHT, WIDTH))
    cells = load(path, layout=layout).feature_map(IMAGES)
    np.testing.assert_allclose(cells, feature_map(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("output", "pooling"),
    [("mean", "none"), ("tokens", "mean"), ("tokens", "first"), ("map", "none")],
)
def test_other_outputs_have_no_cells(tmp_path, output, pooling):
    path = network(tmp_path / "small.onnx")
    with pytest.raises(ModelError, match=r"Name an output before the pooling"):
        load(path, output=output, pooling=pooling).feature_map(IMAGES)


@pytest.mark.parametrize("kind", [FULL, HALF], ids=["float32", "float16"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_mean_pooling_of_a_feature_map(tmp_path, layout, kind):
    path = network(tmp_path / "small.onnx", layout=layout, kind=kind)
    vectors = load(path, layout=layout).embed(IMAGES)
    assert vectors.dtype == np.float32
    tolerance = 1e-5 if kind == FULL else 2e-2
    np.testing.assert_allclose(
        vectors, feature_map().mean(axis=(1, 2)), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_feature_map_without_pooling(tmp_path, layout):
    path = network(tmp_path / "small.onnx", layout=layout)
    dim = CHANNELS * (HEIGHT - 1) * (WIDTH - 1)
    vectors = load(path, layout=layout, pooling="none", dim=dim).embed(IMAGES)
    expected = (
        feature_map() if layout == "NHWC" else feature_map().transpose(0, 3, 1, 2)
    )
    np.testing.assert_allclose(
        vectors, expected.reshape(len(IMAGES), -1), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("pooling", "take"),
    [("first", lambda x: x[:, 0, 0]), ("mean", lambda x: x.mean(axis=(1, 2)))],
)
def test_pooling_of_a_token_sequence(tmp_path, pooling, take):
    vectors = load(
        network(tmp_path / "small.onnx"), output="tokens", pooling=pooling
    ).embed(IMAGES)
    np.testing.assert_allclose(vectors, take(feature_map()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["none", "mean"])
def test_output_that_already_is_a_vector(tmp_path, pooling):
    vectors = load(
        network(tmp_path / "small.onnx"), output="mean", pooling=pooling
    ).embed(IMAGES)
    np.testing.assert_allclose(
        vectors, feature_map().mean(axis=(1, 2)), rtol=1e-5, atol=1e-5
    )


def test_first_output_is_the_default(tmp_path):
    path = network(tmp_path / "small.onnx")
    np.testing.assert_array_equal(
        load(path, output="").embed(IMAGES), load(path, output="map").embed(IMAGES)
    )


def test_mean_and_std_change_the_vectors(tmp_path):
    path = network(tmp_path / "small.onnx")
    usual = load(path).embed(IMAGES)
    assert np.abs(load(path, mean=(0.0, 20.0, 30.0)).embed(IMAGES) - usual).max() > 0.01
    assert np.abs(load(path, std=(50.0, 60.0, 71.0)).embed(IMAGES) - usual).max() > 0.01


def test_unit_length(tmp_path):
    path = network(tmp_path / "small.onnx")
    usual, unit = load(path).embed(IMAGES), load(path, unit_length=True).embed(IMAGES)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        unit, usual / np.linalg.norm(usual, axis=1, keepdims=True), rtol=1e-5
    )


@pytest.mark.parametrize("count", ["n", 1, 3])
def test_batch_size_does_not_change_vectors(tmp_path, count):
    """A graph exported for a fixed number of images, often one, accepts any number."""
    path = network(tmp_path / "small.onnx", shape=(count, HEIGHT, WIDTH))
    small = load(path)
    together = small.embed(IMAGES)
    np.testing.assert_allclose(
        together, feature_map().mean(axis=(1, 2)), rtol=1e-5, atol=1e-5
    )
    for size in (1, 2, 3, 6):
        parts = [
            small.embed(IMAGES[start : start + size])
            for start in range(0, len(IMAGES), size)
        ]
        np.testing.assert_allclose(
            np.concatenate(parts), together, rtol=1e-5, atol=1e-5
        )


def test_graph_with_open_image_size_gets_the_models_size(tmp_path):
    path = network(tmp_path / "small.onnx", shape=("n", "h", "w"))
    np.testing.assert_allclose(
        load(path).embed(IMAGES), feature_map().mean(axis=(1, 2)), rtol=1e-5, atol=1e-5
    )


def test_bare_file_describes_itself(tmp_path):
    """Of three outputs it uses the one with vectors. Mean and std are ImageNet's."""
    path = network(tmp_path / "small.onnx", layout="NHWC")
    model = resolve(path)
    assert (model.output, model.layout, model.dim) == ("mean", "NHWC", CHANNELS)
    expected = load(
        path, layout="NHWC", mean=model.mean, std=model.std, unit_length=True
    ).embed(IMAGES)
    np.testing.assert_allclose(
        embedder.load(model).embed(IMAGES), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_bare_file_with_only_a_feature_map(tmp_path, layout):
    path = network(tmp_path / "small.onnx", layout=layout)
    proto = onnx.load(path)
    del proto.graph.output[1:]
    onnx.save(proto, path)
    model = resolve(path)
    assert (model.output, model.pooling, model.dim) == ("map", "mean", CHANNELS)
    vectors = embedder.load(
        replace(model, mean=MEAN, std=STD, unit_length=False)
    ).embed(IMAGES)
    np.testing.assert_allclose(
        vectors, feature_map().mean(axis=(1, 2)), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"dim": 5},
            r"gave an array of shape \[2, 4\] for 2 images; expected \[2, 5\]\. Set dim, output "
            r"and pooling",
        ),
        (
            {"pooling": "none"},
            r"shape \[2, 80\] for 2 images; expected \[2, 4\]\. Set dim, output and pooling",
        ),
        ({"layout": "NHWC"}, r"The graph .*small\.onnx failed: .*"),
    ],
)
def test_description_that_does_not_fit_its_graph_is_refused(tmp_path, changes, reason):
    small = load(network(tmp_path / "small.onnx"), **changes)
    with pytest.raises(ModelError, match=reason):
        small.embed(IMAGES)


def test_unknown_output_lists_the_outputs(tmp_path):
    with pytest.raises(
        ModelError, match=r"small\.onnx has no output 'head'; it has map, tokens, mean"
    ):
        load(network(tmp_path / "small.onnx"), output="head")


def test_a_broken_graph(tmp_path):
    (tmp_path / "small.onnx").write_bytes(b"\x08\x09 not a graph")
    with pytest.raises(
        ModelError, match=r"small\.onnx cannot be loaded: .*Give a valid \.onnx file"
    ):
        load(tmp_path / "small.onnx")


def test_missing_graph_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="are not here"):
        load(tmp_path / "lost.onnx")
    with pytest.raises(
        WeightsError,
        match=r"names no weights file\. Give its description a \[weights\] table",
    ):
        load(tmp_path / "lost.onnx", weights=None)


def test_unknown_architecture_is_refused():
    model = replace(resolve("auto"), name="odd", architecture="efficientnet-light")
    with pytest.raises(
        ModelError,
        match=r"'efficientnet-light'; known are efficientnet-lite, .*onnx, pixels",
    ):
        embedder.load(model)


# Pixels


@pytest.mark.parametrize("unit", [False, True])
def test_pixel_vectors_are_the_pixels(unit):
    model = Model(
        "p", "p", "pixels", (HEIGHT, WIDTH), HEIGHT * WIDTH * 3, unit_length=unit
    )
    flat = IMAGES.reshape(len(IMAGES), -1).astype(np.float32)
    expected = flat / np.linalg.norm(flat, axis=1, keepdims=True) if unit else flat
    vectors = embedder.load(model).embed(IMAGES)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, rtol=1e-6)
    shifted = embedder.load(
        replace(model, mean=MEAN, std=STD, unit_length=False)
    ).embed(IMAGES)
    np.testing.assert_allclose(
        shifted.reshape(IMAGES.shape),
        (IMAGES - np.array(MEAN)) / STD,
        rtol=1e-5,
        atol=1e-6,
    )


def test_pixel_space_checks_its_dim():
    with pytest.raises(
        ModelError, match="has dim = 5; pixels of 32 x 32 in RGB give 3072"
    ):
        embedder.load(replace(resolve("pixels"), dim=5))


# Built networks, cached as graphs


@pytest.fixture
def lite0(tmp_path, monkeypatch) -> Model:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return resolve("efficientnet-lite0")


@pytest.fixture
def photographs() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)


def cached_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.*"))


def test_graph_is_built_once_and_is_stable_for_batches_and_threads(
    lite0, photographs, tmp_path, monkeypatch
):
    first = embedder.load(lite0, threads=1).embed(photographs)
    assert first.shape == (3, 1280)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-6)
    (graph,) = cached_files(tmp_path)
    assert graph.name.startswith("efficientnet-lite0-")

    monkeypatch.setattr(
        tensors, "read_tensors", lambda path: pytest.fail("the weights were read again")
    )
    monkeypatch.setattr(
        weights, "find", lambda model: pytest.fail("the weights were searched again")
    )
    again = embedder.load(lite0, threads=2)
    np.testing.assert_allclose(again.embed(photographs), first, atol=1e-5)
    np.testing.assert_allclose(again.embed(photographs[1:2]), first[1:2], atol=1e-5)
    assert cached_files(tmp_path) == [graph]


def test_graph_that_cannot_be_cached_still_runs(
    lite0, photographs, tmp_path, monkeypatch
):
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fail)
        found = embedder.load(lite0).embed(photographs[:1])
    assert cached_files(tmp_path) == []
    np.testing.assert_array_equal(embedder.load(lite0).embed(photographs[:1]), found)
    assert len(cached_files(tmp_path)) == 1


def test_changed_normalization_builds_another_graph(lite0, photographs, tmp_path):
    usual = embedder.load(lite0).embed(photographs[:1])
    other = embedder.load(replace(lite0, mean=(100.0, 127.0, 127.0))).embed(
        photographs[:1]
    )
    assert len(cached_files(tmp_path)) == 2
    assert np.abs(usual - other).max() > 1e-3


def test_weights_without_a_hash_are_read_each_time(lite0, tmp_path, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    place = tmp_path / "weights" / "mine.pth"
    place.write_bytes(weights.find(lite0).read_bytes())
    mine = replace(lite0, name="mine", weights=Weights("mine.pth"))
    embedder.load(mine)
    place.write_bytes(b"another file without a network")
    with pytest.raises(WeightsError, match=r"mine\.pth"):
        embedder.load(mine)


def test_wrong_dim_is_refused_when_the_graph_is_built(lite0):
    with pytest.raises(
        WeightsError, match="says dim = 1000, but its weights give 1280"
    ):
        embedder.load(replace(lite0, dim=1000))
