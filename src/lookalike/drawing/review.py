"""Figures of a review: one line of images for each cluster, and for each other part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from lookalike.drawing.matches import draw_framed, write_caption, write_heading
from lookalike.drawing.style import (
    BORDER,
    FigureCell,
    figure_in_points,
    image_columns,
    output_path,
    render,
    save,
)
from lookalike.imaging import open_thumbnail
from lookalike.review.results import (
    DiverseImage,
    DoubtfulLabel,
    Outlier,
    Review,
    ReviewImage,
)
from lookalike.review.words import ImageGroup, sections
from lookalike.sources import display_name
from lookalike.store.view import View

__all__ = ["draw_review"]

# Sizes in points.
_IMAGE_WIDTH, _IMAGE_HEIGHT = 132, 96
_HEADING_HEIGHT, _CAPTION_HEIGHT = 30, 34
_MARGIN, _GAP = 24, 12
_NOTHING = 0.01
_FRAME_WIDTH = 0.75
# More do not fit on a figure that can be looked at.
_IMAGES_PER_LINE = 7
_MOST_CLUSTERS = 6
# Rows of the grid for each line of images: the heading, the images, the captions, a gap.
_ROWS_PER_LINE = 4


class _Line(NamedTuple):
    """One line of images."""

    title: str
    note: str
    images: tuple[ReviewImage, ...]


def draw_review(review: Review, view: View, path: str | Path) -> Path:
    """Write a figure of a review.

    Parameters
    ----------
    review
        The review.
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
    lines = list(_image_lines(review))
    figure, grid = _lay_out_lines(lines)
    for number, line in enumerate(lines):
        row = 1 + number * _ROWS_PER_LINE
        _draw_line(figure, grid, row, line, view)
    page = render(figure)
    return save(page, path)


def _lay_out_lines(lines: Sequence[_Line]) -> tuple[Figure, GridSpec]:
    widths = image_columns(
        _IMAGES_PER_LINE, width=_IMAGE_WIDTH, gap=_GAP, margin=_MARGIN
    )
    heights: list[float] = [_MARGIN]
    for line in lines:
        heights.append(_HEADING_HEIGHT)
        if line.images:
            heights += [_IMAGE_HEIGHT, _CAPTION_HEIGHT]
        else:
            heights += [_NOTHING, _NOTHING]
        heights.append(_GAP)
    heights.append(_MARGIN)
    return figure_in_points(widths, heights)


def _image_lines(review: Review) -> Iterator[_Line]:
    """Yield a line for each of the largest clusters, and for each other part."""
    for section in sections(review):
        title = section.title
        note = section.summary
        has_clusters = section.part == "clusters"
        if has_clusters:
            yield _Line(title, note, ())
            yield from _cluster_lines(section.groups)
            continue
        for group in section.groups:
            first_images = group.images[:_IMAGES_PER_LINE]
            yield _Line(title, note, first_images)


def _cluster_lines(groups: Sequence[ImageGroup]) -> Iterator[_Line]:
    for group in groups[:_MOST_CLUSTERS]:
        total = len(group.images)
        noun = "image" if total == 1 else "images"
        yield _Line(group.title, f"{total:,} {noun}", group.images[:_IMAGES_PER_LINE])


def _draw_line(
    figure: Figure, grid: GridSpec, row: int, line: _Line, view: View
) -> None:
    cell = partial(FigureCell, figure, grid)
    write_heading(cell(row, slice(1, -1)), line.title, line.note)
    ids = [image.id for image in line.images]
    rows = view.take(ids, ["thumbnail"])
    thumbnails = rows["thumbnail"].to_pylist()
    for number, image in enumerate(line.images):
        column = 1 + 2 * number
        content = thumbnails[number]
        if content:
            draw_framed(
                figure,
                cell(row + 1, column),
                open_thumbnail(content),
                BORDER,
                _FRAME_WIDTH,
            )
        title, note = _image_caption(image)
        write_caption(cell(row + 2, column), title, note)


def _image_caption(image: ReviewImage) -> tuple[str, str]:
    """Return the two lines below an image."""
    title = image.label or display_name(image.uri)
    if isinstance(image, DoubtfulLabel):
        return f"{title}?", f"{image.suggested} ({image.score:.2f})"
    if isinstance(image, Outlier):
        return title, f"distance {image.distance:.3f}"
    if isinstance(image, DiverseImage):
        return title, f"nearest to {image.represents:,}"
    return title, ""
