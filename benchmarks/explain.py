"""Measure explanations and region queries on images composed of labeled photographs.

A composed image shows photographs of different labels. An explanation points right if its brightest
cell lies on the photograph that shares the query's label. A region query searches by the box of one
of the photographs; it is right if the nearest row has the photograph's label. The rows of the
photographs themselves are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from lookalike import imaging
from lookalike.imaging import Region
from lookalike.models.cells import load_cells
from lookalike.models.embedder import Embedder, OnnxEmbedder, load
from lookalike.models.explanation import explain_likeness
from lookalike.store.table import Table
from lookalike.types import VectorsF32
from lookalike.vectors import unit_length
from measuring import Report, add_merge_option, label_merges, parser

RESAMPLES = 2000
# Pixels of the composed images.
HEIGHT = 256
CELL = (256, 192)
BACKGROUND = (512, 384)
INSET = 200
LEAST_POINTING = 0.90
LEAST_PRECISION = 0.88

# What is compared: the first of each is what the project does.
PEAKS = ("448 x 448", "the Space's input", "chance")
WAYS = ("crop", "cells of the box", "cells at 448", "whole image")


@dataclass(frozen=True)
class Composed:
    """A composed image.

    Attributes
    ----------
    image
        The image.
    photographs
        The places of its photographs among the rows; the first is the target.
    region
        The box of the target.
    """

    image: Image.Image
    photographs: list[int]
    region: Region


class Photographs:
    """The labeled photographs of a collection, with their vectors.

    Attributes
    ----------
    labels
        The label of each row, ``[n]``.
    """

    def __init__(self, path: str, merges: dict[str, str]) -> None:
        table = Table.open(path)
        self.space = table.space(None)
        self.model = table.models[self.space]
        ids, vectors = table.vectors(self.space)
        rows = table.take(ids, ["uri", "label"])
        labels = [merges.get(label, label) for label in rows["label"].to_pylist()]
        self.uris = rows["uri"].to_pylist()
        self.labels = np.array(labels, dtype=str)
        self.vectors: VectorsF32 = vectors.astype(np.float32)

    def read(self, place: int) -> Image.Image:
        return imaging.decode(Path(self.uris[place]).read_bytes())

    def draw(self, random: np.random.Generator, count: int) -> list[int]:
        """Return the places of some photographs of different labels."""
        labels = np.unique(self.labels)
        chosen = random.choice(labels, count, replace=False)
        return [int(random.choice(self.of(label))) for label in chosen]

    def of(self, label: str) -> npt.NDArray[np.intp]:
        return np.flatnonzero(self.labels == label)

    def query(self, random: np.random.Generator, target: int) -> int:
        """Return another photograph of the target's label."""
        same = self.of(self.labels[target])
        others = same[same != target]
        return int(random.choice(others))

    def finds(self, vector: VectorsF32, composed: Composed) -> bool:
        """Return whether the nearest row has the target's label, without those composed."""
        (direction,) = unit_length(vector[np.newaxis])
        cosines = self.vectors @ direction
        cosines[composed.photographs] = -np.inf
        nearest = cosines.argmax()
        return bool(self.labels[nearest] == self.labels[composed.photographs[0]])


Compose = Callable[[Photographs, np.random.Generator], Composed]


def beside(photographs: Photographs, random: np.random.Generator) -> Composed:
    """Two photographs of the same height side by side."""
    places = photographs.draw(random, 2)
    images = [_to_height(photographs.read(place)) for place in places]
    order = random.permutation(2)
    width = sum(image.width for image in images)
    canvas = Image.new("RGB", (width, HEIGHT))
    left = 0
    lefts = {}
    for number in order:
        canvas.paste(images[number], (left, 0))
        lefts[number] = left
        left += images[number].width
    region = Region(lefts[0] / width, 0, images[0].width / width, 1)
    return Composed(canvas, places, region)


def grid(photographs: Photographs, random: np.random.Generator) -> Composed:
    """Four photographs in two rows, each whole and in the middle of its cell, on white."""
    places = photographs.draw(random, 4)
    cell_width, cell_height = CELL
    size = 2 * cell_width, 2 * cell_height
    canvas = Image.new("RGB", size, "white")
    boxes = []
    for place, position in zip(places, random.permutation(4), strict=True):
        image = ImageOps.contain(photographs.read(place), CELL)
        row, column = divmod(int(position), 2)
        left = column * cell_width + (cell_width - image.width) // 2
        top = row * cell_height + (cell_height - image.height) // 2
        canvas.paste(image, (left, top))
        boxes.append((left, top, image.size))
    return Composed(canvas, places, _region(*boxes[0], size))


def inset(photographs: Photographs, random: np.random.Generator) -> Composed:
    """A small photograph anywhere on a large one of another label."""
    places = photographs.draw(random, 2)
    canvas = ImageOps.fit(photographs.read(places[1]), BACKGROUND)
    small = ImageOps.contain(photographs.read(places[0]), (INSET, INSET))
    left = int(random.integers(canvas.width - small.width + 1))
    top = int(random.integers(canvas.height - small.height + 1))
    canvas.paste(small, (left, top))
    return Composed(canvas, places, _region(left, top, small.size, canvas.size))


LAYOUTS: dict[str, Compose] = {"side by side": beside, "2 x 2": grid, "inset": inset}


def main() -> int:
    arguments = _arguments()
    report = Report("explain", arguments, [])
    merges = label_merges(arguments)
    for path in arguments.collections:
        photographs = Photographs(path, merges)
        _measure(report, path, photographs, arguments.images, arguments.seed)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("explain", "Measure explanations and region queries.")
    options.add_argument("collections", nargs="+", metavar="COLLECTION")
    options.add_argument(
        "--images", type=int, default=150, help="composed images of each layout"
    )
    add_merge_option(options)
    return options.parse_args()


class Trials:
    """Runs composed images of one collection, by every way that is measured."""

    def __init__(self, photographs: Photographs) -> None:
        model = photographs.model
        self.photographs = photographs
        self.embedder: Embedder = load(model)
        self.network = load_cells(model)
        self.small_network = load_cells(model, size=model.size)

    def point(self, composed: Composed, query: Image.Image) -> list[float]:
        """Return whether the peak is on the target, by each of `PEAKS`."""
        region = composed.region
        points = []
        for network in (self.network, self.small_network):
            explained = explain_likeness("", network, query, composed.image)
            points.append(_holds(region, explained.match.peak))
        chance = region.width * region.height
        return [*points, chance]

    def search(self, composed: Composed) -> list[float]:
        """Return whether a search by the target's box finds its label, by each of `WAYS`."""
        part = composed.region.crop(composed.image)
        vectors = [
            self._embed(part),
            _mean_of_cells(self.small_network, composed),
            _mean_of_cells(self.network, composed),
            self._embed(composed.image),
        ]
        return [float(self.photographs.finds(vector, composed)) for vector in vectors]

    def _embed(self, image: Image.Image) -> VectorsF32:
        prepared = imaging.prepare(image, self.embedder.model)
        (vector,) = self.embedder.embed(prepared[np.newaxis])
        return vector


def _measure(
    report: Report, path: str, photographs: Photographs, count: int, seed: int
) -> None:
    """Print the rates of every layout, and of all layouts together."""
    trials = Trials(photographs)
    points: dict[str, list[list[float]]] = {}
    searches: dict[str, list[list[float]]] = {}
    for number, (layout, compose) in enumerate(LAYOUTS.items()):
        random = np.random.default_rng([seed, number])
        points[layout] = []
        searches[layout] = []
        for _ in range(count):
            composed = compose(photographs, random)
            query = photographs.query(random, composed.photographs[0])
            point = trials.point(composed, photographs.read(query))
            points[layout].append(point)
            searches[layout].append(trials.search(composed))

    for title, names, outcomes, least in (
        ("the peak is on the object", PEAKS, points, LEAST_POINTING),
        ("region query, precision@1", WAYS, searches, LEAST_PRECISION),
    ):
        rates = _rates(names, outcomes)
        report.figures[f"{path}: {title}"] = rates
        rows = [[layout, *map(_cell, row.values())] for layout, row in rates.items()]
        report.print_table(f"{path}: {title}", ["layout", *names], rows)
        rate, _, _ = rates["all"][names[0]]
        report.aim(f"{path}: {title}", rate, least=least)


# The rate and its 95 % interval.
Rate = tuple[float, float, float]


def _rates(
    names: tuple[str, ...], outcomes: dict[str, list[list[float]]]
) -> dict[str, dict[str, Rate]]:
    """Return the rate of each way in each layout, and in all of them."""
    everything = [row for rows in outcomes.values() for row in rows]
    rates = {}
    for layout, rows in {**outcomes, "all": everything}.items():
        columns = np.array(rows).T
        intervals = [_with_interval(column) for column in columns]
        rates[layout] = dict(zip(names, intervals, strict=True))
    return rates


def _with_interval(outcomes: npt.NDArray[np.float64]) -> Rate:
    """Return the mean, and the bounds of its bootstrap interval."""
    random = np.random.default_rng(0)
    count = len(outcomes)
    drawn = random.integers(count, size=(RESAMPLES, count))
    means = outcomes[drawn].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(outcomes.mean()), float(low), float(high)


def _cell(rate: Rate) -> str:
    mean, low, high = rate
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def _mean_of_cells(network: OnnxEmbedder, composed: Composed) -> VectorsF32:
    """Return the mean of the cells whose middle lies in the region."""
    prepared = imaging.prepare(composed.image, network.model)
    (cells,) = network.feature_map(prepared[np.newaxis])
    rows, columns, _ = cells.shape
    region = composed.region
    y = (np.arange(rows) + 0.5) / rows
    x = (np.arange(columns) + 0.5) / columns
    is_in_rows = (y >= region.y) & (y <= region.y + region.height)
    is_in_columns = (x >= region.x) & (x <= region.x + region.width)
    inside = cells[is_in_rows][:, is_in_columns]
    mean: VectorsF32 = inside.mean(axis=(0, 1))
    return mean


def _holds(region: Region, point: tuple[float, float]) -> float:
    x, y = point
    is_in_x = region.x <= x <= region.x + region.width
    is_in_y = region.y <= y <= region.y + region.height
    return float(is_in_x and is_in_y)


def _region(left: int, top: int, size: tuple[int, int], of: tuple[int, int]) -> Region:
    """Return a box in pixels as fractions of the whole image."""
    width, height = of
    return Region(left / width, top / height, size[0] / width, size[1] / height)


def _to_height(image: Image.Image) -> Image.Image:
    width = max(1, round(image.width * HEIGHT / image.height))
    return image.resize((width, HEIGHT), Image.Resampling.BICUBIC)


if __name__ == "__main__":
    sys.exit(main())
