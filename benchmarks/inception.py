"""The second half of ``scripts/bench embed``: InceptionV3 end to end, beside Keras's ``predict`` on the same files.

Keras makes the network with random weights and saves it; Lookalike reads that file. So both run the same network,
and their vectors are compared. Keras runs in an environment of its own, `.venv-parity`.
"""

from __future__ import annotations

import argparse
import json
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

HERE = Path(__file__).parent
KERAS = HERE.parent / ".venv-parity" / "bin" / "python"

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
VARIANTS = {
    "f32": ("f32", "onnxruntime"),
    "int8": ("int8", "onnxruntime"),
    "f32-openvino": ("f32", "openvino"),
    "bf16-openvino": ("bf16", "openvino"),
    "int8-openvino": ("int8", "openvino"),
}
CALIBRATED_ON = 32
ONE, BATCH = "Keras, one at a time", "Keras, batch 32"


def measure(
    report: Report,
    folder: Path,
    place: Path,
    known: Callable[[Report, Sequence[str]], list[Model]],
    arguments: argparse.Namespace,
) -> None:
    """Time both in turns, and compare their vectors."""
    if not KERAS.is_file():
        report.skip(
            "InceptionV3",
            f"Keras is not here: {KERAS} is made by scripts/bench embed and by scripts/parity.",
        )
        return
    network = place / "inception"
    network.mkdir(exist_ok=True)
    theirs = _Keras(files(folder), network)
    theirs.make(arguments.seed)
    models = known(report, _descriptions(network, theirs.paths))
    rates: dict[str, list[float]] = {
        name: [] for name in (*(model.name for model in models), ONE, BATCH)
    }
    for number in range(arguments.rounds):
        for model in models:
            path = network / f"{model.name}-{number}"
            rates[model.name].append(
                len(theirs.paths)
                / timed(lambda path=path, model=model: _indexed(folder, path, model))
            )
        for name, seconds in theirs.run().items():
            rates[name].append(len(theirs.paths) / seconds)
    spreads = {name: spread(found) for name, found in rates.items()}
    vectors = {model.name: _vectors(network / f"{model.name}-0", theirs.paths) for model in models}
    _tell(report, spreads, vectors, theirs)


def _descriptions(network: Path, paths: list[Path]) -> list[str]:
    """Write a description of the network in each precision, and the calibration that 8 bits need."""
    written = {}
    for name, (precision, runtime) in VARIANTS.items():
        written[name] = network / f"inception-v3-{name}.toml"
        text = DESCRIPTION.replace("PRECISION", precision).replace("RUNTIME", runtime)
        written[name].write_text(text + CALIBRATION * (precision == "int8"), encoding="utf-8")
    model = registry.resolve(written["f32"])
    chosen = paths[:: -(-len(paths) // CALIBRATED_ON)]
    pictures = (
        imaging.prepare(imaging.decode(path.read_bytes()), model)[np.newaxis] for path in chosen
    )
    save_file(calibrate(model, pictures), network / "calibration.safetensors")
    return [str(path) for path in written.values()]


def _indexed(folder: Path, path: Path, model: Model) -> None:
    done = index(folder, path, models=[model])
    assert done.failed == 0, done.failures[:3]


class _Keras:
    """The other side, run as a process for each round."""

    def __init__(self, paths: list[Path], place: Path) -> None:
        self.paths = paths
        self._place = place
        (place / "paths.json").write_text(
            json.dumps([str(path) for path in paths]), encoding="utf-8"
        )

    def make(self, seed: int) -> None:
        self._call("make", str(seed))

    def run(self) -> dict[str, float]:
        """Return the seconds for all files, one at a time and in batches."""
        one, batch = json.loads(self._call("run"))
        return {ONE: one, BATCH: batch}

    def vectors(self) -> np.ndarray:
        return unit_length(np.load(self._place / "features.npy"))

    def _call(self, *words: str) -> str:
        command = [str(KERAS), str(HERE / "keras_inception.py"), str(self._place), *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"Keras failed; {' '.join(command)} says:\n{done.stderr[-2000:]}")
        return done.stdout.splitlines()[-1] if done.stdout else ""


def _vectors(path: Path, paths: list[Path]) -> np.ndarray:
    """Return the collection's vectors, float32, in the order of the files."""
    collection = Table.open(path)
    ids, halves = collection.vectors(collection.space(None))
    of = dict(
        zip(
            collection.take(ids, ["uri"])["uri"].to_pylist(), halves.astype(np.float32), strict=True
        )
    )
    return np.stack([of[str(path)] for path in paths])


def _tell(
    report: Report, spreads: dict[str, Spread], vectors: dict[str, np.ndarray], theirs: _Keras
) -> None:
    one, batch = spreads[ONE].median, spreads[BATCH].median
    first = next(iter(vectors))
    figures: dict[str, dict[str, Any]] = {}
    for name, rate in spreads.items():
        figures[name] = {
            **rate._asdict(),
            "x_one": rate.median / one,
            "x_batch": rate.median / batch,
        }
        if name in vectors and name != first:
            figures[name]["cosine_to_f32"] = _cosine(vectors[name], vectors[first])
            # Random weights make all pictures much alike; what tells them apart is harder to keep.
            middle = vectors[first].mean(axis=0)
            figures[name]["cosine_about_mean"] = _cosine(
                vectors[name] - middle, vectors[first] - middle
            )
    lowest = float(np.einsum("nd,nd->n", unit_length(vectors[first]), theirs.vectors()).min())
    report.figures["inception"] = {
        "images": len(theirs.paths),
        "runs": figures,
        "lowest_cosine_to_keras": lowest,
    }
    keys = ("x_one", "x_batch", "cosine_to_f32", "cosine_about_mean")
    rows = [[name, spreads[name], *(figures[name].get(key) for key in keys)] for name in figures]
    title = f"InceptionV3 end to end, {len(theirs.paths)} images; lowest cosine of {first} to Keras {lowest:.5f}"
    report.print_table(
        title,
        ["", "images/s", "x one at a time", "x batch 32", "cosine to f32", "about their mean"],
        rows,
    )
    report.aim(f"{first} / {ONE}", figures[first]["x_one"], least=3)
    report.aim(f"{first} / {BATCH}", figures[first]["x_batch"], least=1.3)
    fastest = max(vectors, key=lambda name: spreads[name].median)
    report.aim(f"fastest ({fastest}) / {BATCH}", figures[fastest]["x_batch"], least=2.5)


def _cosine(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean cosine of rows that belong together."""
    return float(np.einsum("nd,nd->n", unit_length(x), unit_length(y)).mean())
