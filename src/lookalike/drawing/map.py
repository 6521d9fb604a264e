"""Figures of a map: thumbnails at their positions on one side, labeled dots on the other."""

from __future__ import annotations

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
from lookalike.imaging import open_thumbnail
from lookalike.projection.map import Map
from lookalike.store.names import take_names
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
    names = take_names(collection, map_.ids)
    key = legend(names)

    widths = [_MARGIN, _IMAGES_SIDE, _MARGIN, _DOTS_SIDE, _MARGIN]
    heights = [_HEADING_HEIGHT, _DOTS_SIDE, _MARGIN, _LEGEND_HEIGHT, _MARGIN]
    figure, grid = figure_in_points(widths, heights)
    images = figure.add_subplot(grid[1:4, 1])
    dots = figure.add_subplot(grid[1, 3])
    labels = figure.add_subplot(grid[3, 3])

    side = round(images.bbox.width)
    tiles = choose_tiles(map_, side)
    tile_count = len(tiles.rows)
    shown = "all"
    if tile_count < len(map_):
        shown = f"{tile_count:,}"
    images_note = f"{shown} of them as images"

    # Titles above both sides.
    images.set_axis_off()
    images.text(0, 1 + 50 / _IMAGES_SIDE, map_.title, **_TITLE)
    images.set_title(map_.summary, loc="left", pad=_NOTE_GAP, **_MAP_NOTE)
    images.set_title(images_note, loc="right", pad=_NOTE_GAP, **_MAP_NOTE)
    dots.set_title("All of them as dots", loc="left", pad=_NOTE_GAP, **_MAP_NOTE)
    with span("draw dots"):
        _draw_map_dots(dots, map_, key)
        _draw_legend(labels, key)
        page = render(figure)

    # Pasting is several times faster than drawing an image this large with Matplotlib.
    with span("draw images"):
        left = round(images.bbox.x0)
        top = page.height - round(images.bbox.y1)
        drawn_tiles = _draw_tiles(map_, tiles, side, key, collection)
        page.paste(drawn_tiles, (left, top))
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
    ideal_side = extent * np.sqrt(0.3 / len(map_))
    side = int(np.clip(ideal_side, 42, 176))
    cells_per_side = max(1, extent // side)

    # Positions in units of cells, with a margin of 2 % around the map.
    positions = 0.02 + 0.96 * map_.unit_square()
    positions *= cells_per_side
    cells = positions.astype(np.intp)
    cells = np.clip(cells, 0, cells_per_side - 1)
    cell_numbers = cells @ (1, cells_per_side)
    offsets = positions - cells - 0.5
    off_center = (offsets**2).sum(axis=1)

    # Rows by cell, the nearest to the center first: these get their own cell.
    order = np.lexsort((off_center, cell_numbers))
    is_first = np.diff(cell_numbers[order], prepend=-1) > 0
    first_rows = order[is_first]
    first_cells = cell_numbers[first_rows]
    row_of_cell = dict(zip(first_cells.tolist(), first_rows.tolist(), strict=True))

    # The others get a free neighbor cell if there is one.
    other_rows = order[~is_first]
    for row in other_rows.tolist():
        free = _free_cell(positions[row], cells[row], cells_per_side, row_of_cell)
        if free is not None:
            row_of_cell[free] = row

    # Tiles start at the upper left corner of their cell.
    numbers = np.array(list(row_of_cell))
    rows = np.array(list(row_of_cell.values()))
    lines, columns = np.divmod(numbers, cells_per_side)
    corners = np.stack([columns, lines], axis=1)
    corners *= side
    margin = (extent - cells_per_side * side) // 2
    corners += margin
    return Tiles(rows, corners, side)


def _free_cell(
    position: npt.NDArray[np.float64],
    cell: npt.NDArray[np.intp],
    cells_per_side: int,
    taken: Container[int],
) -> int | None:
    """Return the number of the nearest free cell among the eight around a position's own."""
    around = cell + _NEIGHBOR_STEPS
    is_inside = (around >= 0) & (around < cells_per_side)
    candidates = around[is_inside.all(axis=1)]

    # The nearest first.
    offsets = candidates + 0.5 - position
    distances = (offsets**2).sum(axis=1)
    order = distances.argsort(kind="stable")
    numbers = candidates[order] @ (1, cells_per_side)
    for number in numbers.tolist():
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
        part = slice(start, start + _READ_SIZE)
        rows = tiles.rows[part]
        corners = tiles.corners[part]
        columns = collection.take(map_.ids[rows], ["thumbnail"])
        thumbnails = columns["thumbnail"].to_pylist()
        tiles_of_part = zip(rows.tolist(), corners.tolist(), thumbnails, strict=True)
        for row, (x, y), thumbnail in tiles_of_part:
            index = key.indices[row]
            color = key.colors[index]
            pen.rectangle((x + 1, y + 1, x + frame_side, y + frame_side), fill=color)
            if thumbnail is not None:
                square = _crop_square(thumbnail, image_side)
                canvas.paste(square, (x + 3, y + 3))
    return canvas


def _crop_square(thumbnail: bytes, side: int) -> Image.Image:
    """Return the largest square around a thumbnail's center, resized to `side`."""
    image = open_thumbnail(thumbnail)
    size = (side, side)
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _draw_map_dots(axes: Axes, map_: Map, key: Legend) -> None:
    # A random order keeps one label from covering all others where they overlap.
    generator = np.random.default_rng(0)
    order = generator.permutation(len(map_))
    positions = map_.unit_square()[order]
    x, y = positions.T
    indices = key.indices[order]
    colors = np.array(key.colors)[indices]
    area = float(np.clip(50_000 / len(map_), 3, 90))
    axes.scatter(x, y, s=area, c=colors, linewidths=0, alpha=0.85)

    # The map's y points down.
    axes.set_facecolor(BACKGROUND)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(1.03, -0.03)
    axes.set_xticks([])
    axes.set_yticks([])
    hide_frame(axes)


def _draw_legend(axes: Axes, key: Legend) -> None:
    """Write each label with its color and its number of rows, in two or three columns."""
    columns = 3
    longest = max(map(len, key.names))
    if len(key.names) <= 12 or longest > 14:
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
    entries = zip(key.names, key.colors, key.counts, strict=True)
    for index, (name, color, count) in enumerate(entries):
        column, line = divmod(index, lines)
        dot_center = column + 7 / column_width
        middle = line + 0.16
        axes.scatter(
            dot_center, middle, s=144, color=color, linewidths=0, clip_on=False
        )

        baseline = line + 0.32
        name_start = column + 22 / column_width
        short_name = shorten(name, name_length)
        axes.text(name_start, baseline, short_name, **_LABEL)

        count_end = column + 1 - 20 / column_width
        axes.text(count_end, baseline, f"{count:,}", ha="right", **_MAP_NOTE)
