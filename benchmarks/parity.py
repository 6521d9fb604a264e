"""Compare Lookalike's Inception-v3 with Keras's; ``scripts/parity`` runs this with Keras.

Keras creates its network with random weights and normalizations, and saves it. Lookalike reads that
file by the same names as the published one. The 2,048 features of random images must agree.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.models import embedder, graphs, registry, tensors

# TensorFlow reads these variables at its import. It prints errors only.
os.environ.update(
    TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0", CUDA_VISIBLE_DEVICES=""
)
logging.getLogger("absl").setLevel(logging.ERROR)

MAX_ERROR = 1e-4


def main() -> int:
    arguments = parse_arguments()
    generator = np.random.default_rng(arguments.seed)
    images = generator.integers(0, 256, (arguments.images, 299, 299, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "keras.h5")
        expected = keras_features(images, generator, file)
        actual = lookalike_features(images, file)

    # A feature is a mean after ReLU. One that is almost always 0 is compared with a typical one.
    typical = np.median(expected)
    difference = np.abs(actual - expected)
    error = difference / np.maximum(np.abs(expected), typical)
    change = expected.std(axis=0) / expected.mean()
    print(
        f"features                 {expected.shape[1]:,} of {len(images)} random images"
    )
    print(
        f"size                     median {typical:.4f}, largest {expected.max():.4f}"
    )
    print(f"change between images    {np.median(change):.1e} of the mean feature")
    print(f"largest difference       {difference.max():.1e}")
    print(
        f"largest relative error   {error.max():.1e}, expected less than {MAX_ERROR:.0e}"
    )
    # A NaN fails as well.
    is_equal = error.max() < MAX_ERROR
    return 0 if is_equal else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare Lookalike's Inception-v3 with Keras's on random weights."
    )
    parser.add_argument(
        "--images", type=int, default=8, help="the number of random images (default: 8)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="the seed of weights and images (default: 0)",
    )
    return parser.parse_args()


def keras_features(
    images: np.ndarray, generator: np.random.Generator, file: Path
) -> np.ndarray:
    """Return Keras's features, float32 ``[n, 2048]``, and save its network."""
    import keras

    inception = keras.applications.inception_v3
    network = inception.InceptionV3(
        weights=None, include_top=False, pooling="avg", input_shape=(299, 299, 3)
    )
    for layer in network.layers:
        if layer.weights:
            layer.set_weights(
                [random_weight(weight, generator) for weight in layer.weights]
            )
    network.save(file)
    inputs = inception.preprocess_input(images.astype(np.float32))
    return network.predict(inputs, verbose=0)


def random_weight(weight: Any, generator: np.random.Generator) -> np.ndarray:
    """Draw kernels that preserve the variance of their input, and normalizations with an effect.

    The kernels follow He et al., 2015, arXiv:1502.01852.
    """
    shape = weight.shape
    if weight.name == "kernel":
        inputs = np.prod(shape[:3])
        return generator.normal(0, np.sqrt(2 / inputs), shape)
    if weight.name == "moving_variance":
        return generator.uniform(0.5, 1.5, shape)
    return generator.normal(0, 0.2, shape)


def lookalike_features(images: np.ndarray, file: Path) -> np.ndarray:
    """Return Lookalike's features of the network that Keras saved."""
    model = dataclasses.replace(
        registry.resolve("inception-v3-keras"), unit_length=False
    )
    proto = graphs.build(model, tensors.read_tensors(file))
    graph = file.with_suffix(".onnx")
    graph.write_bytes(proto.SerializeToString())
    return embedder.OnnxEmbedder(model, graph).embed(images)


if __name__ == "__main__":
    sys.exit(main())
