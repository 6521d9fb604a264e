"""Compare the graphs with the same networks in plain NumPy, in float64, from the paper's table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from lookalike.errors import ModelError, WeightsError
from lookalike.models import embedder, graphs, weights
from lookalike.models.registry import resolve
from lookalike.models.tensors import read_tensors

# The kernel, stride and expansion of each stage, and its number of blocks in each network.
STAGES = [(3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6)]
BLOCKS = {
    "efficientnet-lite0": [1, 2, 2, 3, 3, 4, 1],
    "efficientnet-lite2": [1, 3, 3, 4, 4, 5, 1],
}


def windows(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Return the windows of ``[channels, height, width]`` under TensorFlow's SAME padding."""
    pads = [(0, 0)]
    for side in x.shape[1:]:
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads.append((total // 2, total - total // 2))
    return sliding_window_view(np.pad(x, pads), (kernel, kernel), axis=(1, 2))[
        :, ::stride, ::stride
    ]


class PlainNetwork:
    """The network, one image at a time."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self.tensors = {
            name: array.astype(np.float64) for name, array in tensors.items()
        }

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        parts = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (
            self.tensors[f"{name}.{part}"][:, None, None] for part in parts
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def dense(self, x: np.ndarray, name: str, norm: str, stride: int = 1) -> np.ndarray:
        kernel = self.tensors[f"{name}.weight"]
        seen = windows(x, kernel.shape[2], stride)
        return self.norm(np.tensordot(kernel, seen, axes=([1, 2, 3], [0, 3, 4])), norm)

    def depthwise(self, x: np.ndarray, name: str, norm: str, stride: int) -> np.ndarray:
        kernel = self.tensors[f"{name}.weight"][:, 0]
        return self.norm(
            np.einsum("chwij,cij->chw", windows(x, kernel.shape[1], stride), kernel),
            norm,
        )

    def features(self, image: np.ndarray, blocks: list[int]) -> np.ndarray:
        x = (image.astype(np.float64).transpose(2, 0, 1) - 127) / 128
        x = relu6(self.dense(x, "_conv_stem", "_bn0", stride=2))
        number = 0
        for (kernel, first_stride, expand), count in zip(STAGES, blocks, strict=True):
            for stride in [first_stride] + [1] * (count - 1):
                name = f"_blocks.{number}"
                y = (
                    relu6(self.dense(x, f"{name}._expand_conv", f"{name}._bn0"))
                    if expand > 1
                    else x
                )
                y = relu6(
                    self.depthwise(y, f"{name}._depthwise_conv", f"{name}._bn1", stride)
                )
                assert self.tensors[f"{name}._depthwise_conv.weight"].shape[2] == kernel
                y = self.dense(y, f"{name}._project_conv", f"{name}._bn2")
                x = x + y if x.shape == y.shape else y
                number += 1
        assert f"_blocks.{number}._bn1.weight" not in self.tensors
        return relu6(self.dense(x, "_conv_head", "_bn1")).mean(axis=(1, 2))


def relu6(x: np.ndarray) -> np.ndarray:
    return np.clip(x, 0, 6)


def make_images(side: int) -> np.ndarray:
    """Return noise, and a smooth image whose edges differ, which reveals a shifted padding."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    y, x = np.mgrid[:side, :side] / side
    smooth = np.stack([255 * x, 255 * y, 255 * (x * y)], axis=-1).astype(np.uint8)
    return np.stack([noise, smooth])


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_features_match_a_plain_numpy_network(name):
    model = replace(resolve(name), unit_length=False)
    images = make_images(model.size[0])
    vectors = embedder.load(model, threads=2).embed(images)
    plain = PlainNetwork(read_tensors(weights.find(model)))
    for vector, image in zip(vectors, images, strict=True):
        expected = plain.features(image, BLOCKS[name])
        assert np.linalg.norm(expected) > 1
        assert np.linalg.norm(vector - expected) / np.linalg.norm(expected) < 1e-4


@pytest.fixture(scope="module")
def numbers() -> dict[str, np.ndarray]:
    return read_tensors(weights.find(resolve("efficientnet-lite0")))


def test_graph_maps_uint8_images_to_vectors(numbers):
    graph = graphs.build(resolve("efficientnet-lite0"), numbers).graph
    (images,), (vectors,) = graph.input, graph.output
    assert [d.dim_value or d.dim_param for d in images.type.tensor_type.shape.dim] == [
        "n",
        224,
        224,
        3,
    ]
    assert [d.dim_value or d.dim_param for d in vectors.type.tensor_type.shape.dim] == [
        "n",
        1280,
    ]
    assert {node.op_type for node in graph.node} == {
        "Transpose", "DequantizeLinear", "Conv", "Clip", "Add", "GlobalAveragePool", "Flatten",
    }  # fmt: skip


def test_other_input_size_matches_the_plain_network(numbers):
    small = embedder.load(
        replace(resolve("efficientnet-lite0"), size=(64, 96), unit_length=False)
    )
    image = make_images(96)[:1, :64]
    expected = PlainNetwork(numbers).features(image[0], BLOCKS["efficientnet-lite0"])
    vector = small.embed(image)[0]
    assert np.linalg.norm(vector - expected) / np.linalg.norm(expected) < 1e-4


def test_missing_or_misshapen_tensor_is_named(numbers):
    model = resolve("efficientnet-lite0")
    less = {
        name: array for name, array in numbers.items() if name != "_blocks.3._bn1.bias"
    }
    with pytest.raises(WeightsError, match=r"lack the tensor _blocks\.3\._bn1\.bias"):
        graphs.build(model, less)
    with pytest.raises(
        WeightsError,
        match=r"_conv_head\.weight has the shape \[1280, 7, 1, 1\], expected \[1280, 320,",
    ):
        graphs.build(model, {**numbers, "_conv_head.weight": np.zeros((1280, 7, 1, 1))})
    with pytest.raises(
        WeightsError,
        match=r"_bn0\.weight has the shape \(2, 2\); expected 1 dimensions",
    ):
        graphs.build(model, {**numbers, "_bn0.weight": np.zeros((2, 2))})


def test_wrong_depth_is_refused(numbers):
    with pytest.raises(WeightsError, match=r"the architecture|lack the tensor"):
        graphs.build(
            replace(resolve("efficientnet-lite0"), options={"depth": 1.2}), numbers
        )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"options": {"depth": "deep"}},
            r"option depth = 'deep'; expected depth = 0 to 10",
        ),
        ({"options": {"depth": 0}}, "option depth = 0"),
        ({"options": {"depht": 1.2}}, "option depht = 1.2; expected depth"),
        ({"output": "stem"}, "output = 'stem'; EfficientNet-Lite knows only 'head'"),
    ],
)
def test_unknown_option_or_output_is_refused(numbers, changes, reason):
    with pytest.raises(ModelError, match=reason):
        graphs.build(replace(resolve("efficientnet-lite0"), **changes), numbers)
