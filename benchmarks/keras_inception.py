"""The Keras side of ``scripts/bench embed``: ``FOLDER make SEED`` or ``FOLDER run``.

FOLDER holds paths.json, the image files; keras.h5, the network that ``make`` saves; and
features.npy, the features that ``run`` computes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

import parity  # sets the variables that TensorFlow reads at its import

# For equal results, parity turns off the kernels that are Keras's fastest.
os.environ.pop("TF_ENABLE_ONEDNN_OPTS")

BATCH = 32
SIDE = 299


def main(folder: Path, command: str, *seed: str) -> int:
    if command == "make":
        make_network(folder, int(seed[0]))
        return 0

    import keras

    paths = json.loads((folder / "paths.json").read_text(encoding="utf-8"))
    network = keras.saving.load_model(folder / "keras.h5", compile=False)

    def embed(batch: list[str]) -> np.ndarray:
        images = np.stack([load_image(path) for path in batch])
        inputs = keras.applications.inception_v3.preprocess_input(images)
        return network.predict(inputs, verbose=0)

    # Keras compiles the network for each batch size at its first use.
    last_batch = len(paths) % BATCH or BATCH
    for size in {1, BATCH, last_batch}:
        repeated = paths * BATCH
        embed(repeated[:size])

    start = time.perf_counter()
    for path in paths:
        embed([path])
    one_at_a_time = time.perf_counter() - start

    start = time.perf_counter()
    features = [
        embed(paths[first : first + BATCH]) for first in range(0, len(paths), BATCH)
    ]
    in_batches = time.perf_counter() - start

    np.save(folder / "features.npy", np.concatenate(features))
    print(json.dumps([one_at_a_time, in_batches]))
    return 0


def make_network(folder: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    no_image = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    parity.keras_features(no_image, generator, folder / "keras.h5")


def load_image(path: str) -> np.ndarray:
    with Image.open(path) as image:
        resized = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(resized).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
