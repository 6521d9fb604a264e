"""The networks of the catalog get the pixels and tokens that their publishers' configurations say.

The expected values are computed here from those configurations, with Pillow and NumPy alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import two_towers as made
from lookalike import imaging
from lookalike.errors import WeightsError
from lookalike.models import embedder, registry, weights
from lookalike.models.text.tokenizer import Tokenizer
from lookalike.types import Weights

IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
OPENAI = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
HALF = [0.5] * 3, [0.5] * 3

SMALL = 64

# The shorter side before the center crop (None: the whole image becomes a square), the filter, mean
# and std, and the length of a vector.
IMAGES = {
    "siglip2-base-patch16-224": (None, Image.Resampling.BILINEAR, HALF, 768),
    "siglip-base-patch16-224": (None, Image.Resampling.BICUBIC, HALF, 768),
    "clip-vit-b32": (224, Image.Resampling.BICUBIC, OPENAI, 512),
    "clip-vit-b32-multilingual": (224, Image.Resampling.BICUBIC, OPENAI, 512),
    "tinyclip-40m": (224, Image.Resampling.BICUBIC, OPENAI, 512),
    "dinov2-small": (256, Image.Resampling.BICUBIC, IMAGENET, 384),
    "dinov3-vits16": (None, Image.Resampling.BILINEAR, IMAGENET, 384),
    "resnet50": (232, Image.Resampling.BILINEAR, IMAGENET, 2048),
    "mobilenet-v3-large": (232, Image.Resampling.BILINEAR, IMAGENET, 1280),
    "sscd": (None, Image.Resampling.BILINEAR, IMAGENET, 512),
}
# The side of the input where it is not 224.
INPUTS = {"sscd": 320}

# The most tokens, and the id that fills up to them.
TEXTS = {
    "siglip2-base-patch16-224": (64, 0),
    "siglip-base-patch16-224": (64, 1),
    "clip-vit-b32": (77, None),
    "clip-vit-b32-multilingual": (128, None),
    "tinyclip-40m": (77, None),
}
LOWER_CASE = set(TEXTS) - {"clip-vit-b32-multilingual"}
NO_PUNCTUATION = {"siglip-base-patch16-224"}


def make_image(width: int, height: int) -> Image.Image:
    """Return a small image of noise, where filters differ most, or a larger one of smooth spots."""
    rng = np.random.default_rng(0)
    if width == SMALL:
        return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def published_input(image: Image.Image, name: str) -> np.ndarray:
    """Return the network's input, float32 ``[3, side, side]``, as its publisher computes it."""
    side, resampling, (mean, std), _ = IMAGES[name]
    own = INPUTS.get(name, 224)
    if side is None:
        resized = image.resize((own, own), resampling)
    else:
        scale = side / min(image.size)
        resized = image.resize(
            [round(scale * length) for length in image.size], resampling
        )
        left, top = (resized.width - own) // 2, (resized.height - own) // 2
        resized = resized.crop((left, top, left + own, top + own))
    levels = np.asarray(resized, np.float32) / 255
    normalized = (levels - np.float32(mean)) / np.float32(std)
    return normalized.transpose(2, 0, 1)


def blocks(pixels: np.ndarray) -> np.ndarray:
    """Return the means of blocks of 8 x 8 pixels, as one row."""
    count = pixels.shape[1] // 8
    return pixels.reshape(3, count, 8, count, 8).mean(axis=(2, 4)).ravel()


@pytest.fixture(scope="module")
def averaging_graph(tmp_path_factory) -> Weights:
    """A graph whose vector is the means of blocks of its input, a square of any size."""
    nodes = [
        helper.make_node(
            "AveragePool",
            ["pixel_values"],
            ["pooled"],
            kernel_shape=[8, 8],
            strides=[8, 8],
        ),
        helper.make_node("Flatten", ["pooled"], ["blocks"]),
    ]
    pixels = helper.make_tensor_value_info(
        "pixel_values", TensorProto.FLOAT, ["n", 3, "side", "side"]
    )
    output = helper.make_tensor_value_info("blocks", TensorProto.FLOAT, ["n", "dim"])
    path = tmp_path_factory.mktemp("averaging") / "net.onnx"
    onnx.save(made.graph(nodes, [pixels], [output], {}), path)
    return Weights(str(path))


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("size", [(640, 320), (320, 640), (1280, 1280), (SMALL, SMALL)])
def test_network_gets_the_published_input(name, size, averaging_graph):
    image = make_image(*size)
    expected = blocks(published_input(image, name))
    model = replace(
        registry.resolve(name),
        architecture="onnx", options={},
        weights=averaging_graph, data=None, text=None, output="blocks",
        dim=len(expected), pooling="none", unit_length=False,
    )  # fmt: skip
    prepared = imaging.prepare(image, model)
    (vector,) = embedder.load(model).embed(prepared[np.newaxis])
    # A quarter of a level of 255. Another filter differs by 10 levels in the image of noise.
    tolerance = 0.25 / 255 / min(IMAGES[name][2][1])
    np.testing.assert_allclose(vector, expected, atol=tolerance)


@pytest.mark.parametrize("name", IMAGES)
def test_catalog_names_every_file_with_its_place_and_hash(name):
    model = registry.resolve(name)
    tower = model.text
    assert model.dim == IMAGES[name][3]
    files = [model.weights, model.data]
    if tower is not None:
        files += [tower.graph, tower.tokenizer, tower.projection]
    for file in filter(None, files):
        # A file on the hub is that of one revision.
        if file.url is None:
            assert re.fullmatch(r"[\w-]+/[\w.-]+@[0-9a-f]{40}/.+", file.hub)
        assert len(file.sha256) == 64
        assert file.license
        # The publisher states the size of this one in round numbers alone.
        assert file.size or file.file == "siglip-base-patch16-224-vision-fp16.onnx"
    assert (tower is not None) == (name in TEXTS)


def test_files_of_different_content_have_different_names():
    """One folder in LOOKALIKE_WEIGHTS can hold the files of all models."""
    hashes: dict[str, str] = {}
    for model in registry.catalog().values():
        tower = model.text
        files = [model.weights, model.data]
        if tower is not None:
            files += [tower.graph, tower.tokenizer, tower.projection]
        for file in filter(None, files):
            name = Path(file.file).name
            digest = file.sha256 or file.md5
            assert hashes.setdefault(name, digest) == digest


@pytest.mark.parametrize("name", TEXTS)
def test_text_becomes_the_published_number_of_tokens(name, tmp_path):
    content = made.tokenizer_file()
    words = content["model"]["vocab"]
    words.update({"Car": 50, "car.": 51, "Car.": 52})
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    tokenizer = Tokenizer(registry.resolve(name), path)

    context, padding = TEXTS[name]
    ids, mask = tokenizer.encode("red " * 1000)
    assert len(ids) == context
    assert ids[-1] == made.END
    assert mask.all()

    ids, mask = tokenizer.encode("  red   car ")
    expected = [words["red"], words["car"], made.END]
    count = len(expected)
    if padding is not None:
        assert ids.tolist() == expected + [padding] * (context - count)
        assert mask.tolist() == [1] * count + [0] * (context - count)
    else:
        assert ids.tolist() == expected
        assert mask.tolist() == [1] * count

    word = "car" if name in LOWER_CASE else "Car"
    if name not in NO_PUNCTUATION:
        word += "."
    ids, _ = tokenizer.encode("Car.")
    assert ids[0] == words[word]


def test_license_of_dinov3_is_accepted_first(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(
        WeightsError, match=r"dinov3-license.*--accept-license dinov3-vits16"
    ):
        weights.find(registry.resolve("dinov3-vits16"))
