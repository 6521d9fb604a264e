"""Figures of duplicates: one line for each group, the image to keep first."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PIL import Image

from lookalike.drawing.matches import draw_framed, write_caption, write_heading
from lookalike.drawing.style import (
    BORDER,
    COLORS,
    FigureCell,
    figure_in_points,
    image_columns,
    output_path,
    render,
    save,
)
from lookalike.duplicates.groups import Duplicate, DuplicateGroup, Duplicates
from lookalike.duplicates.words import TIER_WORDS
from lookalike.imaging import open_thumbnail
from lookalike.sources import display_name
from lookalike.store.view import View

__all__ = ["draw_duplicates"]

# Sizes in points.
_IMAGE_WIDTH, _IMAGE_HEIGHT = 168, 120
_HEADING_HEIGHT, _CAPTION_HEIGHT = 34, 34
_MARGIN, _GAP = 24, 14
# More do not fit on a figure that can be looked at.
_MAX_GROUPS, _MAX_COPIES = 12, 4
_THIN, _THICK = 0.75, 2.5
_KEPT = COLORS[2]


def draw_duplicates(duplicates: Duplicates, view: View, path: str | Path) -> Path:
    """Write a figure of the first groups, one line each.

    Parameters
    ----------
    duplicates
        The groups.
    view
        The collection, whose thumbnails are drawn.
    path
        A ``.png``, ``.jpg`` or ``.webp`` file.

    Raises
    ------
    InputError
        If the path's suffix names no supported format.
    """
    path = output_path(path)
    groups = duplicates.groups[:_MAX_GROUPS]
    most_copies = max((len(group.copies) for group in groups), default=1)
    columns = 1 + min(_MAX_COPIES, most_copies)

    widths = image_columns(columns, width=_IMAGE_WIDTH, gap=_GAP, margin=_MARGIN)
    heights: list[float] = [_MARGIN, _HEADING_HEIGHT]
    for _ in groups:
        heights += [_IMAGE_HEIGHT, _CAPTION_HEIGHT, _GAP]
    heights.append(_MARGIN)
    figure, grid = figure_in_points(widths, heights)

    cell = partial(FigureCell, figure, grid)

    heading = cell(1, slice(1, -1))
    write_heading(heading, "Duplicates", _caption(duplicates, len(groups)))
    for line, group in enumerate(groups):
        row = 2 + 3 * line
        shown = [group.keeper, *group.copies[:_MAX_COPIES]]
        thumbnails = _group_thumbnails(view, shown)
        for index, (image, thumbnail) in enumerate(zip(shown, thumbnails, strict=True)):
            column = 1 + 2 * index
            color, width = (BORDER, _THIN) if index else (_KEPT, _THICK)
            if thumbnail is not None:
                draw_framed(figure, cell(row, column), thumbnail, color, width)
            name = display_name(image.uri)
            write_caption(cell(row + 1, column), name, _note(image, group))

    page = render(figure)
    return save(page, path)


def _caption(duplicates: Duplicates, shown: int) -> str:
    total = len(duplicates)
    if shown < total:
        return f"{shown} of {total:,} groups"
    noun = "group"
    if total != 1:
        noun = "groups"
    return f"{total:,} {noun}"


def _note(image: Duplicate, group: DuplicateGroup) -> str:
    """Return the second line below an image."""
    if image is not group.keeper and image.tier is not None:
        return TIER_WORDS[image.tier]
    left_out = len(group.copies) - _MAX_COPIES
    if left_out > 0:
        return f"keep; {left_out:,} more copies"
    return "keep"


def _group_thumbnails(view: View, images: list[Duplicate]) -> list[Image.Image | None]:
    ids = [image.id for image in images]
    rows = view.take(ids, ["thumbnail"])
    column = rows["thumbnail"]
    stored = column.to_pylist()
    opened = []
    for content in stored:
        thumbnail = None
        if content:
            thumbnail = open_thumbnail(content)
        opened.append(thumbnail)
    return opened
