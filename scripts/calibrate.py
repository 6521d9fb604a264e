"""Measure the activations of a network on images, for the calibration of its 8-bit version."""

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
    arguments = parse_arguments()
    try:
        model = registry.resolve(arguments.model)
        items = choose_items(arguments.folder, arguments.images, arguments.seed)
        calibration = calibrate(model, (prepare_batch(item, model) for item in items))
        with atomic_write(arguments.output) as temporary:
            temporary.write_bytes(save(calibration))
    except (LookalikeError, OSError) as error:
        reason = (
            f"{error.filename}: {error.strerror}."
            if isinstance(error, OSError)
            else error
        )
        print(f"Error: {reason}", file=sys.stderr)
        return 2

    # Each tensor has a range and a mean.
    tensors = len(calibration) // 2
    print(
        f"Measured {tensors} tensors on {len(items)} images, saved to {arguments.output}."
    )
    print("Add to the description:")
    print("[calibration]")
    print(f'file = "{arguments.output.name}"')
    print(f'sha256 = "{sha256_of(arguments.output)}"')
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/calibrate", description=__doc__)
    parser.add_argument("model", help="a model name or .toml description")
    parser.add_argument("folder", help="a folder of images like those to index")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="the .safetensors file to write",
    )
    parser.add_argument(
        "--images", type=int, default=128, help="the number of images (default: 128)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="the seed for choosing images (default: 0)"
    )
    return parser.parse_args()


def choose_items(folder: str, count: int, seed: int) -> list[Item]:
    """Return random images of a folder, sorted by uri."""
    items = sorted(LocalSource([folder]), key=lambda item: item.uri)
    order = np.random.default_rng(seed).permutation(len(items))
    chosen = sorted(order[: max(count, 0)])
    if not chosen:
        raise SourceError(
            f"Nothing to measure: {count} of {len(items)} images. "
            "Give a folder with images, and --images of at least 1."
        )
    return [items[index] for index in chosen]


def prepare_batch(item: Item, model: Model) -> npt.NDArray[np.uint8]:
    """Return a batch of one image, uint8 ``[1, height, width, 3]``."""
    try:
        image = imaging.decode(item.read())
    except ImageError as error:
        raise ImageError(
            f"{item.uri} cannot be measured: {error}. Remove it from the folder."
        ) from error
    return imaging.prepare(image, model)[np.newaxis]


if __name__ == "__main__":
    sys.exit(main())
