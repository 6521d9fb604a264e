"""Cluster the points of interest of drawn images to the prototypes of visual words."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from sklearn.cluster import MiniBatchKMeans

import lookalike
from lookalike.datasets.sample import CLASSES, draw_sample_image
from lookalike.duplicates.points import find_points
from lookalike.duplicates.visual_words import PROTOTYPES, PROTOTYPES_FILE
from lookalike.imaging.preprocess import open_thumbnail, thumbnail
from lookalike.io.files import atomic_write

_BATCH = 4096
_STEPS = 20


def main() -> int:
    arguments = parse_arguments()
    descriptors = []
    for label in CLASSES:
        for number in range(arguments.images):
            drawn = draw_sample_image(label, number, seed=arguments.seed)
            small = open_thumbnail(thumbnail(drawn))
            descriptors.append(find_points(small).descriptors)
    rows = np.concatenate(descriptors).astype(np.float32)

    centers = []
    for half in np.split(rows, 2, axis=1):
        clusters = MiniBatchKMeans(
            PROTOTYPES,
            batch_size=_BATCH,
            max_iter=_STEPS,
            n_init=1,
            random_state=arguments.seed,
        )
        clusters.fit(half)
        centers.append(np.rint(clusters.cluster_centers_))
    prototypes = np.stack(centers).astype(np.uint8)
    with atomic_write(arguments.output) as temporary:
        temporary.write_bytes(save({"prototypes": prototypes}))
    print(f"Clustered {len(rows):,} points, saved to {arguments.output}.")
    return 0


def parse_arguments() -> argparse.Namespace:
    package = Path(lookalike.__file__).parent
    parser = argparse.ArgumentParser(prog="scripts/prototypes", description=__doc__)
    parser.add_argument(
        "--images", type=int, default=14, help="drawn images of each class"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=Path, default=package / "duplicates" / PROTOTYPES_FILE
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
