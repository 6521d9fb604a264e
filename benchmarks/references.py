"""Reproduce figures that others measured on the same photographs: ours beside theirs.

Each Space is evaluated leave-one-out over the 3,079 photographs of nine classes of Caltech 101, by
Euclidean distance. The figures say nothing about the machine, so a missed aim always counts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import lookalike
from lookalike.evaluation.evaluate import evaluate
from lookalike.evaluation.scores import SpaceScores
from lookalike.models import registry
from lookalike.projection.map import make_map
from lookalike.store.table import Table
from lookalike.types import Model
from lookalike.vectors import k_nearest
from measuring import Report, parser
from vectors_made import DATA, PHOTOGRAPHS, add_source, sample_images

# How far a score may lie from its reference. The reference code resizes with other libraries.
TOLERANCE = 0.005

# Inception-v3 was published with the weights: they end at Mixed_7a, and their README has the
# scores. The others were measured with other code.
REFERENCES = {
    "inception-v3-at-mixed-7a": {
        "map": 0.8590,
        "precision_at_1": 0.9253,
        "precision_at_10": 0.9520,
    },
    "inception-v3-at-mixed-7a-unit-length": {
        "map": 0.8676,
        "precision_at_1": 0.9227,
        "precision_at_10": 0.9526,
    },
    # In 8 bits, calibrated on first use. The references are those of the float network.
    "inception-v3-at-mixed-7a-int8": {
        "map": 0.8676,
        "precision_at_1": 0.9227,
        "precision_at_10": 0.9526,
    },
    "efficientnet-lite0": {
        "map": 0.8674,
        "mean_class_map": 0.8592,
        "precision_at_1": 0.9029,
        "precision_at_5": 0.9311,
        "precision_at_10": 0.9285,
    },
    "pixels": {
        "map": 0.4899,
        "mean_class_map": 0.3521,
        "precision_at_1": 0.8792,
        "precision_at_5": 0.8342,
        "precision_at_10": 0.8060,
    },
}

# The least that a t-SNE map of this Space reaches. Its accuracy is the share of images whose label
# is the most frequent one among their ten nearest.
MAP_SPACE = "efficientnet-lite0"
MAP_LEAST = {"accuracy": 0.90, "trustworthiness": 0.98, "preservation": 0.40}

# The mean pools of these weights ignore the padding.
_DESCRIPTION = """
architecture = "inception-v3"
size = [299, 299]
filter = "bilinear"
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
output = "mixed_7a"
dim = 1280
unit_length = false
options = {{ count_include_pad = false }}
[weights]
file = "{file}"
sha256 = "d595280dec4f61f0bef87c51cc66a24a313151b2d4902d15a50189d52e0f28ac"
"""


def main() -> int:
    arguments = _arguments()
    report = Report("references", arguments, ["onnxruntime"])
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        folder = sample_images(arguments.data, PHOTOGRAPHS, place, arguments.seed)
        models = _models(report, arguments, place)
        collection = place / "collection"
        indexed = lookalike.index(folder, collection, models=models)
        report.figures["images"] = indexed.images
        for measured in indexed.calibrated:
            print(measured)
            report.figures[f"{measured.model}: cosine"] = measured.cosine
        table = Table.open(collection)
        for scores in evaluate(table).spaces:
            _compare(report, scores)
        if MAP_SPACE in arguments.spaces:
            _measure_map(report, table)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("references", "Reproduce published figures on the photographs.")
    add_source(options)
    options.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        default=DATA / "weights" / "inception_v3_to_mixed_7a.safetensors",
        help="the weights of Inception-v3 up to Mixed_7a",
    )
    options.add_argument(
        "--spaces", nargs="+", choices=REFERENCES, default=list(REFERENCES)
    )
    # A score depends on no machine.
    options.set_defaults(strict=True)
    return options.parse_args()


def _models(report: Report, arguments: argparse.Namespace, place: Path) -> list[Model]:
    """Return the models of the requested Spaces; those without weights are skipped."""
    models = []
    for space in arguments.spaces:
        if not space.startswith("inception-v3"):
            models.append(registry.resolve(space))
        elif arguments.weights.is_file():
            model = inception_at_mixed_7a(arguments.weights, place)
            models.append(_variant(model, space))
        else:
            report.skip(space, f"There is no file {arguments.weights}.")
    if not models:
        sys.exit("No Space is left to evaluate. Name the weights: --weights FILE")
    return models


def _variant(model: Model, space: str) -> Model:
    """Return the network as a Space has it: with vectors as they are, scaled, or in 8 bits."""
    if space.endswith("int8"):
        return replace(model, name=space, unit_length=True, precision="int8")
    is_unit_length = space.endswith("unit-length")
    return replace(model, name=space, unit_length=is_unit_length)


def inception_at_mixed_7a(weights: Path, folder: Path) -> Model:
    """Describe the weights as a user would, in a file of the folder, and return the model."""
    path = folder / "inception-v3-at-mixed-7a.toml"
    file = weights.resolve().as_posix()
    path.write_text(_DESCRIPTION.format(file=file), encoding="utf-8")
    return registry.resolve(path)


def _compare(report: Report, scores: SpaceScores) -> None:
    """Print the scores of a Space beside their references, and record an aim for each."""
    rows = []
    for name, reference in REFERENCES[scores.space].items():
        found = scores.metrics[name].value
        difference = abs(found - reference)
        rows.append((name, found, reference, difference))
        report.aim(f"{scores.space}: {name}, difference", difference, most=TOLERANCE)
    report.figures[scores.space] = {name: found for name, found, _, _ in rows}
    report.print_table(scores.space, ["", "ours", "reference", "difference"], rows)


def _measure_map(report: Report, table: Table) -> None:
    """Make a map, print how well it keeps classes and neighbors, and record an aim for each."""
    made = make_map(table, space=MAP_SPACE)
    column = table.take(made.ids, ["label"])["label"]
    labels = np.unique(column.to_pylist(), return_inverse=True)[1]
    nearest, _ = k_nearest(made.xy, made.xy, 10, own=np.arange(len(made)))
    most_frequent = [np.bincount(labels[row]).argmax() for row in nearest]
    accuracy = float(np.mean(most_frequent == labels))

    figures = {**made.fidelity, "accuracy": accuracy}
    rows = []
    for name, least in MAP_LEAST.items():
        rows.append((name, figures[name], least))
        report.aim(f"map of {MAP_SPACE}: {name}", figures[name], least=least)
    report.figures["map"] = {name: figure for name, figure, _ in rows}
    report.print_table(f"map of {MAP_SPACE}", ["", "ours", "at least"], rows)


if __name__ == "__main__":
    sys.exit(main())
