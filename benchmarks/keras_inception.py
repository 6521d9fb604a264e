"""Keras's side of ``scripts/bench embed``, run where Keras is: `PLACE make SEED` or `PLACE run`.

PLACE holds paths.json, the files; keras.h5, the network that `make` saves; and features.npy, what `run` found.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

import parity  # sets what TensorFlow reads as it is imported

# For the sake of equality parity does without the kernels that are Keras's fastest.
os.environ.pop("TF_ENABLE_ONEDNN_OPTS")

BATCH = 32


def main(place: Path, what: str, *seed: str) -> int:
    if what == "make":
        generator = np.random.default_rng(int(seed[0]))
        parity._keras(np.zeros((1, 299, 299, 3), np.uint8), generator, place / "keras.h5")
        return 0
    import keras

    paths = json.loads((place / "paths.json").read_text(encoding="utf-8"))
    network = keras.saving.load_model(place / "keras.h5", compile=False)

    def embed(some: list[str]) -> np.ndarray:
        images = np.stack([_decoded(path) for path in some])
        return network.predict(keras.applications.inception_v3.preprocess_input(images), verbose=0)

    # Each shape of a batch is compiled at its first use.
    for count in {1, BATCH, len(paths) % BATCH or BATCH}:
        embed((paths * BATCH)[:count])
    start = time.perf_counter()
    for path in paths:
        embed([path])
    one = time.perf_counter() - start
    start = time.perf_counter()
    features = [embed(paths[first : first + BATCH]) for first in range(0, len(paths), BATCH)]
    batch = time.perf_counter() - start
    np.save(place / "features.npy", np.concatenate(features))
    print(json.dumps([one, batch]))
    return 0


def _decoded(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(
            image.convert("RGB").resize((299, 299), Image.Resampling.BILINEAR)
        ).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
