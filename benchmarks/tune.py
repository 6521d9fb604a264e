"""Measure tuned Spaces on images and on labels that were left out, beside other ways to learn.

The settings were chosen on the nine classes of Caltech 101. Every way is measured as `lookalike
tune` measures its own: a third of the images, and a third of the labels, is left out at a time.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

import numpy as np

from lookalike import vectors
from lookalike.learning.fit import LabelMoments, learn_axes
from lookalike.learning.report import Gains
from lookalike.learning.tune import read_labeled
from lookalike.learning.validation import LabeledVectors, Learn, measure_gains
from lookalike.models.learned import VectorMap
from lookalike.store.table import Table
from lookalike.types import VectorsF16, VectorsF32
from measuring import Report, add_merge_option, label_merges, parser

HEADERS = [
    "learned",
    "new images of these labels",
    "P@1",
    "images of labels left out",
    "P@1",
]
ALL_AXES = 1 << 16


def main() -> int:
    arguments = _arguments()
    report = Report("tune", arguments, [])
    for path in arguments.collections:
        _measure(report, path, arguments)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("tune", "Measure Spaces that are learned from labels.")
    options.add_argument("collections", nargs="+", metavar="COLLECTION")
    add_merge_option(options)
    options.add_argument(
        "--settings", action="store_true", help="measure other settings too"
    )
    return options.parse_args()


def _measure(report: Report, path: str, arguments: argparse.Namespace) -> None:
    table = Table.open(path)
    data, counts = read_labeled(table, table.space(None))
    for pair in label_merges(arguments).items():
        data = _merge(data, list(counts), *pair)
    rows: list[list[object]] = []
    figures = {}
    for title, learn in _ways(arguments.settings).items():
        new_images, new_labels = measure_gains(data, learn, seed=arguments.seed)
        if not rows:
            rows += _base_rows(new_images, new_labels)
        rows.append([title, *_gains(new_images), *_gains(new_labels)])
        figures[title] = {
            "new_images": new_images.to_dict(),
            "new_labels": None if new_labels is None else new_labels.to_dict(),
        }
    report.figures[path] = figures
    title = f"{path}: {len(data.rows):,} images of {new_images.labels} labels"
    report.print_table(title, HEADERS, rows)


def _merge(
    data: LabeledVectors, names: list[str], first: str, second: str
) -> LabeledVectors:
    """Return the vectors with one label counted as another, where both are there."""
    if first not in names or second not in names:
        return data
    merged = data.classes.copy()
    merged[merged == names.index(first)] = names.index(second)
    _, classes = np.unique(merged, return_inverse=True)
    return data._replace(classes=classes)


def _ways(with_settings: bool) -> dict[str, Learn]:
    ways: dict[str, Learn] = {
        "these-classes": partial(_learn, purpose="these-classes"),
        "  with coordinates of unit length": partial(_learn_beside, part="unit"),
        "  the coordinates alone": partial(_learn_beside, part="alone"),
        "anything": partial(_learn, purpose="anything"),
    }
    if not with_settings:
        return ways
    for ridge in (0.3, 3.0, 10.0):
        ways[f"these-classes, ridge {ridge:g}"] = partial(
            _learn, purpose="these-classes", ridge=ridge
        )
    for shrinkage in (0.3, 0.8):
        ways[f"anything, shrinkage {shrinkage:g}"] = partial(
            _learn, purpose="anything", shrinkage=shrinkage
        )
    for axes in (32, 128, ALL_AXES):
        name = "all" if axes == ALL_AXES else axes
        ways[f"anything, {name} axes"] = partial(
            _learn, purpose="anything", most_axes=axes
        )
    return ways


def _learn(data: LabeledVectors, **settings: Any) -> VectorMap:
    moments = LabelMoments.of(data.rows, data.classes, data.center)
    axes = learn_axes(moments, **settings)
    return VectorMap(data.center, axes, settings["purpose"])


class _Coordinates:
    """The coordinates of the labels, of unit length each: alone, or beside the vector."""

    def __init__(self, data: LabeledVectors, part: str) -> None:
        moments = LabelMoments.of(data.rows, data.classes, data.center)
        self._axes = learn_axes(moments, "these-classes").astype(np.float32)
        self._center = data.center
        self._part = part

    def apply(self, rows: VectorsF16) -> VectorsF32:
        centered = self._center.center(rows)
        coordinates = vectors.unit_length(centered @ self._axes)
        if self._part == "alone":
            return coordinates
        joined = np.concatenate([coordinates, centered], axis=1)
        return vectors.unit_length(joined)


def _learn_beside(data: LabeledVectors, part: str) -> _Coordinates:
    return _Coordinates(data, part)


def _base_rows(new_images: Gains, new_labels: Gains | None) -> list[list[object]]:
    rows: list[list[object]] = []
    for name in ("plain", "centered"):
        row: list[object] = [name]
        for gains in (new_images, new_labels):
            value = "" if gains is None else f"{getattr(gains, name).value:.3f}"
            row += [value, ""]
        rows.append(row)
    return rows


def _gains(gains: Gains | None) -> list[object]:
    if gains is None:
        return ["", ""]
    cells: list[object] = []
    for value, low, high in (gains.gain, gains.precision_gain):
        cells.append(f"{value:+.3f} [{low:+.3f}, {high:+.3f}]")
    return cells


if __name__ == "__main__":
    sys.exit(main())
