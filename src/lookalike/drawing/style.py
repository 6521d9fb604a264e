"""Colors, typography and file output shared by all figures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox, BboxTransformTo
from PIL import Image

from lookalike.errors import InputError
from lookalike.io.files import atomic_write

__all__ = [
    "BACKGROUND",
    "BORDER",
    "COLORS",
    "MUTED",
    "TEXT",
    "FigureCell",
    "centered",
    "figure_in_points",
    "hide_frame",
    "image_columns",
    "output_path",
    "render",
    "save",
    "shorten",
    "text_style",
]

TEXT, MUTED, BORDER, BACKGROUND = "#1b1f24", "#5c6670", "#d9dee3", "#f5f6f8"
# One color for each Space, distinct under every common color vision deficiency (Okabe and Ito).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")

# Matplotlib measures type in points, 72 to the inch. Two pixels for each point keep it sharp.
_POINTS_PER_INCH = 72
_PIXELS_PER_POINT = 2

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
# Photographs take half the time of Pillow's default level, 6, and 3 % more space.
_PNG_LEVEL = 3


def output_path(path: str | Path) -> Path:
    """Return the path of an image file after checking that its suffix names a supported format.

    Raises
    ------
    InputError
        If the suffix is not ``.png``, ``.jpg``, ``.jpeg`` or ``.webp``.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise InputError(
            f"An image cannot be written as {path.name!r}; "
            f"its name must end in {', '.join(_FORMATS)}."
        )
    return path


def save(image: Image.Image, path: Path) -> Path:
    """Write an image in the format of the path's suffix. The file is complete or absent."""
    # Pillow alone does not notice a full disk that accepts only part of a write.
    suffix = path.suffix.lower()
    file_format = _FORMATS[suffix]
    encoded = BytesIO()
    image.save(encoded, file_format, quality=92, compress_level=_PNG_LEVEL)
    content = encoded.getbuffer()
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return path


def figure_in_points(
    column_widths: Sequence[float], row_heights: Sequence[float]
) -> tuple[Figure, GridSpec]:
    """Return a white figure and its grid, with columns and rows of exactly these sizes in points.

    Margins and gaps are columns and rows that stay empty.
    """
    width, height = sum(column_widths), sum(row_heights)
    figure = Figure(
        figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH),
        dpi=_POINTS_PER_INCH * _PIXELS_PER_POINT,
        facecolor="white",
    )
    grid = figure.add_gridspec(
        len(row_heights),
        len(column_widths),
        width_ratios=column_widths,
        height_ratios=row_heights,
        left=0,
        right=1,
        bottom=0,
        top=1,
        wspace=0,
        hspace=0,
    )
    return figure, grid


def image_columns(
    count: int, *, width: float, gap: float, margin: float
) -> list[float]:
    """Return the widths of the columns of a line of images, with gaps between margins."""
    widths = [margin]
    for _ in range(count):
        widths += [width, gap]
    widths[-1] = margin
    return widths


class FigureCell:
    """A part of a figure's grid, to draw or write on.

    Unlike Matplotlib's axes, it has no ticks and lines of its own, which take most of the time
    of a figure with many parts.

    Parameters
    ----------
    figure, grid
        The figure and its grid.
    rows, columns
        The part of the grid.

    Attributes
    ----------
    bbox
        The place of the cell in the figure's pixels.
    """

    def __init__(
        self, figure: Figure, grid: GridSpec, rows: int | slice, columns: int | slice
    ) -> None:
        place = grid[rows, columns]
        shares = place.get_position(figure)
        in_figure = figure.transFigure
        self.bbox = shares.transformed(in_figure)
        self._in_cell = BboxTransformTo(self.bbox)
        self._figure = figure

    def text(self, x: float, y: float, words: str, **style: Any) -> None:
        """Write words at a place, in shares of the cell's width and height from the lower left."""
        text = self._figure.text(x, y, words, **style)
        text.set_transform(self._in_cell)

    def vertical_line(self, **style: Any) -> None:
        """Draw a line from top to bottom through the middle."""
        line = Line2D([0.5, 0.5], [0, 1], **style)
        self._add_line(line)

    def horizontal_line(self, **style: Any) -> None:
        """Draw a line from left to right through the middle."""
        line = Line2D([0, 1], [0.5, 0.5], **style)
        self._add_line(line)

    def _add_line(self, line: Line2D) -> None:
        line.set_transform(self._in_cell)
        line.set_clip_box(self.bbox)
        self._figure.add_artist(line)


def centered(width: int, height: int, cell: Bbox) -> Bbox:
    """Return the box of whole pixels with this size that lies in the middle of a cell."""
    box = Bbox.from_bounds(0, 0, width, height)
    middle = box.anchored("C", cell)
    left = round(middle.x0)
    bottom = round(middle.y0)
    return box.translated(left, bottom)


def text_style(size: float, color: str, **properties: Any) -> dict[str, Any]:
    """Return Matplotlib's properties of a text."""
    # A dollar sign in a name would otherwise start a formula.
    plain = {"size": size, "color": color, "parse_math": False}
    return plain | properties


def hide_frame(axes: Axes) -> None:
    """Hide the lines around a plot and its tick marks; tick labels stay."""
    lines = axes.spines[:]
    lines.set_visible(False)
    axes.tick_params(length=0)


def render(figure: Figure) -> Image.Image:
    """Return a figure as an RGB image of the figure's own size and resolution."""
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes. The rest of the image is unaffected.
        warnings.filterwarnings("ignore", message="Glyph")
        canvas.draw()
    buffer = canvas.buffer_rgba()
    pixels = np.asarray(buffer)
    drawn = Image.fromarray(pixels)
    return drawn.convert("RGB")


def shorten(text: str, length: int = 26) -> str:
    """Return printable text of at most `length` characters, with an ellipsis where it was cut."""
    printable = ""
    for character in text:
        printable += (
            character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        )
    if len(printable) <= length:
        return printable
    return printable[: length - 1].rstrip() + "…"
