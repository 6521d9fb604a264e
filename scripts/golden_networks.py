"""Write the vectors that torchvision's own modules give for the narrow networks of the tests.

It runs in an environment that has PyTorch and torchvision, beside this project's requirements, and
checks that the reader of weights reads what ``torch.jit.save`` writes:

    python scripts/golden_networks.py tests/models/golden_networks.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import mobilenetv3, resnet

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import made_networks as made  # noqa: E402
from lookalike.models.tensors import read_tensors  # noqa: E402

# The numbers of each vector that are kept.
KEPT = 16
SIDE = 64
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]


class NarrowResNet(resnet.ResNet):
    """ResNet-50 with a sixteenth of its channels."""

    def __init__(self) -> None:
        super().__init__(resnet.Bottleneck, list(made.BLOCKS))
        channels = 4 * made.PLANES[-1]
        self.fc = nn.Linear(channels, made.EMBEDDING)

    def _make_layer(
        self,
        block: type[nn.Module],
        planes: int,
        blocks: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        if planes == 64:
            # The first stage follows the stem.
            self.inplanes = made.PLANES[0]
            self.conv1 = nn.Conv2d(3, self.inplanes, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(self.inplanes)
        return super()._make_layer(block, planes // 16, blocks, stride, dilate)


class GeneralizedMean(nn.Module):
    """The pooling of SSCD, as its paper defines it."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the generalized mean of the cells with the power 3."""
        powers = x.clamp(min=1e-6).pow(3)
        return powers.mean(dim=(2, 3)).pow(1 / 3)


def main() -> None:
    """Compute and write all vectors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    target = parser.parse_args().target

    narrow = with_numbers(NarrowResNet(), made.resnet50())
    check_archive(narrow)
    sscd = with_numbers(NarrowResNet(), made.resnet50())
    sscd.avgpool = GeneralizedMean()
    trunk = with_numbers(NarrowResNet(), made.resnet50())
    trunk.fc = nn.Identity()

    rows, last_channel = mobilenetv3._mobilenet_v3_conf(
        "mobilenet_v3_large", width_mult=0.25
    )
    mobile = mobilenetv3.MobileNetV3(rows, last_channel, num_classes=made.CLASSES)
    mobile = with_numbers(mobile, made.mobilenet_v3())
    pooled = nn.Sequential(mobile.features, mobile.avgpool, nn.Flatten())
    hidden = nn.Sequential(*pooled, *mobile.classifier[:2])

    golden = {
        "resnet layer4": vectors(trunk),
        "resnet fc": vectors(narrow),
        "sscd": vectors(sscd),
        "mobilenet features": vectors(pooled),
        "mobilenet hidden": vectors(hidden),
    }
    target.write_text(json.dumps(golden, indent=1) + "\n")


def with_numbers(network: nn.Module, tensors: made.Tensors) -> nn.Module:
    """Return a network with the made numbers; its names must be exactly those of the tensors."""
    state = {name: torch.from_numpy(array) for name, array in tensors.items()}
    for name in network.state_dict():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
    network.load_state_dict(state)
    return network.eval()


def vectors(network: nn.Module) -> list[list[float]]:
    """Return the first numbers of the vectors of the made images."""
    pixels = made.images(SIDE).astype(np.float32) / 255
    normalized = (pixels - np.float32(MEAN)) / np.float32(STD)
    batch = torch.from_numpy(normalized.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        found = network(batch).numpy()
    return [[float(f"{value:.7g}") for value in row[:KEPT]] for row in found]


def check_archive(network: nn.Module) -> None:
    """Check that a TorchScript archive, traced and scripted, is read as the network's state."""
    outer = nn.Sequential()
    outer.add_module("block0-0", network)
    example = torch.zeros(1, 3, SIDE, SIDE)
    for script in (torch.jit.trace(outer, example), torch.jit.script(outer)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "network.torchscript.pt")
            script.save(path)
            found = read_tensors(path)
        expected = outer.state_dict()
        assert set(found) == set(expected)
        for name, array in found.items():
            assert np.array_equal(array, expected[name].numpy())
        print(
            f"a {type(script).__name__} of {len(found)} tensors is read",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
