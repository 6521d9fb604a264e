"""Compare the layers with the same arithmetic in plain NumPy."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from lookalike.models.graphs.builder import Features, GraphBuilder
from lookalike.types import Model

HEIGHT, WIDTH = 7, 10


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(
        0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8
    )


def new_builder(tensors=None, dim: int = 3) -> GraphBuilder:
    return GraphBuilder(
        Model("m", "m", "none", (HEIGHT, WIDTH), dim), tensors or {}, epsilon=0.0
    )


def run(builder: GraphBuilder, x: Features, images: np.ndarray) -> np.ndarray:
    """Return the feature map ``[n, channels, height, width]``, after checking its stated shape."""
    proto = builder.build(x)
    proto.graph.output.append(
        onnx.helper.make_tensor_value_info(x.name, onnx.TensorProto.FLOAT, None)
    )
    session = ort.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    pooled, values = session.run(["vectors", x.name], {"images": images})
    assert values.shape == (len(images), *x[1:])
    np.testing.assert_allclose(pooled, values.mean(axis=(2, 3)), rtol=1e-5)
    return values


def windows(
    images: np.ndarray, stride: int, pads: tuple[int, int, int, int], fill: float
) -> np.ndarray:
    top, left, bottom, right = pads
    planes = images.transpose(0, 3, 1, 2).astype(np.float64)
    padded = np.pad(
        planes, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill
    )
    return sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]


# Stride, padding, and the padded cells (top, left, bottom, right) of TensorFlow for 7 x 10.
CASES = [
    (1, "same", (1, 1, 1, 1)),
    (2, "same", (1, 0, 1, 1)),
    (2, "valid", (0, 0, 0, 0)),
    (1, (0, 1, 2, 0), (0, 1, 2, 0)),
]


@pytest.mark.parametrize(("stride", "padding", "pads"), CASES)
def test_max_pool(stride, padding, pads, images):
    builder = new_builder()
    values = run(
        builder,
        builder.max_pool(builder.images(), 3, stride=stride, padding=padding),
        images,
    )
    np.testing.assert_array_equal(
        values, windows(images, stride, pads, -np.inf).max(axis=(4, 5))
    )


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize(("stride", "padding", "pads"), CASES)
def test_average_pool(stride, padding, pads, count_include_pad, images):
    builder = new_builder()
    pooled = builder.average_pool(
        builder.images(),
        3,
        stride=stride,
        padding=padding,
        count_include_pad=count_include_pad,
    )
    with warnings.catch_warnings(action="ignore"):
        expected = np.nanmean(
            windows(images, stride, pads, 0.0 if count_include_pad else np.nan),
            axis=(4, 5),
        )
    np.testing.assert_allclose(run(builder, pooled, images), expected, rtol=1e-5)


def test_concatenate_keeps_the_order(images):
    builder = new_builder(dim=6)
    x = builder.images()
    values = run(builder, builder.concatenate([x, builder.max_pool(x, 3)]), images)
    np.testing.assert_array_equal(values[:, :3], images.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(
        values[:, 3:], windows(images, 1, (1, 1, 1, 1), -np.inf).max(axis=(4, 5))
    )


@pytest.mark.parametrize(("stride", "padding", "pads"), CASES)
def test_convolution_folds_batch_normalization(stride, padding, pads, images):
    generator = np.random.default_rng(3)
    kernel = generator.normal(size=(4, 3, 3, 3))
    gamma, beta, mean, variance = norm = generator.uniform(0.5, 1.5, (4, 4))
    parts = dict(
        zip(
            ("n.weight", "n.bias", "n.running_mean", "n.running_var"), norm, strict=True
        )
    )
    builder = new_builder({"c.weight": kernel, **parts}, dim=4)
    values = run(
        builder,
        builder.convolution(builder.images(), "c", "n", stride=stride, padding=padding),
        images,
    )
    convolved = np.einsum(
        "nchwij,ocij->nhwo", windows(images, stride, pads, 0.0), kernel
    )
    expected = (convolved - mean) / np.sqrt(variance) * gamma + beta
    np.testing.assert_allclose(
        values.transpose(0, 2, 3, 1), expected, rtol=1e-4, atol=1e-2
    )
