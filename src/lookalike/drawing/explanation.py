"""Figures of explanations: two images, with the parts that make them alike in bright colors."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from PIL import Image

from lookalike.drawing.matches import draw_framed, write_caption, write_heading
from lookalike.drawing.palette import palette
from lookalike.drawing.style import (
    MUTED,
    TEXT,
    FigureCell,
    figure_in_points,
    image_columns,
    output_path,
    render,
    save,
    text_style,
)
from lookalike.models.explanation import ExplainedImage, Explanation
from lookalike.types import VectorsF32

__all__ = ["draw_explanation", "explanation_image", "heat_colors", "overlay"]

# Sizes in points.
_IMAGE_WIDTH, _IMAGE_HEIGHT = 260, 230
_HEADING_HEIGHT, _CAPTION_HEIGHT = 30, 34
_SCALE_HEIGHT = 22
_MARGIN, _GAP = 24, 14
_THIN = 0.75
# The scale of colors, in shares of the figure's width without margins.
_SCALE_LEFT, _SCALE_WIDTH, _SCALE_GAP = 0.4, 0.2, 0.02

# How much of the colors covers the image; the rest shows through.
_OPACITY = 0.62
# Large images are drawn at this size at most.
_MAX_DRAWN_SIDE = 1024

_LABELS_OF_KIND = {
    "likeness": (
        "adds nothing to the likeness",
        "adds most",
        "Cosine of the two images",
    ),
    "difference": ("no difference", "largest difference", "Likeness of the pixels"),
}


def draw_explanation(
    explanation: Explanation,
    path: str | Path,
    *,
    names: tuple[str, str] = ("query", "match"),
) -> Path:
    """Write a figure of both images side by side, each under the colors of its cells.

    For a pixel Space, the images are as they are, and the difference image is beside them.

    Parameters
    ----------
    explanation
        What to draw.
    path
        A ``.png``, ``.jpg`` or ``.webp`` file.
    names
        The names of the query and of the match, written below them.

    Raises
    ------
    InputError
        If the path's suffix names no supported format.
    """
    path = output_path(path)
    page = explanation_image(explanation, names)
    return save(page, path)


def explanation_image(
    explanation: Explanation, names: tuple[str, str] = ("query", "match")
) -> Image.Image:
    """Return the figure that `draw_explanation` writes."""
    query = explanation.query
    match = explanation.match
    query_name, match_name = names
    if explanation.kind == "difference":
        difference = _difference_image(query.heat)
        panels = [
            ("Query", query.image, query_name),
            ("Match", match.image, match_name),
            ("Difference", difference, ""),
        ]
    else:
        panels = [
            ("Query", overlay(query), query_name),
            ("Match", overlay(match), match_name),
        ]
    return _draw_panels(panels, explanation)


def overlay(explained: ExplainedImage) -> Image.Image:
    """Return an image under the colors of its cells: bright where a cell counts most."""
    image = explained.image.copy()
    image.thumbnail((_MAX_DRAWN_SIDE, _MAX_DRAWN_SIDE))
    box = explained.area.box(image.size)
    left, top, right, bottom = box
    # In gray, because the colors of the image would mix with those of the cells.
    part = image.crop(box)
    gray = part.convert("L")
    background = gray.convert("RGB")

    # The grid grows to the size of its part without steps between the cells.
    size = (right - left, bottom - top)
    cells = _shares(explained.heat)
    grid = Image.fromarray(cells)
    grown = grid.resize(size, Image.Resampling.BICUBIC)
    shares = np.asarray(grown)
    colors = _colors_of(shares)
    foreground = Image.fromarray(colors)

    blended = Image.blend(background, foreground, _OPACITY)
    image.paste(blended, (left, top))
    return image


def heat_colors(heat: VectorsF32) -> npt.NDArray[np.uint8]:
    """Return the color of each cell, uint8 ``[rows, columns, 3]``.

    The largest value has the brightest color. Values of 0 and less have the darkest.
    """
    shares = _shares(heat)
    return _colors_of(shares)


def _shares(heat: VectorsF32) -> VectorsF32:
    """Return each value as a share of the largest, from 0 to 1."""
    hottest = heat.max()
    largest = float(hottest)
    is_cold = largest <= 0
    if is_cold:
        return np.zeros_like(heat)
    divisor = np.float32(largest)
    scaled = heat / divisor
    shares: VectorsF32 = np.clip(scaled, 0, 1)
    return shares


def _colors_of(shares: VectorsF32) -> npt.NDArray[np.uint8]:
    """Return the colors of shares from 0 to 1, between the stops of the palette."""
    scales = palette()["distance"]
    stops = scales["dark"][::-1]
    stop_colors = []
    for stop in stops:
        digits = stop.removeprefix("#")
        color = bytes.fromhex(digits)
        stop_colors.append(list(color))

    # Each of R, G and B lies on the line between two stops.
    positions = np.linspace(0, 1, len(stops))
    stop_channels = np.array(stop_colors, np.float64).T
    channels = []
    for stop_channel in stop_channels:
        channel = np.interp(shares, positions, stop_channel)
        channels.append(channel)
    colors = np.stack(channels, axis=-1)
    rounded = colors.round()
    return rounded.astype(np.uint8)


def _difference_image(heat: VectorsF32) -> Image.Image:
    rows, columns = heat.shape
    longer = max(rows, columns)
    scale = max(1, 512 // longer)
    colors = heat_colors(heat)
    small = Image.fromarray(colors)
    size = (columns * scale, rows * scale)
    return small.resize(size, Image.Resampling.NEAREST)


def _draw_panels(
    panels: list[tuple[str, Image.Image, str]], explanation: Explanation
) -> Image.Image:
    """Draw the images side by side, with the legend below them."""
    widths = image_columns(len(panels), width=_IMAGE_WIDTH, gap=_GAP, margin=_MARGIN)
    heights = [
        _MARGIN,
        _HEADING_HEIGHT,
        _IMAGE_HEIGHT,
        _CAPTION_HEIGHT,
        _SCALE_HEIGHT,
        _SCALE_HEIGHT,
        _MARGIN,
    ]
    figure, grid = figure_in_points(widths, heights)

    cell = partial(FigureCell, figure, grid)

    for number, (heading, image, name) in enumerate(panels):
        column = 2 * number + 1
        write_heading(cell(1, column), heading)
        draw_framed(figure, cell(2, column), image, TEXT, _THIN)
        write_caption(cell(3, column), name, "")
    whole_width = slice(1, -1)
    scale = figure.add_subplot(grid[4, whole_width])
    _draw_scale(scale, explanation)
    note = cell(5, whole_width)
    _write_similarity(note, explanation)
    return render(figure)


def _draw_scale(axes: Axes, explanation: Explanation) -> None:
    """Draw the scale of colors between the words for its two ends."""
    darkest, brightest, _ = _LABELS_OF_KIND[explanation.kind]
    axes.set_axis_off()
    style = text_style(9.5, TEXT, va="center")
    axes.text(_SCALE_LEFT - _SCALE_GAP, 0.5, darkest, ha="right", **style)
    scale = axes.inset_axes((_SCALE_LEFT, 0.3, _SCALE_WIDTH, 0.4))
    scale.set_axis_off()
    shares = np.linspace(0, 1, 256, dtype=np.float32)[np.newaxis]
    scale.imshow(heat_colors(shares), aspect="auto")
    right = _SCALE_LEFT + _SCALE_WIDTH
    axes.text(right + _SCALE_GAP, 0.5, brightest, ha="left", **style)


def _write_similarity(cell: FigureCell, explanation: Explanation) -> None:
    _, _, value = _LABELS_OF_KIND[explanation.kind]
    words = f"{value}: {explanation.similarity:.3f}"
    style = text_style(9.5, MUTED, ha="center", va="center")
    cell.text(0.5, 0.5, words, **style)
