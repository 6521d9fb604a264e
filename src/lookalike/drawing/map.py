"""The atlas: a still picture of a map, the images themselves on one side and their labels on the other."""

from __future__ import annotations

import io
from collections.abc import Container
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image, ImageDraw, ImageOps

from lookalike.drawing.palette import UNLABELED, Legend, legend
from lookalike.drawing.style import INK, QUIET, rendered, save, short, target
from lookalike.projection.map import Map
from lookalike.store.table import Table
from lookalike.tracing import span

__all__ = ["Tiles", "draw_map", "tiles"]

_PANEL = "#f5f6f8"
# Thumbnails read at once: some 20 MiB.
_CHUNK = 2048
# Pixels a point of type: matplotlib's sizes are in points.
_SCALE = 2

# The page, in pixels.
_IMAGES, _DOTS, _MARGIN, _HEADING = 2208, 1456, 64, 184
_WIDTH, _HEIGHT = _IMAGES + _DOTS + 3 * _MARGIN, _IMAGES + _HEADING + _MARGIN

_AROUND = np.array([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1) if x or y])


class Tiles(NamedTuple):
    """Which images a square picture of a map shows, and where.

    Attributes
    ----------
    rows
        ``[m]``, rows of the map.
    corners
        ``[m, 2]``, the upper left corner of each one's cell in pixels.
    side
        Of a cell, in pixels.
    """

    rows: npt.NDArray[np.intp]
    corners: npt.NDArray[np.intp]
    side: int


def draw_map(map_: Map, collection: Table, path: str | Path) -> Path:
    """Write a picture of a map: as many images as fit at their places, and every row as a dot coloured by label.

    Parameters
    ----------
    map_
        What `lookalike.projection.map.make_map` returned.
    collection
        Where it comes from: its thumbnails are drawn.
    path
        A ``.png``, ``.jpg`` or ``.webp`` file.

    Raises
    ------
    InputError
        If the file's ending is not one of these.
    CollectionError
        If the collection no longer has one of the rows.
    """
    path = target(path)
    key = legend(collection.take(map_.ids, ["label"])["label"].to_pylist())
    shown = tiles(map_, _IMAGES)
    with span("draw dots"):
        page = _page(map_, key, len(shown.rows))
    with span("draw images"):
        page.paste(_mosaic(map_, shown, key, collection), (_MARGIN, _HEADING))
    return save(page, path)


def tiles(map_: Map, extent: int) -> Tiles:
    """Choose the images that a square picture of a map can show on a grid, none over another.

    Each cell shows the row nearest to its middle, so that every region is there. Where one is dense, what is left over
    spills into free cells next to its own; the rest is left out.

    Parameters
    ----------
    map_
        The map.
    extent
        Side of the picture, in pixels.
    """
    # Few images are drawn large, and none too small to be recognised.
    side = int(np.clip(extent * np.sqrt(0.3 / len(map_)), 42, 176))
    count = max(1, extent // side)
    places = (0.02 + 0.96 * map_.unit_square()) * count
    cells = np.clip(places.astype(np.intp), 0, count - 1)
    off_middle = ((places - cells - 0.5) ** 2).sum(axis=1)
    numbers = cells @ (1, count)
    order = np.lexsort((off_middle, numbers))
    first = np.diff(numbers[order], prepend=-1) > 0
    taken = {int(numbers[row]): int(row) for row in order[first]}
    for row in order[~first].tolist():
        cell = _free_cell(places[row], cells[row], count, taken)
        if cell is not None:
            taken[cell] = row
    at = np.array(list(taken))
    corners = np.stack([at % count, at // count], axis=1) * side + (extent - count * side) // 2
    return Tiles(np.array(list(taken.values())), corners, side)


def _free_cell(
    place: npt.NDArray[np.float64], cell: npt.NDArray[np.intp], count: int, taken: Container[int]
) -> int | None:
    """Return the nearest free one of the eight cells around a place's own, as row x count + column."""
    around = cell + _AROUND
    inside = around[((around >= 0) & (around < count)).all(axis=1)]
    nearest = inside[((inside + 0.5 - place) ** 2).sum(axis=1).argsort(kind="stable")]
    return next((number for number in (nearest @ (1, count)).tolist() if number not in taken), None)


def _mosaic(map_: Map, shown: Tiles, key: Legend, collection: Table) -> Image.Image:
    """Return the images at their places, each framed in its label's colour."""
    panel = Image.new("RGB", (_IMAGES, _IMAGES), _PANEL)
    pen = ImageDraw.Draw(panel)
    last = shown.side - 3
    for start in range(0, len(shown.rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        rows = shown.rows[part]
        thumbnails = collection.take(map_.ids[rows], ["thumbnail"])["thumbnail"].to_pylist()
        places = zip(rows.tolist(), shown.corners[part].tolist(), thumbnails, strict=True)
        for row, (x, y), thumbnail in places:
            pen.rectangle((x + 1, y + 1, x + last, y + last), fill=key.colors[key.indices[row]])
            if thumbnail is not None:
                panel.paste(_square(thumbnail, last - 4), (x + 3, y + 3))
    return panel


def _square(thumbnail: bytes, side: int) -> Image.Image:
    """Return the middle of a thumbnail, as large as a square of it can be."""
    return ImageOps.fit(
        Image.open(io.BytesIO(thumbnail)).convert("RGB"), (side, side), Image.Resampling.LANCZOS
    )


def _page(map_: Map, key: Legend, shown: int) -> Image.Image:
    """Return the page with its heading, dots and legend; the place of the images is left free."""
    figure = Figure(
        figsize=(_WIDTH / 72 / _SCALE, _HEIGHT / 72 / _SCALE), dpi=72 * _SCALE, facecolor="white"
    )
    _text(figure, _MARGIN, 84, map_.title, size=25, weight="bold")
    _text(figure, _MARGIN, 140, map_.summary, size=13.5, color=QUIET)
    some = f"{shown:,} of them as images" if shown < len(map_) else "all of them as images"
    _text(figure, _MARGIN + _IMAGES, 140, some, size=13.5, color=QUIET, ha="right")
    left = 2 * _MARGIN + _IMAGES
    _text(figure, left, 140, "All of them as dots", size=13.5, color=QUIET)
    _dots(figure, map_, key, left)
    _legend(figure, key, left, _HEADING + _DOTS + _MARGIN)
    return rendered(figure)


def _dots(figure: Figure, map_: Map, key: Legend, left: int) -> None:
    box = (left / _WIDTH, 1 - (_HEADING + _DOTS) / _HEIGHT, _DOTS / _WIDTH, _DOTS / _HEIGHT)
    axes = figure.add_axes(
        box, facecolor=_PANEL, xlim=(-0.03, 1.03), ylim=(1.03, -0.03), xticks=[], yticks=[]
    )
    axes.spines[:].set_visible(False)
    places = map_.unit_square()
    colours = np.array(key.colors)[key.indices]
    # Drawn in an order that has nothing to do with the labels: none lies on top of all others.
    order = np.random.default_rng(0).permutation(len(places))
    area = float(np.clip(50_000 / len(map_), 3, 90))
    axes.scatter(
        places[order, 0], places[order, 1], s=area, c=colours[order], linewidths=0, alpha=0.85
    )


def _legend(figure: Figure, key: Legend, left: int, top: int) -> None:
    """Write the labels in as many columns as they need, with how many rows each has."""
    if key.names == [UNLABELED]:
        _text(figure, left, top + 20, "No image has a label.", size=13.5, color=QUIET)
        return
    columns = 2 if max(map(len, key.names)) > 14 or len(key.names) <= 12 else 3
    width, height = _DOTS / columns, 62
    rows = -(-len(key.names) // columns)
    for index, (name, colour, count) in enumerate(
        zip(key.names, key.colors, key.counts, strict=True)
    ):
        x, y = left + index // rows * width, top + index % rows * height
        figure.add_artist(_dot(x + 14, y + 10, colour))
        _text(figure, x + 44, y + 20, short(name, int(width / 17) - 6), size=13.5)
        _text(figure, x + width - 40, y + 20, f"{count:,}", size=13.5, color=QUIET, ha="right")


def _dot(x: float, y: float, colour: str) -> Line2D:

    return Line2D(
        [x / _WIDTH], [1 - y / _HEIGHT], marker="o", markersize=12, color=colour, markeredgewidth=0
    )


def _text(figure: Figure, x: float, y: float, text: str, *, color: str = INK, **style: Any) -> None:
    # A dollar sign would begin a formula.
    figure.text(
        x / _WIDTH, 1 - y / _HEIGHT, text, color=color, parse_math=False, va="baseline", **style
    )
