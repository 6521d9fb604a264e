"""The second half of ``scripts/bench embed``: InceptionV3 end to end, beside Keras's ``predict``.

Keras creates the network with random weights and saves it, and Lookalike reads that file. Both run
the same network on the same files, and their vectors are compared. Keras runs in an environment of
its own, `.venv-parity`.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from lookalike import imaging
from lookalike.indexing.run import index
from lookalike.models import registry
from lookalike.models.calibration import calibrate
from lookalike.store.table import Table
from lookalike.types import Model
from lookalike.vectors import unit_length
from measuring import Report, Spread, spread, timed
from vectors_made import files

BENCHMARKS = Path(__file__).parent
KERAS_PYTHON = BENCHMARKS.parent / ".venv-parity" / "bin" / "python"

DESCRIPTION = """
base = "inception-v3-keras"
precision = "PRECISION"
runtime = "RUNTIME"
[weights]
file = "keras.h5"
"""
CALIBRATION = """
[calibration]
file = "calibration.safetensors"
"""
CALIBRATION_IMAGES = 32

# The precision and runtime of each variant.
VARIANTS = {
    "f32": ("f32", "onnxruntime"),
    "int8": ("int8", "onnxruntime"),
    "f32-openvino": ("f32", "openvino"),
    "bf16-openvino": ("bf16", "openvino"),
    "int8-openvino": ("int8", "openvino"),
}
KERAS_SINGLE = "Keras, one at a time"
KERAS_BATCH = "Keras, batch 32"


def measure(
    report: Report,
    folder: Path,
    temporary: Path,
    load_models: Callable[[Report, Sequence[str]], list[Model]],
    arguments: argparse.Namespace,
) -> None:
    """Time Lookalike and Keras in turns, and compare their vectors."""
    if not KERAS_PYTHON.is_file():
        report.skip(
            "InceptionV3",
            f"Keras is not installed: scripts/bench embed and scripts/parity create "
            f"{KERAS_PYTHON}.",
        )
        return
    network = temporary / "inception"
    network.mkdir(exist_ok=True)
    keras = KerasProcess(files(folder), network)
    keras.make_network(arguments.seed)
    models = load_models(report, write_descriptions(network, keras.paths))

    count = len(keras.paths)
    rates: dict[str, list[float]] = {model.name: [] for model in models}
    rates |= {KERAS_SINGLE: [], KERAS_BATCH: []}
    for number in range(arguments.rounds):
        for model in models:
            path = network / f"{model.name}-{number}"
            seconds = timed(
                lambda path=path, model=model: index_folder(folder, path, model)
            )
            rates[model.name].append(count / seconds)
        for name, seconds in keras.run().items():
            rates[name].append(count / seconds)

    spreads = {name: spread(values) for name, values in rates.items()}
    vectors = {}
    for model in models:
        vectors[model.name] = read_vectors(network / f"{model.name}-0", keras.paths)
    print_results(report, spreads, vectors, keras)


def write_descriptions(network: Path, paths: list[Path]) -> list[str]:
    """Write a description of the network for each variant, and the calibration for 8 bits."""
    written = {}
    for name, (precision, runtime) in VARIANTS.items():
        text = DESCRIPTION.replace("PRECISION", precision).replace("RUNTIME", runtime)
        if precision == "int8":
            text += CALIBRATION
        written[name] = network / f"inception-v3-{name}.toml"
        written[name].write_text(text, encoding="utf-8")

    model = registry.resolve(written["f32"])
    step = math.ceil(len(paths) / CALIBRATION_IMAGES)
    batches = []
    for path in paths[::step]:
        image = imaging.decode(path.read_bytes())
        batches.append(imaging.prepare(image, model)[np.newaxis])
    save_file(calibrate(model, batches), network / "calibration.safetensors")
    return [str(path) for path in written.values()]


def index_folder(folder: Path, path: Path, model: Model) -> None:
    report = index(folder, path, models=[model])
    assert report.failed == 0, report.failures[:3]


class KerasProcess:
    """Runs the Keras side, in a new process for each round."""

    def __init__(self, paths: list[Path], folder: Path) -> None:
        self.paths = paths
        self._folder = folder
        listed = json.dumps([str(path) for path in paths])
        (folder / "paths.json").write_text(listed, encoding="utf-8")

    def make_network(self, seed: int) -> None:
        self._call("make", str(seed))

    def run(self) -> dict[str, float]:
        """Return the seconds for all files, one at a time and in batches."""
        single, batch = json.loads(self._call("run"))
        return {KERAS_SINGLE: single, KERAS_BATCH: batch}

    def vectors(self) -> np.ndarray:
        return unit_length(np.load(self._folder / "features.npy"))

    def _call(self, *arguments: str) -> str:
        script = BENCHMARKS / "keras_inception.py"
        command = [str(KERAS_PYTHON), str(script), str(self._folder), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(
                f"Keras failed: {' '.join(command)}\n{done.stderr[-2000:]}"
            )
        return done.stdout.splitlines()[-1] if done.stdout else ""


def read_vectors(path: Path, paths: list[Path]) -> np.ndarray:
    """Return the collection's vectors, float32, in the order of the files."""
    collection = Table.open(path)
    ids, vectors_f16 = collection.vectors(collection.space(None))
    uris = collection.take(ids, ["uri"])["uri"].to_pylist()
    by_uri = dict(zip(uris, vectors_f16.astype(np.float32), strict=True))
    return np.stack([by_uri[str(path)] for path in paths])


def print_results(
    report: Report,
    spreads: dict[str, Spread],
    vectors: dict[str, np.ndarray],
    keras: KerasProcess,
) -> None:
    single, batch = spreads[KERAS_SINGLE].median, spreads[KERAS_BATCH].median
    first = next(iter(vectors))
    reference = vectors[first]
    # Random weights make the vectors of all images similar. The differences from their mean are
    # harder to preserve.
    mean = reference.mean(axis=0)
    runs: dict[str, dict[str, Any]] = {}
    for name, rate in spreads.items():
        runs[name] = {
            **rate._asdict(),
            "x_one": rate.median / single,
            "x_batch": rate.median / batch,
        }
        if name in vectors and name != first:
            runs[name]["cosine_to_f32"] = mean_cosine(vectors[name], reference)
            centered = mean_cosine(vectors[name] - mean, reference - mean)
            runs[name]["cosine_about_mean"] = centered

    lowest = float(row_cosines(reference, keras.vectors()).min())
    report.figures["inception"] = {
        "images": len(keras.paths),
        "runs": runs,
        "lowest_cosine_to_keras": lowest,
    }
    keys = ("x_one", "x_batch", "cosine_to_f32", "cosine_about_mean")
    rows = [
        [name, spreads[name], *(run.get(key) for key in keys)]
        for name, run in runs.items()
    ]
    report.print_table(
        f"InceptionV3 end to end, {len(keras.paths)} images; "
        f"lowest cosine of {first} to Keras {lowest:.5f}",
        [
            "",
            "images/s",
            "x one at a time",
            "x batch 32",
            "cosine to f32",
            "cosine about mean",
        ],
        rows,
    )
    report.aim(f"{first} / {KERAS_SINGLE}", runs[first]["x_one"], least=3)
    report.aim(f"{first} / {KERAS_BATCH}", runs[first]["x_batch"], least=1.3)
    fastest = max(vectors, key=lambda name: spreads[name].median)
    report.aim(
        f"fastest ({fastest}) / {KERAS_BATCH}", runs[fastest]["x_batch"], least=2.5
    )


def row_cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of x with the same row of y."""
    return np.einsum("nd,nd->n", unit_length(x), unit_length(y))


def mean_cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(row_cosines(x, y).mean())
