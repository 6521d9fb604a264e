"""Compare the Inception-v3 that Lookalike builds with Keras's own; ``scripts/parity`` runs this where Keras is.

Keras makes its network with random weights, random norms included, and saves it; Lookalike reads that file as it
would the published one, by the same names. The 2,048 features of random pictures must agree.
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

# Read by TensorFlow as it is imported: only errors are to be told.
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0", CUDA_VISIBLE_DEVICES="")
logging.getLogger("absl").setLevel(logging.ERROR)

BOUND = 1e-4


def main() -> int:
    arguments = _arguments()
    generator = np.random.default_rng(arguments.seed)
    images = generator.integers(0, 256, (arguments.images, 299, 299, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        theirs = _keras(images, generator, Path(folder, "keras.h5"))
        ours = _lookalike(images, Path(folder, "keras.h5"))
    # Every feature is a mean after ReLU; one that is almost always 0 is held to a typical feature's size.
    error = np.abs(ours - theirs) / np.maximum(np.abs(theirs), np.median(theirs))
    spread = theirs.std(axis=0) / theirs.mean()
    print(f"features                 {theirs.shape[1]:,} of {len(images)} random images")
    print(f"size                     median {np.median(theirs):.4f}, largest {theirs.max():.4f}")
    print(f"change between images    {np.median(spread):.1e} of the mean feature")
    print(f"largest difference       {np.abs(ours - theirs).max():.1e}")
    print(f"largest relative error   {error.max():.1e}, expected less than {BOUND:.0e}")
    return int(not error.max() < BOUND)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare Lookalike's Inception-v3 with Keras's on random weights."
    )
    parser.add_argument("--images", type=int, default=8, help="how many random images (default: 8)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the weights and the images (default: 0)"
    )
    return parser.parse_args()


def _keras(images: np.ndarray, generator: np.random.Generator, file: Path) -> np.ndarray:
    """Return Keras's features, and save its network."""
    import keras

    network = keras.applications.InceptionV3(
        weights=None, include_top=False, pooling="avg", input_shape=(299, 299, 3)
    )
    for layer in network.layers:
        if layer.weights:
            layer.set_weights([_random(weight, generator) for weight in layer.weights])
    network.save(file)
    return network.predict(
        keras.applications.inception_v3.preprocess_input(images.astype(np.float32)), verbose=0
    )


def _random(weight: Any, generator: np.random.Generator) -> np.ndarray:
    """Draw kernels that keep the size of what they are given (He et al., 2015, arXiv:1502.01852), norms that act."""
    shape = weight.shape
    if weight.name == "kernel":
        return generator.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape)
    return (
        generator.uniform(0.5, 1.5, shape)
        if weight.name == "moving_variance"
        else generator.normal(0, 0.2, shape)
    )


def _lookalike(images: np.ndarray, file: Path) -> np.ndarray:
    model = dataclasses.replace(registry.resolve("inception-v3-keras"), unit_length=False)
    graph = file.with_suffix(".onnx")
    graph.write_bytes(graphs.build(model, tensors.read_tensors(file)).SerializeToString())
    return embedder.OnnxEmbedder(model, graph).embed(images)


if __name__ == "__main__":
    sys.exit(main())
