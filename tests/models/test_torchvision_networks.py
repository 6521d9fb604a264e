"""ResNet-50, SSCD and MobileNetV3 compute what torchvision's own modules compute.

The expected numbers are PyTorch's, written by `scripts/golden_networks.py`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import made_networks as made
from lookalike import imaging
from lookalike.errors import ModelError, WeightsError
from lookalike.models import embedder, registry, weights
from lookalike.models.calibration import calibrate
from lookalike.models.cells import load_cells
from lookalike.types import Model, Weights
from torch_files import of_array, script_archive, zipped

GOLDEN = json.loads(Path(__file__).with_name("golden_networks.json").read_text())
SIDE = 64


def write_state(path: Path, tensors: made.Tensors) -> Path:
    """Write a state dict as torchvision's files are written."""
    keys = {name: str(number) for number, name in enumerate(tensors)}
    state = {name: of_array(keys[name], array) for name, array in tensors.items()}
    storages = {keys[name]: array for name, array in tensors.items()}
    path.write_bytes(zipped(state, storages))
    return path


def narrow(name: str, path: Path, dim: int, **changes) -> Model:
    """Return an entry of the catalog with the weights of a narrow network, for small images."""
    file = Weights(str(path), sha256=weights.sha256_of(path))
    model = registry.resolve(name)
    small = {"size": (SIDE, SIDE), "crop_side": None, "unit_length": False}
    return replace(model, weights=file, dim=dim, **{**small, **changes})


def embed(model: Model) -> np.ndarray:
    return embedder.load(model).embed(made.images(SIDE))


def assert_golden(vectors: np.ndarray, name: str) -> None:
    expected = np.array(GOLDEN[name])
    kept = vectors[:, : expected.shape[1]]
    largest = np.abs(expected).max()
    np.testing.assert_allclose(kept, expected, rtol=1e-4, atol=1e-5 * largest)


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("resnet") / "resnet.pth"
    return write_state(path, made.resnet50())


@pytest.fixture(scope="module")
def mobilenet_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mobilenet") / "mobilenet.pth"
    return write_state(path, made.mobilenet_v3())


@pytest.fixture(scope="module")
def sscd_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sscd") / "sscd.torchscript.pt"
    path.write_bytes(script_archive(made.classy_names(made.resnet50())))
    return path


def test_resnet50_equals_torchvision(resnet_file):
    assert_golden(embed(narrow("resnet50", resnet_file, 128)), "resnet layer4")


def test_mobilenet_v3_equals_torchvision(mobilenet_file):
    model = narrow("mobilenet-v3-large", mobilenet_file, made.MOBILE_HIDDEN)
    assert_golden(embed(model), "mobilenet hidden")
    features = replace(model, output="features", dim=240)
    assert_golden(embed(features), "mobilenet features")


def test_sscd_equals_pytorch(sscd_file):
    model = narrow("sscd", sscd_file, made.EMBEDDING)
    assert_golden(embed(model), "sscd")

    unit = embed(replace(model, unit_length=True))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    # The plain mean of the cells gives the layer's own vector.
    assert_golden(embed(replace(model, options={})), "resnet fc")


def test_sscd_is_read_under_torchvision_names_too(sscd_file, tmp_path):
    tensors = made.resnet50()
    backbone = {f"backbone.{name}": array for name, array in tensors.items()}
    (tmp_path / "sscd.torchscript.pt").write_bytes(script_archive(backbone))
    save_file(tensors, tmp_path / "sscd.safetensors")
    expected = embed(narrow("sscd", sscd_file, made.EMBEDDING))
    for path in tmp_path.iterdir():
        found = embed(narrow("sscd", path, made.EMBEDDING))
        np.testing.assert_array_equal(found, expected)


def test_generalized_mean_of_dark_and_bright_cells_is_finite(tmp_path):
    tensors = made.resnet50()
    # The last stage gives thousands times larger features, whose cubes are beyond 16 bits, or none.
    tensors["layer4.2.bn3.weight"] *= 1e4
    tensors["layer4.2.bn3.bias"][:64] = -1e9
    path = write_state(tmp_path / "net.pth", tensors)
    model = narrow("sscd", path, 128, output="layer4")
    vectors = embed(replace(model, unit_length=True))
    assert np.isfinite(vectors).all()
    assert (vectors[:, :64] < 1e-6).all()
    assert vectors[:, 64:].max() > 0.1


@pytest.mark.parametrize(
    ("name", "file", "dim"),
    [
        ("resnet50", "resnet_file", 128),
        ("sscd", "sscd_file", made.EMBEDDING),
        ("mobilenet-v3-large", "mobilenet_file", made.MOBILE_HIDDEN),
    ],
)
def test_cells_have_the_vectors_space(name, file, dim, request):
    model = narrow(name, request.getfixturevalue(file), dim)
    cells = load_cells(model, size=(96, 128)).feature_map(
        np.zeros((1, 96, 128, 3), np.uint8)
    )
    assert cells.shape == (1, 3, 4, dim)


def test_cells_show_the_part_of_an_image_that_the_network_sees(resnet_file):
    model = narrow("resnet50", resnet_file, 128, crop_side=80)
    network = load_cells(model)
    assert network.model.size == (448, 448)
    image = Image.new("RGB", (300, 200))
    assert imaging.prepare(image, network.model).shape == (448, 448, 3)
    expected = imaging.center_box(image, model)
    assert imaging.center_box(image, network.model) == pytest.approx(expected)


def test_earlier_stage_can_be_the_output(resnet_file):
    model = narrow("resnet50", resnet_file, 64, output="layer3")
    assert embed(model).shape == (2, 64)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("resnet50", {"options": {"depth": 34}}, "depth = 34; expected one of 50, 101, 152"),
        ("resnet50", {"options": {"depth": [50]}}, r"depth = \[50\]"),
        ("resnet50", {"options": {"layers": 50}}, "'layers'; expected depth or power"),
        ("resnet50", {"options": {"power": 0}}, "power = 0; expected a number from 1"),
        ("resnet50", {"options": {"power": True}}, "power = True"),
        ("resnet50", {"output": "fc"}, "output = 'fc'; expected one of layer1"),
        ("mobilenet-v3-large", {"options": {"depth": 1}}, "'depth'; expected none"),
        ("mobilenet-v3-large", {"output": "head"}, "expected one of features, hidden"),
    ],
)  # fmt: skip
def test_other_outputs_and_options_are_refused(
    name, changes, message, resnet_file, mobilenet_file
):
    file = resnet_file if name == "resnet50" else mobilenet_file
    with pytest.raises(ModelError, match=message):
        embed(narrow(name, file, 128, **changes))


def test_weights_of_another_network_are_refused(resnet_file, mobilenet_file):
    with pytest.raises(WeightsError, match=r"lack the tensor conv1\.weight"):
        embed(narrow("resnet50", mobilenet_file, 128))
    with pytest.raises(WeightsError, match=r"lack the tensor features\.0\.0\.weight"):
        embed(narrow("mobilenet-v3-large", resnet_file, 128))


def test_misshapen_embedding_is_named(tmp_path):
    tensors = made.resnet50()
    tensors["fc.weight"] = tensors["fc.weight"][:, :64].copy()
    path = write_state(tmp_path / "net.pth", tensors)
    with pytest.raises(
        WeightsError, match=r"fc\.weight .*\[16, 64\], expected \[16, 128\]"
    ):
        embed(narrow("sscd", path, made.EMBEDDING))


@pytest.mark.parametrize(
    ("name", "file", "dim", "least_cosine"),
    [
        ("sscd", "sscd_file", made.EMBEDDING, 0.999),
        # Random channels behind an activation that is not monotone lose more.
        ("mobilenet-v3-large", "mobilenet_file", made.MOBILE_HIDDEN, 0.9),
    ],
)
def test_networks_can_be_quantized(name, file, dim, least_cosine, request, tmp_path):
    model = narrow(name, request.getfixturevalue(file), dim, unit_length=True)
    path = tmp_path / "calibration.safetensors"
    save_file(calibrate(model, [made.images(SIDE, 8)]), path)
    calibration = Weights(str(path), sha256=weights.sha256_of(path))
    quantized = replace(model, precision="int8", calibration=calibration)
    cosines = (embed(model) * embed(quantized)).sum(axis=1)
    assert (cosines > least_cosine).all()
    assert (cosines < 1 - 1e-6).all()
