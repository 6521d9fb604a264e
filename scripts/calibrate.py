"""Measure a network on some pictures of a folder, and write the calibration that its 8-bit version is made from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from lookalike import imaging
from lookalike.errors import ImageError, LookalikeError, SourceError
from lookalike.io.files import atomic_write
from lookalike.models import registry
from lookalike.models.calibration import calibrate
from lookalike.models.weights import sha256_of
from lookalike.sources import LocalSource
from lookalike.types import Item, Model


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/calibrate", description=__doc__)
    parser.add_argument("model", help="its name or .toml description")
    parser.add_argument("folder", help="pictures such as will be indexed")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="the .safetensors file to write"
    )
    parser.add_argument("--images", type=int, default=128, help="how many pictures (default: 128)")
    parser.add_argument("--seed", type=int, default=0, help="decides which (default: 0)")
    arguments = parser.parse_args()
    try:
        model = registry.resolve(arguments.model)
        items = sorted(LocalSource([arguments.folder]), key=lambda item: item.uri)
        chosen = np.random.default_rng(arguments.seed).permutation(len(items))[
            : max(arguments.images, 0)
        ]
        if not len(chosen):
            raise SourceError(
                f"Nothing to measure: of {len(items)} images, {arguments.images} are to be taken."
            )
        measured = calibrate(model, (prepared(items[index], model) for index in sorted(chosen)))
        with atomic_write(arguments.output) as temporary:
            temporary.write_bytes(save(measured))
    except (LookalikeError, OSError) as error:
        reason = f"{error.filename}: {error.strerror}." if isinstance(error, OSError) else error
        print(f"Error: {reason}", file=sys.stderr)
        return 2
    print(
        f"{len(measured) // 2} tensors measured on {len(chosen)} pictures, in {arguments.output}. Its description:"
    )
    print(
        f'[calibration]\nfile = "{arguments.output.name}"\nsha256 = "{sha256_of(arguments.output)}"'
    )
    return 0


def prepared(item: Item, model: Model) -> npt.NDArray[np.uint8]:
    """Return a batch of one picture."""
    try:
        return imaging.prepare(imaging.decode(item.read()), model)[np.newaxis]
    except ImageError as error:
        raise ImageError(
            f"{item.uri} cannot be measured: {error}. Take it out of the folder."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
