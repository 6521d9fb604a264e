"""Measure a network on some pictures of a folder, and write the calibration that its 8-bit version is made from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from lookalike import images
from lookalike.errors import LookalikeError
from lookalike.models import registry
from lookalike.models.calibration import calibrate
from lookalike.models.weights import sha256_of
from lookalike.sources import Scan


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/calibrate", description=__doc__)
    parser.add_argument("model", help="its name or .toml description")
    parser.add_argument("folder", help="pictures such as will be indexed")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the .safetensors file to write")
    parser.add_argument("--images", type=int, default=128, help="how many pictures (default: 128)")
    parser.add_argument("--seed", type=int, default=0, help="decides which (default: 0)")
    arguments = parser.parse_args()
    try:
        model = registry.resolve(arguments.model)
        items = sorted(Scan([arguments.folder]), key=lambda item: item.uri)
        chosen = np.random.default_rng(arguments.seed).permutation(len(items))[: arguments.images]
        pictures = (images.decode(items[index].read()) for index in sorted(chosen))
        measured = calibrate(model, (images.prepare(picture, model)[np.newaxis] for picture in pictures))
    except LookalikeError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_file(measured, arguments.output)
    print(f"{len(measured) // 2} tensors measured on {len(chosen)} pictures, in {arguments.output}. Its description:")
    print(f'[calibration]\nfile = "{arguments.output.name}"\nsha256 = "{sha256_of(arguments.output)}"')
    return 0


if __name__ == "__main__":
    sys.exit(main())
