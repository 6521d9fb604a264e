"""Narrow networks of random numbers, with the tensor names and the layers of the published ones.

`scripts/golden_networks.py` gives the same numbers to torchvision's own modules.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Tensors = dict[str, np.ndarray]

SEED = 7
# ResNet-50 with a sixteenth of its channels, and the length of its embedding.
PLANES = (4, 8, 16, 32)
BLOCKS = (3, 4, 6, 3)
EMBEDDING = 16
# MobileNetV3-Large with a quarter of its channels: the channels before the first block, then for
# each block its kernel, its expanded channels, its own, and those of its squeeze; torchvision
# rounds them to multiples of 8.
MOBILE_STEM = 8
MOBILE_ROWS = (
    (3, 8, 8, 0), (3, 16, 8, 0), (3, 24, 8, 0), (5, 24, 16, 8), (5, 32, 16, 8), (5, 32, 16, 8),
    (3, 64, 24, 0), (3, 48, 24, 0), (3, 48, 24, 0), (3, 48, 24, 0), (3, 120, 32, 32),
    (3, 168, 32, 40), (5, 168, 40, 40), (5, 240, 40, 64), (5, 240, 40, 64),
)  # fmt: skip
MOBILE_HIDDEN = 320
CLASSES = 10


def images(side: int, count: int = 2) -> np.ndarray:
    """Return random images, uint8 ``[count, side, side, 3]``."""
    generator = np.random.default_rng(SEED)
    return generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def resnet50(*, outputs: int = EMBEDDING) -> Tensors:
    """Return the tensors of a narrow ResNet-50 by torchvision's names."""
    made = _Maker()
    made.convolution("conv1", "bn1", PLANES[0], 3, 7)
    channels = PLANES[0]
    for stage, (planes, blocks) in enumerate(zip(PLANES, BLOCKS, strict=True), start=1):
        for number in range(blocks):
            name = f"layer{stage}.{number}"
            made.convolution(f"{name}.conv1", f"{name}.bn1", planes, channels, 1)
            made.convolution(f"{name}.conv2", f"{name}.bn2", planes, planes, 3)
            made.convolution(f"{name}.conv3", f"{name}.bn3", 4 * planes, planes, 1)
            if number == 0:
                made.convolution(
                    f"{name}.downsample.0",
                    f"{name}.downsample.1",
                    4 * planes,
                    channels,
                    1,
                )
            channels = 4 * planes
    made.linear("fc", (outputs, channels))
    return made.tensors


def mobilenet_v3() -> Tensors:
    """Return the tensors of a narrow MobileNetV3-Large by torchvision's names."""
    made = _Maker()
    made.convolution("features.0.0", "features.0.1", MOBILE_STEM, 3, 3)
    before = MOBILE_STEM
    for number, (kernel, expanded, own, squeeze) in enumerate(MOBILE_ROWS, start=1):
        layers: list[tuple[int, ...]] = []
        if number > 1:
            layers.append((expanded, before, 1))
        layers.append((expanded, 1, kernel))
        for place, layer in enumerate(layers):
            name = f"features.{number}.block.{place}"
            made.convolution(f"{name}.0", f"{name}.1", *layer)
        place = len(layers)
        if squeeze:
            name = f"features.{number}.block.{place}"
            made.linear(f"{name}.fc1", (squeeze, expanded, 1, 1))
            made.linear(f"{name}.fc2", (expanded, squeeze, 1, 1))
            place += 1
        name = f"features.{number}.block.{place}"
        made.convolution(f"{name}.0", f"{name}.1", own, expanded, 1)
        before = own
    last = f"features.{len(MOBILE_ROWS) + 1}"
    made.convolution(f"{last}.0", f"{last}.1", 6 * before, before, 1)
    made.linear("classifier.0", (MOBILE_HIDDEN, 6 * before))
    made.linear("classifier.3", (CLASSES, MOBILE_HIDDEN))
    return made.tensors


class _Maker:
    """Makes tensors in order from one generator."""

    def __init__(self) -> None:
        self.tensors: Tensors = {}
        self._generator = np.random.default_rng(SEED)

    def convolution(
        self, name: str, norm: str, channels: int, inputs: int, kernel: int
    ) -> None:
        shape = (channels, inputs, kernel, kernel)
        self._weight(name, shape)
        for part in ("weight", "running_var"):
            self._add(f"{norm}.{part}", self._generator.uniform(0.5, 1.5, channels))
        for part in ("bias", "running_mean"):
            self._add(f"{norm}.{part}", self._generator.normal(0, 0.3, channels))

    def linear(self, name: str, shape: tuple[int, ...]) -> None:
        self._weight(name, shape)
        self._add(f"{name}.bias", self._generator.normal(0, 0.3, shape[0]))

    def _weight(self, name: str, shape: tuple[int, ...]) -> None:
        inputs = np.prod(shape[1:])
        self._add(
            f"{name}.weight", self._generator.normal(0, np.sqrt(2 / inputs), shape)
        )

    def _add(self, name: str, values: np.ndarray) -> None:
        self.tensors[name] = values.astype(np.float32)


def classy_names(tensors: Mapping[str, np.ndarray]) -> Tensors:
    """Return the tensors of a ResNet under the names that SSCD has in Classy Vision."""
    block_parts = {
        "conv1": "convolutional_block.0", "bn1": "convolutional_block.1",
        "conv2": "convolutional_block.3", "bn2": "convolutional_block.4",
        "conv3": "convolutional_block.6", "bn3": "bn",
    }  # fmt: skip
    outer = {
        "conv1": "backbone.initial_block._module.0",
        "bn1": "backbone.initial_block._module.1",
        "fc": "embeddings.1",
    }
    renamed = {}
    for name, tensor in tensors.items():
        first, *rest = name.split(".")
        if first in outer:
            new_name = ".".join([outer[first], *rest])
        else:
            stage = int(first.removeprefix("layer")) - 1
            number, part, *last = rest
            block = f"backbone.blocks.{stage}.block{stage}-{number}"
            new_name = ".".join([block, block_parts.get(part, part), *last])
        renamed[new_name] = tensor
    return renamed
