"""Figures of a map: thumbnails at their positions on one side, labeled dots on the other."""

from __future__ import annotations

import io
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from PIL import Image, ImageDraw, ImageOps

from lookalike.drawing.palette import UNLABELED, Legend, legend
from lookalike.drawing.style import (
    BACKGROUND,
    MUTED,
    TEXT,
    figure_in_points,
    hide_frame,
    output_path,
    render,
    save,
    shorten,
    text_style,
)
from lookalike.projection.map import Map
from lookalike.store.table import Table
from lookalike.tracing import span

__all__ = ["Tiles", "choose_tiles", "draw_map"]

# Thumbnails read at once, about 20 MiB.
_READ_SIZE = 2048

# Sizes in points, at two pixels each.
_IMAGES_SIDE, _DOTS_SIDE, _MARGIN, _HEADING_HEIGHT = 1104, 728, 32, 92
_LEGEND_HEIGHT = _IMAGES_SIDE - _DOTS_SIDE - _MARGIN
_LEGEND_LINE_HEIGHT = 31
_NOTE_GAP = 22

_TITLE = text_style(25, TEXT, weight="bold")
_LABEL = text_style(13.5, TEXT)
_MAP_NOTE = text_style(13.5, MUTED)

# The eight cells around a cell, as (column, row) steps.
_NEIGHBOR_STEPS = np.array([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1) if x or y])


class Tiles(NamedTuple):
    """The thumbnails that a square figure of a map shows, on a grid of square cells.

    Attributes
    ----------
    rows
        int64 ``[m]``, indices into the map's arrays.
    corners
        int64 ``[m, 2]``, the upper left corner of each tile in pixels.
    side
        The side of a cell in pixels.
    """

    rows: npt.NDArray[np.intp]
    corners: npt.NDArray[np.intp]
    side: int


def draw_map(map_: Map, collection: Table, path: str | Path) -> Path:
    """Write a figure of a map.

    On the left, thumbnails lie at their positions as far as there is room. On the right, every
    row is a dot in the color of its label.

    Parameters
    ----------
    map_
        The result of `lookalike.projection.map.make_map`.
    collection
        The mapped collection, which has the thumbnails and labels.
    path
        A ``.png``, ``.jpg`` or ``.webp`` file.

    Raises
    ------
    InputError
        If the path's suffix names no supported format.
    CollectionError
        If the collection no longer has one of the rows.
    """
    path = output_path(path)
    key = legend(collection.take(map_.ids, ["label"])["label"].to_pylist())

    widths = [_MARGIN, _IMAGES_SIDE, _MARGIN, _DOTS_SIDE, _MARGIN]
    heights = [_HEADING_HEIGHT, _DOTS_SIDE, _MARGIN, _LEGEND_HEIGHT, _MARGIN]
    figure, grid = figure_in_points(widths, heights)
    images = figure.add_subplot(grid[1:4, 1])
    dots = figure.add_subplot(grid[1, 3])
    labels = figure.add_subplot(grid[3, 3])

    side = round(images.bbox.width)
    tiles = choose_tiles(map_, side)
    shown = f"{len(tiles.rows):,}" if len(tiles.rows) < len(map_) else "all"

    images.set_axis_off()
    images.text(0, 1 + 50 / _IMAGES_SIDE, map_.title, **_TITLE)
    images.set_title(map_.summary, loc="left", pad=_NOTE_GAP, **_MAP_NOTE)
    images.set_title(
        f"{shown} of them as images", loc="right", pad=_NOTE_GAP, **_MAP_NOTE
    )
    dots.set_title("All of them as dots", loc="left", pad=_NOTE_GAP, **_MAP_NOTE)
    with span("draw dots"):
        _draw_map_dots(dots, map_, key)
        _draw_legend(labels, key)
        page = render(figure)

    # Pasting is several times faster than drawing an image this large with Matplotlib.
    with span("draw images"):
        corner = (round(images.bbox.x0), page.height - round(images.bbox.y1))
        page.paste(_draw_tiles(map_, tiles, side, key, collection), corner)
    return save(page, path)


def choose_tiles(map_: Map, extent: int) -> Tiles:
    """Choose the thumbnails that a square figure of a map can show without overlap.

    Each cell of a grid shows the row nearest to its center, so that every region is represented.
    In dense regions, the remaining rows fill free cells next to their own. The rest is left out.

    Parameters
    ----------
    map_
        The map.
    extent
        The side of the figure in pixels.
    """
    # Few images are drawn large. None is too small to be recognized.
    side = int(np.clip(extent * np.sqrt(0.3 / len(map_)), 42, 176))
    cells_per_side = max(1, extent // side)

    # Positions in units of cells, with a margin of 2 % around the map.
    positions = (0.02 + 0.96 * map_.unit_square()) * cells_per_side
    cells = np.clip(positions.astype(np.intp), 0, cells_per_side - 1)
    cell_numbers = cells @ (1, cells_per_side)
    off_center = ((positions - cells - 0.5) ** 2).sum(axis=1)

    # Rows by cell, the nearest to the center first: these get their own cell.
    order = np.lexsort((off_center, cell_numbers))
    is_first = np.diff(cell_numbers[order], prepend=-1) > 0
    row_of_cell = {int(cell_numbers[row]): int(row) for row in order[is_first]}

    # The others get a free neighbor cell if there is one.
    for row in order[~is_first].tolist():
        free = _free_cell(positions[row], cells[row], cells_per_side, row_of_cell)
        if free is not None:
            row_of_cell[free] = row

    numbers = np.array(list(row_of_cell))
    rows = np.array(list(row_of_cell.values()))
    columns_and_lines = np.stack(
        [numbers % cells_per_side, numbers // cells_per_side], axis=1
    )
    margin = (extent - cells_per_side * side) // 2
    return Tiles(rows, columns_and_lines * side + margin, side)


def _free_cell(
    position: npt.NDArray[np.float64],
    cell: npt.NDArray[np.intp],
    cells_per_side: int,
    taken: Container[int],
) -> int | None:
    """Return the number of the nearest free cell among the eight around a position's own."""
    around = cell + _NEIGHBOR_STEPS
    is_inside = ((around >= 0) & (around < cells_per_side)).all(axis=1)
    candidates = around[is_inside]
    distances = ((candidates + 0.5 - position) ** 2).sum(axis=1)
    nearest_first = candidates[distances.argsort(kind="stable")]
    for number in (nearest_first @ (1, cells_per_side)).tolist():
        if number not in taken:
            return int(number)
    return None


def _draw_tiles(
    map_: Map, tiles: Tiles, extent: int, key: Legend, collection: Table
) -> Image.Image:
    """Return the thumbnails at their positions, each framed in its label's color."""
    canvas = Image.new("RGB", (extent, extent), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    # A frame of two pixels, and one pixel of background around it.
    frame_side = tiles.side - 3
    image_side = frame_side - 4
    for start in range(0, len(tiles.rows), _READ_SIZE):
        rows = tiles.rows[start : start + _READ_SIZE]
        corners = tiles.corners[start : start + _READ_SIZE].tolist()
        thumbnails = collection.take(map_.ids[rows], ["thumbnail"])[
            "thumbnail"
        ].to_pylist()
        for row, (x, y), thumbnail in zip(
            rows.tolist(), corners, thumbnails, strict=True
        ):
            color = key.colors[key.indices[row]]
            pen.rectangle((x + 1, y + 1, x + frame_side, y + frame_side), fill=color)
            if thumbnail is not None:
                canvas.paste(_crop_square(thumbnail, image_side), (x + 3, y + 3))
    return canvas


def _crop_square(thumbnail: bytes, side: int) -> Image.Image:
    """Return the largest square around a thumbnail's center, resized to `side`."""
    image = Image.open(io.BytesIO(thumbnail)).convert("RGB")
    return ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)


def _draw_map_dots(axes: Axes, map_: Map, key: Legend) -> None:
    positions = map_.unit_square()
    colors = np.array(key.colors)[key.indices]
    # A random order keeps one label from covering all others where they overlap.
    order = np.random.default_rng(0).permutation(len(positions))
    area = float(np.clip(50_000 / len(map_), 3, 90))
    x, y = positions[order].T
    axes.scatter(x, y, s=area, c=colors[order], linewidths=0, alpha=0.85)
    axes.set(
        facecolor=BACKGROUND,
        xlim=(-0.03, 1.03),
        ylim=(1.03, -0.03),
        xticks=[],
        yticks=[],
    )
    hide_frame(axes)


def _draw_legend(axes: Axes, key: Legend) -> None:
    """Write each label with its color and its number of rows, in two or three columns."""
    columns = 3
    if len(key.names) <= 12 or max(map(len, key.names)) > 14:
        columns = 2
    lines = -(-len(key.names) // columns)

    # One unit is a column across and a line down.
    axes.set_xlim(0, columns)
    axes.set_ylim(_LEGEND_HEIGHT / _LEGEND_LINE_HEIGHT, 0)
    axes.set_axis_off()
    if key.names == [UNLABELED]:
        axes.text(0, 0.32, "No image has a label.", **_MAP_NOTE)
        return

    column_width = _DOTS_SIDE / columns
    name_length = int(column_width / 8.5) - 6
    for index, (name, color) in enumerate(zip(key.names, key.colors, strict=True)):
        column, line = divmod(index, lines)
        baseline = line + 0.32
        dot_center = column + 7 / column_width
        name_start = column + 22 / column_width
        count_end = column + 1 - 20 / column_width
        axes.scatter(
            dot_center, line + 0.16, s=144, color=color, linewidths=0, clip_on=False
        )
        axes.text(name_start, baseline, shorten(name, name_length), **_LABEL)
        axes.text(
            count_end, baseline, f"{key.counts[index]:,}", ha="right", **_MAP_NOTE
        )
