"""Figures of search results: a query and its nearest images, one block for each Space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox, IdentityTransform
from PIL import Image

from lookalike import imaging
from lookalike.drawing.style import (
    BORDER,
    COLORS,
    MUTED,
    TEXT,
    FigureCell,
    centered,
    figure_in_points,
    output_path,
    render,
    save,
    shorten,
    text_style,
)
from lookalike.errors import ImageError
from lookalike.imaging import Region
from lookalike.sources import display_name, is_web_address, read_uri
from lookalike.store.table import Table
from lookalike.types import Match, Matches

__all__ = ["draw_framed", "draw_matches", "write_caption", "write_heading"]

# Sizes in points.
_IMAGE_WIDTH, _IMAGE_HEIGHT = 168, 132
_HEADING_HEIGHT, _CAPTION_HEIGHT = 30, 34
_MARGIN, _GAP = 24, 14
_MAX_COLUMNS = 5

# Frames around matches with the query's label and with another one.
_SAME_LABEL, _OTHER_LABEL = COLORS[:2]
_THIN, _THICK = 0.75, 2.5

_HEADING = text_style(13, TEXT, weight="bold")
_NOTE = text_style(9.5, MUTED, ha="right")
_CAPTION = text_style(10, TEXT, ha="center")
_SUBCAPTION = text_style(9, MUTED, ha="center")


def draw_matches(
    query: Image.Image,
    answers: Sequence[Matches],
    collection: Table,
    path: str | Path,
    *,
    label: str | None = None,
    name: str = "query",
    region: Region | None = None,
) -> Path:
    """Write a figure of a query and its matches, nearest first, one block for each Space.

    Parameters
    ----------
    query
        The query image, upright RGB.
    answers
        The matches in one or more Spaces.
    collection
        The searched collection. Its thumbnails replace files that cannot be read.
    path
        A ``.png``, ``.jpg`` or ``.webp`` file.
    label
        The query's label, if known. Frames then show which matches share it.
    name, region
        The query's name, written below it, and its part that was searched by, which is framed.

    Raises
    ------
    InputError
        If the path's suffix names no supported format.
    """
    path = output_path(path)
    most_matches = max(len(answer) for answer in answers)
    columns = max(1, min(_MAX_COLUMNS, most_matches))
    line_counts = [max(1, -(-len(answer) // columns)) for answer in answers]
    figure, grid = _layout(columns, line_counts)

    cell = partial(FigureCell, figure, grid)

    # The query on the left, and a line that separates it from the answers.
    write_heading(cell(1, 1), "Query")
    _draw_query(figure, cell(2, 1), query, region)
    write_caption(cell(3, 1), label or name, name if label else "")
    cell(slice(1, -1), 2).vertical_line(color=BORDER, linewidth=_THIN)

    # The answers, one block for each Space.
    row = 1
    for answer, line_count in zip(answers, line_counts, strict=True):
        write_heading(cell(row, slice(3, -1)), answer.space, _heading_note(answer))
        images = _read_images(answer, collection)
        for index, (match, image) in enumerate(zip(answer, images, strict=True)):
            line, position = divmod(index, columns)
            image_row = row + 1 + 3 * line
            column = 3 + 2 * position
            color, width = _frame(match, label)
            draw_framed(figure, cell(image_row, column), image, color, width)
            title = match.label or display_name(match.uri)
            write_caption(cell(image_row + 1, column), title, _format_facts(match))
            if answer.alike == index > 0:
                _draw_divider(cell, image_row, column, is_first=position == 0)
        row += 1 + 3 * line_count

    page = render(figure)
    return save(page, path)


def _heading_note(answer: Matches) -> str:
    """Return the note beside the heading of an answer."""
    name = answer.metric.capitalize()
    facts = f"{name} distance"
    alike = answer.alike
    if alike is None:
        return facts
    facts += " · confidence"
    if alike == 0:
        return f"{facts}. Nothing here is like the query"
    if alike < len(answer):
        return f"{facts}. Less alike after the dashed line"
    return facts


def _draw_divider(
    cell: Callable[[int | slice, int | slice], FigureCell],
    row: int,
    column: int,
    *,
    is_first: bool,
) -> None:
    """Draw a dashed line before the first match that is less alike: at its left, or above it."""
    if is_first:
        above = cell(row - 1, slice(3, -1))
        above.horizontal_line(color=MUTED, linewidth=_THICK, linestyle="--")
    else:
        beside = cell(slice(row, row + 2), column - 1)
        beside.vertical_line(color=MUTED, linewidth=_THICK, linestyle="--")


def _layout(columns: int, line_counts: list[int]) -> tuple[Figure, GridSpec]:
    """Return the figure and its grid for blocks with these numbers of lines."""
    # The first column holds the query, the second one the line that separates it.
    line_width = 2 * _GAP
    widths = [_MARGIN, _IMAGE_WIDTH, line_width]
    column_widths = [_IMAGE_WIDTH, _GAP]
    for _ in range(columns):
        widths += column_widths
    widths[-1] = _MARGIN

    # Each block has a heading and then lines of images, with their captions below them.
    line_heights = [_IMAGE_HEIGHT, _CAPTION_HEIGHT, _GAP]
    heights = [_MARGIN]
    for line_count in line_counts:
        heights.append(_HEADING_HEIGHT)
        for _ in range(line_count):
            heights += line_heights
    heights[-1] = _MARGIN
    return figure_in_points(widths, heights)


def _read_images(answer: Matches, collection: Table) -> list[Image.Image]:
    """Return the image of each match: the original file, or its thumbnail if that is unreadable."""
    rows = collection.take(answer.ids, ["thumbnail"])
    column = rows["thumbnail"]
    thumbnails = column.to_pylist()
    images = []
    pairs = zip(answer, thumbnails, strict=True)
    for match, thumbnail in pairs:
        image = _read_original(match.uri)
        if image is None:
            image = imaging.open_thumbnail(thumbnail)
        images.append(image)
    return images


def _read_original(uri: str) -> Image.Image | None:
    """Return the image behind a uri, or None if it cannot be read or decoded, or is on the web."""
    if is_web_address(uri):
        return None
    try:
        data = read_uri(uri)
        return imaging.decode(data)
    except (OSError, ImageError):
        return None


def _frame(match: Match, label: str | None) -> tuple[str, float]:
    """Return the color and line width of a match's frame."""
    if label is None:
        return BORDER, _THIN
    if match.label == label:
        return _SAME_LABEL, _THICK
    return _OTHER_LABEL, _THICK


def _draw_query(
    figure: Figure, cell: FigureCell, query: Image.Image, region: Region | None
) -> None:
    """Draw the query, and a frame around the part that was searched by."""
    box = draw_framed(figure, cell, query, TEXT, _THIN)
    if region is not None:
        part = region.fractions(query.size)
        _draw_region(figure, box, part)


def draw_framed(
    figure: Figure, cell: FigureCell, image: Image.Image, color: str, width: float
) -> Bbox:
    """Fit a whole image into a cell at the figure's resolution, so that it stays sharp.

    Returns its place in the figure's pixels.
    """
    place = cell.bbox
    scale = min(place.width / image.width, place.height / image.height)
    fitted_width = max(1, round(image.width * scale))
    fitted_height = max(1, round(image.height * scale))
    fitted_size = (fitted_width, fitted_height)
    fitted = image.resize(fitted_size, Image.Resampling.LANCZOS)

    box = centered(fitted_width, fitted_height, place)
    pixels = np.asarray(fitted)
    figure.figimage(pixels, box.x0, box.y0, origin="upper")
    _draw_frame(figure, box, color, width)
    return box


def _draw_region(figure: Figure, image: Bbox, region: Region) -> None:
    """Frame the region of an image: white on dark, which shows on any image."""
    # The figure's pixels are counted from below.
    top = image.y1 - region.y * image.height
    bottom = top - region.height * image.height
    left = image.x0 + region.x * image.width
    right = left + region.width * image.width
    part = Bbox.from_extents(left, bottom, right, top)
    _draw_frame(figure, part, TEXT, 2 * _THICK)
    _draw_frame(figure, part, "white", _THICK)


def _draw_frame(figure: Figure, box: Bbox, color: str, width: float) -> None:
    """Draw a rectangle that is placed in pixels."""
    frame = Rectangle(box.p0, box.width, box.height, fill=False)
    frame.set_edgecolor(color)
    frame.set_linewidth(width)
    in_pixels = IdentityTransform()
    frame.set_transform(in_pixels)
    figure.add_artist(frame)


def write_heading(cell: FigureCell, left: str, right: str = "") -> None:
    """Write a bold heading, and a note at the right end of its line."""
    cell.text(0, 0.53, left, **_HEADING)
    cell.text(1, 0.53, right, **_NOTE)


def write_caption(cell: FigureCell, first: str, second: str) -> None:
    """Write the two lines below an image."""
    upper = shorten(first)
    lower = shorten(second)
    cell.text(0.5, 0.56, upper, **_CAPTION)
    cell.text(0.5, 0.18, lower, **_SUBCAPTION)


def _format_facts(match: Match) -> str:
    """Return the distance of a match, and its confidence if it has one."""
    distance = _format_distance(match.distance)
    confidence = match.confidence
    if confidence is None:
        return distance
    return f"{distance} · {confidence:.2g}"


def _format_distance(distance: float) -> str:
    if distance < 100:
        return f"{distance:.4f}"
    return f"{distance:,.0f}"
