"""A GPU is used where it gives the processor's vectors; otherwise the user reads why not.

These tests have no GPU. A session on the processor stands for the one on the GPU, and a made list
for what ONNX Runtime and the driver say.
"""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import command
import lookalike
from lookalike.errors import InputError, ModelError
from lookalike.indexing.run import IndexSettings
from lookalike.models import devices, embedder
from lookalike.models.cache import EmbedderCache
from lookalike.models.registry import resolve
from lookalike.models.sessions import cuda
from lookalike.models.sessions.onnxruntime import open_onnxruntime

SIDE, DIM = 32, 16
IMAGES = np.random.default_rng(0).integers(0, 256, (7, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def network(tmp_path):
    """Return a function that writes a network whose features grow with a factor."""

    def write(factor: float = 1.0):
        kernel = np.random.default_rng(1).normal(size=(DIM, 3, 4, 4)) * factor
        shrink = np.float32(1 / factor)
        nodes = [
            helper.make_node("Conv", ["images", "kernel"], ["map"], strides=[4, 4]),
            helper.make_node("Relu", ["map"], ["cells"]),
            helper.make_node("Mul", ["cells", "shrink"], ["scaled"]),
            helper.make_node("GlobalAveragePool", ["scaled"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["vectors"]),
        ]
        images, vectors = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (
                ("images", ["n", 3, SIDE, SIDE]),
                ("vectors", ["n", DIM]),
            )
        )
        constants = [
            numpy_helper.from_array(kernel.astype(np.float32), "kernel"),
            numpy_helper.from_array(shrink, "shrink"),
        ]
        graph = helper.make_graph(nodes, "network", [images], [vectors], constants)
        opset = [helper.make_opsetid("", 17)]
        path = tmp_path / f"network-{factor:g}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
        return resolve(str(path))

    return write


class FakeSession:
    """The graph that `CudaSession` would run, on the processor."""

    opened: ClassVar[list[str]] = []
    batches: ClassVar[list[int]] = []

    def __init__(self, source, arithmetic, batch):
        graph = cuda._to_f16(source) if arithmetic == "f16" else source
        self.opened.append(arithmetic)
        self._session = open_onnxruntime(graph, 1)
        self.get_inputs = self._session.get_inputs
        self.get_outputs = self._session.get_outputs

    def run(self, outputs, inputs):
        (images,) = inputs.values()
        self.batches.append(len(images))
        return self._session.run(outputs, inputs)


class NoSession:
    """A GPU on which no session starts."""

    def __init__(self, *_):
        raise RuntimeError("CUDA failure 2: out of memory\nmore")


@pytest.fixture
def gpu(monkeypatch):
    """Give this machine a GPU."""
    FakeSession.opened, FakeSession.batches = [], []
    monkeypatch.setattr(devices, "cuda_fault", lambda: None)
    monkeypatch.setattr(embedder, "CudaSession", FakeSession)
    return FakeSession


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(devices, "cuda_fault", lambda: "no driver; install one")


def difference(found, expected) -> float:
    return embedder._difference(found, expected)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_16_bit_floats_give_the_processors_vectors(network, gpu, device):
    model = network()
    expected = embedder.load(model)
    found = embedder.load(model, device=device, batch=4)
    assert gpu.opened == ["f16"]
    assert found.model == expected.model
    vectors = found.embed(IMAGES)
    assert vectors.shape == (7, DIM)
    assert 0 < difference(vectors, expected.embed(IMAGES)) <= embedder.MAX_DIFFERENCE


def test_every_batch_of_a_gpu_has_the_same_number_of_images(network, gpu):
    found = embedder.load(network(), device="cuda", batch=4)
    for count in (1, 4, 7):
        assert found.embed(IMAGES[:count]).shape == (count, DIM)
    assert set(gpu.batches) == {4}


def test_a_network_beyond_the_range_of_16_bits_runs_in_more(network, gpu):
    model = network(1e6)
    found = embedder.load(model, device="cuda", batch=4)
    assert gpu.opened == ["f16", "tf32"]
    expected = embedder.load(model).embed(IMAGES)
    np.testing.assert_array_equal(found.embed(IMAGES), expected)


def test_a_gpu_that_does_not_start(network, gpu, monkeypatch):
    monkeypatch.setattr(embedder, "CudaSession", NoSession)
    model = network()
    expected = embedder.load(model).embed(IMAGES)
    on_processor = embedder.load(model, device="auto")
    np.testing.assert_array_equal(on_processor.embed(IMAGES), expected)
    with pytest.raises(ModelError, match=r"out of memory; .* device auto or cpu"):
        embedder.load(model, device="cuda")


def test_a_gpu_with_other_vectors_is_refused(network, gpu, monkeypatch):
    class OtherVectors(FakeSession):
        def run(self, outputs, inputs):
            return [
                values[:, ::-1] for values in FakeSession.run(self, outputs, inputs)
            ]

    monkeypatch.setattr(embedder, "CudaSession", OtherVectors)
    with pytest.raises(ModelError, match=r"f32: its vectors differ by \d"):
        embedder.load(network(), device="cuda")


def test_without_a_gpu_auto_uses_the_processor_and_cuda_is_an_error(network, no_gpu):
    model = network()
    embedder.load(model, device="auto").embed(IMAGES)
    with pytest.raises(ModelError, match=r"device cuda: no driver; install one\. With"):
        embedder.load(model, device="cuda")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("efficientnet-lite0-int8", "8 bits"),
        ("efficientnet-lite0", "runtime is openvino"),
    ],
)
def test_networks_that_only_the_processor_runs(gpu, name, reason):
    model = resolve(name)
    if "openvino" in reason:
        model = replace(model, runtime="openvino")
    assert devices.choose(model, "auto") == "cpu"
    with pytest.raises(ModelError, match=reason):
        devices.choose(model, "cuda")


def test_pixels_need_no_device(no_gpu):
    assert devices.choose(resolve("pixels"), "cuda") == "cpu"


def test_the_environment_names_the_device(monkeypatch):
    monkeypatch.delenv(devices.VARIABLE, raising=False)
    assert devices.requested() == "auto"
    assert devices.requested_for_query() == "cpu"
    monkeypatch.setenv(devices.VARIABLE, "cuda")
    assert devices.requested() == devices.requested_for_query() == "cuda"
    assert devices.requested("cpu") == "cpu"
    monkeypatch.setenv(devices.VARIABLE, "gpu")
    with pytest.raises(
        InputError, match="LOOKALIKE_DEVICE is 'gpu'; expected auto, cpu or cuda"
    ):
        devices.requested()


def test_an_onnx_runtime_without_cuda():
    available = [devices.CPU_PROVIDER]
    fault = devices._build_fault(available, is_installed=False)
    assert "lookalike[gpu]" in fault
    fault = devices._build_fault(available, is_installed=True)
    assert "replaced the files of onnxruntime-gpu" in fault
    available.append(devices.CUDA_PROVIDER)
    assert devices._build_fault(available, is_installed=True) is None


def test_a_missing_driver_gpu_or_library_is_named():
    def load(*missing):
        def load_one(name):
            if name in missing:
                raise OSError(name)
            return SimpleNamespace(cuInit=lambda _: 100 if "no GPU" in missing else 0)

        return load_one

    assert "no NVIDIA driver" in devices._driver_fault(load(devices._DRIVER))
    assert "CUDA error 100" in devices._driver_fault(load("no GPU"))
    assert devices._driver_fault(load()) is None
    assert "libcudnn.so.9" in devices._library_fault("13.0", load("libcudnn.so.9"))
    fault = devices._library_fault("12.8", load("libcublas.so.12"))
    assert "libcublas.so.12" in fault
    assert "CUDA 12" in fault
    assert devices._library_fault("13.0", load("libcublas.so.12")) is None


def test_auto_says_why_an_installed_gpu_package_is_unused(no_gpu, monkeypatch):
    assert devices.fallback_note("auto") is None
    monkeypatch.setattr(
        devices, "_is_installed", lambda name: name == "onnxruntime-gpu"
    )
    assert "run on the processor: no driver" in devices.fallback_note("auto")
    assert devices.fallback_note("cpu") is None


def test_a_space_filled_by_a_gpu_is_the_same_space(network, gpu, tmp_path, sample):
    """A collection that a GPU began is continued and searched on the processor."""
    path = tmp_path / "c"
    model = network()
    folders = sorted(sample.iterdir())[:2]
    on_gpu = IndexSettings(device="cuda")
    lookalike.index(folders[0], path, models=[model], settings=on_gpu)
    assert set(gpu.batches) == {devices.INDEX_BATCH}
    on_processor = IndexSettings(device="cpu")
    count = len(gpu.batches)
    report = lookalike.index(folders, path, settings=on_processor)
    assert report.failed == 0
    assert report.unchanged > 0
    assert len(gpu.batches) == count
    image = min(folders[0].glob("*.jpg"))
    (first, *_) = lookalike.search(path, image, k=1)
    assert first.uri == str(image.absolute())
    assert first.distance < 2e-3


def test_indexing_needs_a_gpu_if_it_is_asked_for(network, no_gpu, tmp_path, sample):
    settings = IndexSettings(device="cuda")
    with pytest.raises(ModelError, match="no driver"):
        lookalike.index(sample, tmp_path / "c", models=[network()], settings=settings)
    assert not (tmp_path / "c").exists()


def test_a_cluster_uses_its_processors(tmp_path, sample):
    settings = IndexSettings(device="cuda", executor=SimpleNamespace())
    with pytest.raises(InputError, match="workers of a cluster"):
        lookalike.index(sample, tmp_path / "c", settings=settings)


def test_embedders_of_one_cache_use_its_device(network, gpu):
    EmbedderCache("cpu").get(network())
    assert gpu.opened == []
    EmbedderCache("cuda", 2).get(network())
    assert gpu.opened == ["f16"]
    assert set(gpu.batches) == {2}


def test_models_says_what_can_compute_them(no_gpu):
    listed = json.loads(command.lookalike("models", "--json").stdout)
    faults = {entry["name"]: entry["fault"] for entry in listed["providers"]}
    assert faults["cpu"] is None
    assert faults["cuda"] == "no driver; install one"
    printed = command.lookalike("models").stdout
    assert "cpu: usable" in printed
    assert "cuda: not usable: no driver; install one" in printed


def test_the_command_line_names_the_device(
    network, no_gpu, tmp_path, sample, monkeypatch
):
    """`--device` wins over the environment, and `search` obeys it too."""
    monkeypatch.setenv(devices.VARIABLE, "cuda")
    model = tmp_path / "network-1.onnx"
    network()
    path = tmp_path / "c"
    arguments = ["index", sample, "-c", path, "--model", model]
    assert "no driver" in command.lookalike(*arguments, status=2).stderr
    command.lookalike(*arguments, "--device", "cpu")
    image = min(sample.glob("*/*.jpg"))
    assert (
        "no driver" in command.lookalike("search", image, "-c", path, status=2).stderr
    )
    command.lookalike("search", image, "-c", path, "--device", "cpu")
